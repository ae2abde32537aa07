"""What was promised about the session as a whole; function calls are in test_tool_dialogue."""

import json
import logging
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest

from rtvoice.errors import AuthenticationFailed, ConnectionFailed, ServerError
from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    CommitUserTurnCommand,
    ConversationItemAddedEvent,
    PlaybackCut,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SayCommand,
    SendMessageCommand,
    SpeakProgressCommand,
    SpeechDetectedEvent,
    UpdateInstructionsCommand,
    UpdateSessionToolsCommand,
    UpdateSpeechSpeedCommand,
    UpdateToolChoiceCommand,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
    WatchdogFiredEvent,
)
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.conversation_items import REMEMBERED as REMEMBERED_ITEMS
from rtvoice.realtime.protocol import RealtimeProtocol
from rtvoice.realtime.responses import OWN_RESPONSE_WAIT_S, REFUSED_WAIT_S
from rtvoice.realtime.user_turns import MINIMUM_TURN_BYTES
from rtvoice.settings import ConversationSeed, SeedMessage, SemanticVAD, WatchdogPolicy

PLAIN = {"type": "response.create"}
ALREADY_ACTIVE = "conversation_already_has_active_response"
TOOL = {"type": "function", "name": "t", "description": "", "parameters": {"type": "object", "properties": {}}}


def interrupted(*cuts: tuple[str, int], by_program: bool = False) -> AssistantInterruptedEvent:
    return AssistantInterruptedEvent(
        cuts=tuple(
            PlaybackCut(item_id=item_id, content_index=0, played_ms=played_ms, received_ms=10**6)
            for item_id, played_ms in cuts
        ),
        by_program=by_program,
    )


def types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]


# --- at the start ---


def test_configuration_then_seed_and_no_request(connect: Callable[..., Any]) -> None:
    seed = ConversationSeed([SeedMessage.user("hi"), SeedMessage.assistant("hello"), SeedMessage.user("so")])
    wire = connect(instructions="Be brief.", seed=seed)
    assert wire.sends() == []
    wire.protocol.start()

    assert wire.protocol.wants_to_send
    config, *messages = wire.sends()
    assert config["type"] == "session.update"
    assert config["session"]["instructions"] == "Be brief."
    assert messages == [
        {"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": [content]}}
        for role, content in (
            ("user", {"type": "input_text", "text": "hi"}),
            ("assistant", {"type": "output_text", "text": "hello"}),
            ("user", {"type": "input_text", "text": "so"}),
        )
    ]
    assert len(set(wire.ids)) == 4
    assert not wire.protocol.wants_to_send
    wire.hears("session.created", session={})
    wire.hears("session.updated", session={})
    wire.passes(1_000)
    assert wire.sends() == []


def test_what_the_server_says_of_the_session(connect: Callable[..., Any]) -> None:
    wire = connect()
    protocol = wire.protocol
    assert (protocol.session_id, protocol.expires_at, protocol.confirmed, protocol.heard_from_server) == (
        None,
        None,
        False,
        False,
    )

    assert wire.hears("session.created", session={"id": "s", "expires_at": 17}) == []
    assert (protocol.session_id, protocol.expires_at, protocol.confirmed, protocol.heard_from_server) == (
        "s",
        17,
        False,
        True,
    )
    assert wire.hears("session.updated", session={"id": "s"}) == []
    assert (protocol.expires_at, protocol.confirmed) == (17, True)
    wire.hears("session.updated", session={"expires_at": 18})
    assert protocol.expires_at == 18


def test_unknown_frames_mean_nothing(wire: Any) -> None:
    for frame in ("", "[]", b"\xff", '{"type": "rate_limits.updated"}', '{"type": "new.event"}'):
        assert wire.protocol.receive(frame) == []


# --- refused at the start ---


def test_refused_settings_end_the_session(connect: Callable[..., Any]) -> None:
    wire = connect()
    wire.protocol.start()
    wire.sends()
    wire.hears("session.created", session={})

    facts = wire.objects("unknown_parameter", wire.ids[0], "Unknown parameter: 'session.x'.", param="session.x")

    assert facts == []
    assert isinstance(wire.protocol.refusal, ServerError)
    assert "Unknown parameter: 'session.x'." in str(wire.protocol.refusal)
    assert wire.protocol.refusal.code == "unknown_parameter"


def test_settings_may_be_refused_without_saying_what_is_refused(connect: Callable[..., Any]) -> None:
    wire = connect(reasoning_effort="low")
    wire.protocol.start()
    wire.hears("session.created", session={})

    wire.objects(None, None, "Reasoning is not supported for this model.")

    assert isinstance(wire.protocol.refusal, ServerError)


