"""Responses on the wire that fail, or that come when nobody expects them any more, through the whole protocol."""

from typing import Any

import pytest

from rtvoice.events import (
    AgentErrorEvent,
    AssistantInterruptedEvent,
    Event,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SayCommand,
    SendMessageCommand,
    SpeakHoldingPhraseCommand,
    WatchdogFiredEvent,
)
from rtvoice.realtime.response_retry import RATE_LIMIT_PAUSES_S
from rtvoice.realtime.responses import IN_DOUBT_S, OWN_RESPONSE_WAIT_S

PLAIN = {"type": "response.create"}
RATE_LIMIT = {"type": "tokens", "code": "rate_limit_exceeded", "message": "Rate limit reached."}
SERVER_ERROR = {"type": "server_error", "code": None, "message": "The server had an error."}
SAYING = {"metadata": {"rtvoice_request": "q"}, "conversation_id": None}


def fails(wire: Any, response_id: str, error: dict[str, Any], **fields: Any) -> list[Event]:
    facts: list[Event] = wire.ends(response_id, "failed", status_details={"type": "failed", "error": error}, **fields)
    return facts


def errors(facts: list[Event]) -> list[str]:
    return [fact.error.message for fact in facts if isinstance(fact, AgentErrorEvent)]


def begins_beside(wire: Any, response_id: str) -> list[Event]:
    facts: list[Event] = wire.hears("response.created", response={"id": response_id, **SAYING})
    return facts


def asks(wire: Any, instructions: str = "") -> None:
    """The application wants an answer, and that is sent."""
    wire.does(RequestResponseCommand(instructions=instructions))
    assert types(wire) == ["response.create"]


def types(wire: Any) -> list[str]:
    return [frame["type"] for frame in wire.sends()]


# --- failures that may pass ---


def test_a_rate_limit_is_waited_for_twice_before_anybody_is_told(wire: Any) -> None:
    wire.begins("r0")
    for number, pause_s in enumerate(RATE_LIMIT_PAUSES_S):
        [end] = fails(wire, f"r{number}", RATE_LIMIT)
        assert isinstance(end, ResponseFinishedEvent)
        assert wire.protocol.wants_to_send
        assert wire.protocol.deadline() is None or wire.protocol.deadline() <= wire.now + pause_s
        wire.passes(pause_s - 0.1)
        assert wire.sends() == []
        wire.passes(0.1)
        assert wire.sends() == [PLAIN]
        wire.begins(f"r{number + 1}")

    assert errors(fails(wire, "r2", RATE_LIMIT)) == ["Rate limit reached."]
    wire.passes(60)
    assert wire.sends() == []
    assert wire.protocol.retried_responses == 2


def test_the_time_that_the_message_states_is_kept(wire: Any) -> None:
    wire.begins("r0")
    fails(wire, "r0", {**RATE_LIMIT, "message": "Rate limit reached. Please try again in 7.5s."})
    assert wire.protocol.deadline() == wire.now + 7.5
    wire.passes(7.4)
    assert wire.sends() == []
    wire.passes(0.2)
    assert wire.sends() == [PLAIN]


def test_an_error_of_the_servers_own_is_tried_again_at_once_and_once(wire: Any) -> None:
    asks(wire, "Sing.")
    [request] = [{"type": "response.create", "response": {"instructions": "Sing.", "tool_choice": "auto"}}]
    wire.begins("r1")
    assert errors(fails(wire, "r1", SERVER_ERROR)) == []
    assert wire.sends() == [request], "what was asked for, and nothing less"
    wire.begins("r2")
    assert errors(fails(wire, "r2", SERVER_ERROR)) == ["The server had an error."]
    assert wire.sends() == []


def test_after_an_answer_the_tries_are_counted_anew(wire: Any) -> None:
    for number in range(3):
        asks(wire)
        wire.begins(f"failed{number}")
        assert errors(fails(wire, f"failed{number}", SERVER_ERROR)) == []
        assert wire.sends() == [PLAIN]
        wire.begins(f"good{number}")
        wire.ends(f"good{number}")


def test_a_user_who_speaks_meanwhile_gets_the_answer_to_that(wire: Any) -> None:
    wire.begins("r1")
    fails(wire, "r1", RATE_LIMIT)
    wire.user_starts()
    wire.user_stops()
    wire.begins("r2")
    wire.ends("r2")
    wire.passes(60)
    assert wire.sends() == []


def test_a_failure_while_the_user_speaks_is_reported(wire: Any) -> None:
    wire.begins("r1")
    wire.user_starts()
    assert errors(fails(wire, "r1", SERVER_ERROR)) == ["The server had an error."]
    wire.user_stops()
    wire.passes(OWN_RESPONSE_WAIT_S)
    assert wire.sends() == []


