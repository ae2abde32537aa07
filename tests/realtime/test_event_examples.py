"""The wire examples in tests/fixtures/events: every one is understood, and means what it should."""

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtvoice.events import (
    AgentErrorEvent,
    AssistantAudioReceivedEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    ConversationItemAddedEvent,
    Event,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SpeechDetectedEvent,
    ToolCallRequestedEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "events"

FACTS = {
    "conversation.item.added": ["ConversationItemAddedEvent"],
    "conversation.item.created": ["ConversationItemAddedEvent"],
    "conversation.item.done": ["ConversationItemAddedEvent"],
    "conversation.item.input_audio_transcription.completed": ["UserTranscriptCompletedEvent"],
    "conversation.item.input_audio_transcription.delta": ["UserTranscriptChunkReceivedEvent"],
    "conversation.item.input_audio_transcription.failed": ["UserTranscriptFailedEvent"],
    "error": ["AgentErrorEvent"],
    "input_audio_buffer.committed": ["ConversationItemAddedEvent"],
    "input_audio_buffer.speech_started": ["SpeechDetectedEvent"],
    "input_audio_buffer.speech_stopped": ["UserStoppedSpeakingEvent"],
    "response.created": ["ResponseStartedEvent"],
    "response.done": ["ResponseFinishedEvent"],
    "response.function_call_arguments.done": ["ToolCallRequestedEvent"],
    "response.output_audio.delta": ["AssistantAudioReceivedEvent"],
    "response.output_audio.done": ["AssistantAudioCompletedEvent"],
    "response.output_audio_transcript.delta": [
        "AssistantTranscriptDeltaEvent",
        "AssistantTranscriptChunkReceivedEvent",
    ],
    "response.output_audio_transcript.done": ["AssistantTranscriptCompletedEvent"],
    "response.output_text.delta": ["AssistantTranscriptDeltaEvent", "AssistantTranscriptChunkReceivedEvent"],
    "response.output_text.done": ["AssistantTranscriptCompletedEvent"],
}
"""What each type of event means by itself; all others mean nothing."""

VARIANT_FACTS = {
    "server.error.cannot_update_voice": ["AgentErrorEvent"],
    "server.error.invalid_value": ["AgentErrorEvent"],
    "server.error.item_delete_invalid_item_id": ["AgentErrorEvent"],
    "server.error.item_retrieve_invalid_item_id": ["AgentErrorEvent"],
    "server.error.missing_required_parameter": ["AgentErrorEvent"],
    "server.error.unknown_parameter": ["AgentErrorEvent"],
    "server.item.done.mcp_call_protocol_error": ["ConversationItemAddedEvent"],
    "server.item.done.mcp_call_tool_error": ["ConversationItemAddedEvent"],
    "server.item.done.mcp_list_tools": ["ConversationItemAddedEvent"],
    "server.response.done.cancelled_client": ["ResponseFinishedEvent"],
    "server.response.done.cancelled_turn_detected": ["ResponseFinishedEvent"],
    "server.response.done.failed_quota": ["AgentErrorEvent", "ResponseFinishedEvent"],
    "server.response.done.failed_rate_limit": ["AgentErrorEvent", "ResponseFinishedEvent"],
    "server.response.done.failed_server_error": ["AgentErrorEvent", "ResponseFinishedEvent"],
    "server.response.done.incomplete_content_filter": ["AgentErrorEvent", "ResponseFinishedEvent"],
    "server.response.done.incomplete_max_tokens": ["ResponseFinishedEvent"],
    "server.transcription.completed.duration": ["UserTranscriptCompletedEvent"],
}
"""Variants: the errors that are not here are harmless, or speak through the close that follows."""


def named(folder: str, pattern: str) -> list[Any]:
    paths = sorted((FIXTURES / folder).glob(pattern))
    assert paths, "the examples are missing"
    return [pytest.param(path, id=path.stem) for path in paths]


@pytest.mark.parametrize("path", named("server", "*.json"))
def test_every_type_of_event(connect: Callable[..., Any], path: Path) -> None:
    facts = connect().protocol.receive(path.read_text())

    assert [type(fact).__name__ for fact in facts] == FACTS.get(path.stem, [])


@pytest.mark.parametrize("path", named("variants", "server.*.json"))
def test_every_variant(connect: Callable[..., Any], path: Path) -> None:
    facts = connect().protocol.receive(path.read_bytes())

    assert [type(fact).__name__ for fact in facts] == VARIANT_FACTS.get(path.stem, [])


def test_the_tables_name_no_example_that_is_gone() -> None:
    assert set(FACTS) <= {path.stem for path in (FIXTURES / "server").iterdir()}
    assert set(VARIANT_FACTS) <= {path.stem for path in (FIXTURES / "variants").iterdir()}


SEQUENCES = {
    "01_connect": "",
    "02_server_vad_turn": "speech stopped begin audio user<Good morning.> said<Hello there.> end<completed>",
    "03_semantic_vad_turn": "speech stopped begin audio user<Good morning.> said<Hello there.> end<completed>",
    "04_manual_turn": "begin audio said<Yes, I hear you.> end<completed>",
    "05_text_in_audio_out": "begin audio said<Hello!> end<completed>",
    "06_text_only_output": "begin said<Hello!> end<completed>",
    "07_function_call": (
        'begin call<get_weather {"city": "Oslo"}> end<completed> begin audio said<It is four degrees.> end<completed>'
    ),
    "08_parallel_function_calls": (
        'begin audio said<One moment.> call<get_weather {"city": "Oslo"}> '
        'call<get_time {"city": "Oslo"}> end<completed> '
        "begin audio said<Four degrees, nine fifteen.> end<completed>"
    ),
    "09_tool_still_running": (
        'begin call<get_weather {"city": "Oslo"}> end<completed> '
        "begin audio said<Fine, still waiting.> end<completed> "
        "begin audio said<Four degrees.> end<completed>"
    ),
    "10_response_cancel": "begin audio said<One, two, three> end<cancelled>",
    "11_barge_in_while_generating": (
        "begin audio speech said<Once upon a time there> end<cancelled> "
        "stopped begin audio said<Sure, go on.> end<completed>"
    ),
    "12_barge_in_after_generation": (
        "begin audio said<Once upon a time.> end<completed> speech stopped begin audio said<Yes?> end<completed>"
    ),
    "13_truncate_errors": "begin audio said<Hi.> end<completed>",
    "14_out_of_band": (
        "begin audio end<completed> said<I am sorry.> end<completed> begin said<Late order.> end<completed>"
    ),
    "15_image_input": "begin audio said<It is one pixel.> end<completed>",
    "16_mcp_call": "begin audio said<Earl Grey.> end<completed>",
    "17_mcp_approval": "begin end<completed> begin audio said<Found one.> end<completed>",
    "18_mcp_failures": "begin audio said<Sorry.> end<completed>",
    "19_idle_timeout": (
        "begin audio said<Hello!> end<completed> begin audio said<Are you still there?> end<completed>"
    ),
    "20_transcription_failed": "begin audio unheard<audio_unintelligible> said<I did not catch that.> end<completed>",
    "21_session_expired": "begin audio",
    "22_recoverable_errors": (
        "error<invalid_value> error<invalid_value> begin audio said<Well> end<completed> error<cannot_update_voice>"
    ),
    "23_fatal_bad_key": "",
    "24_fatal_model_not_found": "",
    "25_fatal_beta_header": "",
    "26_fatal_quota": "",
    "27_response_incomplete_and_failed": (
        "begin audio said<Once upon> end<incomplete> "
        "begin audio said<Once> error<content_filter> end<incomplete> "
        "begin end<failed> begin end<failed>"
    ),
    "28_item_operations": "error<item_delete_invalid_item_id> error<item_retrieve_invalid_item_id>",
    "29_reconnect_reseed": "begin audio said<Five degrees.> end<completed>",
    "30_transcription_session": "user<Turn the light on.> user<Thanks.>",
    "31_vad_without_auto_response": "speech stopped begin audio said<Yes.> end<completed>",
}
"""What each sequence comes to; pieces of words and the places of items are left out."""


def digest(facts: list[Event]) -> str:
    words: list[str] = []
    for fact in facts:
        match fact:
            case SpeechDetectedEvent():
                words.append("speech")
            case UserStoppedSpeakingEvent():
                words.append("stopped")
            case UserTranscriptCompletedEvent(transcript=text):
                words.append(f"user<{text}>")
            case UserTranscriptFailedEvent(error=error):
                words.append(f"unheard<{error.code}>")
            case ResponseStartedEvent():
                words.append("begin")
            case AssistantAudioReceivedEvent() if words[-1] != "audio":
                words.append("audio")
            case AssistantTranscriptCompletedEvent(transcript=text):
                words.append(f"said<{text}>")
            case ToolCallRequestedEvent(name=name, arguments=arguments):
                words.append(f"call<{name} {json.dumps(arguments)}>")
            case ResponseFinishedEvent(status=status):
                words.append(f"end<{status}>")
            case AgentErrorEvent(error=error):
                words.append(f"error<{error.code or error.type}>")
    return " ".join(words)


@pytest.mark.parametrize("path", named("sequences", "*.jsonl"))
def test_every_sequence(connect: Callable[..., Any], path: Path) -> None:
    wire = connect()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    said = [line["event"] for line in lines if line["dir"] == "server" and "event" in line]

    facts = [fact for event in said for fact in wire.protocol.receive(json.dumps(event))]

    assert digest(facts) == SEQUENCES[path.stem]
    assert wire.protocol.refusal is None
    heard = {fact.item_id for fact in facts if isinstance(fact, AssistantAudioReceivedEvent)}
    for item_id in heard:
        sent = [e["delta"] for e in said if e["type"] == "response.output_audio.delta" and e["item_id"] == item_id]
        pcm = [fact.pcm for fact in facts if isinstance(fact, AssistantAudioReceivedEvent) and fact.item_id == item_id]
        assert pcm == [b64decode(delta) for delta in sent]
    placed = [fact.item_id for fact in facts if isinstance(fact, ConversationItemAddedEvent)]
    assert len(placed) == len(set(placed))
    words = "".join(fact.delta for fact in facts if isinstance(fact, AssistantTranscriptDeltaEvent))
    complete = "".join(fact.transcript for fact in facts if isinstance(fact, AssistantTranscriptCompletedEvent))
    assert words.startswith(complete)


@pytest.mark.parametrize(
    ("name", "code", "failure"),
    [
        ("21_session_expired", "session_expired", None),
        ("23_fatal_bad_key", "invalid_api_key", "AuthenticationFailed"),
        ("24_fatal_model_not_found", "model_not_found", "ConnectionFailed"),
        ("25_fatal_beta_header", "beta_api_shape_disabled", "ConnectionFailed"),
        ("26_fatal_quota", "insufficient_quota", "AuthenticationFailed"),
    ],
)
def test_every_sequence_with_a_close(connect: Callable[..., Any], name: str, code: str, failure: str | None) -> None:
    wire = connect()
    *lines, last = [json.loads(line) for line in (FIXTURES / "sequences" / f"{name}.jsonl").read_text().splitlines()]
    for line in lines:
        if line["dir"] == "server":
            wire.protocol.receive(json.dumps(line["event"]))

    error = wire.protocol.connection_failure(last["close"]["code"], last["close"]["reason"])

    assert (type(error).__name__ if error else None) == failure
    assert wire.protocol.last_error_code == code
    if error is not None:
        assert error.code == code
        assert error.close_code == last["close"]["code"]
