"""Every frame we write, held against the types of the ``openai`` package, strictly."""

import json
from base64 import b64decode
from types import MappingProxyType
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import BaseModel, Field, TypeAdapter

from rtvoice.realtime import client_events
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.settings import (
    AssistantVoice,
    ConversationSeed,
    NoiseReduction,
    RealtimeModel,
    ReasoningEffort,
    SemanticEagerness,
    SemanticVAD,
    ServerVAD,
    TranscriptionModel,
)

Json = dict[str, Any]

oracle: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeClientEvent, Field(discriminator="type")])

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "…",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def read(frame: bytes) -> Json:
    """Decode a frame after the oracle has accepted it and knows every field of it."""
    event: Json = json.loads(frame)
    validated = oracle.validate_json(frame, strict=True)
    assert _unknown_fields(validated) == []
    assert validated.model_dump(mode="json", by_alias=True, exclude_unset=True) == event
    return event


def _unknown_fields(value: object) -> list[str]:
    """Return the fields that the oracle let pass only because its models allow any."""
    match value:
        case BaseModel():
            return [*(value.model_extra or {}), *_unknown_fields(list(dict(value).values()))]
        case list():
            return [name for each in value for name in _unknown_fields(each)]
    return []


def test_the_oracle_notices_unknown_fields() -> None:
    with pytest.raises(AssertionError, match="strict"):
        read(client_events.session_update("e", tools=[WEATHER | {"strict": True}]))


def test_the_full_session_update_is_the_documented_one() -> None:
    config = SessionConfig(
        model="gpt-realtime-2.1-mini",
        instructions="Be brief.",
        transcription_model="gpt-transcribe",
        noise_reduction=NoiseReduction.FAR_FIELD,
        turn_detection=SemanticVAD(),
        tools=[WEATHER],
    )

    assert read(client_events.full_session_update("config_1", config)) == {
        "type": "session.update",
        "event_id": "config_1",
        "session": {
            "type": "realtime",
            "model": "gpt-realtime-2.1-mini",
            "instructions": "Be brief.",
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "tool_choice": "auto",
            "tools": [WEATHER],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "turn_detection": {
                        "type": "semantic_vad",
                        "eagerness": "auto",
                        "create_response": True,
                        "interrupt_response": True,
                    },
                    "transcription": {"model": "gpt-transcribe"},
                    "noise_reduction": {"type": "far_field"},
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
            },
        },
    }