def test_what_the_application_asked_for_waits_for_the_user(wire: Any) -> None:
    asks(wire, "Sing.")
    wire.begins("r1")
    wire.user_starts()
    assert errors(fails(wire, "r1", SERVER_ERROR)) == []
    wire.user_stops()
    assert wire.sends() == []
    wire.begins("r2")
    wire.ends("r2")
    [again] = wire.sends()
    assert again["response"]["instructions"] == "Sing."


def test_an_answer_that_broke_off_is_gone_on_with(wire: Any) -> None:
    asks(wire, "Sing.")
    wire.begins("r1")
    wire.speaks("r1", "i1", 100)
    fails(wire, "r1", SERVER_ERROR)
    [again] = wire.sends()
    assert again["response"]["instructions"].startswith("Sing.\nYour last answer broke off.")


def test_words_of_ours_are_said_again_unless_they_have_begun(wire: Any) -> None:
    wire.does(SayCommand(text="Hello.", request_id="q"))
    [request] = wire.sends()
    begins_beside(wire, "s1")
    fails(wire, "s1", SERVER_ERROR)
    assert wire.sends() == [request]
    begins_beside(wire, "s2")
    wire.ends("s2")
    [told] = wire.sends()
    assert told["item"]["content"][0]["text"] == "Hello.", "once"

    wire.does(SayCommand(text="Hello.", request_id="q"))
    wire.sends()
    begins_beside(wire, "s3")
    wire.speaks("s3", "i1", 100)
    assert errors(fails(wire, "s3", SERVER_ERROR)) == ["The server had an error."]
    assert wire.sends() == []


