"""The WebSocket of one session: frames in order, and the faults of the network."""

import asyncio
import json
import os
import random
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from rtvoice.testing.event_log import JsonObject, brief
from rtvoice.testing.faults import Delays, Faults, FrameFault
from rtvoice.testing.faulty_transport import FaultyTransport

_RESET_ON_CLOSE: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # "linger" for no time at all


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
        self._outbox: asyncio.Queue[tuple[float, JsonObject | str | _Closing]] = asyncio.Queue()  # with its due time
        self._frame_faults = [make() for make in faults.frames]
        self._in_burst = 0
        self.delay(faults.delays)
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
        self._put(event if isinstance(event, str) else dict(event))

    def _put(self, outgoing: JsonObject | str | _Closing) -> None:
        late_s = self._jitter.uniform(0, self._delays.jitter_ms) / 1000
        self._outbox.put_nowait((asyncio.get_running_loop().time() + late_s, outgoing))

    def close(self, code: int, reason: str) -> None:
        """Close the WebSocket after what is queued."""
        self._put(_Closing(code, reason))

    def drop(self) -> None:
        """Cut the TCP connection at once, without a close frame; what was not read by then never is."""
        self._dropped = True
        self.connection.transport.abort()

    def reset(self) -> None:
        """Reset the TCP connection (RST): the client's next read or write fails."""
        self.connection.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
        )
        self.drop()

    def distort(self, *faults: FrameFault) -> None:
        """Apply these to every frame from now on, in order, instead of those before; none: send frames as they are."""
        self._frame_faults = list(faults)

    def delay(self, delays: Delays) -> None:
        """Send late from now on; ``Delays()`` ends it."""
        self._delays = delays
        self._jitter = random.Random(delays.seed)

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
            due, outgoing = await self._outbox.get()
            await self._wait_until(due)
            await self._may_write.wait()
            try:
                if isinstance(outgoing, _Closing):
                    await self.connection.close(outgoing.code, outgoing.reason)
                    return
                await self._send(outgoing)
            except ConnectionClosed:
                return

    async def _wait_until(self, due: float) -> None:
        """Wait until an event may go out: when it is due, and the next burst is."""
        now = asyncio.get_running_loop().time()
        if due > now:
            await asyncio.sleep(due - now)
        burst_s = self._delays.burst_ms / 1000
        if burst_s and not self._in_burst:
            await asyncio.sleep(burst_s)
            self._in_burst = self._outbox.qsize() + 1
        self._in_burst = max(0, self._in_burst - 1)

    async def _send(self, outgoing: JsonObject | str) -> None:
        frames = [outgoing if isinstance(outgoing, str) else json.dumps(outgoing)]
        for fault in self._frame_faults:
            frames = [result for frame in frames for result in fault(frame)]
        if not isinstance(outgoing, str):
            self.on_sent(brief(outgoing))
        for frame in frames:
            await self.connection.send(frame)
            if self._delays.bytes_per_second is not None:
                await asyncio.sleep(len(frame) / self._delays.bytes_per_second)
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
            closed = group.create_task(self.connection.wait_closed())
            while not (self._may_read.is_set() or closed.done()):  # it may be stalled again at once
                resumed = group.create_task(self._may_read.wait())
                await asyncio.wait((resumed, closed), return_when=asyncio.FIRST_COMPLETED)
                resumed.cancel()
            closed.cancel()
        return self._may_read.is_set() and not self._dropped
