import pytest

from rtvoice.realtime.response_watch import Overdue, ResponseWatch
from rtvoice.settings import WatchdogPolicy


@pytest.fixture
def watch() -> ResponseWatch:
    return ResponseWatch(WatchdogPolicy(answer_s=10, response_s=20))


def test_an_answer_is_overdue_twice(watch: ResponseWatch) -> None:
    watch.expect_answer(0.0)
    watch.expect_answer(5.0)
    assert watch.deadline() == 10.0
    assert watch.overdue(9.0) is None
    assert watch.overdue(10.0) == Overdue("answer", 10.0, "retry")
    assert watch.overdue(100.0) is None
    watch.expect_answer(100.0)
    assert watch.overdue(110.0) == Overdue("answer", 10.0, "reconnect")


def test_a_response_that_begins_makes_good_for_it(watch: ResponseWatch) -> None:
    watch.expect_answer(0.0)
    watch.overdue(10.0)
    watch.began(11.0)
    watch.ended()
    watch.expect_answer(20.0)
    assert watch.overdue(30.0) == Overdue("answer", 10.0, "retry")


def test_progress_counts_until_all_is_cancelled(watch: ResponseWatch) -> None:
    watch.progress(0.0)
    assert watch.deadline() is None
    watch.began(1.0)
    watch.progress(15.0)
    assert watch.overdue(34.0) is None
    assert watch.overdue(36.0) == Overdue("response", 21.0, "retry")
    watch.progress(40.0)
    assert watch.deadline() == 56.0
    assert watch.overdue(56.0) == Overdue("response", 20.0, "reconnect")
    watch.ended()
    assert watch.deadline() is None


def test_a_new_session_begins_anew(watch: ResponseWatch) -> None:
    watch.expect_answer(0.0)
    watch.overdue(10.0)
    watch.began(10.0)
    watch.begin_anew()
    assert watch.deadline() is None
    watch.expect_answer(20.0)
    assert watch.overdue(30.0) == Overdue("answer", 10.0, "retry")


def test_none_is_for_ever() -> None:
    watch = ResponseWatch(WatchdogPolicy(answer_s=None, response_s=None))
    watch.expect_answer(0.0)
    watch.began(0.0)
    assert watch.deadline() is None
    assert watch.overdue(1e9) is None
