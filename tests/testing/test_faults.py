"""Faults: refusals, broken frames and a misbehaving transport."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from rtvoice.testing import (
    ClockSkew,
    Delays,
    Duplicate,
    Faults,
    Malform,
    RealtimeEmulator,
    StartRefusal,
    Swap,
    WrongTypes,
)
from rtvoice.testing.faults import BAD_KEY, NO_QUOTA, model_not_found


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


EVENT = {"type": "x", "audio_start_ms": 1_000, "item": {"content": [{"text": "Hello."}]}, "expires_at": 5, "end": None}


def test_wrong_types_are_the_same_for_the_same_seed() -> None:
    frame = json.dumps(EVENT)

    def spoiled(seed: int) -> list[str]:
        fault = WrongTypes(0.5, seed=seed)
        return [sent for _ in range(100) for sent in fault(frame)]

    assert spoiled(1) == spoiled(1) != spoiled(2)
    assert 20 < sum(sent != frame for sent in spoiled(1)) < 80
    assert all(isinstance(json.loads(sent), dict) for sent in spoiled(1))
    assert len(set(spoiled(1))) > 20  # in many places


def test_wrong_types_leave_alone_what_is_no_event() -> None:
    assert [*WrongTypes(1.0)("no json"), *WrongTypes(1.0)("[1]"), *WrongTypes(1.0)("{}")] == ["no json", "[1]", "{}"]


def test_clocks_that_go_wrong() -> None:
    (sent,) = ClockSkew(1.5, ahead_s=-3)(json.dumps(EVENT))
    assert json.loads(sent) == {**EVENT, "audio_start_ms": 1_500, "expires_at": 2}
    (sent,) = ClockSkew()('{"audio_end_ms": null, "expires_at": "soon"}')
    assert json.loads(sent) == {"audio_end_ms": None, "expires_at": "soon"}
    assert list(ClockSkew(2)("no json")) == ["no json"]


@pytest.mark.virtual_clock
async def test_a_skewed_clock_over_the_wire(dial: Any) -> None:
    async with (
        RealtimeEmulator(faults=Faults(frames=[lambda: ClockSkew(2.0)]), detect_speech=False) as server,
        dial(server) as client,
    ):
        await client.append(bytes(48 * 1_000))
        await server.received("input_audio_buffer.append")
        server.current.speech_started()
        assert (await client.until("input_audio_buffer.speech_started"))["audio_start_ms"] == 2 * 700


@pytest.mark.virtual_clock
async def test_jitter_delays_and_keeps_the_order(dial: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator(faults=Faults(delays=Delays(jitter_ms=200, seed=3))) as server, dial(server) as client:
        started = loop.time()
        await client.until("session.created")
        assert 0 < loop.time() - started <= 0.2
        times = []
        for number in range(50):
            server.current.send({"type": "x", "number": number})
        for number in range(50):
            assert json.loads(await client.ws.recv())["number"] == number
            times.append(loop.time() - started)
        assert len(set(times)) > 3
        assert times[-1] - times[0] <= 0.2  # each is late by itself: they do not add up
        server.current.delay(Delays())
        before = loop.time()
        server.current.send({"type": "x"})
        await client.ws.recv()
        assert loop.time() == before


@pytest.mark.virtual_clock
async def test_bursts(dial: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        started = loop.time()
        server.current.delay(Delays(burst_ms=500))
        times = []
        for burst in range(2):
            for _ in range(4 - burst):
                server.current.send({"type": "x"})
            for _ in range(4 - burst):
                await client.ws.recv()
                times.append(loop.time() - started)
        assert times == pytest.approx([0.5] * 4 + [1.0] * 3)


@pytest.mark.virtual_clock
async def test_a_slow_line(dial: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        started = loop.time()
        server.current.delay(Delays(bytes_per_second=1_000))
        for _ in range(3):
            server.current.send("x" * 500)
        for number in range(3):
            await client.ws.recv()
            assert loop.time() - started == pytest.approx(number * 0.5)


async def test_responses_that_fail(dial: Any) -> None:
    error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Slow down."}
    async with RealtimeEmulator(["Hi."]) as server, dial(server) as client:
        await client.until("session.created")
        server.current.fail_responses(error, times=2)
        for status in ("failed", "failed", "completed"):
            await client.send("response.create", response={"output_modalities": ["text"]})
            response = (await client.until("response.done"))["response"]
            assert response["status"] == status
            if status == "failed":
                assert response["status_details"]["error"]["code"] == "rate_limit_exceeded"
                assert response["output"] == []
        assert client.types().count("response.output_text.done") == 1


async def test_updates_are_refused_until_further_notice(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.refuse_updates({"type": "invalid_request_error", "code": "invalid_value", "message": "No."})
        await client.update(instructions="x")
        assert (await client.until("error"))["error"]["code"] == "invalid_value"
        server.current.refuse_updates(None)
        await client.update(instructions="x")
        await client.until("session.updated")


async def test_faults_can_change_for_the_sessions_to_come(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        async with dial(server) as client:
            await client.until("session.created")
            server.faults = Faults(drop_after_events=1)
            await client.update(instructions="x")
            await client.until("session.updated")
        async with dial(server) as client:
            await client.until_closed()
            assert client.types() == ["session.created"]
        assert server.faults.drop_after_events == 1
