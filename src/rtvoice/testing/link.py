"""The WebSocket of one session: frames in order, and the faults of the network."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from rtvoice.testing.event_log import JsonObject, brief
from rtvoice.testing.faults import Faults, FaultyTransport


@dataclass(frozen=True, slots=True)
class _Closing:
    """The end of the connection, queued behind the frames that go out before."""

    code: int
    reason: str


class Link:
    """Sends what a session says, in order, and hands it what the client says.

    Args:
        connection: The WebSocket.
        faults: What goes wrong on it.

    Attributes:
        on_sent: Called with every event that goes out (audio shortened).
    """

    def __init__(self, connection: ServerConnection, faults: Faults) -> None:
        self.connection = connection
        self._faults = faults
        self.on_sent: Callable[[JsonObject], None] = lambda _event: None
        self._outbox: asyncio.Queue[JsonObject | str | _Closing] = asyncio.Queue()
        self._frame_faults = [make() for make in faults.frames]
        self._may_write = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_write.set()
        self._may_read.set()
        self._dropped = False
        self._sent_events = 0
        if faults.bytes_per_write is not None or faults.never_answer_close:
            transport = self._faulty_transport()
            transport.bytes_per_write = faults.bytes_per_write
            transport.never_answer_close = faults.never_answer_close

    def send(self, event: Mapping[str, Any] | str) -> None:
        """Queue an event, or a raw text frame."""
        self._outbox.put_nowait(event if isinstance(event, str) else dict(event))

    def close(self, code: int, reason: str) -> None:
        """Close the WebSocket after what is queued."""
        self._outbox.put_nowait(_Closing(code, reason))

    def drop(self) -> None:
        """Cut the TCP connection at once, without a close frame; what was not read by then never is."""
        self._dropped = True
        self.connection.transport.abort()

    def stall(self, *, reading: bool = True, writing: bool = True) -> None:
        """Stop taking events from the socket, sending them, or both, until ``resume()``."""
        if reading:
            self._may_read.clear()
        if writing:
            self._may_write.clear()

    def resume(self) -> None:
        """Go on after ``stall()``; what was held back goes out now."""
        self._may_read.set()
        self._may_write.set()

    def go_silent(self) -> None:
        """Let nothing reach the network any more, not even pongs, and read nothing: a dead peer."""
        self._faulty_transport().silent = True
        self.connection.transport.pause_reading()

    def dribble(self, bytes_per_write: int | None = 1) -> None:
        """Send in pieces of this many bytes from now on; ``None`` ends it."""
        self._faulty_transport().bytes_per_write = bytes_per_write

    def _faulty_transport(self) -> FaultyTransport:
        if not isinstance(self.connection.transport, FaultyTransport):
            self.connection.transport = FaultyTransport(self.connection.transport)
        return self.connection.transport

    async def write(self) -> None:
        """Send what is queued until the connection ends."""
        while True:
            outgoing = await self._outbox.get()
            await self._may_write.wait()
            try:
                if isinstance(outgoing, _Closing):
                    await self.connection.close(outgoing.code, outgoing.reason)
                    return
                await self._send(outgoing)
            except ConnectionClosed:
                return

    async def _send(self, outgoing: JsonObject | str) -> None:
        frames = [outgoing if isinstance(outgoing, str) else json.dumps(outgoing)]
        for fault in self._frame_faults:
            frames = [result for frame in frames for result in fault(frame)]
        if not isinstance(outgoing, str):
            self.on_sent(brief(outgoing))
        for frame in frames:
            await self.connection.send(frame)
        self._sent_events += 1
        if self._sent_events == self._faults.drop_after_events:
            self.drop()

    async def read(self, handle: Callable[[str | bytes], None]) -> None:
        """Hand every frame to ``handle`` until the connection ends."""
        try:
            while True:
                frame = await self.connection.recv()
                if self._dropped or not (self._may_read.is_set() or await self._resumed()):
                    return
                handle(frame)
        except ConnectionClosed:
            return

    async def _resumed(self) -> bool:
        """Wait for the end of a stall; return False if the connection ended first."""
        async with asyncio.TaskGroup() as group:
            resumed = group.create_task(self._may_read.wait())
            closed = group.create_task(self.connection.wait_closed())
            await asyncio.wait((resumed, closed), return_when=asyncio.FIRST_COMPLETED)
            resumed.cancel()
            closed.cancel()
        return self._may_read.is_set() and not self._dropped