def test_an_early_error_that_names_nothing_is_only_reported(connect: Callable[..., Any]) -> None:
    wire = connect()
    wire.protocol.start()
    wire.hears("session.created", session={})

    facts = wire.objects(None, None, "Something is wrong.")

    assert wire.protocol.refusal is None
    assert [type(fact) for fact in facts] == [AgentErrorEvent]


@pytest.mark.parametrize("fields", [{"type": "server_error"}, {"event_id": "message_7"}])
def test_other_early_errors_are_only_reported(connect: Callable[..., Any], fields: dict[str, str]) -> None:
    wire = connect()
    wire.hears("session.created", session={})

    facts = wire.hears("error", error={"type": "invalid_request_error", "message": "Oh.", **fields})

    assert [type(fact) for fact in facts] == [AgentErrorEvent]
    assert wire.protocol.refusal is None


def test_later_errors_without_an_id_are_only_reported(wire: Any) -> None:
    assert wire.objects("odd", None, "Oh.") == [AgentErrorEvent(AgentError("invalid_request_error", "Oh.", code="odd"))]
    assert wire.protocol.refusal is None


@pytest.mark.parametrize("event_id", [None, "config_1"])
def test_an_expired_ephemeral_key_ends_the_session_at_once(connect: Callable[..., Any], event_id: str | None) -> None:
    wire = connect()
    wire.hears("session.created", session={})

    assert wire.objects(None, event_id, "Ephemeral token expired") == []

    assert isinstance(wire.protocol.refusal, AuthenticationFailed)
    assert "Mint a new client secret" in str(wire.protocol.refusal)


@pytest.mark.parametrize("greeted", [True, False])
@pytest.mark.parametrize(
    ("code", "close_code", "reason", "kind", "advice"),
    [
        ("invalid_api_key", 3000, "invalid_request_error.invalid_api_key", AuthenticationFailed, "OPENAI_API_KEY"),
        ("insufficient_quota", 1013, "insufficient_quota.insufficient_quota", AuthenticationFailed, "billing"),
        ("model_not_found", 4004, "invalid_request_error.model_not_found", ConnectionFailed, "model's name"),
        ("beta_api_shape_disabled", 4000, "x.beta_api_shape_disabled", ConnectionFailed, "OpenAI-Beta"),
        ("missing_model", 4000, "invalid_request_error.missing_model", ConnectionFailed, "model="),
    ],
)
@pytest.mark.parametrize("with_error", [True, False])
def test_fatal_errors_at_the_start_fail_the_connection(
    connect: Callable[..., Any],
    code: str,
    close_code: int,
    reason: str,
    kind: type[Exception],
    advice: str,
    *,
    greeted: bool,
    with_error: bool,
) -> None:
    wire = connect()
    wire.protocol.start()
    if greeted:
        wire.hears("session.created", session={})
    if with_error:
        assert wire.objects(code, None, "Sorry.") == [], "the close says it all"

    failure = wire.protocol.connection_failure(close_code, reason)

    assert wire.protocol.refusal is None
    assert type(failure) is kind
    assert (failure.code, failure.close_code) == (code, close_code)
    assert advice in str(failure)
    assert ("Sorry" in str(failure)) is with_error


def test_a_connection_that_ends_before_the_greeting_failed(connect: Callable[..., Any]) -> None:
    failure = connect().protocol.connection_failure(None, "")

    assert type(failure) is ConnectionFailed
    assert "The connection ended before the session began" in str(failure)


def test_a_connection_that_breaks_after_the_greeting_was_lost(connect: Callable[..., Any]) -> None:
    wire = connect()
    wire.hears("session.created", session={})

    assert wire.protocol.connection_failure(None, "") is None
    assert wire.protocol.connection_failure(1012, "service restart") is None
    assert wire.protocol.connection_failure(4004, "") is not None


def test_a_session_that_stood_was_lost_whatever_the_close_says(wire: Any) -> None:
    assert wire.protocol.connection_failure(4004, "invalid_request_error.model_not_found") is None
    assert wire.protocol.connection_failure(1013, "insufficient_quota.insufficient_quota") is None


# --- errors later on ---


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("response_cancel_not_active", "Cancellation failed: no active response found"),
        ("input_audio_buffer_commit_empty", "Error committing input audio buffer"),
        ("item_truncate_invalid_item_id", "Error truncating item"),
        ("unsupported_content_type", "Only model output audio messages can be truncated"),
        ("invalid_value", "Audio content of 3700ms is already shorter than 3760ms"),
        (ALREADY_ACTIVE, "Conversation already has an active response in progress"),
    ],
)
def test_benign_errors_are_silent(wire: Any, code: str, message: str) -> None:
    assert wire.objects(code, "e", message) == []
    assert wire.protocol.last_error_code is None, "it explains no close"


