"""The demo's user: an input device that says recorded lines at the right moments."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rtvoice.audio import AudioInputDevice
from rtvoice.cli.demo.clips import Clip
from rtvoice.cli.demo.floor import Floor
from rtvoice.events import EventBus
from rtvoice.testing import VirtualMicrophone

_BYTES_PER_SECOND: Final = 48_000
PAUSE_S: Final = 0.8
"""Silence that the user leaves before speaking, and after the last answer."""
PATIENCE_S: Final = 25.0
"""How long the user waits for an answer before giving up. A tool may take its time."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that the user says.

    Attributes:
        clip: The words.
        interrupts_after_s: Cut in when the assistant has been heard for so long, in seconds; ``None``: wait until it
            has finished.
    """

    clip: Clip
    interrupts_after_s: float | None = None


class ScriptedUser(AudioInputDevice):
    """A silent room in which somebody says one line after the other, and leaves after the last answer.

    Sound comes in real time, in chunks of 20 ms; before each one the user looks whether it is time to speak.

    Args:
        lines: What to say, in this order.

    Attributes:
        left: Whether everything was said and answered.
        problem: Why the user gave up; "" if not.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self.left = False
        self.problem = ""
        self._lines = list(lines)
        self._room = VirtualMicrophone()
        self._floor = Floor()
        self._leave: Callable[[], Awaitable[None]] | None = None
        self._silent_from = 0.0

    def join(self, bus: EventBus, *, leave: Callable[[], Awaitable[None]]) -> None:
        """Take part in a conversation.

        Args:
            bus: The agent's bus.
            leave: Ends the conversation.
        """
        self._floor.follow(bus)
        self._leave = leave

    async def start(self) -> None:
        """Enter the room."""
        await self._room.start()

    async def stop(self) -> None:
        """Leave it; the stream ends."""
        await self._room.stop()

    @property
    def is_active(self) -> bool:
        """Whether the user is in the room."""
        return self._room.is_active

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        """Yield the room's sound.

        Raises:
            RuntimeError: The user has not joined a conversation.
        """
        if self._leave is None:
            raise RuntimeError("join() comes first")
        loop = asyncio.get_running_loop()
        self._floor.give()
        async for chunk in self._room.stream_chunks():
            yield chunk
            if loop.time() >= self._silent_from and self._is_done(loop.time()):
                await self._leave()
                return

    def _is_done(self, now: float) -> bool:
        """Say the next line if it is time to; return whether there is nothing more to say or to wait for."""
        free = self._floor.free_for(now) >= PAUSE_S
        if self._lines and (free or self._cuts_in(self._lines[0], now)):
            pcm = self._lines.pop(0).clip.pcm()
            self._room.say(pcm)
            self._silent_from = now + len(pcm) / _BYTES_PER_SECOND
            self._floor.take()
            return False
        if self._floor.idle_for(now) > PATIENCE_S:
            self.problem = f"the assistant has not answered for {PATIENCE_S:.0f} s"
        self.left = free
        return free or bool(self.problem)

    def _cuts_in(self, line: Line, now: float) -> bool:
        return line.interrupts_after_s is not None and self._floor.audible_for(now) >= line.interrupts_after_s
