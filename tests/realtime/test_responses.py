import pytest

from rtvoice.realtime.response_watch import Overdue
from rtvoice.realtime.responses import (
    OWN_RESPONSE_WAIT_S,
    REFUSED_WAIT_S,
    SPEECH_SILENCE_S,
    WAITING_INSTRUCTIONS,
    WAITING_PHRASES,
    WAITING_SAYINGS,
    Beginning,
    Purpose,
    ResponseArbiter,
    ResponseRequest,
)


def answer(*instructions: str, about: int = 0) -> ResponseRequest:
    return ResponseRequest(Purpose.ANSWER, list(instructions), about=about)


def holding(phrase: str, *call_ids: str, group: str = "r1") -> ResponseRequest:
    return ResponseRequest(Purpose.HOLDING, [phrase], group=group, call_ids=list(call_ids))


@pytest.fixture
def arbiter() -> ResponseArbiter:
    arbiter = ResponseArbiter(server_responds=True)
    arbiter.heard(0.0)
    return arbiter


def send(arbiter: ResponseArbiter, event_id: str = "e1", now: float = 0.0) -> ResponseRequest:
    request = arbiter.take()
    assert request is not None
    arbiter.sent(request, event_id, now)
    return request


# --- the gate ---


def test_a_request_is_given_out_when_the_line_is_free(arbiter: ResponseArbiter) -> None:
    request = answer()

    assert arbiter.take() is None
    assert arbiter.request(request)
    assert arbiter.waiting == 1
    assert arbiter.take() is request
    assert arbiter.waiting == 0


def test_the_line_is_in_use_from_the_sending_to_the_end(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer())
    send(arbiter)
    arbiter.request(answer("next"))

    assert arbiter.line_in_use
    assert arbiter.active is None
    assert arbiter.take() is None
    assert arbiter.created("r1") is Beginning.WELCOME
    assert arbiter.active == "r1"
    assert arbiter.take() is None
    assert arbiter.done("r1")
    assert not arbiter.line_in_use
    assert send(arbiter).instructions == ["next"]


def test_a_response_of_the_server_occupies_the_line(arbiter: ResponseArbiter) -> None:
    arbiter.created("r1")
    arbiter.request(answer())

    assert arbiter.take() is None
    arbiter.done("r1")
    assert arbiter.take() is not None


def test_repeated_reports_change_nothing(arbiter: ResponseArbiter) -> None:
    arbiter.created("r1")
    assert arbiter.created("r1") is Beginning.REPEATED
    assert arbiter.done("r1")
    assert not arbiter.done("r1")
    assert arbiter.created("r1") is Beginning.REPEATED
    assert not arbiter.line_in_use


def test_responses_without_ids_come_and_go(arbiter: ResponseArbiter) -> None:
    for _ in range(2):
        assert arbiter.created("") is Beginning.WELCOME
        assert arbiter.line_in_use
        assert arbiter.done("")
        assert not arbiter.line_in_use


def test_the_end_of_another_response_does_not_free_the_line(arbiter: ResponseArbiter) -> None:
    arbiter.created("r1")

    assert arbiter.done("r0")
    assert arbiter.active == "r1"


def test_the_end_of_a_response_whose_beginning_was_lost_answers_the_request(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer())
    send(arbiter)

    assert arbiter.done("r1")
    assert not arbiter.line_in_use


# --- merging ---


def test_requests_merge_with_their_instructions_once_each(arbiter: ResponseArbiter) -> None:
    for request in (answer("a", about=2), answer(), answer("b", "a", about=1)):
        arbiter.request(request)

    request = arbiter.take()

    assert request is not None
    assert request.instructions == ["a", "b"]
    assert request.about == 2
    assert arbiter.waiting == 0


def test_holding_phrases_of_one_response_merge_and_come_before_the_rest(arbiter: ResponseArbiter) -> None:
    arbiter.request(holding("one", "c1"))
    arbiter.request(answer())
    arbiter.request(holding("two", "c2"))
    arbiter.request(holding("other", "c3", group="r2"))

    first = send(arbiter)
    assert (first.instructions, first.call_ids) == (["one", "two"], ["c1", "c2"])
    arbiter.created("s1")
    arbiter.done("s1")
    assert send(arbiter).purpose is Purpose.ANSWER


def test_phrases_that_are_too_many_are_not_taken(arbiter: ResponseArbiter) -> None:
    for number in range(WAITING_PHRASES):
        assert arbiter.request(holding("x", group=f"r{number}"))

    assert not arbiter.request(holding("x", group="one too many"))
    assert arbiter.request(holding("y", group="r0"))
    assert arbiter.request(answer())
    assert arbiter.waiting == WAITING_PHRASES + 1


