"""The response arbiter: at most one response at a time, and nothing said twice.

The service refuses ``response.create`` while a response is running, opens responses by itself when
a user's turn ends, and interrupts them when the user speaks. Everything that wants the assistant to
speak therefore asks here; requests wait, merge, or turn out to be superfluous. Pure: no I/O, no
clock of its own, no wire format.
"""

import logging
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

logger = logging.getLogger(__name__)

OWN_RESPONSE_WAIT_S: Final = 4.0
"""How long after the user's turn the server may take to open its own response before we stop waiting for it."""
ANSWER_WAIT_S: Final = 15.0
"""How long a request may stay unanswered before it is asked again."""
REFUSED_WAIT_S: Final = 1.0
"""Pause before asking again when the server says that a response runs which it never announced."""


class Purpose(Enum):
    """What a request is for."""

    HOLDING = auto()
    """A phrase while a tool runs: worthless once the user speaks."""
    ANSWER = auto()
    """Let the model go on: after tool outputs, a message, an image."""


@dataclass(slots=True)
class ResponseRequest:
    """Something that the assistant is to say.

    Attributes:
        purpose: What it is for.
        instructions: Sentences added to the session's instructions; for a holding request, the phrases.
        call_ids: The tool calls that it is about.
        unseen: What the server must have acknowledged for a response of its own to make this request
            superfluous (call ids of outputs, tokens of messages).
        group: Holding requests of one group (the calling response) become one.
    """

    purpose: Purpose
    instructions: list[str] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)
    group: str = ""

    def merge(self, other: "ResponseRequest") -> None:
        """Take over what another request wants, without repeating a sentence."""
        self.instructions += [text for text in other.instructions if text not in self.instructions]
        self.call_ids += other.call_ids
        self.unseen |= other.unseen

    def merges_with(self, other: "ResponseRequest") -> bool:
        """Whether one response can serve both."""
        return self.purpose is other.purpose and self.group == other.group


