"""A network that lets nobody through: names that cannot be looked up, and a proxy that refuses."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NoReturn, Self


@contextmanager
def name_lookup_fails() -> Iterator[None]:
    """Let every look-up of a host name on the running event loop fail at once, as without a DNS server.

    Addresses such as ``127.0.0.1`` are not looked up.
    """
    loop: Any = asyncio.get_running_loop()
    look_up = loop.getaddrinfo

    async def fail(*_arguments: object, **_options: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    loop.getaddrinfo = fail
    try:
        yield
    finally:
        loop.getaddrinfo = look_up


class RefusingProxy:
    """An HTTP proxy on loopback that lets nobody through.

    Example::

        async with RefusingProxy() as proxy:
            monkeypatch.setenv("ws_proxy", proxy.url)  # for ws:// addresses; https_proxy for wss://

    Args:
        status: What it answers every request with.

    Attributes:
        refused: Number of requests that it has answered.
    """

    def __init__(self, status: int = HTTPStatus.PROXY_AUTHENTICATION_REQUIRED) -> None:
        self.refused = 0
        self._status = HTTPStatus(status)
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        """Its address, for the environment."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def answer(self) -> bytes:
        """Return what a client gets to read."""
        self.refused += 1
        return f"HTTP/1.1 {self._status} {self._status.phrase}\r\nContent-Length: 0\r\n\r\n".encode()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Refusal(self), "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._server.close()
        await self._server.wait_closed()


class _Refusal(asyncio.Protocol):
    """One client of the proxy."""

    def __init__(self, proxy: RefusingProxy) -> None:
        self._proxy = proxy
        self._request = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - it is a TCP connection
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._request += data
        if self._request.endswith(b"\r\n\r\n"):
            self._transport.write(self._proxy.answer())
            self._transport.close()
