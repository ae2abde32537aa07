"""Items that clients create."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.item_rules import check_context_item, check_item, decode_audio, item_from
from rtvoice.testing.validation import RequestRefused

FIXTURES = Path(__file__).parents[1] / "fixtures" / "events"
AUDIO = base64.b64encode(bytes(96)).decode()
PCM = AudioFormat("audio/pcm")


def message(role: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content), **more}


def text(value: Any = "Hi.", kind: str = "input_text") -> dict[str, Any]:
    return {"type": kind, "text": value}


def test_the_examples_are_accepted() -> None:
    paths = [*FIXTURES.glob("client/conversation.item.create.json"), *FIXTURES.glob("variants/client.item.*.json")]
    assert len(paths) == 7
    for path in paths:
        check_item(json.loads(path.read_text())["item"], "item")


@pytest.mark.parametrize(
    "good",
    [
        message("assistant", text(kind="output_text"), status="incomplete"),
        message("user", {"type": "input_image", "image_url": "data:image/jpeg;base64,AA==", "detail": "low"}),
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "i", "approve": False, "reason": "no"},
    ],
)
def test_more_that_is_accepted(good: dict[str, Any]) -> None:
    check_item(good, "item")


@pytest.mark.parametrize(
    ("bad", "code", "param"),
    [
        (None, "invalid_type", "item"),
        ({"type": "tool_result"}, "invalid_value", "item.type"),
        ({"type": "item_reference", "id": "i"}, "invalid_value", "item.type"),
        ({"type": "message", "content": []}, "missing_required_parameter", "item.role"),
        (message("developer", text()), "invalid_value", "item.role"),
        ({"type": "message", "role": ["user"], "content": []}, "invalid_value", "item.role"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        (message("user", text(kind="text")), "invalid_value", "item.content[0].type"),
        (message("user", text(3)), "invalid_type", "item.content[0].text"),
        (message("system", {"type": "input_audio", "audio": AUDIO}), "invalid_value", "item.content[0].type"),
        (message("user", {"type": "input_audio", "audio": "?"}), "invalid_value", "item.content[0].audio"),
        (message("assistant", {"type": "output_audio", "audio": AUDIO}), "invalid_value", "item.content[0]"),
        (
            message("user", {"type": "input_image", "image_url": "https://example.com/a.png"}),
            "invalid_value",
            "item.content[0].image_url",
        ),
        (message("user", text(), id="x" * 33), "string_above_max_length", "item.id"),
        (
            {"type": "function_call_output", "call_id": "c" * 33, "output": ""},
            "string_above_max_length",
            "item.call_id",
        ),
        ({"type": "function_call_output", "output": ""}, "missing_required_parameter", "item.call_id"),
        ({"type": "function_call_output", "call_id": "c", "output": {}}, "invalid_type", "item.output"),
    ],
)
def test_bad_items_are_refused(bad: Any, code: str, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        check_item(bad, "item")
    assert (caught.value.code, caught.value.param) == (code, param)


def test_a_context_item_may_be_a_reference() -> None:
    check_context_item({"type": "item_reference", "id": "i"}, "response.input[0]")


@pytest.mark.parametrize(
    ("value", "words"), [("***", "an invalid value"), ("", "an empty string"), ("AAA", "an invalid value")]
)
def test_bad_audio_is_refused_with_the_services_words(value: str, words: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        decode_audio(value, "audio")
    assert caught.value.message == (
        f"Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz) but got {words}."
    )


def test_audio_must_be_a_string() -> None:
    with pytest.raises(RequestRefused, match="expected a string"):
        decode_audio(5, "audio")


def test_an_item_is_completed_as_the_service_does() -> None:
    given = message("user", text(), {"type": "input_audio", "audio": AUDIO})
    item = item_from(given, lambda prefix: f"{prefix}_1", PCM)
    assert item.data == {
        "id": "item_1",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [text(), {"type": "input_audio", "transcript": None}],
    }
    assert item.audio == {1: bytearray(96)}


def test_a_transcript_and_ids_of_the_client_are_kept() -> None:
    given = message(
        "user", {"type": "input_audio", "audio": AUDIO, "transcript": "Hi."}, id="mine", object="realtime.item"
    )
    item = item_from(given, lambda prefix: f"{prefix}_1", PCM)
    assert item.data["id"] == "mine"
    assert item.data["content"] == [{"type": "input_audio", "transcript": "Hi."}]
    assert "object" not in item.data


def test_a_function_call_gets_a_call_id_unless_it_has_one() -> None:
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    assert item_from(call, lambda prefix: f"{prefix}_1", PCM).data["call_id"] == "call_1"
    assert item_from({**call, "call_id": "c"}, lambda prefix: f"{prefix}_1", PCM).data["call_id"] == "c"


def test_an_approval_response_has_no_status() -> None:
    given = {"type": "mcp_approval_response", "approval_request_id": "i", "approve": True}
    data = item_from(given, lambda prefix: f"{prefix}_1", PCM).data
    assert data == {**given, "id": "item_1", "reason": None}
