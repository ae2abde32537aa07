"""The connection: order, stalls, closing, raw frames."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from rtvoice.testing import Duplicate, RealtimeEmulator


async def test_raw_frames_and_own_events_go_out_as_they_are(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.send("no json")
        server.current.send({"type": "x.y"})
        server.current.send("z" * 2_000_000)
        assert await client.ws.recv() == "no json"
        assert json.loads(await client.ws.recv()) == {"type": "x.y"}
        assert len(await client.ws.recv()) == 2_000_000
        assert server.current.types() == ["session.created", "x.y"]


async def test_closing_comes_after_what_was_sent(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.send({"type": "last"})
        server.current.close(4321, "enough")
        assert json.loads(await client.ws.recv()) == {"type": "last"}
        with pytest.raises(ConnectionClosed) as ended:
            await client.ws.recv()
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4321, "enough")
        await server.current.wait_closed()
        assert (server.current.close_code, server.current.close_reason) == (4321, "enough")


async def test_a_drop_has_no_close_frame(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.drop()
        with pytest.raises(ConnectionClosedError) as ended:
            await client.ws.recv()
        assert ended.value.rcvd is None


async def test_a_reset_is_one(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.reset()
        with pytest.raises(ConnectionClosedError) as ended:
            await client.ws.recv()
        assert ended.value.rcvd is None
        assert isinstance(ended.value.__cause__, ConnectionResetError)


async def test_frames_are_distorted_until_further_notice(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.distort(Duplicate(1.0), Duplicate(1.0))
        server.current.send("once")
        server.current.send("twice")
        assert [await client.ws.recv() for _ in range(8)] == ["once"] * 4 + ["twice"] * 4
        server.current.distort()
        server.current.send("again")
        server.current.send("last")
        assert [await client.ws.recv() for _ in range(2)] == ["again", "last"]


@pytest.mark.virtual_clock
async def test_a_stalled_server_holds_everything_back(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.stall(reading=False)
        await client.send("input_audio_buffer.clear")
        await server.received("input_audio_buffer.clear")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ws.recv(), 60)
        server.current.resume()
        await client.until("input_audio_buffer.cleared")
        server.current.stall(writing=False)
        await client.send("input_audio_buffer.clear")
        with pytest.raises(TimeoutError):
            await server.received("input_audio_buffer.clear", timeout=60)
        server.current.resume()
        await client.until("input_audio_buffer.cleared")


@pytest.mark.virtual_clock
async def test_a_stall_that_begins_again_at_once(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.stall(writing=False)
        await client.send("input_audio_buffer.clear")
        await asyncio.sleep(1)
        server.current.resume()
        server.current.stall(writing=False)
        with pytest.raises(TimeoutError):
            await server.received("input_audio_buffer.clear", timeout=60)
        assert not server.current.closed
        server.current.resume()
        await client.until("input_audio_buffer.cleared")


@pytest.mark.virtual_clock
async def test_a_silent_peer_is_found_by_pings(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server, ping_interval=20, ping_timeout=20, close_timeout=1) as client:
        await client.until("session.created")
        server.current.go_silent()
        server.current.go_silent()
        with pytest.raises(ConnectionClosedError) as ended:
            await client.ws.recv()
        assert ended.value.sent is not None
        assert ended.value.sent.code == 1011


async def test_dribbling_on_and_off(dial: Any) -> None:
    async with RealtimeEmulator(["Hi."]) as server, dial(server) as client:
        await client.until("session.created")
        server.current.dribble(3)
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        server.current.dribble(None)
        await client.send("response.create")
        await client.until("response.done")


async def test_what_comes_after_the_end_is_dropped_in_silence(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        async with dial(server) as client:
            await client.until("session.created")
        await server.current.wait_closed()
        server.current.send({"type": "too.late"})
        server.current.close()
    assert server.current.types() == ["session.created"]


async def test_a_client_that_goes_while_much_is_queued(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        async with dial(server) as client:
            await client.until("session.created")
            for _ in range(50):
                server.current.send({"type": "noise", "text": "x" * 100_000})
            client.ws.transport.abort()
        await server.current.wait_closed()


@pytest.mark.virtual_clock
@pytest.mark.parametrize("arrives_s", [0, 1])
async def test_a_stalled_session_ends_with_its_connection(dial: Any, arrives_s: int) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.stall(writing=False)
        await client.send("input_audio_buffer.clear")
        await asyncio.sleep(arrives_s)
        server.current.drop()
        await server.current.wait_closed()
        assert "input_audio_buffer.clear" not in server.current.types("received")
