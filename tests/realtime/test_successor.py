"""The successor as such, and when the protocol lets one take over."""

import json
from typing import Any

import pytest

from rtvoice.errors import AuthenticationFailed
from rtvoice.events import (
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    RequestResponseCommand,
    SendMessageCommand,
    UpdateInstructionsCommand,
    UpdateSpeechSpeedCommand,
)
from rtvoice.realtime.successor import Successor


def says(successor: Successor, kind: str, **fields: Any) -> None:
    successor.receive(json.dumps({"type": kind, **fields}))


def frames(successor: Successor) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in successor.frames]


def hold_a_turn(wire: Any) -> None:
    wire.user_starts("u1")
    wire.user_stops("u1")
    wire.hears("conversation.item.input_audio_transcription.completed", item_id="u1", transcript="Hello.")
    wire.begins("r1")
    wire.hears("response.output_audio_transcript.done", response_id="r1", item_id="a1", transcript="Hi.")
    wire.ends("r1")


def test_it_gets_ready(wire: Any) -> None:
    successor = wire.protocol.prepare_successor()
    assert not successor.greeted
    says(successor, "session.created", session={"id": "sess_2", "expires_at": 5})
    assert successor.greeted
    assert not successor.ready
    says(successor, "conversation.item.added", item={"id": "told_1"})
    says(successor, "session.updated", session={})
    assert successor.ready
    assert (successor.session_id, successor.expires_at, successor.failure) == ("sess_2", 5, None)


def test_it_fails(wire: Any) -> None:
    successor = wire.protocol.prepare_successor()
    says(successor, "error", error={"code": "insufficient_quota", "message": "No credit."})
    assert isinstance(successor.failure, AuthenticationFailed)


def test_it_is_told_what_there_is(wire: Any) -> None:
    hold_a_turn(wire)
    wire.does(UpdateInstructionsCommand("Be brief."))
    wire.sends()
    successor = wire.protocol.prepare_successor()
    config, *items = frames(successor)
    assert config["session"]["instructions"] == "Be brief."
    assert [item["item"]["content"][0]["text"] for item in items] == ["Hello.", "Hi."]
    assert wire.sends() == [], "the old session hears nothing of it"


def test_it_takes_over(wire: Any) -> None:
    hold_a_turn(wire)
    successor = wire.protocol.prepare_successor()
    says(successor, "session.created", session={"id": "sess_2", "expires_at": 5})
    says(successor, "session.updated", session={"expires_at": 6})
    restored = wire.protocol.hand_over(successor)
    assert (restored.items, restored.lost_user_turns) == (2, 0)
    assert (wire.protocol.session_id, wire.protocol.expires_at) == ("sess_2", 6)
    assert wire.sends() == []
    assert wire.adds("told_3", "message", role="user") == [], "nobody needs to hear of what is told again"
    wire.does(SendMessageCommand(text="Go on."))
    assert [frame["type"] for frame in wire.sends()] == ["conversation.item.create", "response.create"]


def test_messages_that_the_old_session_did_not_acknowledge_follow(wire: Any) -> None:
    wire.does(SendMessageCommand(text="Hello?", respond=False))
    wire.sends()
    successor = wire.protocol.prepare_successor()
    assert wire.protocol.hand_over(successor).items == 1
    (message,) = wire.sends()
    assert message["item"]["content"][0]["text"] == "Hello?"


@pytest.mark.parametrize(
    "happening",
    [
        lambda wire: wire.hears(
            "conversation.item.input_audio_transcription.completed", item_id="u1", transcript="Hello again."
        ),
        lambda wire: wire.does(UpdateInstructionsCommand("New.")) or wire.sends(),
        lambda wire: wire.does(SendMessageCommand(text="x", respond=False)),
    ],
)
def test_it_must_know_the_latest(wire: Any, happening: Any) -> None:
    successor = wire.protocol.prepare_successor()
    happening(wire)
    assert wire.protocol.hand_over(successor) is None
    assert wire.protocol.session_id == "sess_1"


def test_what_is_no_quiet_moment(wire: Any) -> None:
    protocol = wire.protocol
    assert protocol.quiet
    wire.user_starts()
    assert not protocol.quiet
    wire.user_stops()
    assert not protocol.quiet, "the server is about to answer"
    wire.begins("r1")
    assert not protocol.quiet
    wire.speaks("r1", "a1", 100)
    wire.calls("r1", "c1")
    wire.ends("r1")
    assert not protocol.quiet, "it is not heard to its end, and a call is under way"
    wire.does(AssistantStartedRespondingEvent(response_id="r1"), AssistantStoppedRespondingEvent(response_id="r1"))
    assert not protocol.quiet, "a call is under way"


def test_sound_counts_until_it_is_heard_or_cut(wire: Any) -> None:
    wire.begins("r1")
    wire.speaks("r1", "a1", 100)
    wire.ends("r1")
    assert not wire.protocol.quiet
    wire.does(AssistantStoppedRespondingEvent(response_id="r1"))
    assert wire.protocol.quiet
    wire.begins("r2")
    wire.speaks("r2", "a2", 100)
    wire.does(AssistantInterruptedEvent())
    wire.speaks("r2", "a2", 100)  # nobody will hear that
    wire.ends("r2", "cancelled")
    assert wire.protocol.quiet


def test_wishes_that_wait_are_no_quiet_moment(wire: Any) -> None:
    wire.does(UpdateSpeechSpeedCommand(1.2))
    assert not wire.protocol.quiet
    wire.sends()
    assert wire.protocol.quiet
    wire.does(RequestResponseCommand())
    assert not wire.protocol.quiet
