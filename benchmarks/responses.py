"""A response as the Realtime server sends it: its events, with audio that carries stamps and the response's number."""

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any, Final

from benchmarks.stamps import stamp

_STAMPED: Final = 12  # bytes in front of the prepared part: the stamp, filled up to a multiple of three


def event(kind: str, **fields: Any) -> bytes:
    """Return a server event."""
    return json.dumps({"type": kind, "event_id": f"event_{uuid.uuid4().hex[:20]}", **fields}).encode()


class Response:
    """One response.

    Args:
        send: Sends an event.
        number: Told by the response's ids and by its samples; 1 to 32,767.
        delta_ms: Length of one audio delta.
    """

    def __init__(self, send: Callable[[bytes], None], number: int, *, delta_ms: int = 100) -> None:
        self.id = f"resp_{number:020d}"
        self.item_id = f"item_{number:020d}"
        self._send = send
        self._marker = number.to_bytes(2, "little", signed=True)
        self._place = {"response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0}
        rest = base64.b64encode(self._marker * ((delta_ms * 48 - _STAMPED) // 2))
        head, tail = event("response.output_audio.delta", **self._place, delta="@").split(b"@")
        self._delta_head, self._delta_tail = head, rest + tail
        word = event("response.output_audio_transcript.delta", **self._place, delta=" word", obfuscation="x" * 11)
        self._transcript_delta = word
        self._words = 0

    def begin(self) -> None:
        """Send what comes before the first delta."""
        item = {"id": self.item_id, "object": "realtime.item", "type": "message", "role": "assistant", "content": []}
        self._send(event("response.created", response=self._response("in_progress")))
        self._send(event("response.output_item.added", response_id=self.id, output_index=0, item=item))
        self._send(event("conversation.item.added", previous_item_id=None, item=item))
        self._send(event("response.content_part.added", **self._place, part={"type": "audio", "transcript": ""}))

    def delta(self, *, transcript: bool = True) -> None:
        """Send one audio delta, and one of its transcript."""
        stamped = base64.b64encode(stamp() + self._marker * 2)
        self._send(self._delta_head + stamped + self._delta_tail)
        if transcript:
            self._words += 1
            self._send(self._transcript_delta)

    def call(self, name: str, call_id: str) -> None:
        """Send a function call without arguments."""
        item_id = f"item_{call_id}"
        item = {"id": item_id, "type": "function_call", "call_id": call_id, "name": name, "status": "in_progress"}
        done = {**item, "status": "completed", "arguments": "{}"}
        place = {"response_id": self.id, "output_index": 1}
        self._send(event("response.output_item.added", **place, item={**item, "arguments": ""}))
        self._send(
            event(
                "response.function_call_arguments.done",
                **place,
                item_id=item_id,
                call_id=call_id,
                name=name,
                arguments="{}",
            )
        )
        self._send(event("response.output_item.done", **place, item=done))

    def end(self, status: str = "completed") -> None:
        """Send what comes after the last delta."""
        text = " word" * self._words
        part = {"type": "output_audio", "transcript": text}
        item = {"id": self.item_id, "type": "message", "role": "assistant", "status": status, "content": [part]}
        self._send(event("response.output_audio.done", **self._place))
        self._send(event("response.output_audio_transcript.done", **self._place, transcript=text))
        self._send(event("response.content_part.done", **self._place, part=part))
        self._send(event("response.output_item.done", response_id=self.id, output_index=0, item=item))
        self._send(event("response.done", response=self._response(status, [item])))

    def _response(self, status: str, output: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        usage = None
        if status != "in_progress":
            usage = {
                "total_tokens": 253,
                "input_tokens": 132,
                "output_tokens": 121,
                "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64},
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
            }
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": {"type": "cancelled", "reason": "turn_detected"} if status == "cancelled" else None,
            "conversation_id": "conv_bench",
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "output": output or [],
            "usage": usage,
            "metadata": None,
        }
