"""What stands between the session and its socket, and hands everything to the session log."""

import inspect
from typing import Any

from rtvoice.realtime import redaction
from rtvoice.realtime.providers import RealtimeProvider
from rtvoice.realtime.session_log import SessionLogWriter


class WatchedProvider(RealtimeProvider):
    """A provider whose credentials the session log knows, so that it can leave them out.

    Args:
        provider: The provider.
        log: The session log.
    """

    def __init__(self, provider: RealtimeProvider, log: SessionLogWriter) -> None:
        self._provider = provider
        self._log = log
        self.url = ""

    def build_url(self, model: str) -> str:
        """Return the provider's URL."""
        self.url = self._provider.build_url(model)
        self._log.keep_secret(redaction.secrets_of_url(self.url) - {model})
        return self.url

    def build_headers(self) -> dict[str, str]:
        """Return the provider's headers."""
        headers = self._provider.build_headers()
        self._log.keep_secret(redaction.secrets_of_headers(headers))
        return headers

    async def connection_headers(self) -> dict[str, str]:
        """Return the provider's headers for the next connection, if it makes such; else its headers."""
        fetch = getattr(self._provider, "connection_headers", None)
        if fetch is None:  # it only looks like a provider
            return self.build_headers()
        headers = fetch()
        if inspect.isawaitable(headers):
            headers = await headers
        self._log.keep_secret(redaction.secrets_of_headers(headers))
        return dict(headers)


class Wiretap:
    """A WebSocket connection whose frames are logged; otherwise it is the connection itself.

    Args:
        socket: A connection of the ``websockets`` package.
        log: The session log.
        url: Where it leads to.
    """

    def __init__(self, socket: Any, log: SessionLogWriter, url: str) -> None:
        self._socket = socket
        self._log = log
        self._number = log.open_connection(url)
        self._is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    async def recv(self, decode: bool | None = None) -> Any:
        """Return the next frame."""
        try:
            frame = await self._socket.recv(decode=decode)
        except Exception as error:
            self._note_end(error)
            raise
        self._log.frame(self._number, "agent", frame)
        return frame

    def send_now(self, frame: bytes) -> None:
        """Send a frame without waiting; only while ``can_send_now``."""
        self._log.frame(self._number, "server", frame)
        self._socket.send_now(frame)

    async def send(self, message: str | bytes, text: bool | None = None) -> None:
        """Send a frame."""
        self._log.frame(self._number, "server", message)
        try:
            await self._socket.send(message, text=text)
        except Exception as error:
            self._note_end(error)
            raise

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection: that is its end, whether or not somebody still reads from it."""
        await self._socket.close(code, reason)
        self._note_end(self._socket.protocol.close_exc)

    def _note_end(self, error: Exception) -> None:
        """Log a ``websockets.ConnectionClosed``; the close frames tell who has ended it."""
        if self._is_closed or not hasattr(error, "rcvd"):
            return
        self._is_closed = True
        received, sent = error.rcvd, getattr(error, "sent", None)
        by = "network"
        if received is not None:
            by = "server" if getattr(error, "rcvd_then_sent", True) else "agent"
        elif sent is not None:
            by = "agent"
        code, reason = (received.code, received.reason) if received is not None else (None, "")
        self._log.note("closed", connection=self._number, by=by, code=code, reason=reason)
