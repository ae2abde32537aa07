"""Microphone and loudspeaker of the benchmarks: both go by the clock and cost as little as they can."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from benchmarks.stamps import MICROPHONE_PERIOD, StampReader, stamp

BYTES_PER_SECOND: Final = 48_000
"""PCM16, 24 kHz, mono."""

_CHUNK_S: Final = MICROPHONE_PERIOD / BYTES_PER_SECOND
_SILENCE: Final = bytes(MICROPHONE_PERIOD - 8)


class Microphone:
    """Gives a stamped chunk of 20 ms fifty times a second.

    Args:
        chunks: So many, then it falls silent without ending; ``None`` for no limit.
    """

    def __init__(self, chunks: int | None = None) -> None:
        self._left = chunks
        self._closed = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the chunks until `close`."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._closed.is_set():
            if self._left == 0:
                await self._closed.wait()
                return
            if self._left is not None:
                self._left -= 1
            due += _CHUNK_S
            await asyncio.sleep(due - loop.time())
            yield stamp() + _SILENCE

    def close(self) -> None:
        """End the stream."""
        self._closed.set()


@dataclass(slots=True)
class Played:
    """A piece of sound that was given to the loudspeaker.

    Attributes:
        at_ns: When.
        marker: Number of the response that it belongs to, from its last sample.
        milliseconds: Its length.
    """

    at_ns: int
    marker: int
    milliseconds: float


@dataclass(slots=True)
class Cleared:
    """The loudspeaker was silenced.

    Attributes:
        at_ns: When.
        marker: The response that was given to it last.
        heard_ms: How much of that response had been heard.
    """

    at_ns: int
    marker: int
    heard_ms: float


@dataclass(slots=True)
class Speaker:
    """Plays by the loop's clock, knows what was heard, and reads the stamps.

    Attributes:
        period: Bytes from stamp to stamp; 0 for no stamps.
        instant: What it is given counts as heard at once.
        counts: Whether contestants may offer its position to their library.
        diary: Whether to note every piece and every clearing.
        stamps: What the stamps said.
    """

    period: int = 0
    instant: bool = False
    counts: bool = False
    diary: bool = False
    stamps: StampReader = field(init=False)
    played: list[Played] = field(default_factory=list, init=False)
    cleared: list[Cleared] = field(default_factory=list, init=False)
    accepted_bytes: int = field(default=0, init=False)
    discarded_bytes: int = field(default=0, init=False)
    _ends_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.stamps = StampReader(self.period or BYTES_PER_SECOND)

    def play(self, pcm: bytes) -> None:
        """Take sound and return at once."""
        if self.period:
            self.stamps.feed(pcm)
        self.accepted_bytes += len(pcm)
        if not self.instant:
            now = asyncio.get_running_loop().time()
            self._ends_at = max(now, self._ends_at) + len(pcm) / BYTES_PER_SECOND
        if self.diary:
            marker = int.from_bytes(pcm[-2:], "little", signed=True)
            self.played.append(Played(time.perf_counter_ns(), marker, len(pcm) / 48))

    def clear(self) -> None:
        """Drop what has not been heard."""
        heard = self.heard_bytes
        if self.diary:
            marker = self.played[-1].marker if self.played else 0
            before = sum(round(piece.milliseconds * 48) for piece in self.played if piece.marker != marker)
            heard_ms = max(0, heard - before + self.discarded_bytes) / 48
            self.cleared.append(Cleared(time.perf_counter_ns(), marker, heard_ms))
        self.discarded_bytes = self.accepted_bytes - heard
        self._ends_at = 0.0

    @property
    def heard_bytes(self) -> int:
        """Bytes heard so far, in whole samples."""
        remaining_s = 0.0 if self.instant else max(0.0, self._ends_at - asyncio.get_running_loop().time())
        remaining = int(remaining_s * BYTES_PER_SECOND) // 2 * 2
        return max(0, self.accepted_bytes - self.discarded_bytes - remaining)

    @property
    def playing(self) -> bool:
        """Whether something is audible."""
        return not self.instant and asyncio.get_running_loop().time() < self._ends_at
