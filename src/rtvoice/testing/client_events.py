"""The eleven client events and their fields (protocol page, section 4)."""

import json
from typing import Any

from rtvoice.testing.item_rules import check_context_item, check_item
from rtvoice.testing.session_rules import METADATA, RESPONSE_AUDIO, RESPONSE_SETTINGS
from rtvoice.testing.validation import (
    Check,
    RequestRefused,
    any_object,
    integer,
    invalid_value,
    list_of,
    obj,
    one_of,
    string,
    wrong_type,
)

_RESPONSE = obj(
    {
        **RESPONSE_SETTINGS,
        "conversation": one_of("auto", "none"),
        "input": list_of(check_context_item),
        "audio": RESPONSE_AUDIO,
        "metadata": METADATA,
    }
)


def _event(fields: dict[str, Check] | None = None, *, required: tuple[str, ...] = ()) -> Check:
    return obj({"type": string(), "event_id": string(longest=512), **(fields or {})}, required=required)


_ITEM_ID: dict[str, Check] = {"item_id": string()}
CLIENT_EVENTS: dict[str, Check] = {
    "session.update": _event({"session": any_object}, required=("session",)),
    "input_audio_buffer.append": _event({"audio": string()}, required=("audio",)),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "conversation.item.create": _event({"item": check_item, "previous_item_id": string()}, required=("item",)),
    "conversation.item.retrieve": _event(_ITEM_ID, required=("item_id",)),
    "conversation.item.truncate": _event(
        {**_ITEM_ID, "content_index": integer(0), "audio_end_ms": integer(0)},
        required=("item_id", "content_index", "audio_end_ms"),
    ),
    "conversation.item.delete": _event(_ITEM_ID, required=("item_id",)),
    "response.create": _event({"response": _RESPONSE}),
    "response.cancel": _event({"response_id": string()}),
}
"""Check of every event that the service knows on a WebSocket.

``output_audio_buffer.clear`` is not among them: it is for WebRTC and SIP, and a live WebSocket did not list it.
"""


def parse_event(frame: str | bytes) -> dict[str, Any]:
    """Return the JSON object in a client's frame.

    Raises:
        RequestRefused: The frame is binary, no JSON, or no object.
    """
    if isinstance(frame, bytes):
        raise RequestRefused("invalid_event", "Binary frames are not supported: send JSON as text.")
    try:
        event = json.loads(frame)
    except ValueError as error:
        raise RequestRefused("invalid_event", f"The event is not valid JSON: {error}.") from error
    if not isinstance(event, dict):
        raise wrong_type(event, "an object", "event")
    return event


def check_event(event: dict[str, Any]) -> None:
    """Refuse an event of unknown type or with wrong fields.

    ``session.update``'s session, which depends on the session's kind, is checked elsewhere.

    Raises:
        RequestRefused: With the service's code.
    """
    kind = event.get("type")
    if kind is None:
        raise RequestRefused("invalid_event", "The 'type' field is missing.", "type")
    if not isinstance(kind, str) or kind not in CLIENT_EVENTS:
        raise invalid_value(kind, CLIENT_EVENTS, "type")
    CLIENT_EVENTS[kind](event, "")
