"""Whatever a client sends, in whatever order: the emulator keeps its rules and says nothing invalid."""

import asyncio
import base64
import json
from typing import Annotated, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter
from websockets.asyncio.client import ClientConnection, connect

from rtvoice.testing import Faults, Quirks, RealtimeEmulator, Reply, ToolCall
from rtvoice.testing.clock import run

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
IDS = st.sampled_from(
    ["item_1", "item_2", "item_000001", "item_000002", "item_000003", "resp_000001", "root", "x" * 40]
)
AUDIO = st.sampled_from([0, 1, 96, 4800, 9600]).map(lambda size: base64.b64encode(bytes(size)).decode())
CONTENT = st.sampled_from(
    [
        {"type": "input_text", "text": "Hello."},
        {"type": "input_audio", "audio": base64.b64encode(bytes(4800)).decode()},
        {"type": "output_text", "text": "Hi."},
        {"type": "nonsense"},
    ]
)
ITEMS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.sampled_from(["user", "system", "assistant"]),
            "content": st.lists(CONTENT, max_size=2),
        },
        optional={"id": IDS},
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call_output"), "call_id": st.sampled_from(["call_a", "no"]), "output": st.text()}
    ),
    st.just({"type": "function_call", "call_id": "call_a", "name": "f", "arguments": "{}"}),
)
TURN_DETECTION = st.sampled_from(
    [
        None,
        {"type": "server_vad"},
        {"type": "server_vad", "interrupt_response": False, "idle_timeout_ms": 5000},
        {"type": "semantic_vad", "create_response": False},
    ]
)
AUDIO_INPUT = st.fixed_dictionaries(
    {},
    optional={
        "turn_detection": TURN_DETECTION,
        "transcription": st.sampled_from([None, {"model": "gpt-transcribe"}, {"model": "whisper-1"}, {"model": "?"}]),
        "format": st.sampled_from([{"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}]),
    },
)
SESSION = st.fixed_dictionaries(
    {"type": st.sampled_from(["realtime", "realtime", "transcription"])},
    optional={
        "instructions": st.text(),
        "output_modalities": st.sampled_from([["audio"], ["text"], ["audio", "text"]]),
        "max_output_tokens": st.sampled_from([1, 10, "inf", 0]),
        "audio": st.fixed_dictionaries({}, optional={"input": AUDIO_INPUT, "output": st.just({"voice": "cedar"})}),
    },
)
RESPONSE = st.fixed_dictionaries(
    {},
    optional={
        "conversation": st.sampled_from(["auto", "none"]),
        "output_modalities": st.sampled_from([["audio"], ["text"]]),
        "input": st.lists(st.just({"type": "item_reference", "id": "item_1"}) | ITEMS, max_size=2),
    },
)


def event(kind: str, **fields: Any) -> Any:
    return st.fixed_dictionaries({"type": st.just(kind), **fields}, optional={"event_id": st.just("e")})


EVENTS = st.one_of(
    event("session.update", session=SESSION),
    event("input_audio_buffer.append", audio=AUDIO),
    event("input_audio_buffer.commit"),
    event("input_audio_buffer.clear"),
    event("conversation.item.create", item=ITEMS, previous_item_id=IDS),
    event("conversation.item.create", item=ITEMS),
    event("conversation.item.retrieve", item_id=IDS),
    event("conversation.item.delete", item_id=IDS),
    event("conversation.item.truncate", item_id=IDS, content_index=st.just(0), audio_end_ms=st.integers(0, 2000)),
    event("response.create"),
    event("response.create", response=RESPONSE),
    event("response.cancel"),
    event("response.cancel", response_id=IDS),
    st.sampled_from([{}, [], {"type": "no.such.event"}, {"type": None}]),
)
STEPS = st.lists(EVENTS | st.sampled_from(["start speech", "stop speech", "wait"]), max_size=30)
REPLIES = [
    Reply("A rather long answer, so that it can be interrupted.", pace=1.0),
    Reply("Let me see.", calls=[ToolCall("f", {"a": 1}), ToolCall("g", "{broken")]),
    Reply("Quick."),
    Reply(status="failed"),
]


@given(STEPS, st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_answer_is_valid_and_every_response_ends(steps: list[Any], quirky: bool) -> None:
    run(converse(steps, quirky=quirky))


async def converse(steps: list[Any], *, quirky: bool) -> None:
    quirks = Quirks(obfuscation=quirky, item_object=quirky, rate_limits="end" if quirky else None)
    faults = Faults(late_deltas=2 if quirky else 0)
    script = iter(range(10**6))
    server = RealtimeEmulator(
        lambda _request: REPLIES[next(script) % len(REPLIES)],
        lambda turn: f"{len(turn.audio)} bytes",
        detect_speech=False,
        quirks=quirks,
        faults=faults,
    )
    events: list[dict[str, Any]] = []
    async with server:
        provider = server.provider
        async with (
            connect(
                provider.build_url("gpt-realtime-2.1"), additional_headers=provider.build_headers(), compression=None
            ) as ws,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(collect(ws, events))
            session = await server.connected()
            for step in steps:
                if step == "wait":
                    await asyncio.sleep(0.3)
                elif isinstance(step, str):
                    act(session, step)
                else:
                    await ws.send(json.dumps(step))
            await asyncio.sleep(60)
            assert not session.responses.any_running
            session.close()
    check(events)


async def collect(ws: ClientConnection, events: list[dict[str, Any]]) -> None:
    async for frame in ws:
        SERVER_EVENT.validate_json(frame, strict=True)
        events.append(json.loads(frame))


def act(session: Any, step: str) -> None:
    if session.config["audio"]["input"]["turn_detection"] is None:
        return
    if step == "start speech" and not session.turns.in_speech:
        session.speech_started()
    elif step == "stop speech" and session.turns.in_speech:
        session.speech_stopped()


def check(events: list[dict[str, Any]]) -> None:
    """Every response has one beginning and one end, every item of it too, and one default response runs at a time."""
    running: list[str] = []
    opened: dict[str, str] = {}
    for sent in events:
        kind = sent["type"]
        if kind == "response.created":
            response = sent["response"]
            if response["conversation_id"] is not None:
                running.append(response["id"])
                assert len(running) == 1
        elif kind == "response.done":
            response = sent["response"]
            assert response["status"] != "in_progress"
            assert all(opened[item["id"]] == "closed" for item in response["output"])
            if response["conversation_id"] is not None:
                running.remove(response["id"])
        elif kind == "response.output_item.added":
            assert sent["item"]["id"] not in opened
            opened[sent["item"]["id"]] = "open"
        elif kind == "response.output_item.done":
            assert opened[sent["item"]["id"]] == "open"
            opened[sent["item"]["id"]] = "closed"
        elif kind.startswith("response.") and kind.endswith(".delta"):
            assert opened[sent["item_id"]] == "open"
    assert running == []