def test_other_errors_are_reported_with_their_details(wire: Any) -> None:
    facts = wire.objects("cannot_update_voice", "tools_3", "Cannot update.", param="session.audio.output.voice")

    error = AgentError(
        "invalid_request_error",
        "Cannot update.",
        code="cannot_update_voice",
        event_id="tools_3",
        param="session.audio.output.voice",
    )
    assert facts == [AgentErrorEvent(error, "tools_3")]
    assert wire.protocol.last_error_code == "cannot_update_voice"


def test_fatal_errors_later_on_are_reported(wire: Any) -> None:
    [fact] = wire.objects("insufficient_quota", None, "You exceeded your quota.")

    assert fact.error.code == "insufficient_quota"
    assert wire.protocol.refusal is None


def test_the_end_of_the_session_is_left_to_the_close(wire: Any) -> None:
    assert wire.objects("session_expired", None, "Your session hit the maximum duration of 60 minutes.") == []
    assert wire.protocol.last_error_code == "session_expired"


def test_an_old_error_explains_no_later_close(wire: Any) -> None:
    wire.objects("unknown_parameter", "tools_3", "Unknown.")
    assert wire.protocol.last_error_code == "unknown_parameter"
    wire.user_starts()
    assert wire.protocol.last_error_code is None


@pytest.mark.parametrize("error", [None, "nonsense", {}, {"message": None, "code": None}])
def test_an_error_that_says_nothing_is_reported(wire: Any, error: object) -> None:
    facts = wire.hears("error", error=error)

    assert facts == [AgentErrorEvent(AgentError("error", "The server reported an error without saying which."))]


# --- the user ---


def test_the_users_turn(wire: Any) -> None:
    assert wire.user_starts("u1") == [SpeechDetectedEvent(item_id="u1", audio_start_ms=10)]
    assert wire.user_stops("u1") == [
        UserStoppedSpeakingEvent(audio_end_ms=900),
        ConversationItemAddedEvent(item_id="u1", previous_item_id=None, role="user"),
    ]
    transcription = "conversation.item.input_audio_transcription"
    assert wire.hears(f"{transcription}.delta", item_id="u1", delta="Hel") == [
        UserTranscriptChunkReceivedEvent("Hel", item_id="u1")
    ]
    usage = {"type": "duration", "seconds": 2}
    assert wire.hears(f"{transcription}.completed", item_id="u1", transcript="Hello.", usage=usage) == [
        UserTranscriptCompletedEvent("Hello.", "u1", usage=usage)
    ]
    assert wire.hears(f"{transcription}.completed", item_id="u1", transcript="Hello.") == [
        UserTranscriptCompletedEvent("Hello.", "u1")
    ]
    error = {"type": "transcription_error", "code": "audio_unintelligible", "message": "No."}
    assert wire.hears(f"{transcription}.failed", item_id="u1", error=error) == [
        UserTranscriptFailedEvent(
            item_id="u1", error=AgentError("transcription_error", "No.", code="audio_unintelligible")
        )
    ]


def test_items_are_placed_once(wire: Any) -> None:
    assert wire.hears("conversation.item.added", previous_item_id="i0", item={"id": "i1", "type": "x"}) == [
        ConversationItemAddedEvent(item_id="i1", previous_item_id="i0", role=None)
    ]
    for kind in ("added", "created", "done"):
        assert wire.hears(f"conversation.item.{kind}", previous_item_id="i0", item={"id": "i1", "type": "x"}) == []
    assert wire.hears("conversation.item.added", item={"type": "message"}) == []


def test_only_so_many_items_are_remembered(wire: Any) -> None:
    for number in range(REMEMBERED_ITEMS + 1):
        wire.adds(f"i{number}", "message", role="assistant")

    assert wire.adds("i1", "message") == []
    assert wire.adds("i0", "message") != []


# --- responses ---


def test_a_response_from_beginning_to_end(wire: Any) -> None:
    assert wire.begins("r1") == [ResponseStartedEvent(response_id="r1")]
    assert wire.protocol.response_active
    assert wire.begins("r1") == [], "said before"
    [audio] = wire.speaks("r1", "i1", 100)
    assert len(audio.pcm) == 4_800
    assert wire.ends("r1", usage={"total_tokens": 5}) == [
        ResponseFinishedEvent(response_id="r1", status="completed", has_audio=True, usage={"total_tokens": 5})
    ]
    assert not wire.protocol.response_active
    assert wire.ends("r1") == [], "said before"


