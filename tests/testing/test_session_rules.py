"""Settings: defaults, merging, and what an update may not do."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.testing.session_rules import (
    RESPONSE_SETTINGS,
    VOICES,
    Config,
    SessionKind,
    check_reasoning,
    default_config,
    updated_config,
)
from rtvoice.testing.validation import RequestRefused

FIXTURES = Path(__file__).parents[1] / "fixtures" / "events"
MCP = {"type": "mcp", "server_label": "notes", "server_url": "https://mcp.example.com/mcp"}
FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}


def config(kind: SessionKind = "realtime", model: str = "gpt-realtime-2.1") -> Config:
    return default_config(kind, session_id="sess_1", model=model, expires_at=1, silence_duration_ms=200)


def update(current: Config, session: Any, *, voice_locked: bool = False, responding: bool = False) -> Config:
    return updated_config(current, session, silence_duration_ms=200, voice_locked=voice_locked, responding=responding)


def refused(current: Config, session: Any, **state: bool) -> RequestRefused:
    before = copy.deepcopy(current)
    with pytest.raises(RequestRefused) as caught:
        update(current, session, **state)
    assert current == before
    return caught.value


def realtime(**settings: Any) -> Config:
    return {"type": "realtime", **settings}


def audio_input(**settings: Any) -> Config:
    return realtime(audio={"input": settings})


@pytest.mark.parametrize(("kind", "name"), [("realtime", "session.created"), ("transcription", "")])
def test_the_defaults_are_those_of_the_fixtures(kind: SessionKind, name: str) -> None:
    path = f"server/{name}.json" if name else "variants/server.session.created.transcription.json"
    shown = json.loads((FIXTURES / path).read_text())["session"]
    own = {**config(kind), "id": shown["id"], "expires_at": shown["expires_at"]}
    if kind == "realtime":
        own["instructions"] = shown["instructions"]
    assert own == shown


def test_the_clients_own_example_is_accepted() -> None:
    for path in [*FIXTURES.glob("client/session.update.json"), *FIXTURES.glob("variants/client.session.update.*.json")]:
        session = json.loads(path.read_text())["session"]
        kind = session["type"]
        update(config(kind), session)


def test_only_what_is_present_changes() -> None:
    current = config()
    new = update(current, realtime(instructions="Be brief.", audio={"output": {"voice": "cedar"}}))
    current["instructions"] = "Be brief."
    current["audio"]["output"]["voice"] = "cedar"
    assert new == current


def test_empty_values_clear() -> None:
    current = update(config(), realtime(instructions="x", tools=[FUNCTION]))
    new = update(current, realtime(instructions="", tools=[]))
    assert (new["instructions"], new["tools"]) == ("", [])


@pytest.mark.parametrize("key", ["turn_detection", "transcription", "noise_reduction"])
def test_null_switches_off(key: str) -> None:
    settings = {"transcription": {"model": "gpt-transcribe"}, "noise_reduction": {"type": "far_field"}}
    current = update(config(), audio_input(**settings))
    assert update(current, audio_input(**{key: None}))["audio"]["input"][key] is None


def test_turn_detection_merges_within_a_type_and_starts_anew_with_another() -> None:
    current = update(config(), audio_input(turn_detection={"type": "server_vad", "threshold": 0.8}))
    assert current["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.8,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    current = update(current, audio_input(turn_detection={"type": "server_vad", "create_response": False}))
    assert current["audio"]["input"]["turn_detection"]["threshold"] == 0.8
    current = update(current, audio_input(turn_detection={"type": "semantic_vad", "eagerness": "low"}))
    assert current["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "low",
        "create_response": True,
        "interrupt_response": True,
    }
    current = update(current, audio_input(turn_detection=None))
    current = update(current, audio_input(turn_detection={"type": "server_vad"}))
    assert current["audio"]["input"]["turn_detection"]["threshold"] == 0.5


def test_transcription_sessions_have_a_smaller_server_vad() -> None:
    current = update(config("transcription"), {"type": "transcription", "audio": {"input": {"turn_detection": None}}})
    current = update(current, {"type": "transcription", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
    assert "create_response" not in current["audio"]["input"]["turn_detection"]


def test_noise_reduction_keeps_its_strength() -> None:
    current = update(config(), audio_input(noise_reduction={"type": "near_field", "strength": 0.5}))
    current = update(current, audio_input(noise_reduction={"type": "far_field"}))
    assert current["audio"]["input"]["noise_reduction"] == {"type": "far_field", "strength": 0.5}


def test_a_format_is_replaced() -> None:
    current = update(config(), realtime(audio={"output": {"format": {"type": "audio/pcmu"}}}))
    assert current["audio"]["output"]["format"] == {"type": "audio/pcmu"}


def test_delay_is_not_echoed() -> None:
    transcription = {"model": "gpt-transcribe", "delay": "low"}
    new = update(config(), audio_input(transcription=transcription))
    assert new["audio"]["input"]["transcription"] == {"model": "gpt-transcribe"}


@pytest.mark.parametrize(
    "good",
    [
        realtime(model="gpt-realtime-2.1"),
        realtime(output_modalities=["text"]),
        realtime(tools=[FUNCTION, {**MCP, "allowed_tools": ["a"], "require_approval": "never", "headers": None}]),
        realtime(tool_choice="required"),
        realtime(tool_choice={"type": "function", "name": "f"}),
        realtime(tool_choice={"type": "mcp", "server_label": "notes"}),
        realtime(max_output_tokens=4096),
        realtime(max_output_tokens="inf"),
        realtime(truncation="disabled"),
        realtime(truncation={"type": "retention_ratio", "retention_ratio": 0.8}),
        realtime(tracing={"workflow_name": "w", "group_id": "g", "metadata": {}}),
        realtime(include=["item.input_audio_transcription.logprobs"]),
        realtime(prompt={"id": "pmpt_1", "version": None}),
        realtime(reasoning={"effort": "xhigh"}, parallel_tool_calls=False),
        realtime(audio={"output": {"voice": {"id": "voice_1"}, "speed": 1.5}}),
        audio_input(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000}),
        audio_input(format={"type": "audio/pcm"}),
    ],
)
def test_good_updates_are_accepted(good: Config) -> None:
    assert update(config(), good)["type"] == "realtime"


@pytest.mark.parametrize(
    ("bad", "code", "param"),
    [
        ([], "invalid_type", "session"),
        ({}, "missing_required_parameter", "session.type"),
        ({"type": "live"}, "invalid_value", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        (realtime(modalities=["audio"]), "unknown_parameter", "session.modalities"),
        (realtime(temperature=0.8), "unknown_parameter", "session.temperature"),
        (realtime(voice="marin"), "unknown_parameter", "session.voice"),
        (realtime(instructions=None), "invalid_type", "session.instructions"),
        (realtime(output_modalities=["audio", "text"]), "invalid_value", "session.output_modalities"),
        (realtime(output_modalities=[]), "invalid_value", "session.output_modalities"),
        (realtime(model="gpt-realtime"), "invalid_value", "session.model"),
        (realtime(tools=[{"type": "function"}]), "missing_required_parameter", "session.tools[0].name"),
        (realtime(tools=[{**FUNCTION, "strict": True}]), "unknown_parameter", "session.tools[0].strict"),
        (realtime(tools=[{**FUNCTION, "name": "a b"}]), "invalid_value", "session.tools[0].name"),
        (realtime(tools=[{"name": "f"}]), "missing_required_parameter", "session.tools[0].type"),
        (
            realtime(tools=[{"type": "mcp", "server_label": "x"}]),
            "missing_required_parameter",
            "session.tools[0].server_url",
        ),
        (realtime(tool_choice="any"), "invalid_value", "session.tool_choice"),
        (realtime(tool_choice={"type": "function"}), "missing_required_parameter", "session.tool_choice.name"),
        (realtime(max_output_tokens=4097), "invalid_value", "session.max_output_tokens"),
        (realtime(max_output_tokens="all"), "invalid_type", "session.max_output_tokens"),
        (realtime(truncation="never"), "invalid_value", "session.truncation"),
        (realtime(tracing="on"), "invalid_type", "session.tracing"),
        (realtime(include=["everything"]), "invalid_value", "session.include[0]"),
        (realtime(audio={"output": {"voice": "nova"}}), "invalid_value", "session.audio.output.voice"),
        (realtime(audio={"output": {"speed": 2}}), "invalid_value", "session.audio.output.speed"),
        (audio_input(format={"type": "pcm16"}), "invalid_value", "session.audio.input.format.type"),
        (
            audio_input(format={"type": "audio/pcm", "rate": 16000}),
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            audio_input(turn_detection={"type": "server_vad", "eagerness": "low"}),
            "unknown_parameter",
            "session.audio.input.turn_detection.eagerness",
        ),
        (
            audio_input(turn_detection={"type": "server_vad", "idle_timeout_ms": 4999}),
            "invalid_value",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            audio_input(transcription={"model": "whisper-2"}),
            "invalid_value",
            "session.audio.input.transcription.model",
        ),
        (
            audio_input(transcription={"model": "gpt-transcribe", "language": "en", "languages": ["en"]}),
            "invalid_value",
            "session.audio.input.transcription",
        ),
        (
            audio_input(transcription={"model": "gpt-live-transcribe"}),
            "invalid_value",
            "session.audio.input.turn_detection",
        ),
    ],
)
def test_bad_updates_are_refused_as_a_whole(bad: Any, code: str, param: str) -> None:
    refusal = refused(config(), bad)
    assert (refusal.code, refusal.param) == (code, param)


def test_the_words_for_the_wrong_kind_and_the_wrong_voice() -> None:
    assert refused(config(), {"type": "transcription"}).message == (
        "Passing a transcription session update to a realtime session is not allowed."
    )
    message = refused(config(), realtime(audio={"output": {"voice": "onyx"}})).message
    assert message.startswith("Invalid value: 'onyx'. Supported values are: 'alloy', 'ash'")


def test_streaming_transcription_works_without_turn_detection() -> None:
    settings = audio_input(transcription={"model": "gpt-live-transcribe"}, turn_detection=None)
    assert update(config(), settings)["audio"]["input"]["turn_detection"] is None


def test_the_voice_is_locked_by_assistant_audio() -> None:
    other = realtime(instructions="New.", audio={"output": {"voice": "cedar"}})
    refusal = refused(config(), other, voice_locked=True)
    assert (refusal.code, refusal.param) == ("cannot_update_voice", "session.audio.output.voice")
    same = realtime(audio={"output": {"voice": "marin"}})
    assert update(config(), same, voice_locked=True)["audio"]["output"]["voice"] == "marin"


def test_speed_changes_between_turns_only() -> None:
    faster = realtime(audio={"output": {"speed": 1.2}})
    assert refused(config(), faster, responding=True).param == "session.audio.output.speed"
    assert update(config(), faster)["audio"]["output"]["speed"] == 1.2
    same = realtime(audio={"output": {"speed": 1.0}})
    assert update(config(), same, responding=True)["audio"]["output"]["speed"] == 1.0


def test_tracing_is_set_once() -> None:
    current = update(config(), realtime(tracing="auto"))
    assert update(current, realtime(tracing="auto", instructions="x"))["instructions"] == "x"
    assert refused(current, realtime(tracing=None)).param == "session.tracing"


@pytest.mark.parametrize("key", ["reasoning", "parallel_tool_calls"])
def test_models_that_do_not_reason_refuse_it_without_naming_the_event(key: str) -> None:
    setting = {"reasoning": {"effort": "low"}, "parallel_tool_calls": True}[key]
    for model in ("gpt-realtime-1.5", "gpt-realtime-2025-08-28", "gpt-realtime-mini-2025-12-15"):
        with pytest.raises(RequestRefused) as caught:
            check_reasoning({key: setting}, model)
        assert (caught.value.param, caught.value.names_event) == (None, False)
    check_reasoning({key: setting}, "gpt-realtime-2.1-mini")
    check_reasoning({key: None}, "gpt-realtime-1.5")


KEYS = st.sampled_from(["type", "input", "output", "voice", "name", "effort", "id", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5000) | st.floats(0, 2) | st.sampled_from(["", "auto", *VOICES]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*RESPONSE_SETTINGS, "audio", "truncation", "tracing", "x"]), JSON))
def test_whatever_comes_is_refused_or_leaves_a_whole_config(settings: dict[str, Any]) -> None:
    try:
        new = update(config(), realtime(**settings))
    except RequestRefused:
        return
    assert new.keys() >= config().keys()
    # What was accepted once is accepted again.
    assert update(new, realtime(**settings)) == new
