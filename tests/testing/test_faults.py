"""Faults: refusals, broken frames and a misbehaving transport."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from rtvoice.testing import Duplicate, Faults, Malform, RealtimeEmulator, StartRefusal, Swap
from rtvoice.testing.faults import BAD_KEY, NO_QUOTA, FaultyTransport, model_not_found


@pytest.mark.parametrize(
    ("refusal", "closing"),
    [
        (BAD_KEY, (3000, "invalid_request_error.invalid_api_key")),
        (NO_QUOTA, (1013, "insufficient_quota.insufficient_quota")),
        (model_not_found("x"), (4004, "invalid_request_error.model_not_found")),
    ],
)
async def test_refusals_say_why_and_close(dial: Any, refusal: StartRefusal, closing: tuple[int, str]) -> None:
    async with RealtimeEmulator() as server:
        server.refuse(refusal)
        async with dial(server) as client:
            assert [event["error"] for event in await client.until_closed()] == [refusal.error]
            assert client.closing == closing
        async with dial(server) as client:
            await client.until("session.created")
        assert len(server.sessions) == 1


async def test_a_refusal_without_a_word_and_by_http(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        server.refuse(StartRefusal(close_code=1012, reason="restart"))
        server.refuse(StartRefusal(http_status=503), times=2)
        async with dial(server) as client:
            assert await client.until_closed() == client.events == []
            assert client.closing == (1012, "restart")
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                async with dial(server):
                    pass
            assert refused.value.response.status_code == 503
        async with dial(server) as client:
            await client.until("session.created")


def frames(fault: Any, count: int = 200) -> list[str]:
    return [sent for number in range(count) for sent in fault(f"frame {number}")]


def test_duplicates_are_the_same_for_the_same_seed() -> None:
    assert frames(Duplicate(0.3, seed=1)) == frames(Duplicate(0.3, seed=1)) != frames(Duplicate(0.3, seed=2))
    sent = frames(Duplicate(0.3))
    assert 220 < len(sent) < 300
    assert len(set(sent)) == 200
    assert frames(Duplicate(0)) == [f"frame {number}" for number in range(200)]


def test_swapped_frames_are_all_there() -> None:
    sent = frames(Swap(0.3))
    assert sent != sorted(sent, key=lambda frame: int(frame.split()[1]))
    assert len(set(sent)) >= 199
    displaced = [abs(place - int(frame.split()[1])) for place, frame in enumerate(sent)]
    assert max(displaced) == 1


def test_malformed_frames_are_cut() -> None:
    sent = frames(Malform(0.5), 20)
    assert 0 < sum(not frame.startswith("frame ") or len(frame) < 7 for frame in sent) < 20


async def test_frame_faults_apply_in_order(dial: Any) -> None:
    faults = Faults(frames=[lambda: Duplicate(1.0), lambda: Swap(1.0)])
    async with RealtimeEmulator(faults=faults) as server, dial(server) as client:
        first, second = await client.receive(), await client.receive()
        assert first == second
        assert server.current.types() == ["session.created"]


async def test_malformed_json_over_the_wire(dial: Any) -> None:
    async with RealtimeEmulator(faults=Faults(frames=[lambda: Malform(1.0)])) as server, dial(server) as client:
        with pytest.raises(ValueError):
            json.loads(await client.ws.recv())


async def test_a_refused_session_update(dial: Any) -> None:
    error = {"type": "invalid_request_error", "code": "unknown_parameter", "message": "No."}
    async with RealtimeEmulator(faults=Faults(refuse_session_updates=error)) as server, dial(server) as client:
        await client.update("u1", instructions="x")
        event = await client.until("error")
        assert event["error"] == {**error, "param": None, "event_id": "u1"}
        assert server.current.config["instructions"] != "x"


async def test_a_dropped_connection(dial: Any) -> None:
    async with RealtimeEmulator(["Hi."], faults=Faults(drop_after_events=5)) as server, dial(server) as client:
        await client.send("response.create")
        await client.until_closed()
        assert client.closing is None
        assert len(server.current.sent) >= 5
        await server.current.wait_closed()
        assert server.current.close_code == 1006


async def test_byte_by_byte_is_still_a_conversation(dial: Any) -> None:
    async with RealtimeEmulator(["Hi."], faults=Faults(bytes_per_write=1)) as server, dial(server) as client:
        await client.send("response.create", response={"output_modalities": ["text"]})
        await client.until("response.done")
    assert server.current.close_code == 1000


@pytest.mark.virtual_clock
async def test_a_close_that_is_never_answered(dial: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator(faults=Faults(never_answer_close=True)) as server:
        async with dial(server, close_timeout=7) as client:
            await client.until("session.created")
            started = loop.time()
        assert loop.time() - started == pytest.approx(7, abs=0.1)


class Wire(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.ended = False

    def __getattribute__(self, name: str) -> Any:
        if name in ("pause_reading", "resume_reading", "write_eof", "set_write_buffer_limits"):
            return lambda *args: self.calls.append((name, *args))
        return super().__getattribute__(name)

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def close(self) -> None:
        self.calls.append("close")
        self.ended = True

    def abort(self) -> None:
        self.calls.append("abort")
        self.ended = True

    def is_closing(self) -> bool:
        return self.ended

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 3

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return f"{name}!"


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_transport_passes_everything_on() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.write(b"abc")
    transport.pause_reading()
    transport.resume_reading()
    transport.set_write_buffer_limits(2, 1)
    transport.write_eof()
    assert wire.calls == [
        b"abc",
        ("pause_reading",),
        ("resume_reading",),
        ("set_write_buffer_limits", 2, 1),
        ("write_eof",),
    ]
    assert transport.can_write_eof()
    assert not transport.is_closing()
    assert transport.get_write_buffer_size() == 3
    assert transport.get_extra_info("peername") == "peername!"
    transport.close()
    assert transport.is_closing()


async def test_dribbling_keeps_the_order_and_closes_last() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.bytes_per_write = 2
    transport.write(b"abc")
    transport.write(b"de")
    transport.bytes_per_write = None
    transport.write(b"fgh")
    assert transport.get_write_buffer_size() == 3 + 8
    transport.close()
    assert wire.calls == []
    await settle()
    assert wire.calls == [b"ab", b"c", b"de", b"fgh", "close"]


async def test_dribbling_stops_with_the_connection() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.bytes_per_write = 1
    transport.write(b"abc")
    wire.ended = True
    await settle()
    assert wire.calls == []
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.bytes_per_write = 1
    transport.write(b"abc")
    transport.abort()
    await settle()
    assert wire.calls == ["abort"]


async def test_silence_swallows_everything_but_an_abort() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.silent = True
    transport.write(b"abc")
    transport.close()
    assert wire.calls == []
    transport.abort()
    assert wire.calls == ["abort"]


async def test_close_frames_are_swallowed() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.never_answer_close = True
    transport.write(b"\x88\x02\x03\xe8")
    transport.write(b"\x81\x01x")
    transport.write_eof()
    assert wire.calls == [b"\x81\x01x"]