@pytest.mark.parametrize(
    ("status", "details", "error"),
    [
        ("failed", None, AgentError("response_failed", "The response ended as failed.")),
        (
            "failed",
            {"type": "failed", "error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "No."}},
            AgentError("insufficient_quota", "No.", code="insufficient_quota"),
        ),
        (
            "incomplete",
            {"reason": "content_filter", "error": {"message": "No."}},
            AgentError("response_failed", "No."),
        ),
        ("incomplete", {"reason": "max_output_tokens"}, None),
        ("cancelled", {"reason": "turn_detected"}, None),
        ("completed", None, None),
    ],
)
def test_responses_that_fail_are_reported(
    wire: Any, status: str, details: dict[str, Any] | None, error: AgentError | None
) -> None:
    wire.begins("r1")

    *errors, end = wire.ends("r1", status, status_details=details)

    assert errors == ([AgentErrorEvent(error)] if error is not None else [])
    assert (end.status, end.reason) == (status, (details or {}).get("reason"))


def test_text_mode(connect: Callable[..., Any]) -> None:
    wire = connect(modalities=("text",))
    wire.begins("r1")
    facts = wire.hears("response.output_text.delta", response_id="r1", item_id="i1", delta="Hi")
    assert facts[0] == AssistantStartedRespondingEvent(response_id="r1")
    facts = wire.ends("r1")
    assert facts[0] == AssistantStoppedRespondingEvent(response_id="r1")


def test_with_both_modalities_the_transcript_is_the_text(connect: Callable[..., Any]) -> None:
    wire = connect(modalities=("text", "audio"))
    wire.begins("r1")

    facts = wire.hears("response.output_audio_transcript.delta", response_id="r1", item_id="i1", delta="Hi")

    assert [type(fact).__name__ for fact in facts] == [
        "AssistantTranscriptDeltaEvent",
        "AssistantTranscriptChunkReceivedEvent",
    ]


def test_an_end_without_an_id_ends_the_running_response(wire: Any) -> None:
    wire.begins("r1")

    assert wire.hears("response.done", response={"status": "completed"}) == [
        ResponseFinishedEvent(response_id="r1", status="completed")
    ]


# --- a server that stands still ---

ANSWER_S, RESPONSE_S = 15.0, 30.0


def overdue(wire: Any) -> list[tuple[str, float, str]]:
    """What the watchdogs have said."""
    facts = wire.protocol.facts()
    assert all(type(fact) is WatchdogFiredEvent for fact in facts)
    return [(fact.watchdog, fact.waited_s, fact.action) for fact in facts]


def test_a_response_without_progress_is_cancelled_and_taken_up_again(wire: Any) -> None:
    wire.begins("r1")
    wire.passes(RESPONSE_S - 1)
    wire.speaks("r1", "i1", 20)
    wire.passes(RESPONSE_S - 1)
    assert wire.sends() == []
    assert wire.protocol.deadline() == wire.now + 1
    wire.passes(1)

    assert wire.sends() == [{"type": "response.cancel", "response_id": "r1"}]
    assert overdue(wire) == [("response", RESPONSE_S, "retry")]
    wire.ends("r1", "cancelled")
    (resumed,) = wire.sends()
    assert "broke off" in resumed["response"]["instructions"]
    assert wire.protocol.given_up is None


def test_a_second_stall_in_a_row_is_a_reason_to_give_up(wire: Any) -> None:
    said = []
    for number in range(2):
        wire.begins(f"r{number}")
        wire.passes(RESPONSE_S)
        wire.sends()
        said += overdue_of(wire)
        wire.ends(f"r{number}", "cancelled")
        wire.sends()
    assert said == [("response", "retry"), ("response", "reconnect")]
    assert wire.protocol.given_up


def test_a_response_that_completes_after_all_is_not_taken_up_again(wire: Any) -> None:
    wire.begins("r1")
    wire.passes(RESPONSE_S)
    wire.sends()
    wire.ends("r1")
    assert wire.sends() == []


def test_words_of_ours_without_progress_are_not_taken_up_again(wire: Any) -> None:
    wire.does(SayCommand(text="Hello.", request_id="q"))
    wire.sends()
    wire.hears("response.created", response={"id": "s1", "metadata": {"rtvoice_request": "q"}, "conversation_id": None})
    wire.passes(RESPONSE_S)
    assert wire.sends() == [{"type": "response.cancel", "response_id": "s1"}]
    wire.ends("s1", "cancelled")
    assert wire.sends() == []


def test_a_cancelled_response_whose_call_is_running_is_not_taken_up_again(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.passes(RESPONSE_S)
    wire.sends()
    wire.ends("r1", "cancelled")
    assert wire.sends() == []


def test_a_response_that_cannot_be_cancelled_is_a_reason_to_give_up(wire: Any) -> None:
    wire.begins("r1")
    said = []
    for _ in range(3):
        wire.passes(RESPONSE_S)
        wire.user_starts()  # that is no progress
        wire.sends()
        said += overdue_of(wire)

    assert said == [("response", "retry"), ("response", "reconnect")]
    assert wire.protocol.deadline() is None
    assert "gone on with its answer" in str(wire.protocol.given_up)
    wire.protocol.connection_lost()
    wire.protocol.restart()
    assert wire.protocol.given_up is None


def overdue_of(wire: Any) -> list[tuple[str, str]]:
    return [(watchdog, action) for watchdog, _, action in overdue(wire)]


@pytest.mark.parametrize("kind", ["response.function_call_arguments.delta", "response.mcp_call.in_progress"])
def test_what_we_have_no_use_for_is_progress_all_the_same(wire: Any, kind: str) -> None:
    wire.begins("r1")
    wire.passes(RESPONSE_S - 1)
    wire.hears(kind)
    wire.passes(1)
    assert wire.sends() == []


def test_a_turn_that_the_server_does_not_answer_is_answered_on_request(wire: Any) -> None:
    wire.user_starts()
    wire.user_stops()
    assert wire.protocol.deadline() == wire.now + ANSWER_S
    wire.passes(ANSWER_S)

    assert wire.sends() == [PLAIN]
    assert overdue(wire) == [("answer", ANSWER_S, "retry")]
    wire.begins("r1")
    wire.ends("r1")
    wire.passes(3 * ANSWER_S)
    assert wire.sends() == []
    assert overdue(wire) == []


def test_a_server_that_never_answers_is_a_reason_to_give_up(wire: Any) -> None:
    wire.user_starts()
    wire.user_stops()
    for _ in range(3):
        wire.passes(ANSWER_S)
        wire.sends()

    assert overdue_of(wire) == [("answer", "retry"), ("answer", "reconnect")]
    assert "begun to answer" in str(wire.protocol.given_up)


def test_an_error_excuses_the_missing_answer(wire: Any) -> None:
    wire.user_starts()
    wire.user_stops()
    wire.objects("server_error", None, "The server had an error.")
    wire.passes(3 * ANSWER_S)
    assert wire.sends() == []


def test_a_user_who_speaks_on_excuses_the_missing_answer(wire: Any) -> None:
    wire.user_starts()
    wire.user_stops()
    wire.user_starts()
    wire.passes(3 * ANSWER_S)
    assert wire.sends() == []
    assert overdue(wire) == []


def test_words_of_ours_do_not_answer_the_user(wire: Any) -> None:
    wire.user_starts()
    wire.user_stops()
    wire.does(SayCommand(text="Hello.", request_id="q"))
    wire.passes(OWN_RESPONSE_WAIT_S)
    wire.sends()
    wire.hears("response.created", response={"id": "s1", "metadata": {"rtvoice_request": "q"}, "conversation_id": None})
    wire.ends("s1")
    wire.passes(ANSWER_S - OWN_RESPONSE_WAIT_S)
    assert wire.sends()[-1] == PLAIN
    assert overdue_of(wire) == [("answer", "retry")]


def test_a_response_called_off_too_late_is_taken_back(wire: Any) -> None:
    wire.does(RequestResponseCommand())
    wire.sends()
    wire.user_starts()
    wire.begins("r1")
    wire.sends()
    output = [{"id": "a1", "type": "message", "role": "assistant"}, {"id": "f1", "type": "function_call"}, None]
    wire.ends("r1", output=output)
    assert wire.sends() == [{"type": "conversation.item.delete", "item_id": "a1"}]


def test_the_end_of_speech_is_told_whatever_the_arbiter_takes_it_for(wire: Any) -> None:
    wire.user_starts()
    wire.begins("own")  # ours, perhaps, that crossed
    facts = wire.protocol.connection_lost()
    assert UserStoppedSpeakingEvent() in facts
    assert UserStoppedSpeakingEvent() not in wire.protocol.connection_lost()


def test_watchdogs_can_be_switched_off() -> None:
    now = 0.0
    config = SessionConfig(model="m", turn_detection=SemanticVAD())
    protocol = RealtimeProtocol(config, lambda: now, watchdogs=WatchdogPolicy(answer_s=None, response_s=None))
    protocol.send(RequestResponseCommand())
    protocol.frames()
    assert protocol.deadline() is None
    protocol.receive('{"type": "response.created", "response": {"id": "r1"}}')
    now = 1e6
    assert protocol.frames() == []
    assert protocol.facts() == []


# --- one response at a time ---


def test_requests_wait_and_merge(wire: Any) -> None:
    wire.begins("r1")
    wire.does(RequestResponseCommand(), SendMessageCommand(text="hi"), RequestResponseCommand(instructions="Sing."))
    assert types(wire.sends()) == ["conversation.item.create"]
    assert wire.protocol.wants_to_send
    wire.ends("r1")

    assert wire.sends() == [{"type": "response.create", "response": {"instructions": "Sing.", "tool_choice": "auto"}}]
    assert wire.sends() == []


def test_our_own_request_counts_as_active_until_it_is_answered(wire: Any) -> None:
    wire.does(RequestResponseCommand())
    assert wire.sends() == [PLAIN]
    assert wire.protocol.response_active
    wire.does(RequestResponseCommand())
    assert wire.sends() == []
    wire.begins("r1")
    assert wire.sends() == []
    wire.ends("r1")
    assert wire.sends() == [PLAIN]


@pytest.mark.parametrize("says_which", [True, False])
def test_a_refused_request_waits_again_silently(wire: Any, *, says_which: bool) -> None:
    wire.does(RequestResponseCommand(instructions="Sing."))
    [request] = wire.sends()
    [event_id] = wire.ids

    assert wire.objects(ALREADY_ACTIVE, event_id if says_which else None) == []
    assert wire.sends() == []
    assert wire.protocol.deadline() == wire.now + REFUSED_WAIT_S
    wire.passes(REFUSED_WAIT_S)
    assert wire.sends() == [request]


def test_a_request_refused_for_another_reason_is_given_up(wire: Any) -> None:
    wire.does(RequestResponseCommand())
    wire.sends()
    [event_id] = wire.ids

    assert len(wire.objects("invalid_value", event_id, "No.")) == 1
    wire.does(RequestResponseCommand())
    assert wire.sends() == [PLAIN]


def test_an_unanswered_request_is_asked_again_once(wire: Any) -> None:
    wire.does(RequestResponseCommand())
    wire.sends()
    assert wire.protocol.deadline() == wire.now + ANSWER_S
    wire.passes(ANSWER_S)
    assert wire.sends() == [PLAIN]
    wire.passes(ANSWER_S)
    wire.sends()
    assert overdue_of(wire) == [("answer", "retry"), ("answer", "reconnect")]


def test_requests_wait_while_the_user_speaks(wire: Any) -> None:
    wire.user_starts()
    wire.does(RequestResponseCommand(instructions="Sing."), RequestResponseCommand())
    assert wire.sends() == []
    wire.user_stops()
    assert wire.sends() == []
    wire.begins("own")
    wire.ends("own")

    [frame] = wire.sends()
    assert frame["response"]["instructions"] == "Sing."


def test_the_servers_own_response_makes_plain_requests_superfluous(wire: Any) -> None:
    wire.user_starts()
    wire.does(RequestResponseCommand(), SendMessageCommand(text="hi"))
    wire.sends()
    wire.adds("m1", "message", role="user")
    wire.user_stops("u1")
    wire.begins("own")
    wire.ends("own")

    assert wire.sends() == []


def test_a_message_that_the_servers_own_response_cannot_have_seen_is_answered(wire: Any) -> None:
    wire.user_starts()
    wire.does(SendMessageCommand(text="hi"))
    wire.sends()
    wire.user_stops("u1")
    wire.begins("own")
    wire.adds("m1", "message", role="user")
    wire.ends("own")

    assert wire.sends() == [PLAIN]


def test_seeds_are_not_taken_for_messages(connect: Callable[..., Any]) -> None:
    wire = connect(seed=ConversationSeed.from_pairs(("a", "b")))
    wire.protocol.start()
    wire.user_starts()
    wire.does(SendMessageCommand(text="hi"))
    wire.sends()
    wire.adds("seed", "message", role="user")
    wire.adds("seed2", "message", role="assistant")
    wire.user_stops("u1")
    wire.begins("own")
    wire.ends("own")

    assert wire.sends() == [PLAIN]


def test_a_refused_message_is_not_waited_for(wire: Any) -> None:
    wire.does(SendMessageCommand(text="", image_url="nonsense", respond=False))
    wire.sends()
    assert len(wire.objects("invalid_value", wire.ids[0], "No image.")) == 1
    wire.user_starts()
    wire.does(SendMessageCommand(text="hi"))
    wire.sends()
    wire.adds("m2", "message", role="user")
    wire.user_stops("u1")
    wire.begins("own")
    wire.ends("own")

    assert wire.sends() == []


def test_our_response_that_begins_while_the_user_speaks_is_cancelled_and_muted(wire: Any) -> None:
    wire.does(RequestResponseCommand(instructions="Sing."))
    wire.sends()
    wire.user_starts()

    assert wire.begins("r1") == []
    assert wire.sends() == [{"type": "response.cancel", "response_id": "r1"}]
    assert wire.speaks("r1", "i1", 100) == []
    assert wire.ends("r1", "cancelled") == [ResponseFinishedEvent(response_id="r1", status="cancelled")]
    wire.user_stops()
    wire.passes(OWN_RESPONSE_WAIT_S)
    assert types(wire.sends()) == ["response.create"]


def test_without_turn_detection_nobody_waits_for_the_server(connect: Callable[..., Any]) -> None:
    wire = connect(turn_detection=None)
    wire.does(RequestResponseCommand())
    wire.user_starts()
    wire.user_stops()

    assert wire.sends() == [PLAIN]


def test_progress_is_said_at_once_or_never(wire: Any) -> None:
    wire.does(SpeakProgressCommand(phrase="Half done."))
    [frame] = wire.sends()
    assert "Half done." in frame["response"]["instructions"]
    assert frame["response"]["tool_choice"] == "none"

    wire.does(SpeakProgressCommand(phrase="Nearly done."))
    wire.begins("r1")
    wire.ends("r1")
    assert wire.sends() == []
    wire.user_starts()
    wire.does(SpeakProgressCommand(phrase="Nearly done."))
    wire.user_stops()
    wire.passes(OWN_RESPONSE_WAIT_S)
    assert wire.sends() == []


# --- interruptions ---


def test_the_server_cancels_by_itself_when_it_hears_the_user(wire: Any) -> None:
    wire.begins("r1")
    wire.speaks("r1", "i1", 500)
    wire.user_starts()
    wire.does(interrupted(("i1", 200)))

    assert wire.sends() == [
        {"type": "conversation.item.truncate", "item_id": "i1", "content_index": 0, "audio_end_ms": 200}
    ]


def test_a_program_cancels_first_and_truncates_then(wire: Any) -> None:
    wire.begins("r1")
    wire.speaks("r1", "i1", 500)
    wire.does(interrupted(("i1", 200), by_program=True))

    assert types(wire.sends()) == ["response.cancel", "conversation.item.truncate"]


def test_a_program_cancels_a_response_that_was_only_asked_for(wire: Any) -> None:
    wire.does(RequestResponseCommand())
    wire.sends()
    wire.does(interrupted(by_program=True))

    assert wire.sends() == [{"type": "response.cancel"}]


def test_a_program_cancels_nothing_if_nothing_is_active(wire: Any) -> None:
    wire.begins("r1")
    wire.speaks("r1", "i1", 500)
    wire.ends("r1")
    wire.does(interrupted(("i1", 200), by_program=True))

    assert types(wire.sends()) == ["conversation.item.truncate"]


def test_every_item_is_truncated_within_its_audio(wire: Any) -> None:
    wire.begins("r1")
    wire.speaks("r1", "i1", 500)
    wire.speaks("r1", "i2", 33.4)
    wire.does(interrupted(("i1", 9_999), ("i2", -5), ("i3", 10), ("", 10)))

    assert [(frame["item_id"], frame["audio_end_ms"]) for frame in wire.sends()] == [("i1", 500), ("i2", 0)]


# --- settings on the way ---


def test_speed_waits_for_a_free_line_and_the_latest_counts(wire: Any) -> None:
    wire.begins("r1")
    wire.does(UpdateSpeechSpeedCommand(1.1), UpdateSpeechSpeedCommand(1.2))
    assert wire.protocol.wants_to_send
    assert wire.sends() == []
    wire.does(RequestResponseCommand())
    wire.ends("r1")

    speed, request = wire.sends()
    assert speed == {"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"speed": 1.2}}}}
    assert request == PLAIN


def test_speed_is_sent_at_once_on_a_free_line(wire: Any) -> None:
    wire.does(UpdateSpeechSpeedCommand(0.5))

    assert types(wire.sends()) == ["session.update"]
    assert wire.sends() == []


@pytest.mark.parametrize(("meanwhile", "then"), [(None, 0.5), (0.75, 0.75)])
def test_a_speed_that_crosses_the_servers_own_response_is_sent_again(
    wire: Any, meanwhile: float | None, then: float
) -> None:
    wire.does(UpdateSpeechSpeedCommand(0.5))
    wire.sends()
    [event_id] = wire.ids
    wire.begins("own")
    if meanwhile is not None:
        wire.does(UpdateSpeechSpeedCommand(meanwhile))
    assert wire.objects("invalid_value", event_id, "Cannot update speed while a response is in progress.") == []
    wire.ends("own")

    [frame] = wire.sends()
    assert frame["session"]["audio"]["output"]["speed"] == then


def test_a_speed_that_is_refused_on_a_free_line_is_reported(wire: Any) -> None:
    wire.does(UpdateSpeechSpeedCommand(0.5))
    wire.sends()

    assert len(wire.objects("invalid_value", wire.ids[0], "No.")) == 1
    assert wire.sends() == []


def test_updates_of_the_session(connect: Callable[..., Any]) -> None:
    wire = connect(instructions="Old.")
    wire.protocol.start()
    wire.sends()
    wire.does(
        UpdateInstructionsCommand("New."),
        UpdateToolChoiceCommand("required"),
        UpdateSessionToolsCommand([TOOL]),
        RequestResponseCommand(instructions="Sing."),
    )

    *updates, request = wire.sends()
    assert [update["session"] for update in updates] == [
        {"type": "realtime", "instructions": "New."},
        {"type": "realtime", "tool_choice": "required"},
        {"type": "realtime", "tools": [TOOL]},
    ]
    assert request["response"]["instructions"] == "New.\n\nSing."


def test_updates_before_the_beginning_are_part_of_the_first_configuration(connect: Callable[..., Any]) -> None:
    wire = connect(instructions="Old.")
    wire.does(
        UpdateInstructionsCommand("Older."),
        UpdateInstructionsCommand("New."),
        UpdateToolChoiceCommand("required"),
        UpdateSessionToolsCommand([TOOL]),
        UpdateSpeechSpeedCommand(1.2),
    )
    assert wire.sends() == []
    wire.protocol.start()
    (first,) = wire.sends()
    session = first["session"]
    assert (session["instructions"], session["tool_choice"], session["tools"]) == ("New.", "required", [TOOL])
    assert session["audio"]["output"]["speed"] == 1.2


def test_what_was_asked_for_before_sees_the_old_tools(wire: Any) -> None:
    wire.does(RequestResponseCommand(), UpdateSessionToolsCommand([]), RequestResponseCommand())

    assert types(wire.sends()) == ["response.create", "session.update"]


# --- messages, audio, push to talk ---


def test_a_message_with_an_image_then_a_request(wire: Any) -> None:
    wire.does(SendMessageCommand(text="Look.", image_url="data:image/png;base64,AAAA"))

    message, request = wire.sends()
    assert message["item"]["content"] == [
        {"type": "input_text", "text": "Look."},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
    ]
    assert request == PLAIN


def test_a_message_may_ask_for_nothing(wire: Any) -> None:
    wire.does(SendMessageCommand(text="By the way.", respond=False))

    assert types(wire.sends()) == ["conversation.item.create"]


def test_audio(wire: Any) -> None:
    pcm = bytes(range(96)) * 10

    frame = json.loads(wire.protocol.append_audio(pcm))

    assert frame["type"] == "input_audio_buffer.append"
    assert b64decode(frame["audio"]) == pcm
    assert not wire.protocol.wants_to_send, "the caller sends it"


def test_push_to_talk(connect: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    wire = connect(turn_detection=None)
    wire.protocol.append_audio(bytes(MINIMUM_TURN_BYTES - 2))
    with caplog.at_level(logging.INFO):
        wire.does(CommitUserTurnCommand())
    assert wire.sends() == [], "the server would refuse it, and answer nothing"
    assert "less than 100 ms" in caplog.text

    wire.protocol.append_audio(bytes(2))
    wire.does(CommitUserTurnCommand(), CommitUserTurnCommand())
    assert wire.sends() == [{"type": "input_audio_buffer.commit"}, PLAIN]


def test_turn_detection_commits_alone(wire: Any, caplog: pytest.LogCaptureFixture) -> None:
    wire.protocol.append_audio(bytes(MINIMUM_TURN_BYTES))
    wire.does(CommitUserTurnCommand())

    assert wire.sends() == []
    assert "turn detection does it" in caplog.text


def test_progress_is_skipped_while_the_servers_own_answer_is_awaited(wire: Any) -> None:
    wire.user_starts()
    wire.user_stops()
    wire.does(SpeakProgressCommand(phrase="Half of it is done."))
    wire.begins("r1")
    wire.ends("r1")
    wire.passes(10)
    assert wire.sends() == []


def test_words_of_ours_that_the_user_interrupts_before_they_begin_leave_nothing_to_take_back(wire: Any) -> None:
    wire.does(SayCommand(text="Hello.", request_id="q"))
    wire.sends()
    wire.user_starts()
    begun = {"id": "s1", "metadata": {"rtvoice_request": "q"}, "conversation_id": None}
    wire.hears("response.created", response=begun)
    wire.sends()
    wire.ends("s1", output=[{"id": "a1", "type": "message", "role": "assistant"}])
    assert wire.sends() == []
