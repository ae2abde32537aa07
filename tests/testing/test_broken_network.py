"""A network that lets nobody through."""

import asyncio
import socket
import ssl
from collections.abc import Callable

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidProxyStatus

from rtvoice.testing import RealtimeEmulator, RefusingProxy, name_lookup_fails


async def test_names_are_not_found_for_a_while() -> None:
    look_up = asyncio.get_running_loop().getaddrinfo
    with name_lookup_fails(), pytest.raises(socket.gaierror, match="name resolution"):
        await asyncio.open_connection("localhost", 1)
    assert asyncio.get_running_loop().getaddrinfo == look_up
    with name_lookup_fails(), pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", 1)


@pytest.mark.parametrize("status", [407, 502])
async def test_a_proxy_refuses(status: int) -> None:
    async with RefusingProxy(status) as proxy:
        for _ in range(2):
            with pytest.raises(InvalidProxyStatus) as refused:
                await connect("ws://127.0.0.1:1/", proxy=proxy.url)
            assert refused.value.response.status_code == status
        assert proxy.refused == 2


@pytest.mark.virtual_clock
async def test_a_proxy_waits_for_the_whole_request() -> None:
    async with RefusingProxy() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1]))
        writer.write(b"CONNECT x:1 HTTP/1.1\r\n")
        await asyncio.sleep(1)  # on the virtual clock: until it has arrived
        assert proxy.refused == 0
        writer.write(b"\r\n")
        assert await reader.readline() == b"HTTP/1.1 407 Proxy Authentication Required\r\n"
        writer.close()


async def test_a_certificate_that_nobody_knows(self_signed: Callable[[], ssl.SSLContext]) -> None:
    async with RealtimeEmulator(tls=self_signed()) as server:
        url, headers = server.provider.build_url("gpt-realtime-2.1"), server.provider.build_headers()
        assert url.startswith("wss://127.0.0.1:")
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
            await connect(url, additional_headers=headers)
        trusting = ssl.create_default_context()
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
        async with connect(url, additional_headers=headers, ssl=trusting) as ws:
            assert "session.created" in str(await ws.recv())