def test_a_holding_phrase_is_not_worth_a_second_try(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.does(SpeakHoldingPhraseCommand(call_id="c1", phrase="One moment."))
    wire.ends("r1")
    assert types(wire) == ["response.create"]
    wire.begins("r2")
    assert errors(fails(wire, "r2", SERVER_ERROR)) == ["The server had an error."]
    assert wire.sends() == []


def test_a_response_with_a_call_is_answered_when_the_call_is(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    assert errors(fails(wire, "r1", SERVER_ERROR)) == ["The server had an error."]
    assert wire.sends() == []


def test_what_was_interrupted_is_not_asked_for_again(wire: Any) -> None:
    asks(wire)
    wire.begins("r1")
    wire.does(AssistantInterruptedEvent(by_program=True))
    assert types(wire) == ["response.cancel"]
    assert errors(fails(wire, "r1", SERVER_ERROR)) == ["The server had an error."]
    assert wire.sends() == []


def test_what_nobody_wants_any_more_is_not_asked_for_twice(wire: Any) -> None:
    asks(wire)
    wire.user_starts()
    wire.begins("r1")
    assert types(wire) == ["response.cancel"]
    assert errors(fails(wire, "r1", SERVER_ERROR)) == ["The server had an error."]
    wire.user_stops()
    wire.passes(OWN_RESPONSE_WAIT_S)
    assert wire.sends() == [PLAIN]


@pytest.mark.parametrize("known", [False, True])
def test_responses_of_others_are_not_ours_to_ask_for(wire: Any, known: bool) -> None:
    if known:
        wire.hears("response.created", response={"id": "x1", **SAYING})
    assert errors(fails(wire, "x1", SERVER_ERROR)) == ["The server had an error."]
    assert wire.sends() == []


@pytest.mark.parametrize(
    ("status", "details"),
    [
        ("incomplete", {"reason": "content_filter", "error": SERVER_ERROR}),
        ("incomplete", {"reason": "max_output_tokens"}),
        ("failed", {"type": "failed"}),
        ("failed", {"error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "No."}}),
    ],
)
def test_what_would_end_like_that_again_is_left_alone(wire: Any, status: str, details: dict[str, Any]) -> None:
    asks(wire)
    wire.begins("r1")
    facts = wire.ends("r1", status, status_details=details)
    assert len(errors(facts)) == (details.get("reason") != "max_output_tokens")
    wire.passes(60)
    assert wire.sends() == []


def test_a_new_session_is_told_what_was_to_be_asked_again(wire: Any) -> None:
    asks(wire)
    wire.begins("r1")
    fails(wire, "r1", {**RATE_LIMIT, "message": "Please try again in 15s."})
    wire.protocol.connection_lost()
    wire.protocol.restart()
    assert types(wire) == ["session.update", "response.create"]


# --- requests that the server sees late, because the network was held up ---


def test_an_answer_that_seemed_to_be_there_begins_while_the_user_speaks(wire: Any) -> None:
    """A message's request hangs in the network while the server answers the user by itself."""
    wire.does(SendMessageCommand(text="Hello."))
    assert types(wire) == ["conversation.item.create", "response.create"]
    wire.user_starts("u1")
    wire.user_stops("u1")
    wire.begins("own")  # taken for ours
    wire.user_starts("u2")
    wire.ends("own", "cancelled")

    assert wire.begins("late") == [], "nobody is to hear it"
    assert wire.sends() == [{"type": "response.cancel", "response_id": "late"}]
    assert wire.speaks("late", "i1", 100) == []
    wire.ends("late", "cancelled")
    wire.user_stops("u2")
    wire.passes(OWN_RESPONSE_WAIT_S)
    assert wire.sends() == [PLAIN], "the message is still to be answered"


def test_a_request_that_was_made_twice_begins_while_the_user_speaks(wire: Any) -> None:
    asks(wire)
    wire.passes(15)
    assert wire.sends() == [PLAIN]
    [bark] = wire.protocol.facts()
    assert isinstance(bark, WatchdogFiredEvent)
    wire.user_starts()
    for response_id in ("first", "second"):
        assert wire.begins(response_id) == []
        assert wire.sends() == [{"type": "response.cancel", "response_id": response_id}]
        wire.ends(response_id, "cancelled")
    wire.user_stops()
    wire.passes(OWN_RESPONSE_WAIT_S)
    assert wire.sends() == [PLAIN], "once"


def test_words_of_ours_begin_late_while_the_user_speaks(wire: Any) -> None:
    wire.does(SayCommand(text="Hello.", request_id="q"))
    wire.sends()
    wire.hears("response.created", response={"id": "own", "conversation_id": "c"})
    wire.user_starts()
    wire.ends("own", "cancelled")
    assert begins_beside(wire, "late") == []
    assert wire.sends() == [{"type": "response.cancel", "response_id": "late"}]
    wire.ends("late", "cancelled")
    wire.user_stops()
    wire.passes(OWN_RESPONSE_WAIT_S)
    [again] = wire.sends()
    assert again["response"]["metadata"] == {"rtvoice_request": "q"}


def test_words_of_ours_begin_late_while_another_answer_runs(wire: Any) -> None:
    wire.does(SayCommand(text="Hello.", request_id="q"))
    wire.sends()
    wire.hears("response.created", response={"id": "own", "conversation_id": "c"})
    wire.ends("own")
    asks(wire)
    wire.hears("response.created", response={"id": "answer", "conversation_id": "c"})
    assert begins_beside(wire, "late") == []
    assert wire.sends() == [{"type": "response.cancel", "response_id": "late"}]
    wire.ends("late", "cancelled")
    wire.ends("answer")
    [again] = wire.sends()
    assert again["response"]["metadata"] == {"rtvoice_request": "q"}


def test_words_that_wait_already_are_not_said_twice(wire: Any) -> None:
    wire.does(SayCommand(text="Hello.", request_id="q"))
    wire.sends()
    wire.hears("response.created", response={"id": "own", "conversation_id": "c"})
    fails(wire, "own", RATE_LIMIT)  # taken for the words: they are to be said in a moment
    wire.hears("response.created", response={"id": "another", "conversation_id": "c"})
    begins_beside(wire, "late")
    assert wire.sends() == [{"type": "response.cancel", "response_id": "late"}]
    wire.ends("late", "cancelled")
    wire.ends("another")
    assert types(wire) == ["response.create"]
    begins_beside(wire, "s1")
    wire.ends("s1")
    [told] = wire.sends()
    assert told["item"]["content"][0]["text"] == "Hello.", "once"


@pytest.mark.parametrize("fate", ["refused", "failed", "old"])
def test_a_request_whose_fate_is_known_is_not_waited_for(wire: Any, fate: str) -> None:
    asks(wire)
    [event_id] = wire.ids
    wire.user_starts()
    wire.user_stops()
    wire.begins("own")
    wire.ends("own")
    match fate:
        case "refused":
            asks(wire)  # so that it is not the last that seemed to be answered
            assert wire.objects("conversation_already_has_active_response", event_id) == []
            assert wire.begins("r1")
            wire.ends("r1")
        case "failed":
            assert errors(wire.objects("strange", event_id, message="No.")) == ["No."]
        case _:
            wire.passes(IN_DOUBT_S)
            wire.sends()
    wire.user_starts()
    [begun] = [fact for fact in wire.begins("r2") if isinstance(fact, ResponseStartedEvent)]
    assert begun.response_id == "r2", "the server has not told that the user has finished"
