"""The buffer between ``play_chunk()`` and a loudspeaker: passive, thread-safe, without a device.

Audio goes in at network pace and comes out block by block, when the device asks for it. Every sample is
counted, so that an interruption can say to the sample what was heard.
"""

import math
import threading
from collections import deque

from rtvoice.audio.devices import PlaybackPosition
from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE, SampleAligner, ms_to_samples, ramp, samples_in, silence
from rtvoice.errors import AudioDeviceError

_REBUFFER_FACTORS = (1, 2, 10 / 3)
"""Times the prebuffer that is awaited at first, after one underrun, after more: 60, 120, 200 ms.

The values are chosen, not measured.
"""

_ROUNDING = 1e-3
"""Fraction of a sample by which sums of loop times may be off without costing a whole sample."""


class PlaybackBuffer:
    """Queue, jitter buffer and counter of the audio that goes to a loudspeaker.

    ``accepted == rendered + queued + discarded`` at every moment; all counts are samples.

    Playback begins when ``prebuffer_ms`` are queued, or the response is complete, or the first sample has
    waited for ``prebuffer_ms``. It stops when the queue is empty. If the same response then goes on, that was
    an underrun, and a longer prebuffer is awaited.

    Args:
        sample_rate: Samples per second.
        prebuffer_ms: Audio to gather before playback begins, in milliseconds; 0 begins at once.
        fade_ms: Length of the fade at ``clear()``, ``pause()`` and ``resume()``, in milliseconds: cutting a wave
            in the middle is heard as a click.
        limit_s: Seconds of audio that may wait; a guard against a stream that never ends.
    """

    def __init__(
        self,
        *,
        sample_rate: int = SAMPLE_RATE,
        prebuffer_ms: float = 60,
        fade_ms: float = 5,
        limit_s: float = 600,
    ) -> None:
        self._rate = sample_rate
        self._prebuffer = ms_to_samples(prebuffer_ms, sample_rate)
        self._fade = ms_to_samples(fade_ms, sample_rate)
        self._limit = ms_to_samples(limit_s * 1000, sample_rate)
        self._lock = threading.Lock()
        self._aligner = SampleAligner()
        self._queue: deque[memoryview] = deque()
        self._tail = b""  # the fade-out: taken from the queue, not yet given to the device
        # (time of first sample, emitted before, samples) of the latest blocks, seconds of them
        self._blocks: deque[tuple[float, int, int]] = deque(maxlen=512)
        self._accepted = self._emitted = self._queued = self._discarded = 0
        self._heard = 0
        self._underruns = 0
        self._underruns_in_response = 0
        self._armed = False  # playing, rather than gathering
        self._sounding = False  # the last block ended in the middle of audio
        self._ran_dry = False  # emptied, and we do not know yet whether the response goes on
        self._finished = True  # the response whose audio came last is complete
        self._paused = False
        self._waited = 0

    def accept(self, chunk: bytes) -> int:
        """Queue audio. An odd last byte waits for the next chunk.

        Args:
            chunk: PCM16 of any length.

        Returns:
            The number of samples taken.

        Raises:
            AudioDeviceError: More than ``limit_s`` seconds are waiting already.
        """
        with self._lock:
            if self._queued + samples_in(chunk) > self._limit:
                seconds = self._limit // self._rate
                raise AudioDeviceError(
                    f"more than {seconds} s of audio wait to be played: the source does not stop, or the device does "
                    "not play. Call clear_buffer() before sending more."
                )
            pcm = self._aligner.take(bytes(chunk))
            samples = samples_in(pcm)
            if samples == 0:
                return 0
            if self._finished:
                self._underruns_in_response = 0
            elif self._ran_dry:
                self._underruns += 1
                self._underruns_in_response += 1
            self._finished = self._ran_dry = False
            self._queue.append(memoryview(pcm))
            self._queued += samples
            self._accepted += samples
            return samples

    def finish_response(self) -> None:
        """Note that the response is complete: what is queued plays without waiting for more."""
        with self._lock:
            self._finished = True
            self._ran_dry = False
            self._aligner.reset()

    def clear(self) -> int:
        """Drop what is queued, and let what sounds fade out.

        Returns:
            The number of samples dropped. The fade counts as rendered from now on.
        """
        with self._lock:
            self._fade_out()
            dropped = self._drop_queue()
            self._finished = True
            return dropped

    def recall(self, now: float) -> None:
        """Count everything as discarded that has not been heard at ``now``: the device has dropped its own buffer too.

        Args:
            now: Time, on the clock of ``render()``.
        """
        with self._lock:
            heard = self._heard_at(now)
            self._drop_queue()
            self._discarded += self._emitted + samples_in(self._tail) - heard
            self._emitted = heard
            self._tail = b""
            self._blocks.clear()
            self._sounding = False
            self._finished = True

    def pause(self) -> None:
        """Fade out and stand still; audio may be queued meanwhile."""
        with self._lock:
            if not self._paused:
                self._fade_out()
                self._paused = True

    def resume(self) -> None:
        """Fade in and go on where ``pause()`` stopped."""
        with self._lock:
            if self._paused:
                self._paused = False
                if self._armed and self._queued:
                    start = self._take(self._fade)
                    self._queue.appendleft(memoryview(ramp(start, 0.0, 1.0)))
                    self._queued += samples_in(start)

    def render(self, samples: int, at: float = -math.inf) -> bytes:
        """Return exactly ``samples`` samples for the device: audio, then silence.

        Args:
            samples: The number of samples.
            at: When the first of them will be heard, in seconds on a clock of the caller's choice.
        """
        with self._lock:
            before = self._emitted
            wanted = samples * SAMPLE_BYTES
            out = self._tail[:wanted]
            self._tail = self._tail[wanted:]
            if not self._paused:
                out += self._render_queue(samples - samples_in(out))
            emitted = samples_in(out)
            self._emitted += emitted
            if emitted:
                self._blocks.append((at, before, emitted))
            return out + silence(samples - emitted)

    def position(self, now: float = math.inf) -> PlaybackPosition:
        """Return the counts.

        Args:
            now: Time, on the clock of ``render()``; the default counts everything rendered as heard.
        """
        with self._lock:
            return PlaybackPosition(
                accepted=self._accepted,
                rendered=self._emitted + samples_in(self._tail),
                heard=self._heard_at(now),
                discarded=self._discarded,
            )

    @property
    def queued(self) -> int:
        """Samples that wait."""
        return self._queued

    @property
    def underruns(self) -> int:
        """Times the queue was empty although the response went on."""
        return self._underruns

    def _render_queue(self, samples: int) -> bytes:
        if samples == 0:
            return b""
        if not self._armed and self._queued:
            needed = self._prebuffer * _REBUFFER_FACTORS[min(self._underruns_in_response, len(_REBUFFER_FACTORS) - 1)]
            self._armed = self._finished or self._queued >= needed or self._waited >= needed
            self._waited += samples
        if not self._armed:
            return b""
        out = self._take(samples)
        self._sounding = samples_in(out) == samples
        if not self._sounding:
            self._armed = False
            self._waited = 0
            self._ran_dry = not self._finished
        return out

    def _take(self, samples: int) -> bytes:
        """Take up to ``samples`` samples from the front of the queue."""
        parts: list[memoryview] = []
        missing = samples * SAMPLE_BYTES
        while missing and self._queue:
            piece = self._queue.popleft()
            if len(piece) > missing:
                self._queue.appendleft(piece[missing:])
                piece = piece[:missing]
            missing -= len(piece)
            parts.append(piece)
        taken = b"".join(parts)
        self._queued -= samples_in(taken)
        return taken

    def _fade_out(self) -> None:
        if self._sounding:
            self._tail += ramp(self._take(self._fade), 1.0, 0.0)
            self._sounding = False

    def _drop_queue(self) -> int:
        dropped = self._queued
        self._discarded += dropped
        self._queue.clear()
        self._queued = 0
        self._aligner.reset()
        self._armed = self._ran_dry = False
        self._waited = 0
        return dropped

    def _heard_at(self, now: float) -> int:
        blocks = self._blocks
        while len(blocks) > 1 and blocks[1][0] <= now:
            blocks.popleft()
        if blocks:
            at, before, samples = blocks[0]
            elapsed = min((now - at) * self._rate + _ROUNDING, samples)
            self._heard = max(self._heard, before + max(0, math.floor(elapsed)))
        return self._heard