def test_what_is_none_is_left_out_except_turn_detection() -> None:
    session = read(client_events.full_session_update("c", SessionConfig(model="m")))["session"]

    assert session["audio"]["input"] == {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": None}
    assert session["instructions"] == ""
    assert session["tools"] == []
    assert "reasoning" not in session


def test_server_vad() -> None:
    fields = client_events.turn_detection_fields(
        ServerVAD(threshold=0.25, prefix_padding_ms=10, silence_duration_ms=20)
    )

    assert fields == {
        "type": "server_vad",
        "threshold": 0.25,
        "prefix_padding_ms": 10,
        "silence_duration_ms": 20,
        "create_response": True,
        "interrupt_response": True,
    }


@pytest.mark.parametrize(
    ("modalities", "sent", "speaks"),
    [
        (["audio"], ["audio"], True),
        (["text"], ["text"], False),
        (["text", "audio"], ["audio"], True),
        (["audio", "text"], ["audio"], True),
    ],
)
def test_one_modality_is_sent(modalities: list[Any], sent: list[str], *, speaks: bool) -> None:
    config = SessionConfig(model="m", modalities=modalities)

    assert config.speaks is speaks
    assert read(client_events.full_session_update("c", config))["session"]["output_modalities"] == sent


text = st.text(max_size=30)
turn_detections = (
    st.none()
    | st.builds(SemanticVAD, eagerness=st.sampled_from(SemanticEagerness))
    | st.builds(
        ServerVAD,
        threshold=st.floats(0, 1),
        prefix_padding_ms=st.integers(0, 5_000),
        silence_duration_ms=st.integers(0, 5_000),
    )
)
configs = st.builds(
    SessionConfig,
    model=st.sampled_from(RealtimeModel) | st.text(min_size=1, max_size=10),
    instructions=text,
    voice=st.sampled_from(AssistantVoice).map(str) | st.sampled_from(AssistantVoice) | text,
    speech_speed=st.floats(0.25, 1.5),
    modalities=st.sampled_from([("audio",), ("text",), ("text", "audio")]),
    transcription_model=st.none() | st.sampled_from(TranscriptionModel),
    noise_reduction=st.none() | st.sampled_from(NoiseReduction) | st.sampled_from(["near_field", "far_field"]),
    turn_detection=turn_detections,
    tools=st.lists(st.just(WEATHER), max_size=2),
    tool_choice=st.sampled_from(["auto", "none", "required"]),
    reasoning_effort=st.none() | st.sampled_from(ReasoningEffort),
    seed=st.just(ConversationSeed([])),
)


@settings(deadline=None)
@given(configs)
def test_every_setting_is_valid(config: SessionConfig) -> None:
    read(client_events.full_session_update("config_1", config))


@settings(deadline=None)
@given(text, text, st.floats(0.25, 1.5), st.integers(0, 10**7))
def test_every_other_frame_is_valid(one: str, two: str, speed: float, number: int) -> None:
    for frame in (
        client_events.session_update("e", instructions=one),
        client_events.session_update("e", tool_choice="none"),
        client_events.session_update("e", tools=client_events.tool_schemas([WEATHER])),
        client_events.speed_update("e", speed),
        client_events.user_message("e", one),
        client_events.user_message("e", one, "data:image/png;base64,AAAA"),
        client_events.seed_message("e", "user", one),
        client_events.seed_message("e", "assistant", one),
        client_events.function_call_output("e", one, two),
        client_events.response_create("e"),
        client_events.response_create("e", instructions=one),
        client_events.response_create("e", instructions=one, tool_choice="none"),
        client_events.response_cancel("e"),
        client_events.response_cancel("e", one or "r"),
        client_events.truncate("e", one, 0, number),
        client_events.commit_audio("e"),
        client_events.append_audio(two.encode() or b"\0\0"),
    ):
        read(frame)


def test_audio_is_a_template_around_base64() -> None:
    pcm = bytes(range(256)) * 4

    frame = read(client_events.append_audio(pcm))

    assert list(frame) == ["type", "audio"], "audio has no event id: nothing ever refers to it"
    assert b64decode(frame["audio"]) == pcm


def test_messages() -> None:
    def item(frame: bytes) -> object:
        event = read(frame)
        assert event["type"] == "conversation.item.create"
        return event["item"]

    assert item(client_events.seed_message("e", "user", "hi")) == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    assert item(client_events.seed_message("e", "assistant", "hello")) == {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "hello"}],
    }
    assert item(client_events.user_message("e", "look", "data:x")) == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "data:x"}],
    }
    assert item(client_events.user_message("e", "", "data:x")) == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_image", "image_url": "data:x"}],
    }
    assert item(client_events.function_call_output("e", "c", "42")) == {
        "type": "function_call_output",
        "call_id": "c",
        "output": "42",
    }


def test_requests() -> None:
    assert read(client_events.response_create("e")) == {"type": "response.create", "event_id": "e"}
    assert read(client_events.response_create("e", instructions="i", tool_choice="auto")) == {
        "type": "response.create",
        "event_id": "e",
        "response": {"instructions": "i", "tool_choice": "auto"},
    }
    assert read(client_events.response_cancel("e")) == {"type": "response.cancel", "event_id": "e"}
    assert read(client_events.truncate("e", "i", 0, 12)) == {
        "type": "conversation.item.truncate",
        "event_id": "e",
        "item_id": "i",
        "content_index": 0,
        "audio_end_ms": 12,
    }
    assert read(client_events.speed_update("e", 1.25))["session"] == {
        "type": "realtime",
        "audio": {"output": {"speed": 1.25}},
    }


def test_text_is_sent_raw() -> None:
    assert "Grüß Gott 🙂".encode() in client_events.user_message("e", "Grüß Gott 🙂")


def test_half_a_surrogate_pair_is_replaced() -> None:
    frame = read(client_events.function_call_output("e", "c", "caf\udce9.txt"))

    assert frame["item"]["output"] == "caf?.txt"


def test_tools_are_mappings_or_models() -> None:
    class Model(BaseModel):
        type: str = "function"
        name: str = "model"
        description: str | None = None

    tools = client_events.tool_schemas([WEATHER, MappingProxyType(WEATHER), Model()])

    assert tools == [WEATHER, WEATHER, {"type": "function", "name": "model"}]


def test_a_server_that_only_reports_speech() -> None:
    for detection in (ServerVAD(), SemanticVAD()):
        for reports_only in (True, False):
            fields = client_events.turn_detection_fields(detection, reports_only=reports_only)
            assert fields is not None
            assert fields["create_response"] is fields["interrupt_response"] is not reports_only
