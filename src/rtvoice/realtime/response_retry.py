"""Responses that fail for a reason that may pass: how soon, and how often, they are asked for again."""

import re
from typing import Final

from rtvoice.events.facts import AgentError

RATE_LIMIT_PAUSES_S: Final = (1.0, 4.0)
"""How long to wait each time the rate limit was exceeded, if the server does not say; then it is given up."""
LONGEST_PAUSE_S: Final = 20.0
"""A server that wants us to wait for longer has the user told at once."""

_RATE_LIMIT: Final = frozenset({"rate_limit_exceeded", "inference_rate_limit_exceeded"})
# Seen: "Please try again in 1.898s.", "... in 250ms.", "... in 1m26.4s."
_STATED: Final = re.compile(r"try again in (?=\d)(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


class ResponseRetry:
    """Counts failures in a row. Pure: no clock of its own."""

    def __init__(self) -> None:
        self._rate_limited = 0
        self._broken = False

    def pause_s(self, failure: AgentError) -> float | None:
        """Return in how many seconds to ask again after this failure, ``None`` if there is no sense in that."""
        pause_s: float | None = None
        if failure.code in _RATE_LIMIT and self._rate_limited < len(RATE_LIMIT_PAUSES_S):
            stated_s = stated_pause_s(failure.message)
            pause_s = RATE_LIMIT_PAUSES_S[self._rate_limited] if stated_s is None else stated_s
            self._rate_limited += 1
        elif "server_error" in (failure.type, failure.code) and not self._broken:
            pause_s, self._broken = 0.0, True
        if pause_s is None or pause_s > LONGEST_PAUSE_S:
            self.begin_anew()
            return None
        return pause_s

    def begin_anew(self) -> None:
        """Note that a response was completed, or that there is nobody any more to wait for one."""
        self._rate_limited, self._broken = 0, False


def stated_pause_s(message: str) -> float | None:
    """Return how many seconds to wait an error message asks for, ``None`` if it does not."""
    found = _STATED.search(message)
    if found is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds + milliseconds / 1000
