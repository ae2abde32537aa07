"""Half duplex: the microphone is muted while the assistant can be heard."""

from typing import Final

from rtvoice.audio.pcm import FULL_SCALE, SAMPLE_RATE

TAIL_S: Final = 0.25
"""How long the microphone stays muted after the last sound: the room's reverberation, and the devices' latency."""
_QUIET: Final = FULL_SCALE // 1000
"""Amplitude (-60 dBFS) under which what is rendered cannot be heard."""


class HalfDuplex:
    """Replaces what the microphone hears by silence of the same length while something is played, and a little longer.

    What is played it learns from a device's tap (`rendered`), or from what was handed over (`schedule`, `cut`).

    Args:
        tail_s: Seconds that the microphone stays muted after the last sound.
    """

    def __init__(self, tail_s: float = TAIL_S) -> None:
        self._tail_s = tail_s
        self._spans: list[tuple[float, float]] = []  # begin and end of what is played, in order

    def rendered(self, pcm: bytes, at: float) -> None:
        """Take a block that a device renders, from any thread, and the time of its first sample."""
        if any(abs(sample) > _QUIET for sample in memoryview(pcm[: len(pcm) // 2 * 2]).cast("h")):
            self.schedule(pcm, at)

    def schedule(self, pcm: bytes, starts_at: float) -> None:
        """Note that this is heard from then on."""
        ends_at = starts_at + len(pcm) / 2 / SAMPLE_RATE
        spans = self._spans
        if spans and starts_at - spans[-1][1] < self._tail_s:
            spans[-1] = (spans[-1][0], max(ends_at, spans[-1][1]))
        else:
            spans.append((starts_at, ends_at))

    def cut(self, at: float) -> None:
        """Note that nothing is heard from then on."""
        self._spans = [(begin, min(end, at)) for begin, end in self._spans if begin < at]

    def process(self, pcm: bytes, captured_at: float) -> tuple[bytes, float]:
        """Return the microphone's sound, or silence, and the time of its last sample.

        Args:
            pcm: What was captured.
            captured_at: Loop time of its last sample.
        """
        starts_at = captured_at - len(pcm) / 2 / SAMPLE_RATE
        while len(self._spans) > 1 and self._spans[0][1] + self._tail_s < starts_at:
            del self._spans[0]
        muted = any(begin < captured_at and starts_at < end + self._tail_s for begin, end in tuple(self._spans))
        return bytes(len(pcm)) if muted else pcm, captured_at
