"""Things the live service does or may do differently from one day to the next; a client must bear all of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

_TEXT_DELTAS = ("transcript.delta", "text.delta", "transcription.delta", "arguments.delta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """Switches for what is unverified or varies on the live service (protocol page, sections 12 and 13).

    Attributes:
        silence_duration_ms: Default of ``server_vad``: 200 in captures, 500 in the documentation.
        conversation_created: Send ``conversation.created`` after ``session.created``.
        rate_limits: Send ``rate_limits.updated`` at the start or the end of responses.
        obfuscation: Put an ``obfuscation`` field into text-like deltas.
        item_object: Put ``"object": "realtime.item"`` into items.
        unknown_events: Send an event of unknown type after every ``response.created``.
        extra_fields: Put a field nobody knows into every event.
        null_error_event_id: Leave ``error.event_id`` out even where it is known.
        cancelled_usage: Send ``usage`` with cancelled responses; else it is null.
    """

    silence_duration_ms: int = 200
    conversation_created: bool = False
    rate_limits: Literal["start", "end"] | None = None
    obfuscation: bool = False
    item_object: bool = False
    unknown_events: bool = False
    extra_fields: bool = False
    null_error_event_id: bool = False
    cancelled_usage: bool = True

    def apply(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the event as it goes out, and what goes out with it."""
        kind: str = event["type"]
        if self.obfuscation and kind.endswith(_TEXT_DELTAS):
            event["obfuscation"] = "x" * (16 - len(event["delta"]) % 16)
        if self.item_object:
            items = [event["item"]] if "item" in event else event.get("response", {}).get("output", ())
            for item in items:
                item["object"] = "realtime.item"
        if self.null_error_event_id and kind == "error":
            event["error"]["event_id"] = None
        if self.extra_fields:
            event["emulator_extra"] = {"ignore": "me"}
        yield event
        if self.unknown_events and kind == "response.created":
            yield {"type": "response.emulator_unknown", "response_id": event["response"]["id"]}
