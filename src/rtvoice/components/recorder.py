"""Recorder: both sides of the conversation into a file, while it happens."""

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from rtvoice.audio.devices import SupportsTap
from rtvoice.audio.recording import RecordingWriter
from rtvoice.audio.taps import let_go
from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AssistantAudioPlayedEvent,
    AssistantInterruptedEvent,
    EventBus,
    UserAudioCapturedEvent,
)

logger = logging.getLogger(__name__)

_JITTER_S: Final = 0.005
"""Blocks that come as much too late or too early still follow each other without a gap."""
_JOINED_BYTES: Final = 48_000
"""Blocks are joined up to about a second."""


class _Joined:
    """Joins blocks of audio that follow each other: placing one is cheaper than placing fifty.

    Args:
        place: Takes the time of the first sample, and the audio.
    """

    def __init__(self, place: Callable[[float, bytes], None]) -> None:
        self._place = place
        self._blocks: list[bytes] = []
        self._size = 0
        self._begins = self._ends = -math.inf

    def add(self, at: float, pcm: bytes) -> None:
        if abs(at - self._ends) > _JITTER_S or self._size > _JOINED_BYTES:
            self.hand_over()
            self._begins = self._ends = at
        self._blocks.append(pcm)
        self._size += len(pcm)
        self._ends += len(pcm) / 48_000

    def hand_over(self) -> None:
        if self._blocks:
            self._place(self._begins, b"".join(self._blocks))
            self._blocks.clear()
            self._size = 0
        self._ends = -math.inf  # the next block says itself when it was


class Recorder:
    """Records what was captured and what was really played.

    An output device with a tap shows what it rendered; for others the recording follows the model of
    what is heard when.

    Args:
        bus: The agent's bus.
        path: The file; its suffix decides the format, see `RecordingWriter`.
        output: The output device.
    """

    hears = (UserAudioCapturedEvent, AssistantAudioPlayedEvent, AssistantInterruptedEvent)
    says = (AgentErrorEvent,)

    def __init__(self, bus: EventBus, path: Path, output: object) -> None:
        self._bus = bus
        self._path = path
        self._writer = RecordingWriter(path, before_tick=self._collect, on_error=self._report)
        self._captured = _Joined(partial(self._writer.place, "user"))
        self._played = _Joined(self._writer.schedule)
        self._tap_source = output if isinstance(output, SupportsTap) else None
        self._remove_tap: Callable[[], None] | None = None
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        if self._tap_source is not None:  # it shows what is played, and what is cut
            bus.ignore(self._inbox, AssistantAudioPlayedEvent)
            bus.ignore(self._inbox, AssistantInterruptedEvent)
        self._started = False
        self._stopping = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def path(self) -> Path | None:
        """The recording, or ``None`` if there is none or it is not complete."""
        return self._path if self._started and self._writer.error is None else None

    async def start(self) -> None:
        """Begin the recording now. If that fails it is reported, and the conversation goes on without."""
        try:
            await self._writer.start()
        except OSError as error:
            self._inbox.close()
            self._stopping.set()
            self._report(error)
            return
        self._started = True
        if self._tap_source is not None:
            self._remove_tap = self._tap_source.add_tap(self._rendered)

    async def stop(self) -> None:
        """Take no more audio, and wait until the file is complete."""
        self._inbox.close()
        self._stopping.set()
        if self._started:
            await self._closed.wait()

    async def run(self) -> None:
        """Record until `stop`."""
        try:
            await self._stopping.wait()
        finally:
            let_go(self._remove_tap)
            await self._writer.close()
            self._closed.set()

    def _collect(self) -> None:
        """Record what has been said since the last time: once a second, not for each of 50 blocks."""
        captured, played = self._captured, self._played
        for event in self._inbox.take_all():
            kind = type(event)
            if kind is UserAudioCapturedEvent:
                captured.add(event.captured_at - len(event.pcm) / 48_000, event.pcm)
            elif kind is AssistantAudioPlayedEvent:
                played.add(event.starts_at, event.pcm)
            elif event.cut_at is not None:
                played.hand_over()
                self._writer.cut(event.cut_at)
        captured.hand_over()
        played.hand_over()

    def _rendered(self, pcm: bytes, at: float) -> None:
        self._writer.place("assistant", at, pcm)

    def _report(self, error: Exception) -> None:
        logger.debug("The recording failed", exc_info=error)
        problem = AgentError("recording_error", f"Cannot record to {self._path}: {error}. The conversation goes on.")
        self._bus.publish(AgentErrorEvent(problem))
