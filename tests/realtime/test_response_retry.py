import pytest

from rtvoice.events.facts import AgentError
from rtvoice.realtime.response_retry import LONGEST_PAUSE_S, RATE_LIMIT_PAUSES_S, ResponseRetry, stated_pause_s

BUSY = "inference_rate_limit_exceeded"
RATE_LIMIT = AgentError("tokens", "Rate limit reached.", code="rate_limit_exceeded")
SERVER_ERROR = AgentError("server_error", "The server had an error.")


def in_s(when: str) -> AgentError:
    return AgentError("tokens", f"Rate limit reached. Please try again in {when}.", code=BUSY)


@pytest.mark.parametrize(
    ("when", "seconds"),
    [("20s", 20.0), ("1.898s", 1.898), ("250ms", 0.25), ("1m26.4s", 86.4), ("2h5m0s", 7_500.0), ("6m", 360.0)],
)
def test_times_that_messages_state(when: str, seconds: float) -> None:
    assert stated_pause_s(in_s(when).message) == pytest.approx(seconds)


@pytest.mark.parametrize("message", ["", "Rate limit reached.", "Please try again in a moment.", "try again in s"])
def test_messages_that_state_no_time(message: str) -> None:
    assert stated_pause_s(message) is None


def test_a_rate_limit_is_waited_for_a_little_longer_each_time_and_then_no_more() -> None:
    retry = ResponseRetry()
    pauses = [retry.pause_s(RATE_LIMIT) for _ in range(3)]
    assert pauses == [*RATE_LIMIT_PAUSES_S, None]
    assert retry.pause_s(RATE_LIMIT) == RATE_LIMIT_PAUSES_S[0], "somebody asks for something else"


def test_a_stated_time_is_kept_unless_it_is_long() -> None:
    retry = ResponseRetry()
    assert retry.pause_s(in_s("2.5s")) == 2.5
    assert retry.pause_s(in_s(f"{LONGEST_PAUSE_S + 1:.0f}s")) is None


@pytest.mark.parametrize("error", [SERVER_ERROR, AgentError("error", "It broke.", code="server_error")])
def test_an_error_of_the_servers_own_gets_one_more_try_at_once(error: AgentError) -> None:
    retry = ResponseRetry()
    assert retry.pause_s(error) == 0.0
    assert retry.pause_s(error) is None


def test_a_completed_response_makes_good_for_what_was_before() -> None:
    retry = ResponseRetry()
    retry.pause_s(SERVER_ERROR)
    retry.pause_s(RATE_LIMIT)
    retry.begin_anew()
    assert (retry.pause_s(SERVER_ERROR), retry.pause_s(RATE_LIMIT)) == (0.0, RATE_LIMIT_PAUSES_S[0])


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_value", None])
def test_what_would_fail_again_is_not_tried(code: str | None) -> None:
    assert ResponseRetry().pause_s(AgentError("insufficient_quota", "No.", code=code)) is None
