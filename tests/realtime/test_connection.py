"""What the session tests do not reach: they dial, send and lose connections over real sockets."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from rtvoice.realtime.connection import Connection, ConnectionLost, Dialler
from rtvoice.realtime.providers import RealtimeProvider
from rtvoice.testing import RealtimeEmulator

pytestmark = pytest.mark.virtual_clock


class At(RealtimeProvider):
    """Leads to any WebSocket server."""

    def __init__(self, server: Server) -> None:
        self._port = next(iter(server.sockets)).getsockname()[1]

    def build_url(self, model: str) -> str:
        return f"ws://127.0.0.1:{self._port}/"

    def build_headers(self) -> dict[str, str]:
        return {}


async def opened(server: RealtimeEmulator, **settings: Any) -> Connection:
    return await Dialler(server.provider, "m", proxy=None, **settings).open()  # type: ignore[arg-type]


async def read_to_the_end(connection: Connection) -> ConnectionLost:
    while True:
        try:
            await connection.receive()
        except ConnectionLost as lost:
            return lost


async def test_frames_go_both_ways() -> None:
    async with RealtimeEmulator() as server:
        connection = await opened(server)
        assert b"session.created" in await connection.receive()
        await connection.send(b'{"type": "input_audio_buffer.clear", "event_id": "e1"}')
        assert (await server.received("input_audio_buffer.clear"))["event_id"] == "e1"
        assert connection.can_send_now
        connection.send_now(b'{"type": "input_audio_buffer.clear", "event_id": "e2"}')
        assert (await server.received("input_audio_buffer.clear"))["event_id"] == "e2"
        await connection.close()
        assert not connection.can_send_now
        await connection.close()


async def test_what_the_network_does_not_take_is_waited_for_and_stays_in_order() -> None:
    server_reads = asyncio.Event()
    received: asyncio.Queue[Any] = asyncio.Queue()

    async def listen(websocket: ServerConnection) -> None:
        await server_reads.wait()
        async for frame in websocket:
            received.put_nowait(frame)

    async with serve(listen, "127.0.0.1", 0, max_size=None, max_queue=1, compression=None) as server:
        connection = await Dialler(At(server), "m", proxy=None).open()
        frames = [f"{number:04d}{'x' * 100_000}".encode() for number in range(300)]
        sent = 0

        async def send() -> None:
            nonlocal sent
            for frame in frames:
                await connection.send(frame)
                sent += 1

        sending = asyncio.create_task(send())
        await asyncio.wait([sending], timeout=1.0)
        assert 0 < sent < len(frames)  # the rest would only fill our memory
        assert not connection.can_send_now
        server_reads.set()
        await sending
        assert [(await received.get()).encode() for _ in frames] == frames
        await connection.close()


async def test_a_close_by_the_server_says_how() -> None:
    async with RealtimeEmulator() as server:
        connection = await opened(server)
        (await server.connected()).close(1012, "restart")
        lost = await read_to_the_end(connection)
        assert (lost.code, lost.reason) == (1012, "restart")
        for attempt in (connection.send(b"{}"), connection.shows_life(1.0)):
            with pytest.raises(ConnectionLost):
                await attempt


async def test_a_connection_that_breaks_has_no_code() -> None:
    async with RealtimeEmulator() as server:
        connection = await opened(server)
        connection.abort()
        lost = await read_to_the_end(connection)
        assert (lost.code, lost.reason) == (None, "")


async def test_signs_of_life() -> None:
    async with RealtimeEmulator() as server:
        connection = await opened(server)
        assert await connection.shows_life(1.0)
        session = await server.connected()
        await connection.receive()
        session.go_silent()
        began = asyncio.get_running_loop().time()
        assert not await connection.shows_life(5.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(5.0)
        connection.abort()
        session.drop()


async def test_any_frame_is_a_sign_of_life() -> None:
    async def talk(websocket: ServerConnection) -> None:
        await asyncio.sleep(2)
        await websocket.send("{}")
        await websocket.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        connection = await Dialler(At(server), "m", proxy=None).open()
        connection._socket.acknowledge_pings = lambda *_: None  # no pong is ever recognised
        async with asyncio.TaskGroup() as group:
            group.create_task(connection.receive())
            assert await connection.shows_life(5.0)
        await connection.close()


async def test_a_server_that_does_not_answer_the_close_is_cut_off() -> None:
    async with RealtimeEmulator() as server:
        connection = await opened(server)
        session = await server.connected()
        session.go_silent()
        began = asyncio.get_running_loop().time()
        await connection.close()
        assert asyncio.get_running_loop().time() - began < 1.5
        session.drop()


async def test_the_wiretap_sees_every_socket() -> None:
    seen: list[Any] = []

    def tap(socket: Any) -> Any:
        seen.append(socket)
        return socket

    async with RealtimeEmulator() as server:
        connection = await opened(server, wiretap=tap)
        assert len(seen) == 1
        await connection.close()


async def test_a_close_that_hangs_is_cut_short() -> None:
    class Socket:
        def __init__(self) -> None:
            self.transport = self
            self.aborted = False

        async def close(self) -> None:
            await asyncio.sleep(100)

        def abort(self) -> None:
            self.aborted = True

    socket = Socket()
    await Connection(socket, 0.0).close()
    assert socket.aborted
    assert asyncio.get_running_loop().time() < 2
