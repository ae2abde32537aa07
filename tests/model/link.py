"""A WebSocket without a network: the client's end of a connection to the model service, inside one process.

It takes the place of ``websockets.connect``. Both directions can be held up, as a network does; a connection that is
dead for long enough fails by its keepalive, as the real library sees to.
"""

import asyncio
import json
from collections import deque
from typing import Any

import websockets
from tests.model.service import Fields, Service, Session
from websockets.datastructures import Headers
from websockets.frames import Close
from websockets.http11 import Response as HttpResponse

KEEPALIVE_S = 80.0
"""Ping interval and ping timeout of the product together."""
_KERNEL_BYTES = 65_536
"""What a network that is held up takes before a send waits."""


class Transport:
    """As much of a transport as the session component looks at."""

    def __init__(self, end: "ClientEnd") -> None:
        self._end = end

    def abort(self) -> None:
        self._end.hang_up(None, by_client=True)


class ClientEnd:
    """What the session component holds as its socket."""

    def __init__(self, service: Service) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport = Transport(self)
        self.session: Session
        self.violation: BaseException | None = None
        self.lost_at: float | None = None  # when it ended, unless the client ended it
        self.close_code: int | None = None
        self.bytes_on_the_way = 0
        self._down: deque[Fields] = deque()
        self._up: deque[tuple[Fields, float, int]] = deque()
        self._holds = {"up": False, "down": False}
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._pongs: list[asyncio.Future[float]] = []
        self._error: websockets.ConnectionClosed | None = None
        self._keepalive: asyncio.TimerHandle | None = None
        self.session = Session(service, self._emit, self._loop.time)

    # --- what the model does ---

    @property
    def is_open(self) -> bool:
        return self._error is None

    @property
    def is_held(self) -> bool:
        return any(self._holds.values())

    def hold(self, direction: str) -> None:
        self._holds[direction] = True
        if self._keepalive is None:
            self._keepalive = self._loop.call_later(KEEPALIVE_S, self._time_out)

    def release(self) -> None:
        """Let everything through that was held up."""
        self._holds = dict.fromkeys(self._holds, False)
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
        for pong in self._pongs:
            if not pong.done():
                pong.set_result(0.0)
        self._pongs.clear()
        self._deliver()
        self._changed.set()

    def hang_up(self, close: Close | None, *, by_client: bool = False) -> None:
        """End the connection: with a close frame of the server's, or without a word."""
        if self._error is not None:
            return
        kind = websockets.ConnectionClosedError
        if close is not None and close.code in (1000, 1001):
            kind = websockets.ConnectionClosedOK  # type: ignore[assignment]
        self._error = kind(close, close, True if close is not None else None)
        if not by_client:
            self.lost_at = self._loop.time()
            self.close_code = close.code if close is not None else None
        if self._keepalive is not None:
            self._keepalive.cancel()
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(self._error)
                pong.exception()
        self._changed.set()
        self._room.set()

    def _time_out(self) -> None:
        self.hang_up(None)

    def _emit(self, event: Fields) -> None:
        if self._error is None:
            self._down.append(event)
            self._changed.set()

    def _deliver(self) -> None:
        """Let the service take what the client has sent."""
        while self._up and not self._holds["up"]:
            event, sent_at, size = self._up.popleft()
            self.bytes_on_the_way -= size
            if self._error is not None or self.violation is not None:
                continue
            try:
                self.session.take(event, sent_at)
            except Exception as error:  # raised by the driver: in the product it would look like a bug there
                self.violation = error
        self._room.set()

    # --- what the session component does ---

    async def recv(self, *, decode: bool) -> bytes:
        assert decode is False
        while True:
            if self._down and not self._holds["down"] and (self._error is None or self.close_code is not None):
                event = self._down.popleft()
                self.session.heard(event)
                return json.dumps(event).encode()
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()

    async def send(self, frame: bytes, *, text: bool) -> None:
        assert text is True
        if self._error is not None:
            raise self._error
        self.take(frame)
        while self._is_full and self._error is None:
            self._room.clear()
            await self._room.wait()
        if self._error is not None:
            raise self._error

    @property
    def can_send_now(self) -> bool:
        return not self._is_full and self._error is None

    def send_now(self, frame: bytes) -> None:
        assert self.can_send_now
        self.take(frame)

    @property
    def _is_full(self) -> bool:
        return self.bytes_on_the_way > 2 * _KERNEL_BYTES

    def take(self, frame: bytes) -> None:
        """Put a frame on its way."""
        event = json.loads(frame)
        self.session.sent(event)
        self._up.append((event, self._loop.time(), len(frame)))
        self.bytes_on_the_way += len(frame)
        self._deliver()

    async def ping(self, _: object = None) -> asyncio.Future[float]:
        if self._error is not None:
            raise self._error
        pong: asyncio.Future[float] = self._loop.create_future()
        if self.is_held:
            self._pongs.append(pong)
        else:
            pong.set_result(0.0)
        return pong

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._error is None and self.is_held:
            await asyncio.sleep(1.0)  # nobody answers the close frame
        self.hang_up(Close(code, reason), by_client=True)

    async def wait_closed(self) -> None:
        while self._error is None:
            self._changed.clear()
            await self._changed.wait()


class Network:
    """Where the agent dials: its ``connect`` stands in for ``websockets.connect``."""

    def __init__(self) -> None:
        self.service = Service()
        self.ends: list[ClientEnd] = []
        self.refusals: deque[str] = deque()

    async def connect(self, _url: str, **_options: Any) -> ClientEnd:
        await asyncio.sleep(0.02)
        refusal = self.refusals.popleft() if self.refusals else None
        if refusal == "down":
            raise OSError("the host is down")
        if refusal == "busy":
            raise websockets.InvalidStatus(HttpResponse(503, "Busy", Headers()))
        if refusal == "mute":
            await asyncio.sleep(15.0)
            raise TimeoutError
        end = ClientEnd(self.service)
        self.ends.append(end)
        return end
