"""Watches that an answer begins, and that it goes on: for each, something mild is tried once, then all is given up."""

from dataclasses import dataclass
from typing import Literal

from rtvoice.settings import WatchdogPolicy


@dataclass(frozen=True, slots=True)
class Overdue:
    """Something did not come.

    Attributes:
        watchdog: The answer as such, or progress of a response that has begun.
        waited_s: For how long.
        action: What is to be done.
    """

    watchdog: Literal["answer", "response"]
    waited_s: float
    action: Literal["retry", "reconnect"]


class ResponseWatch:
    """Two watchdogs. Pure: no clock of its own.

    Args:
        limits: How long they wait.
    """

    def __init__(self, limits: WatchdogPolicy) -> None:
        self._answer_s = limits.answer_s
        self._response_s = limits.response_s
        self._expected_since: float | None = None
        self._asked_again = False
        self._progress_at: float | None = None  # while a response runs
        self._cancelled = False

    def expect_answer(self, now: float) -> None:
        """Note that the server is asked for a response, or owes one to the user, from now on at the latest."""
        if self._expected_since is None:
            self._expected_since = now

    def expect_nothing(self) -> None:
        """Note that no response need begin: it has, the server has refused it, or the user goes on speaking."""
        self._expected_since = None

    def began(self, now: float) -> None:
        """Note that a response began; others may still be expected."""
        self._asked_again = False
        self._progress_at, self._cancelled = now, False

    def progress(self, now: float) -> None:
        """Note that something came of the response that runs, if any."""
        if self._progress_at is not None and not self._cancelled:
            self._progress_at = now

    def ended(self) -> None:
        """Note that no response runs any more."""
        self._progress_at, self._cancelled = None, False

    def begin_anew(self) -> None:
        """Note that a new session takes over."""
        self.expect_nothing()
        self._asked_again = False
        self.ended()

    def deadline(self) -> float | None:
        """Return when `overdue` should be asked, ``None`` for never."""
        times = (_later(self._expected_since, self._answer_s), _later(self._progress_at, self._response_s))
        return min((time for time in times if time is not None), default=None)

    def overdue(self, now: float) -> Overdue | None:
        """Return what should have come by now, once for each time that its limit has passed."""
        answer_due = _later(self._expected_since, self._answer_s)
        if self._expected_since is not None and answer_due is not None and now >= answer_due:
            waited_s, again = now - self._expected_since, self._asked_again
            self._expected_since, self._asked_again = None, True
            return Overdue("answer", waited_s, "reconnect" if again else "retry")
        response_due = _later(self._progress_at, self._response_s)
        if self._progress_at is not None and response_due is not None and now >= response_due:
            waited_s, again = now - self._progress_at, self._cancelled
            self._progress_at, self._cancelled = now, True
            return Overdue("response", waited_s, "reconnect" if again else "retry")
        return None


def _later(since: float | None, limit_s: float | None) -> float | None:
    return None if since is None or limit_s is None else since + limit_s