class ResponseArbiter:
    """Decides when which request may be sent.

    Args:
        server_responds: Whether the server opens a response by itself when a user's turn ends.
    """

    def __init__(self, *, server_responds: bool) -> None:
        self._server_responds = server_responds
        self._queue: deque[ResponseRequest] = deque()
        self._active: str | None = None
        self._sent: ResponseRequest | None = None
        self._sent_id: str | None = None
        self._sent_at = 0.0
        self._answered: ResponseRequest | None = None  # the last one, in case its refusal comes late
        self._answered_id: str | None = None
        self._past: deque[str] = deque(maxlen=16)
        self._user_speaks = False
        self._own_response_until: float | None = None
        self._retry_at: float | None = None
        self._server_acknowledges = False

    @property
    def active(self) -> str | None:
        """The response that is running, as far as we know."""
        return self._active

    @property
    def line_in_use(self) -> bool:
        """Whether a response is running or asked for."""
        return self._active is not None or self._sent is not None

    @property
    def user_speaks(self) -> bool:
        """Whether the user is speaking."""
        return self._user_speaks

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return len(self._queue)

    # --- what we want ---

    def request(self, request: ResponseRequest) -> None:
        """Ask for a response; `take` gives it out when it may be sent."""
        self._queue.append(request)

    def take(self, now: float) -> ResponseRequest | None:
        """Return the next request if it may be sent now, merged with all that it can serve.

        The caller must send it and call `sent`.
        """
        self._expire(now)
        if not self._queue or self.line_in_use or self._user_speaks:
            return None
        if self._own_response_until is not None or self._retry_at is not None:
            return None
        request = self._queue.popleft()
        for other in [other for other in self._queue if request.merges_with(other)]:
            request.merge(other)
            self._queue.remove(other)
        return request

    def sent(self, request: ResponseRequest, event_id: str, now: float) -> None:
        """Note that a request was sent: the line is in use until it is answered or refused."""
        self._sent, self._sent_id, self._sent_at = request, event_id, now

    def deadline(self) -> float | None:
        """Return when `take` should be asked again although nothing happened, ``None`` for never."""
        times = [self._own_response_until, self._retry_at] if self._queue else []
        if self._sent is not None:
            times.append(self._sent_at + ANSWER_WAIT_S)
        return min((time for time in times if time is not None), default=None)

    # --- what the server says ---

    def created(self, response_id: str) -> bool:
        """Note that a response began in the conversation.

        Returns:
            Whether it should be cancelled: it is one that we asked for, but the user has begun to
            speak in the meantime. The request waits again.
        """
        self._active = response_id
        self._own_response_until = self._retry_at = None
        if self._sent is None:
            self._user_speaks = False  # the server only answers when the turn is over
            self._drop_superfluous()
            return False
        request = self._answered = self._sent
        self._answered_id = self._sent_id
        self._sent = self._sent_id = None
        if not self._user_speaks:
            return False
        self._answered = self._answered_id = None
        if request.purpose is Purpose.ANSWER:
            self._queue.appendleft(request)
        return True

    def done(self, response_id: str) -> None:
        """Note that a response is over."""
        if response_id in self._past:
            return
        self._past.append(response_id)
        if self._active is None and self._sent is not None:
            self._sent = self._sent_id = None  # its beginning never reached us
        elif self._active == response_id:
            self._active = None
        self._answered = self._answered_id = None

    def refused(self, event_id: str | None, now: float) -> bool:
        """Note that the server found another response active.

        Args:
            event_id: The refused request's; ``None`` if the server did not say.
            now: The current time.

        Returns:
            Whether the refusal was for one of our requests, which now waits again.
        """
        if self._sent is not None and event_id in (None, self._sent_id):
            self._queue.appendleft(self._sent)
            self._sent = self._sent_id = None
        elif self._answered is not None and event_id == self._answered_id:
            self._queue.appendleft(self._answered)  # the response that began was the server's own
            self._answered = self._answered_id = None
        else:
            return False
        if self._active is None:
            self._retry_at = now + REFUSED_WAIT_S
        return True

    def failed(self, event_id: str | None) -> ResponseRequest | None:
        """Note that the server rejected a request for another reason; return it if it was ours."""
        if self._sent is None or event_id != self._sent_id:
            return None
        request = self._sent
        self._sent = self._sent_id = None
        return request

    def acknowledged(self, token: str) -> None:
        """Note that the server has put a tool output or message into the conversation."""
        self._server_acknowledges = True
        for request in self._queue:
            request.unseen.discard(token)

    def user_started(self) -> list[str]:
        """Note that the user began to speak.

        Returns:
            The calls whose holding phrase is dropped for it.
        """
        self._user_speaks = True
        self._own_response_until = None
        holding = [request for request in self._queue if request.purpose is Purpose.HOLDING]
        for request in holding:
            self._queue.remove(request)
        return [call_id for request in holding for call_id in request.call_ids]

    def user_stopped(self, now: float) -> None:
        """Note that the user's turn is over."""
        if self._user_speaks and self._server_responds and not self.line_in_use:
            self._own_response_until = now + OWN_RESPONSE_WAIT_S
        self._user_speaks = False

    def drop_holding(self, group: str) -> list[str]:
        """Drop the holding phrases of a response that was cancelled; return their calls."""
        dropped = [r for r in self._queue if r.purpose is Purpose.HOLDING and r.group == group]
        for request in dropped:
            self._queue.remove(request)
        return [call_id for request in dropped for call_id in request.call_ids]

    def _drop_superfluous(self) -> None:
        """Drop what the response that the server opened by itself already answers.

        It sees every item that was in the conversation when it began, and the server acknowledges
        items in the same stream. A server that acknowledges none is taken to have seen them all.
        """
        self._queue = deque(
            request for request in self._queue if request.instructions or (request.unseen and self._server_acknowledges)
        )

    def _expire(self, now: float) -> None:
        if self._own_response_until is not None and now >= self._own_response_until:
            self._own_response_until = None
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        if self._sent is not None and now >= self._sent_at + ANSWER_WAIT_S:
            logger.warning("The server did not answer a response.create for %.0f s; asking again", ANSWER_WAIT_S)
            self._queue.appendleft(self._sent)
            self._sent = self._sent_id = None
