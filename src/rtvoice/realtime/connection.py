"""The WebSocket to the server: how it is opened, and what may go wrong with it."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final, Literal

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

from rtvoice.cancellation import run_apart
from rtvoice.errors import ConfigurationError, ConnectionFailed
from rtvoice.realtime.providers import RealtimeProvider
from rtvoice.realtime.refusals import http_refusal

logger = logging.getLogger(__name__)

NORMAL_CLOSURE: Final = int(websockets.CloseCode.NORMAL_CLOSURE)
WRITE_LIMIT: Final = 32_768
"""Bytes that may wait for the network; a frame that would make it more waits until they are fewer."""
UNREAD_FRAMES: Final = 256
"""Frames that are read ahead of the session; beyond them the network has to wait."""

_OPEN_TIMEOUT_S: Final = 15.0
_CLOSE_TIMEOUT_S: Final = 1.0


class ConnectionLost(Exception):  # noqa: N818 - what has become of it, not an error of ours
    """The connection is closed.

    Attributes:
        code: The WebSocket close code; ``None`` if the server has not closed it, but it broke.
        reason: The server's reason.
    """

    def __init__(self, closed: websockets.ConnectionClosed) -> None:
        super().__init__(str(closed))
        self.code = closed.rcvd.code if closed.rcvd else None
        self.reason = closed.rcvd.reason if closed.rcvd else ""


class _Socket(ClientConnection):
    """A WebSocket that sends what the network takes at once without preparing for anything else.

    Half of what ``websockets`` does to send 20 ms of sound is for connections that are about to close or are full;
    those still go that way.
    """

    @property
    def can_send_now(self) -> bool:
        """See `Connection`."""
        return not (self.paused or self.protocol.state is not State.OPEN or self.transport.is_closing())

    def send_now(self, frame: bytes) -> None:
        """See `Connection`."""
        self.protocol.send_text(frame)
        self.send_data()


class Connection:
    """An open connection; one reader, any number of writers.

    Args:
        socket: The WebSocket, of the ``websockets`` package.
        opened_at: Loop time.

    Attributes:
        in_use: Whether it belongs to the session by now, and not to whoever opened it.
    """

    def __init__(self, socket: Any, opened_at: float) -> None:
        self.opened_at = opened_at
        self.in_use = False
        self._socket = socket
        self._received = 0

    async def receive(self) -> bytes:
        """Wait for the next frame.

        Raises:
            ConnectionLost: There is none to come.
        """
        try:
            frame: bytes = await self._socket.recv(decode=False)
        except websockets.ConnectionClosed as closed:
            raise ConnectionLost(closed) from closed
        self._received += 1
        return frame

    @property
    def can_send_now(self) -> bool:
        """Whether a frame can be sent without waiting for the network."""
        can: bool = self._socket.can_send_now
        return can

    def send_now(self, frame: bytes) -> None:
        """Send a frame without waiting; only while `can_send_now`."""
        self._socket.send_now(frame)

    async def send(self, frame: bytes) -> None:
        """Send a frame. It is on its way even if the waiting for the network is cancelled.

        Raises:
            ConnectionLost: It cannot be sent any more.
        """
        if self.can_send_now:
            self.send_now(frame)
            return
        try:
            await self._socket.send(frame, text=True)
        except websockets.ConnectionClosed as closed:
            raise ConnectionLost(closed) from closed

    async def shows_life(self, limit_s: float | None) -> bool:
        """Ping the server; return whether it answers, or anything else arrives, within the limit.

        Raises:
            ConnectionLost: The connection is closed.
        """
        received_before = self._received
        try:
            async with asyncio.timeout(limit_s):
                await (await self._socket.ping())
        except TimeoutError:
            return self._received > received_before
        except websockets.ConnectionClosed as closed:
            raise ConnectionLost(closed) from closed
        return True

    def abort(self) -> None:
        """Cut the connection."""
        self._socket.transport.abort()

    async def close(self) -> None:
        """Close the connection as one should; a server that does not answer is cut off after a moment."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S + 0.2):
                await self._socket.close()
        except TimeoutError:
            logger.debug("The server did not let the connection close in time")
        finally:
            self.abort()


class Dialler:
    """Opens connections to one place, with fresh credentials each time.

    Args:
        provider: Where that is, and which credentials are needed.
        model: For the provider's URL.
        ssl_context: TLS settings; ``None`` for the defaults.
        proxy: ``True`` for the proxy that the environment names, a URL, or ``None`` for no proxy.
        wiretap: Gets every WebSocket that was opened, returns what is used in its place.
    """

    def __init__(
        self,
        provider: RealtimeProvider,
        model: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | Literal[True] | None = True,
        wiretap: Callable[[Any], Any] | None = None,
    ) -> None:
        self._provider = provider
        self._model = model
        self._ssl = ssl_context
        self._proxy = proxy
        self._wiretap = wiretap

    async def open(self) -> Connection:
        """Open a connection.

        Raises:
            ConnectionFailed: The server cannot be reached, or is none.
            AuthenticationFailed: It refused the credentials.
            ConfigurationError: The provider's URL is none.
        """
        url = self._provider.build_url(self._model)
        headers = await _connection_headers(self._provider)
        options: dict[str, Any] = {"ssl": self._ssl} if self._ssl is not None else {}
        try:
            socket: Any = await websockets.connect(
                url,
                additional_headers=headers,
                compression=None,  # base64 of sound does not compress
                max_size=None,
                max_queue=UNREAD_FRAMES,
                write_limit=WRITE_LIMIT,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=None,  # the session does it, and tells if nothing comes back
                proxy=self._proxy,
                create_connection=_Socket,
                **options,
            )
        except websockets.InvalidStatus as error:
            raise http_refusal(error.response.status_code) from error
        except websockets.InvalidURI as error:
            raise ConfigurationError(f"The provider's URL {url!r} is not a WebSocket URL (ws:// or wss://)") from error
        except websockets.InvalidProxy as error:
            raise ConfigurationError(f"{error}: check the proxy that the environment names") from error
        except (OSError, websockets.InvalidHandshake, ssl.SSLError) as error:
            place = url.split("?", 1)[0]
            what = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise ConnectionFailed(
                f"Cannot connect to {place}: {what}. Check the network, the address, and proxy or TLS settings."
            ) from error
        if self._wiretap is not None:
            socket = self._wiretap(socket)
        return Connection(socket, asyncio.get_running_loop().time())


async def _connection_headers(provider: RealtimeProvider) -> dict[str, str]:
    """Return the provider's headers; a provider that only looks like one has the plain method alone."""
    fetch = getattr(provider, "connection_headers", None)
    if fetch is None:
        return provider.build_headers()
    return await run_apart("the provider's connection_headers()", fetch)
