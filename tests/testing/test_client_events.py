"""Client events: which there are, and which fields they have."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types.realtime import RealtimeClientEvent

from rtvoice.testing.client_events import CLIENT_EVENTS, check_event, parse_event
from rtvoice.testing.validation import RequestRefused

FIXTURES = Path(__file__).parents[1] / "fixtures" / "events"


def test_the_sdk_knows_the_same_events_and_one_for_webrtc() -> None:
    union = get_args(RealtimeClientEvent)[0]
    known = {get_args(member.model_fields["type"].annotation)[0] for member in get_args(union)}
    assert known == {*CLIENT_EVENTS, "output_audio_buffer.clear"}


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("client/*.json")), ids=lambda path: path.stem)
def test_the_examples_are_accepted(path: Path) -> None:
    event = parse_event(path.read_text())
    if event["type"] == "output_audio_buffer.clear":
        with pytest.raises(RequestRefused, match=r"Invalid value: 'output_audio_buffer\.clear'"):
            check_event(event)
    else:
        check_event(event)


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("variants/client.*.json")), ids=lambda path: path.stem)
def test_the_variants_are_accepted(path: Path) -> None:
    check_event(parse_event(path.read_text()))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"{}", "invalid_event"),
        ("hello", "invalid_event"),
        ("", "invalid_event"),
        ("[]", "invalid_type"),
        ('"x"', "invalid_type"),
    ],
)
def test_frames_that_are_no_events(frame: str | bytes, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_event(frame)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({}, "invalid_event", "type"),
        ({"type": 5}, "invalid_value", "type"),
        ({"type": "no.such.event"}, "invalid_value", "type"),
        ({"type": "response.create", "event_id": 5}, "invalid_type", "event_id"),
        ({"type": "response.create", "event_id": "e" * 513}, "string_above_max_length", "event_id"),
        ({"type": "response.create", "x": 5}, "unknown_parameter", "x"),
        ({"type": "response.create", "response": {"voice": "marin"}}, "unknown_parameter", "response.voice"),
        ({"type": "response.create", "response": {"conversation": "new"}}, "invalid_value", "response.conversation"),
        (
            {"type": "response.create", "response": {"metadata": {"k": "v" * 513}}},
            "string_above_max_length",
            "response.metadata.k",
        ),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ({"type": "conversation.item.create"}, "missing_required_parameter", "item"),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": -1},
            "invalid_value",
            "audio_end_ms",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1.5},
            "invalid_type",
            "audio_end_ms",
        ),
    ],
)
def test_bad_events_are_refused(event: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        check_event(json.loads(json.dumps(event)))
    assert (caught.value.code, caught.value.param) == (code, param)


def test_an_unknown_type_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RequestRefused) as caught:
        check_event({"type": "no.such.event"})
    assert all(f"'{known}'" in caught.value.message for known in CLIENT_EVENTS)
