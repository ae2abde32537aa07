"""From a microphone and a loudspeaker that know nothing of each other to the frames that a canceller takes."""

import logging
from collections import deque
from typing import Final

import numpy as np

from rtvoice.audio.echo.adaptive_filter import Block
from rtvoice.audio.echo.canceller import FRAME_BYTES, FRAME_SAMPLES, EchoCanceller, MeasuresDrift
from rtvoice.audio.echo.delay_search import DelaySearch
from rtvoice.audio.echo.reference import RenderedTrack
from rtvoice.audio.pcm import SAMPLE_RATE

logger = logging.getLogger(__name__)

_EARLY_S: Final = 0.01
"""How much earlier the reference is taken than the times say, so that it never comes after its echo."""
_SLACK_S: Final = 0.02
"""How far reference and times may disagree before it is moved."""
_JITTER_FRAMES: Final = 100
"""Frames (1 s) of which the most punctual counts: a chunk may come late, never early."""
_SURE_FRAMES: Final = 3
"""Frames in a row that must come too early, which no delay explains, before that is believed."""
_LATEST_ECHO_S: Final = 0.15
"""A delay up to this is the canceller's own matter."""
_SURELY_BEFORE_S: Final = 0.04
"""How much less than the delay that was found is made up for: the strongest part of an echo need not be its first."""


class EchoCancellation:
    """Gives a canceller each frame of the microphone with what was rendered at that time.

    The microphone's samples are counted; their place in what was rendered follows from the devices' times once, and
    from then on from the count, corrected for clocks that run apart as far as the canceller measures that. Only when
    count and times differ by more than 20 ms is it moved. When the echo comes later than the canceller can
    reach, because a device does not know its latency, the delay is searched for in the sound.

    Args:
        canceller: What takes the echo away. If it fails, that is reported and the microphone passes as it is.
    """

    def __init__(self, canceller: EchoCanceller) -> None:
        self.rendered = RenderedTrack()
        self._canceller = canceller
        self._drifting = canceller if isinstance(canceller, MeasuresDrift) else None
        self._works = True
        self._waiting = b""
        self._position: float | None = None
        self._lateness: deque[float] = deque(maxlen=_JITTER_FRAMES)
        self._offset_s = -_EARLY_S  # of the reference to what the times say
        self._search = DelaySearch()
        canceller.reset()

    def process(self, pcm: bytes, captured_at: float) -> tuple[bytes, float]:
        """Return the microphone's sound without echo, in whole frames of 10 ms, and the time of its last sample.

        Args:
            pcm: The next piece of what was captured: PCM16, 24 kHz, mono.
            captured_at: Loop time of its last sample; may be late.
        """
        audio = self._waiting + pcm
        used = len(audio) - len(audio) % FRAME_BYTES
        self._waiting = audio[used:]
        start_at = captured_at - len(audio) / 2 / SAMPLE_RATE
        frames = [
            self._frame(audio[start : start + FRAME_BYTES], start_at + start / 2 / SAMPLE_RATE)
            for start in range(0, used, FRAME_BYTES)
        ]
        delay_s = self._canceller.delay_ms / 1000 if self._works else 0.0
        return b"".join(frames), captured_at - len(self._waiting) / 2 / SAMPLE_RATE - delay_s

    def _frame(self, microphone: bytes, at: float) -> bytes:
        if not self._works:
            return microphone
        step = 1.0 + (self._drifting.drift if self._drifting is not None else 0.0)
        reference = self._reference(at, step)
        self._compensate_delay(microphone, reference)
        pcm = (reference * 32768).round().clip(-32768, 32767).astype("<i2").tobytes()
        try:
            return self._cancel(microphone, pcm)
        except Exception:
            self._works = False
            logger.exception("The echo canceller failed; the conversation goes on with the echo")
            return microphone

    def _cancel(self, microphone: bytes, reference: bytes) -> bytes:
        cleaned = self._canceller.process(microphone, reference)
        if len(cleaned) != FRAME_BYTES:
            raise ValueError(f"process() must return {FRAME_BYTES} bytes, not {len(cleaned)}")
        return cleaned

    def _reference(self, at: float, step: float) -> Block:
        expected = self.rendered.position_at(at + self._offset_s)
        if expected is None:  # nothing was rendered yet
            return np.zeros(FRAME_SAMPLES, np.float32)
        if self._position is None:
            self._position = float(round(expected))
        self._lateness.append(expected - self._position)
        off = self._disagreement()
        if abs(off) > _SLACK_S * SAMPLE_RATE:
            logger.debug("The echo's reference moves by %.0f ms", 1000 * off / SAMPLE_RATE)
            self._move_to(self._position + off)
        reference = self.rendered.read(self._position, FRAME_SAMPLES, step)
        self._position += FRAME_SAMPLES * step
        return reference

    def _disagreement(self) -> float:
        """Return by how many samples the times surely disagree with the count."""
        recent = list(self._lateness)[-_SURE_FRAMES:]
        if len(recent) == _SURE_FRAMES and max(recent) < 0:
            return max(recent)
        return min(self._lateness) if len(self._lateness) == _JITTER_FRAMES else 0.0

    def _move_to(self, position: float) -> None:
        self._position = float(round(position))
        self._lateness.clear()
        self._search.reset()
        self._canceller.reset()

    def _compensate_delay(self, microphone: bytes, reference: Block) -> None:
        if self._position is None:
            return
        delay_s = self._search.feed(np.frombuffer(microphone, "<i2").astype(np.float32), reference)
        if delay_s is not None and delay_s > _LATEST_ECHO_S:
            logger.info("The echo comes %.0f ms after what was played; from now on that is known", 1000 * delay_s)
            self._offset_s -= delay_s - _SURELY_BEFORE_S
            self._move_to(self._position - (delay_s - _SURELY_BEFORE_S) * SAMPLE_RATE)
