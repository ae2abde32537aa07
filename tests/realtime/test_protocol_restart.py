"""`RealtimeProtocol.connection_lost` and `restart`, frame by frame; whole conversations are in the flow tests."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from rtvoice.events import (
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    PlaybackCut,
    RequestResponseCommand,
    ResponseFinishedEvent,
    RestoredConversation,
    SayCommand,
    SendMessageCommand,
    UpdateInstructionsCommand,
    UpdateSpeechSpeedCommand,
    UserMessageAddedEvent,
    UserStoppedSpeakingEvent,
)
from rtvoice.realtime.conversation_items import REMEMBERED as REMEMBERED_ITEMS
from rtvoice.realtime.session_settings import REMEMBERED as REMEMBERED_SETTINGS

Json = dict[str, Any]


def restarted(wire: Any) -> list[Json]:
    """Lose the connection, restart, and return what is sent first."""
    wire.protocol.connection_lost()
    wire.protocol.restart()
    return list(wire.sends())


def writes(wire: Any, response_id: str, item_id: str, delta: str) -> None:
    wire.hears(
        "response.output_audio_transcript.delta",
        response_id=response_id, item_id=item_id, output_index=0, content_index=0, delta=delta,
    )  # fmt: skip


def kinds(frames: list[Json]) -> list[str]:
    return [frame["type"] for frame in frames]


def resuming(frames: list[Json]) -> list[str]:
    return [frame.get("response", {}).get("instructions", "") for frame in frames if frame["type"] == "response.create"]


def test_a_session_in_which_nothing_has_happened(wire: Any) -> None:
    assert wire.protocol.connection_lost() == []
    assert wire.protocol.restart() == RestoredConversation(items=0, lost_user_turns=0)
    assert kinds(wire.sends()) == ["session.update"]
    assert wire.ids[0].startswith("config_")
    assert not wire.protocol.heard_from_server
    assert not wire.protocol.confirmed
    assert wire.protocol.session_id is wire.protocol.expires_at is None


def test_what_was_to_be_sent_to_the_old_session_is_not(wire: Any) -> None:
    wire.does(UpdateInstructionsCommand("New."), RequestResponseCommand())
    first, second = restarted(wire)
    assert first["session"]["instructions"] == "New."
    assert second == {"type": "response.create"}


def test_attempts_can_follow_each_other(wire: Any) -> None:
    wire.does(SendMessageCommand(text="Hello.", respond=False))
    ids = []
    for _ in range(3):
        assert kinds(restarted(wire)) == ["session.update", "conversation.item.create"]
        ids += wire.ids
    assert len(set(ids)) == len(ids)


def test_a_speed_that_waits_for_the_end_of_a_response(wire: Any) -> None:
    wire.begins("r")
    wire.does(UpdateSpeechSpeedCommand(1.3))
    assert wire.sends() == []
    update, *rest = restarted(wire)
    assert update["session"]["audio"]["output"]["speed"] == 1.3
    assert kinds(rest) == ["response.create"]


def test_the_running_response_ends(wire: Any) -> None:
    wire.begins("r")
    writes(wire, "r", "a", "Hello there, dear friend. How are you?")
    wire.speaks("r", "a", 1_000)
    assert wire.protocol.connection_lost() == [
        AssistantTranscriptCompletedEvent("Hello there,", "a", 0, 0, response_id="r"),
        ResponseFinishedEvent(response_id="r", status="incomplete", reason="connection_lost", has_audio=True),
    ]
    assert not wire.protocol.response_active
    assert wire.ends("r") == []  # nothing can come of it any more


def test_words_without_sound_and_words_of_others_were_not_said(wire: Any) -> None:
    writes(wire, "other", "b", "Never ended.")
    wire.begins("r")
    writes(wire, "r", "a", "Never heard.")
    (end,) = wire.protocol.connection_lost()
    assert type(end) is ResponseFinishedEvent


def test_the_user_speaks(wire: Any) -> None:
    wire.user_starts()
    assert wire.protocol.connection_lost() == [UserStoppedSpeakingEvent()]
    assert wire.protocol.restart() == RestoredConversation(items=0, lost_user_turns=1)
    assert "say it again" in resuming(wire.sends())[0]


def test_a_turn_without_a_name_is_no_turn(wire: Any) -> None:
    wire.hears("input_audio_buffer.committed", item_id="", previous_item_id=None)
    wire.protocol.connection_lost()
    assert wire.protocol.restart().lost_user_turns == 0


def test_messages_that_were_not_acknowledged_are_sent_again(wire: Any) -> None:
    wire.does(SendMessageCommand(text="One."), SendMessageCommand(image_url="data:image/png;base64,AA"))
    wire.sends()
    first = wire.adds("i1", "message", role="user")
    assert UserMessageAddedEvent(text="One.", item_id="i1") in first
    assert len(wire.protocol.connection_lost()) == 0
    assert wire.protocol.restart().items == 2
    update, one, image, create = wire.sends()
    assert update["type"] == "session.update"
    assert one["item"]["id"].startswith("told_")
    assert image["item"]["content"] == [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]
    assert "id" not in image["item"]
    assert create["type"] == "response.create"
    wire.adds(one["item"]["id"], "message", role="user")  # known
    acknowledged = wire.adds("i2", "message", role="user")
    assert [type(fact).__name__ for fact in acknowledged] == ["ConversationItemAddedEvent"]
    assert len(restarted(wire)) >= 3


def test_a_refused_message_is_not_sent_again(wire: Any) -> None:
    wire.does(SendMessageCommand(text="x" * 99, respond=False))
    wire.sends()
    wire.objects("invalid_value", wire.ids[0])
    assert kinds(restarted(wire)) == ["session.update"]


def test_a_refused_setting_does_not_come_back(wire: Any) -> None:
    wire.does(UpdateInstructionsCommand("Good."))
    wire.sends()
    wire.does(UpdateInstructionsCommand("Bad."))
    wire.sends()
    wire.objects("invalid_value", wire.ids[0])
    assert restarted(wire)[0]["session"]["instructions"] == "Good."


def test_memory_is_bounded(wire: Any) -> None:
    for number in range(REMEMBERED_ITEMS + 10):
        wire.does(SendMessageCommand(text=str(number), respond=False))
    for number in range(REMEMBERED_SETTINGS + 10):
        wire.does(UpdateInstructionsCommand(str(number)))
    assert len(wire.protocol._settings._changes) == REMEMBERED_SETTINGS
    assert len(restarted(wire)) == REMEMBERED_ITEMS + 1


def cut(item_id: str, played_ms: int) -> AssistantInterruptedEvent:
    part = PlaybackCut(item_id=item_id, content_index=0, played_ms=played_ms, received_ms=9_000)
    return AssistantInterruptedEvent(item_id, played_ms, cuts=(part,))


def test_an_item_of_the_old_session_is_replaced_rather_than_truncated(wire: Any) -> None:
    wire.begins("r")
    writes(wire, "r", "a", "Hello there, dear friend. How are you?")
    wire.speaks("r", "a", 9_000)
    wire.ends("r")
    _, told = restarted(wire)
    wire.does(cut("a", 1_000))
    delete, create = wire.sends()
    assert delete == {"type": "conversation.item.delete", "item_id": told["item"]["id"]}
    assert create["previous_item_id"] == "root"
    assert create["item"]["content"] == [{"type": "output_text", "text": "Hello there,"}]
    wire.does(cut("unknown", 1_000))
    assert wire.sends() == []


def test_words_of_our_own_of_the_old_session_are_not_corrected_twice(wire: Any) -> None:
    wire.does(SayCommand(text="Welcome to our little shop.", request_id="s"))
    (say,) = wire.sends()
    wire.hears("response.created", response={"id": "r", "metadata": say["response"]["metadata"]})
    wire.hears("response.output_item.added", response_id="r", item={"id": "a", "type": "message"})
    writes(wire, "r", "a", "Welcome to our little shop.")
    wire.speaks("r", "a", 2_000)
    wire.ends("r")
    assert kinds(restarted(wire)) == ["session.update", "conversation.item.create"]
    wire.does(cut("a", 1_000))
    assert kinds(wire.sends()) == ["conversation.item.delete", "conversation.item.create"]


# --- taking up the thread ----------------------------------------------------------------------------


@pytest.fixture
def broken(wire: Any) -> Any:
    """A wire whose session broke in the middle of an answer; the new one knows all, and nothing was asked of it yet."""
    wire.begins("r")
    writes(wire, "r", "a", "Hello there, dear friend. How are you?")
    wire.speaks("r", "a", 1_000)
    wire.protocol.connection_lost()
    wire.protocol.restart()
    return wire


def test_it_is_taken_up_once(broken: Any) -> None:
    (request,) = resuming(broken.sends())
    assert "go on where it stopped" in request
    broken.begins("r2")
    broken.ends("r2")
    assert broken.sends() == []


def test_it_survives_another_loss(broken: Any) -> None:
    broken.sends()
    assert len(resuming(restarted(broken))) == 1


@pytest.mark.parametrize("sent", [False, True])
def test_it_is_worthless_once_the_user_speaks(broken: Any, sent: bool) -> None:
    if sent:
        broken.sends()
    broken.user_starts()
    if sent:
        broken.begins("r2")
        assert kinds(broken.sends()) == ["response.cancel"]
        broken.ends("r2", "cancelled")
    broken.user_stops()
    broken.begins("own")
    broken.ends("own")
    assert resuming(broken.sends()) == []


def test_it_is_worthless_once_the_server_answers_by_itself(broken: Any) -> None:
    broken.begins("own")
    broken.ends("own")
    assert resuming(broken.sends()) == []


def test_a_refused_one_is_asked_for_again_unless_the_user_speaks(broken: Any) -> None:
    broken.sends()
    broken.user_starts()
    broken.objects("conversation_already_has_active_response", broken.ids[-1])
    broken.user_stops()
    broken.passes(10)
    assert resuming(broken.sends()) == []


def test_words_that_were_asked_for_are_said_in_the_new_session(wire: Any) -> None:
    wire.does(SayCommand(text="Welcome.", request_id="s"))
    wire.sends()
    update, say = restarted(wire)
    assert update["type"] == "session.update"
    assert say["response"]["metadata"] == {"rtvoice_request": "s"}


@pytest.mark.parametrize(
    ("code", "reason", "final"),
    [(3000, "", True), (1013, "insufficient_quota.insufficient_quota", True), (1013, "", False), (1001, "", False)],
)
def test_which_closes_are_final(connect: Callable[..., Any], code: int, reason: str, final: bool) -> None:
    assert connect().protocol.is_final(code, reason) is final


def test_frames_are_json(broken: Any) -> None:
    assert all(json.loads(frame) for frame in broken.protocol.frames())


def test_a_saying_beside_an_answer_ends_with_the_connection_too(wire: Any) -> None:
    wire.does(SayCommand(text="One moment.", request_id="q"))
    wire.sends()
    begun = {"id": "s1", "metadata": {"rtvoice_request": "q"}, "conversation_id": None}
    wire.hears("response.created", response=begun)
    wire.begins("own")
    ends = [fact for fact in wire.protocol.connection_lost() if isinstance(fact, ResponseFinishedEvent)]
    assert {(end.response_id, end.status, end.reason) for end in ends} == {
        ("own", "incomplete", "connection_lost"),
        ("s1", "incomplete", "connection_lost"),
    }