def test_sayings_that_are_too_many_are_not_taken(arbiter: ResponseArbiter, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(WAITING_SAYINGS):
        assert arbiter.request(ResponseRequest(Purpose.SAYING, ["x"], request_id=str(number)))

    assert not arbiter.request(ResponseRequest(Purpose.SAYING, ["x"], request_id="one too many"))
    assert arbiter.waiting == WAITING_SAYINGS
    assert "a further one is dropped" in caplog.text


def test_instructions_that_are_too_many_are_dropped_oldest_first(
    arbiter: ResponseArbiter, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(WAITING_INSTRUCTIONS + 2):
        arbiter.request(answer(str(number)))

    request = arbiter.take()

    assert request is not None
    assert request.instructions == [str(number) for number in range(2, WAITING_INSTRUCTIONS + 2)]
    assert "oldest are dropped" in caplog.text


# --- the user ---


def test_nothing_is_sent_while_the_user_speaks(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer())

    assert arbiter.user_started() == []
    assert arbiter.user_speaks
    assert arbiter.take() is None


def test_after_the_turn_the_server_gets_its_chance_first(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer())
    arbiter.user_started()
    arbiter.user_stopped(10.0)

    assert arbiter.take() is None
    assert arbiter.deadline() == 10.0 + OWN_RESPONSE_WAIT_S
    arbiter.catch_up(10.0 + OWN_RESPONSE_WAIT_S - 0.1)
    assert arbiter.take() is None
    arbiter.catch_up(10.0 + OWN_RESPONSE_WAIT_S)
    assert arbiter.take() is not None


def test_a_server_that_never_responds_by_itself_is_not_waited_for() -> None:
    arbiter = ResponseArbiter(server_responds=False)
    arbiter.request(answer())
    arbiter.user_started()
    arbiter.user_stopped(10.0)

    assert arbiter.take() is not None


def test_the_end_of_a_turn_counts_once(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer())
    arbiter.user_started()
    arbiter.user_stopped(10.0)
    arbiter.user_stopped(12.0)

    assert arbiter.deadline() == 10.0 + OWN_RESPONSE_WAIT_S


def test_the_servers_own_response_makes_plain_requests_superfluous(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer())
    arbiter.user_started()
    arbiter.user_stopped(0.0)

    assert arbiter.created("r1") is Beginning.WELCOME
    assert arbiter.waiting == 0


def test_instructions_are_kept_for_afterwards(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer("important"))
    arbiter.user_started()
    arbiter.user_stopped(0.0)
    arbiter.created("r1")
    arbiter.done("r1")

    assert send(arbiter).instructions == ["important"]


@pytest.mark.parametrize(("acknowledged", "kept"), [(1, True), (2, False), (3, False), (None, False)])
def test_items_that_the_response_cannot_have_seen_are_kept(
    arbiter: ResponseArbiter, acknowledged: int | None, *, kept: bool
) -> None:
    """``None``: a server that acknowledges nothing at all is taken to have seen everything."""
    arbiter.request(answer(about=2))
    if acknowledged is not None:
        arbiter.items_are_acknowledged(acknowledged)
        arbiter.items_are_acknowledged(0)

    arbiter.created("r1")

    assert arbiter.waiting == int(kept)


def test_the_users_voice_drops_holding_phrases_only(arbiter: ResponseArbiter) -> None:
    arbiter.request(holding("one", "c1", "c2"))
    arbiter.request(holding("two", "c3", group="r2"))
    arbiter.request(answer())

    assert arbiter.user_started() == ["c1", "c2", "c3"]
    assert arbiter.waiting == 1


def test_a_response_of_ours_that_begins_while_the_user_speaks_is_unwanted(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer("a"))
    send(arbiter)
    arbiter.user_started()
    arbiter.request(answer("b"))

    assert arbiter.created("r1") is Beginning.UNWANTED
    assert arbiter.user_speaks
    arbiter.done("r1")
    arbiter.user_stopped(0.0)
    arbiter.catch_up(OWN_RESPONSE_WAIT_S)
    assert send(arbiter).instructions == ["a", "b"]


def test_an_unwanted_holding_phrase_is_not_asked_for_again(arbiter: ResponseArbiter) -> None:
    arbiter.request(holding("one", "c1"))
    send(arbiter)
    arbiter.user_started()

    assert arbiter.created("r1") is Beginning.UNWANTED
    assert arbiter.waiting == 0


def test_phrases_of_a_cancelled_response_are_dropped(arbiter: ResponseArbiter) -> None:
    arbiter.request(holding("one", "c1"))
    arbiter.request(holding("two", "c2", group="r2"))

    assert arbiter.drop_holding("r1") == ["c1"]
    assert arbiter.drop_holding("r1") == []
    assert send(arbiter).instructions == ["two"]


# --- refusals ---


@pytest.mark.parametrize("event_id", ["e1", None])
def test_a_refused_request_waits_for_the_other_response(arbiter: ResponseArbiter, event_id: str | None) -> None:
    arbiter.request(answer("a"))
    send(arbiter)
    arbiter.request(answer("b"))

    assert arbiter.refused(event_id, 0.0)
    assert not arbiter.refused(event_id, 0.0)
    assert arbiter.take() is None
    assert arbiter.deadline() == REFUSED_WAIT_S
    arbiter.catch_up(REFUSED_WAIT_S)
    assert send(arbiter).instructions == ["a", "b"]


def test_the_end_of_the_other_response_ends_the_pause(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer("a"))
    send(arbiter)
    arbiter.refused("e1", 0.0)

    arbiter.done("r0")

    assert arbiter.take() is not None


def test_a_refusal_of_something_else_is_not_ours(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer())
    send(arbiter)

    assert not arbiter.refused("e9", 0.0)
    assert arbiter.line_in_use


@pytest.mark.parametrize("event_id", ["e1", None])
@pytest.mark.parametrize("over", [False, True])
def test_a_refusal_may_come_after_the_other_response_began_or_even_ended(
    arbiter: ResponseArbiter, event_id: str | None, *, over: bool
) -> None:
    arbiter.items_are_acknowledged(1)
    arbiter.request(answer(about=2))
    send(arbiter)
    arbiter.created("r1")  # the server's own, but who can know
    if over:
        arbiter.done("r1")

    assert arbiter.refused(event_id, 5.0)
    arbiter.done("r1")
    arbiter.catch_up(5.0 + REFUSED_WAIT_S)
    assert send(arbiter).about == 2


def test_a_refused_request_that_the_other_response_answers_is_dropped(arbiter: ResponseArbiter) -> None:
    arbiter.items_are_acknowledged(2)
    arbiter.request(answer(about=2))
    send(arbiter)
    arbiter.created("r1")

    assert arbiter.refused("e1", 0.0)
    assert arbiter.waiting == 0


def test_a_refused_holding_phrase_is_dropped_if_the_user_speaks(arbiter: ResponseArbiter) -> None:
    arbiter.request(holding("one", "c1"))
    send(arbiter)
    arbiter.user_started()

    assert arbiter.refused("e1", 0.0)
    assert arbiter.waiting == 0


def test_a_request_that_fails_is_given_up(arbiter: ResponseArbiter) -> None:
    arbiter.failed("e1")
    arbiter.request(answer())
    send(arbiter)

    arbiter.failed("e9")
    assert arbiter.line_in_use
    arbiter.failed("e1")
    assert not arbiter.line_in_use
    assert arbiter.waiting == 0


# --- silence ---


def test_an_unanswered_request_is_asked_again(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer("a"))
    send(arbiter, now=1.0)

    assert arbiter.deadline() == 16.0
    assert arbiter.catch_up(15.0) is None
    assert arbiter.take() is None
    assert arbiter.catch_up(16.0) == Overdue("answer", 15.0, "retry")
    assert send(arbiter, now=17.0).instructions == ["a"]
    assert arbiter.catch_up(32.0) == Overdue("answer", 15.0, "reconnect")


def test_a_request_that_is_refused_over_and_over_is_overdue_all_the_same(arbiter: ResponseArbiter) -> None:
    """The server says that a response runs, and shows none."""
    arbiter.request(answer())
    now, found = 0.0, []
    while now < 40.0:
        overdue = arbiter.catch_up(now)
        found += [overdue.action] if overdue is not None else []
        request = arbiter.take()
        if request is not None:
            arbiter.sent(request, f"e{now}", now)
            arbiter.refused(f"e{now}", now)
        now += 1.0
    assert found == ["retry", "reconnect"]


def test_a_response_without_progress_is_reported(arbiter: ResponseArbiter) -> None:
    arbiter.heard(1.0)
    arbiter.created("r1")
    arbiter.progress(5.0)

    assert arbiter.deadline() == 35.0
    assert arbiter.catch_up(34.0) is None
    assert arbiter.catch_up(35.0) == Overdue("response", 30.0, "retry")
    arbiter.progress(36.0)  # it was cancelled
    assert arbiter.catch_up(65.0) == Overdue("response", 30.0, "reconnect")


def test_somebody_elses_response_does_not_answer_what_we_asked_for(arbiter: ResponseArbiter) -> None:
    arbiter.request(answer())
    send(arbiter, now=0.0)
    arbiter.created("s1", "words of another client")
    arbiter.done("s1")
    assert arbiter.catch_up(15.0) == Overdue("answer", 15.0, "retry")


def test_a_user_who_never_stops_is_taken_to_have_stopped(
    arbiter: ResponseArbiter, caplog: pytest.LogCaptureFixture
) -> None:
    arbiter.request(answer())
    arbiter.user_started()

    assert arbiter.deadline() == SPEECH_SILENCE_S
    arbiter.catch_up(SPEECH_SILENCE_S - 1)
    assert arbiter.user_speaks
    arbiter.catch_up(SPEECH_SILENCE_S)
    assert not arbiter.user_speaks
    assert arbiter.take() is not None
    assert "without a word from the server" in caplog.text


def test_without_anything_under_way_there_is_no_deadline(arbiter: ResponseArbiter) -> None:
    assert arbiter.deadline() is None
    arbiter.user_started()
    arbiter.user_stopped(0.0)
    assert arbiter.deadline() == 15.0, "nothing waits for the server's own response but the user"
    arbiter.request(answer())
    assert arbiter.deadline() == OWN_RESPONSE_WAIT_S
    arbiter.created("own")
    arbiter.done("own")
    assert arbiter.deadline() is None
