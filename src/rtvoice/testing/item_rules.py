"""Which conversation items a client may create, and what they become (protocol page, section 6)."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.conversation import Item
from rtvoice.testing.validation import (
    Check,
    RequestRefused,
    boolean,
    invalid_value,
    list_of,
    nullable,
    obj,
    one_of,
    require,
    string,
    tagged,
    wrong_type,
)

ID_LENGTH = 32
"""Longest ``item.id`` and ``call_id`` that a client may choose."""

_AUDIO_WANTED = "Expected base64-encoded audio bytes (mono PCM16 at 24kHz)"


def decode_audio(value: Any, path: str) -> bytes:
    """Return the bytes of a base64 audio field.

    Raises:
        RequestRefused: It is no base64, or empty (the service refuses both with the same words).
    """
    if not isinstance(value, str):
        raise wrong_type(value, "a string", path)
    try:
        audio = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        audio = b""
    if not audio:
        what = "an invalid value" if value else "an empty string"
        raise RequestRefused("invalid_value", f"Invalid '{path}'. {_AUDIO_WANTED} but got {what}.", path)
    return audio


def _audio(value: Any, path: str) -> None:
    decode_audio(value, path)


def _image_url(value: Any, path: str) -> None:
    string()(value, path)
    if not re.match(r"data:image/(png|jpe?g);base64,", value):
        raise RequestRefused(
            "invalid_value", f"Invalid '{path}'. Expected a base64-encoded data URI of a PNG or JPEG image.", path
        )


_ID = string(longest=ID_LENGTH)
_COMMON: dict[str, Check] = {
    "id": _ID,
    "object": one_of("realtime.item"),
    "type": string(),
    "status": one_of("in_progress", "completed", "incomplete"),
}
_INPUT_TEXT = obj({"type": string(), "text": string()}, required=["text"])
_INPUT_AUDIO = obj({"type": string(), "audio": _audio, "transcript": nullable(string())}, required=["audio"])
_INPUT_IMAGE = obj(
    {"type": string(), "image_url": _image_url, "detail": one_of("auto", "low", "high")}, required=["image_url"]
)


def _assistant_content(value: Any, path: str) -> None:
    tagged("type", {"output_text": _INPUT_TEXT, "output_audio": _refuse_assistant_audio})(value, path)


def _refuse_assistant_audio(_value: Any, path: str) -> None:
    raise RequestRefused(
        "invalid_value", "Cannot populate assistant audio messages: only 'output_text' content can be created.", path
    )


_MESSAGE_CONTENT: dict[str, Check] = {
    "system": list_of(tagged("type", {"input_text": _INPUT_TEXT})),
    "user": list_of(
        tagged("type", {"input_text": _INPUT_TEXT, "input_audio": _INPUT_AUDIO, "input_image": _INPUT_IMAGE})
    ),
    "assistant": list_of(_assistant_content),
}


def _message(value: Any, path: str) -> None:
    require(value, "role", path)
    role = value["role"]
    if not isinstance(role, str) or role not in _MESSAGE_CONTENT:
        raise invalid_value(role, _MESSAGE_CONTENT, f"{path}.role")
    obj({**_COMMON, "role": string(), "content": _MESSAGE_CONTENT[role]}, required=["content"])(value, path)


_ITEMS: dict[str, Check] = {
    "message": _message,
    "function_call": obj(
        {**_COMMON, "name": string(), "call_id": _ID, "arguments": string()}, required=["name", "arguments"]
    ),
    "function_call_output": obj({**_COMMON, "call_id": _ID, "output": string()}, required=["call_id", "output"]),
    "mcp_approval_response": obj(
        {**_COMMON, "approval_request_id": string(), "approve": boolean, "reason": nullable(string())},
        required=["approval_request_id", "approve"],
    ),
}

check_item: Check = tagged("type", _ITEMS)
"""Check of the ``item`` of ``conversation.item.create``."""

check_context_item: Check = tagged(
    "type", {**_ITEMS, "item_reference": obj({"type": string(), "id": string()}, required=["id"])}
)
"""Check of one element of ``response.create``'s ``input``, which may also refer to an existing item."""


def item_from(given: Mapping[str, Any], new_id: Callable[[str], str], audio_format: AudioFormat) -> Item:
    """Return the item that a client describes, completed with what the service adds.

    Args:
        given: The description, already checked.
        new_id: Makes the ids that the client left out.
        audio_format: Format of audio in it.
    """
    data: dict[str, Any] = {"id": given.get("id") or new_id("item"), "type": given["type"]}
    if data["type"] == "mcp_approval_response":
        data["reason"] = None
    else:
        data["status"] = given.get("status", "completed")
    if data["type"] == "function_call":
        data["call_id"] = new_id("call")
    data |= {key: value for key, value in given.items() if key not in ("id", "type", "status", "object")}
    audio: dict[int, bytearray] = {}
    if "content" in data:
        data["content"] = [dict(part) for part in data["content"]]
        for index, part in enumerate(data["content"]):
            if part["type"] == "input_audio":
                audio[index] = bytearray(decode_audio(part.pop("audio"), "item.content.audio"))
                part.setdefault("transcript", None)
    return Item(data, audio, audio_format)
