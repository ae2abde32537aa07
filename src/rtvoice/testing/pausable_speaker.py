"""A loudspeaker for tests that can do all that ours can: it counts, pauses, and shows what it renders."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from rtvoice.audio.taps import Tap, Taps
from rtvoice.testing.audio_formats import PCM_BYTES_PER_MS
from rtvoice.testing.speaker import Played, PositionedSpeaker

_BLOCK_MS = 20


@dataclass(slots=True, kw_only=True, eq=False)
class PausableSpeaker(PositionedSpeaker):
    """A ``PositionedSpeaker`` with ``SupportsPause`` and ``SupportsTap``; only at the pace of the clock.

    Attributes:
        paused_at: Loop times of all ``pause()`` calls that found it playing or idle, not paused.
        resumed_at: The same of ``resume()``.
    """

    paused_at: list[float] = field(default_factory=list, init=False)
    resumed_at: list[float] = field(default_factory=list, init=False)
    _paused: bool = field(default=False, init=False)
    _held: list[bytes] = field(default_factory=list, init=False)
    _taps: Taps = field(default_factory=Taps, init=False)
    _tick: asyncio.TimerHandle | None = field(default=None, init=False)

    async def start(self) -> None:
        """Open the loudspeaker."""
        await PositionedSpeaker.start(self)
        loop = asyncio.get_running_loop()
        self._tick = loop.call_at(loop.time() + _BLOCK_MS / 1000, self._render, loop.time())

    async def stop(self) -> None:
        """Close it; what is not yet audible is dropped."""
        if self._tick is not None:
            self._tick.cancel()
        await PositionedSpeaker.stop(self)

    async def play_chunk(self, chunk: bytes) -> None:
        """Take a chunk; while it is paused, wait with it if it may queue only so much.

        Raises:
            AudioDeviceError: The loudspeaker is closed.
            Exception: ``failure``.
        """
        cleared = len(self.cleared)
        while self._paused and self.buffer_ms is not None and len(self.cleared) == cleared:
            await self._wait_for_change(None)
        await PositionedSpeaker.play_chunk(self, chunk)
        if self._paused:
            self._hold()

    async def clear_buffer(self) -> None:
        """Drop everything that has not been played by now."""
        dropped = sum(len(pcm) // 2 for pcm in self._held)
        self._held.clear()
        self.discarded_samples += dropped
        await PositionedSpeaker.clear_buffer(self)

    async def pause(self) -> None:
        """Fall silent; queued audio and counts stand still."""
        if not self._paused:
            self.paused_at.append(asyncio.get_running_loop().time())
            self._paused = True
            self._hold()

    async def resume(self) -> None:
        """Go on where ``pause()`` stopped."""
        if not self._paused:
            return
        self._paused = False
        begin = asyncio.get_running_loop().time()
        self.resumed_at.append(begin)
        for pcm in self._held:
            self._played.append(Played(begin, pcm))
            begin = self._played[-1].ends_at
        self._held.clear()
        self._wake()

    def _hold(self) -> None:
        """Take what is not played yet out of the line."""
        now = asyncio.get_running_loop().time()
        for piece in self._played[self._over :]:
            played = 2 * piece.samples_until(now)
            if played < len(piece.pcm):
                self._held.append(piece.pcm[played:])
                piece.pcm = piece.pcm[:played]
                piece.started_at = min(piece.started_at, now)

    def add_tap(self, tap: Tap) -> Callable[[], None]:
        """Have ``tap(pcm, at)`` called for every 20 ms, silence included."""
        return self._taps.add(tap)

    def _render(self, begin: float) -> None:
        loop = asyncio.get_running_loop()
        pcm = self.sound_between(begin, _BLOCK_MS * PCM_BYTES_PER_MS // 2)
        self._taps.send(pcm, begin + self.latency_ms / 1000, loop)
        end = begin + _BLOCK_MS / 1000
        self._tick = loop.call_at(end + _BLOCK_MS / 1000, self._render, end)
