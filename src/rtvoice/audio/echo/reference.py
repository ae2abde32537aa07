"""What the loudspeaker has really rendered, and when: the canceller's reference."""

import math
from collections import deque
from typing import Final

import numpy as np

from rtvoice.audio.echo.adaptive_filter import Block
from rtvoice.audio.pcm import SAMPLE_RATE, samples_in

_CAPACITY: Final = 1 << 17
"""Samples kept: 5.4 s."""
_MASK: Final = _CAPACITY - 1
_WAITING_BLOCKS: Final = 500
"""Blocks that may wait while nobody captures; the oldest go."""
_GAP_S: Final = 0.02
"""How far the time of a block may lie from the end of the one before: times jitter by milliseconds."""


class RenderedTrack:
    """The last seconds of what an output device has rendered, by sample and by time.

    ``add`` may be called from any thread, everything else from one. Positions count samples, from 0; they run on the
    loudspeaker's clock.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, float]] = deque(maxlen=_WAITING_BLOCKS)
        self._samples = np.zeros(_CAPACITY, np.float32)
        self._end = 0
        self._end_at: float | None = None  # the time of that position

    def add(self, pcm: bytes, at: float) -> None:
        """Take a block and the time of its first sample; an output device's tap."""
        self._waiting.append((pcm, at))

    @property
    def end(self) -> int:
        """The position after the last sample."""
        self._take_in()
        return self._end

    def position_at(self, time: float) -> float | None:
        """Return the position that was, or will be, rendered at a time; ``None`` before the first block."""
        self._take_in()
        return None if self._end_at is None else self._end + (time - self._end_at) * SAMPLE_RATE

    def read(self, position: float, count: int, step: float = 1.0) -> Block:
        """Return samples from a position on, 1.0 is full scale; silence where there are none, or none any more.

        Args:
            position: Where to begin, between samples if need be.
            count: Number of samples.
            step: Distance from each to the next.
        """
        self._take_in()
        first = math.floor(position)
        if step == 1.0 and position == first:
            return self._span(first, count)
        offsets = position - first + step * np.arange(count)
        index = offsets.astype(np.int64)
        part = (offsets - index).astype(np.float32)
        span = self._span(first - 1, int(index[-1]) + 4)
        # Cubic interpolation (Lagrange): 40 dB better in the voice band than a straight line.
        less, more, far = part - 1, part + 1, part - 2
        interpolated = (
            more * less * far * span[index + 1] / 2
            - part * less * far * span[index] / 6
            - more * part * far * span[index + 2] / 2
            + more * part * less * span[index + 3] / 6
        )
        return interpolated.astype(np.float32)

    def _span(self, first: int, count: int) -> Block:
        """Return the samples of whole positions, zero where they are not known."""
        positions = np.arange(first, first + count)
        span: Block = self._samples[positions & _MASK]
        if first < max(0, self._end - _CAPACITY) or first + count > self._end:
            span[(positions >= self._end) | (positions < max(0, self._end - _CAPACITY))] = 0
        return span

    def _take_in(self) -> None:
        while self._waiting:
            pcm, at = self._waiting.popleft()
            if self._end_at is not None and at - self._end_at > _GAP_S:  # a device that shows only what is no silence
                self._append(np.zeros(min(_CAPACITY, round((at - self._end_at) * SAMPLE_RATE)), np.float32))
            count = samples_in(pcm)
            self._append(np.frombuffer(pcm, "<i2", count=count).astype(np.float32) / np.float32(32768))
            self._end_at = at + count / SAMPLE_RATE

    def _append(self, block: Block) -> None:
        kept = block[-_CAPACITY:]
        self._end += len(block)
        positions = np.arange(self._end - len(kept), self._end) & _MASK
        self._samples[positions] = kept
