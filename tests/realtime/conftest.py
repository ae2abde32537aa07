"""A conversation with `RealtimeProtocol` by hand: say what the server says, see what is sent."""

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtvoice.events import Event
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.protocol import RealtimeProtocol
from rtvoice.settings import SemanticVAD

Json = dict[str, Any]


class Wire:
    """The far end of a protocol, with a clock that only moves when told."""

    def __init__(self, **config: Any) -> None:
        config.setdefault("model", "gpt-realtime-2.1-mini")
        config.setdefault("turn_detection", SemanticVAD())
        self.now = 1000.0
        self.protocol = RealtimeProtocol(SessionConfig(**config), lambda: self.now)
        self.ids: list[str] = []

    def hears(self, kind: str, **fields: Any) -> list[Event]:
        """The server says something; returns the facts."""
        return list(self.protocol.receive(json.dumps({"type": kind, "event_id": "event_1", **fields})))

    def does(self, *events: Event) -> None:
        """Other parts say something."""
        for event in events:
            self.protocol.send(event)

    def sends(self) -> list[Json]:
        """The frames that go out now, without their event ids, which are in `ids`."""
        frames = [json.loads(frame) for frame in self.protocol.frames()]
        self.ids = [frame.pop("event_id") for frame in frames]
        return frames

    def passes(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    # --- what servers say ---

    def begins(self, response_id: str) -> list[Event]:
        return self.hears("response.created", response={"id": response_id, "status": "in_progress"})

    def ends(self, response_id: str, status: str = "completed", **fields: Any) -> list[Event]:
        return self.hears("response.done", response={"id": response_id, "status": status, **fields})

    def calls(self, response_id: str, call_id: str, name: str = "tool", arguments: str = "{}") -> list[Event]:
        return self.hears(
            "response.function_call_arguments.done",
            response_id=response_id,
            item_id=f"item_{call_id}",
            call_id=call_id,
            name=name,
            arguments=arguments,
        )

    def speaks(self, response_id: str, item_id: str, milliseconds: float, content_index: int = 0) -> list[Event]:
        return self.hears(
            "response.output_audio.delta",
            response_id=response_id,
            item_id=item_id,
            output_index=0,
            content_index=content_index,
            delta=b64encode(bytes(round(milliseconds * 48))).decode(),
        )

    def user_starts(self, item_id: str = "item_u") -> list[Event]:
        return self.hears("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=10)

    def user_stops(self, item_id: str = "item_u") -> list[Event]:
        stopped = self.hears("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=900)
        committed = self.hears("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        return stopped + committed + self.adds(item_id, "message", role="user")

    def adds(self, item_id: str, kind: str, **fields: Any) -> list[Event]:
        return self.hears(
            "conversation.item.added", previous_item_id=None, item={"id": item_id, "type": kind, **fields}
        )

    def adds_output(self, call_id: str) -> list[Event]:
        return self.adds(f"item_output_{call_id}", "function_call_output", call_id=call_id)

    def objects(self, code: str | None, event_id: str | None = None, message: str = "", **fields: Any) -> list[Event]:
        error = {"type": "invalid_request_error", "code": code, "message": message, "event_id": event_id, **fields}
        return self.hears("error", error=error)


@pytest.fixture
def connect() -> Callable[..., Wire]:
    """Make a wire for some configuration."""
    return Wire


@pytest.fixture
def wire() -> Wire:
    """A wire whose session is configured: what was sent so far is gone."""
    wire = Wire()
    wire.protocol.start()
    wire.sends()
    wire.hears("session.created", session={"id": "sess_1", "expires_at": 4_000})
    wire.hears("session.updated", session={"id": "sess_1", "expires_at": 5_000})
    return wire


@pytest.fixture(scope="session")
def event_fixtures() -> Path:
    """Where the wire examples are."""
    return Path(__file__).parents[1] / "fixtures" / "events"
