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

from rtvoice.realtime.response_watch import Overdue, ResponseWatch
from rtvoice.settings import WatchdogPolicy

logger = logging.getLogger(__name__)

OWN_RESPONSE_WAIT_S: Final = 4.0
"""How long after the user's turn the server may take to open its own response before we stop waiting for it."""
REFUSED_WAIT_S: Final = 1.0
"""Pause before asking again when the server says that a response runs which it never announced."""
SPEECH_SILENCE_S: Final = 300.0
"""How long the server may say nothing at all while the user speaks before we take the user's turn as over."""
WAITING_PHRASES: Final = 16
"""Holding phrases that may wait; further ones are not taken."""
WAITING_SAYINGS: Final = 100
"""Words of the application's own that may wait; further ones are not taken."""
WAITING_INSTRUCTIONS: Final = 32
"""Sentences that one request may collect while it waits; beyond it the oldest are dropped."""
IN_DOUBT: Final = 16
"""Requests that seemed to be settled, and may still be on their way."""
IN_DOUBT_S: Final = 60.0
"""How long they may be: by then a network that is held up has let them through, or was given up."""


class Purpose(Enum):
    """What a request is for."""

    HOLDING = auto()
    """A phrase while a tool runs: worthless once the user speaks."""
    ANSWER = auto()
    """Let the model go on: after tool outputs, a message, an image."""
    SAYING = auto()
    """Words of the application's own, beside the conversation."""
    RESUMING = auto()
    """Take up the thread after a lost connection: worthless once the user speaks."""


class Beginning(Enum):
    """What is to be done about a response that the server reports as begun."""

    WELCOME = auto()
    """Nothing: it may speak."""
    UNWANTED = auto()
    """Cancel it: we asked for it, but the user has begun to speak in the meantime. The request waits again."""
    REPEATED = auto()
    """Ignore the report: it was reported before."""


@dataclass(slots=True, eq=False)
class ResponseRequest:
    """Something that the assistant is to say.

    Attributes:
        purpose: What it is for.
        instructions: Sentences added to the session's instructions; for a holding request, the phrases.
        about: Number of the last item of ours that it is about (see `SentItems`), 0 for none. A response
            that the server opens by itself after it has acknowledged that item makes the request superfluous.
        request_id: Of words to say, by what the application knows them.
        group: Holding requests of one group (the calling response) become one.
        call_ids: Of a holding request, the calls whose outputs wait for it.
    """

    purpose: Purpose
    instructions: list[str] = field(default_factory=list)
    about: int = 0
    request_id: str | None = None
    group: str = ""
    call_ids: list[str] = field(default_factory=list)

    @property
    def is_fleeting(self) -> bool:
        """Whether it is worthless once the user speaks."""
        return self.purpose in (Purpose.HOLDING, Purpose.RESUMING)

    def merge(self, other: "ResponseRequest") -> None:
        """Take over what another request wants, without repeating a sentence."""
        self.instructions += [text for text in other.instructions if text not in self.instructions]
        self.about = max(self.about, other.about)
        self.call_ids += other.call_ids
        if len(self.instructions) > WAITING_INSTRUCTIONS:
            logger.warning(
                "More than %d instructions wait for a response: the oldest are dropped", WAITING_INSTRUCTIONS
            )
            del self.instructions[:-WAITING_INSTRUCTIONS]

    def merges_with(self, other: "ResponseRequest") -> bool:
        """Whether one response can serve both."""
        alike = self.purpose is other.purpose and self.group == other.group
        return alike and self.purpose is not Purpose.SAYING


@dataclass(slots=True)
class _Sent:
    """A request that was sent.

    Attributes:
        sent_at: When that was.
        response_id: The response that seems to answer it.
        covered: Whether it need not be asked for again: the response that began next answers it even if that was the
            server's own, or it waits already.
    """

    request: ResponseRequest
    event_id: str
    sent_at: float
    response_id: str | None = None
    covered: bool = False


class ResponseArbiter:
    """Decides when which request may be sent.

    Args:
        server_responds: Whether the server opens a response by itself when a user's turn ends.
        limits: How long a response may take to begin, and to make progress.

    Attributes:
        deadline_moved: Whether `deadline` may be earlier than when it was last asked.
    """

    def __init__(self, *, server_responds: bool, limits: WatchdogPolicy | None = None) -> None:
        self._server_responds = server_responds
        self._watch = ResponseWatch(limits or WatchdogPolicy())
        self.deadline_moved = False
        self._queue: deque[ResponseRequest] = deque()  # never two that merge
        self._answering: str | None = None
        self._saying: str | None = None
        self._past: deque[str] = deque(maxlen=16)
        self._beside: deque[str] = deque(maxlen=16)  # responses of others, or given up, that may still run
        self._sent: _Sent | None = None  # not yet answered
        self._begun: _Sent | None = None  # the last one that seemed to be answered, in case its refusal comes late
        self._in_doubt: deque[_Sent] = deque(maxlen=IN_DOUBT)  # seem settled, may still begin
        self._user_speaks = False
        self._turn_is_unanswered = False  # the user's, which the server answers by itself
        self._own_response_until: float | None = None  # others wait for that, but not for ever
        self._retry_at: float | None = None
        self._heard_at = 0.0
        self._acknowledges_items = False
        self._acknowledged = 0

    @property
    def answering(self) -> str | None:
        """The response that is running in the conversation, as far as we know."""
        return self._answering

    @property
    def saying(self) -> str | None:
        """The response that says words of ours beside the conversation; the server may answer at the same time."""
        return self._saying

    @property
    def active(self) -> str | None:
        """The response that is running, as far as we know; if two are, the one in the conversation."""
        return self._answering if self._answering is not None else self._saying

    def is_running(self, response_id: str) -> bool:
        """Whether this response is running, as far as we know."""
        return response_id in (self._answering, self._saying)

    @property
    def running(self) -> list[str]:
        """The responses that are running, as far as we know; the one in the conversation first."""
        return [response_id for response_id in (self._answering, self._saying) if response_id is not None]

    @property
    def line_in_use(self) -> bool:
        """Whether a response is running or asked for."""
        return self.active is not None or self._sent is not None

    @property
    def asked_for(self) -> str | None:
        """The name of the words that were asked for, if nothing has begun since."""
        return self._sent.request.request_id if self._sent is not None else None

    @property
    def user_speaks(self) -> bool:
        """Whether the user is speaking."""
        return self._user_speaks

    @property
    def awaits_own_response(self) -> bool:
        """Whether the server is to answer the user by itself, and has not begun."""
        return self._turn_is_unanswered

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return len(self._queue)

    @property
    def answer_waits(self) -> bool:
        """Whether an answer is among them."""
        return any(request.purpose is Purpose.ANSWER for request in self._queue)

    # --- what we want ---

    def request(self, request: ResponseRequest) -> bool:
        """Ask for a response; `take` gives it out when it may be sent, merged with all that it can serve.

        Returns:
            Whether it was accepted; phrases and sayings can be too many.
        """
        for waiting in self._queue:
            if waiting.merges_with(request):
                waiting.merge(request)
                return True
        if request.purpose is Purpose.HOLDING and len(self._queue) >= WAITING_PHRASES:
            return False
        if request.purpose is Purpose.SAYING and len(self._queue) >= WAITING_SAYINGS:
            logger.warning("%d sayings wait for their turn: a further one is dropped", WAITING_SAYINGS)
            return False
        self._queue.append(request)
        return True

    def take(self) -> ResponseRequest | None:
        """Return the next request if it may be sent now; the caller must send it and call `sent`."""
        held_back = self._own_response_until is not None or self._retry_at is not None
        if not self._queue or self.line_in_use or self._user_speaks or held_back:
            return None
        return self._queue.popleft()

    def sent(self, request: ResponseRequest, event_id: str, now: float) -> None:
        """Note that a request was sent: the line is in use until it is answered or refused."""
        self._sent, self._begun = _Sent(request, event_id, now), None
        self._watch.expect_answer(now)
        self.deadline_moved = True

    def request_for(self, response_id: str) -> ResponseRequest | None:
        """Return what would bring a running response once more, ``None`` if that is not ours to ask for."""
        if self._begun is not None and self._begun.response_id == response_id:
            return self._begun.request
        return ResponseRequest(Purpose.RESUMING) if response_id == self._answering else None

    def ask_again(self, request: ResponseRequest, pause_s: float) -> bool:
        """Queue a request whose response has failed, and hold everything back for a moment.

        Returns:
            Whether it is still wanted: not if the user has begun to speak, and gets another answer.
        """
        if request.purpose is Purpose.HOLDING or (request.is_fleeting and self._user_speaks):
            return False
        if self._begun is not None and self._begun.request is request:
            self._begun.covered = True  # it waits already
        self._put_back(request)
        self._retry_at = self._heard_at + pause_s
        self.deadline_moved = True
        return True

    # --- time ---

    def catch_up(self, now: float) -> Overdue | None:
        """Note that time has passed: give up waiting for what should have come by now.

        An answer that does not begin is asked for once more.

        Returns:
            What is overdue. To cancel a response that makes no progress, or to reconnect, is the caller's business.
        """
        if self._own_response_until is not None and now >= self._own_response_until:
            self._own_response_until = None
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        while self._in_doubt and now >= self._in_doubt[0].sent_at + IN_DOUBT_S:
            self._in_doubt.popleft()
        if self._user_speaks and now >= self._heard_at + SPEECH_SILENCE_S:
            logger.warning("The user has spoken for %.0f s without a word from the server; going on", SPEECH_SILENCE_S)
            self._user_speaks = False
        overdue = self._watch.overdue(now)
        if overdue is not None and overdue.watchdog == "answer":
            if self._sent is not None:
                self._put_back(self._sent.request)
                self._sent.covered = True
                self._in_doubt.append(self._sent)
                self._sent = None
            elif self._turn_is_unanswered:
                self.request(ResponseRequest(Purpose.ANSWER))
        return overdue

    def deadline(self) -> float | None:
        """Return when `catch_up` should be called although nothing happens, ``None`` for never."""
        self.deadline_moved = False
        times = [self._own_response_until, self._retry_at] if self._queue else []
        times.append(self._watch.deadline())
        if self._user_speaks:
            times.append(self._heard_at + SPEECH_SILENCE_S)
        return min((time for time in times if time is not None), default=None)

    # --- what the server says ---

    def heard(self, now: float) -> None:
        """Note that the server said something, whatever it was."""
        self._heard_at = now

    def progress(self, now: float) -> None:
        """Note that something came that may be part of the response that runs."""
        self._watch.progress(now)

    def created(self, response_id: str, request_id: str | None = None) -> Beginning:
        """Note that a response began: in the conversation, or with a ``request_id`` beside it."""
        if self.is_running(response_id) or (response_id and response_id in self._past):
            return Beginning.REPEATED
        if request_id is not None:
            self._saying = response_id
        else:
            self._answering = response_id
            self._own_response_until = self._retry_at = None
        beginning = self._judge_beginning(response_id, request_id)
        if request_id is None:
            self._turn_is_unanswered = False
        self._watch.began(self._heard_at)
        self._review_expectations()
        self.deadline_moved = True
        return beginning

    def _judge_beginning(self, response_id: str, request_id: str | None) -> Beginning:
        sent = self._sent
        if sent is None or request_id not in (None, sent.request.request_id):  # not what we asked for last
            late = self._find_in_doubt(request_id) if self._user_speaks else None
            if late is not None:
                self._in_doubt.remove(late)
                return self._call_off(late)
            if request_id is None:
                self._user_speaks = False  # the server only answers when the turn is over
                self._queue = deque(request for request in self._queue if not self._is_covered(request))
            return Beginning.WELCOME
        self._sent = None
        if request_id is None and (self._turn_is_unanswered or sent.request.purpose is Purpose.SAYING):
            self._in_doubt.append(sent)  # this may be the server's own, or an answer to something before
        if self._user_speaks:
            return self._call_off(sent)
        sent.response_id, sent.covered = response_id, self._is_covered(sent.request)
        self._begun = sent
        return Beginning.WELCOME

    def _call_off(self, sent: _Sent) -> Beginning:
        """Let nothing come of a request that the user has spoken over; it waits again, if it is still wanted."""
        if not sent.covered and not sent.request.is_fleeting:
            self._put_back(sent.request)
        sent.covered = True
        return Beginning.UNWANTED

    def _find_in_doubt(self, request_id: str | None) -> _Sent | None:
        """Return the oldest request that seemed to be settled, and that a response may be the answer to."""
        return next((sent for sent in self._in_doubt if sent.request.request_id == request_id), None)

    def _settle(self, sent: _Sent) -> None:
        """Note that it is known what became of a request."""
        if sent in self._in_doubt:
            self._in_doubt.remove(sent)

    def began_beside(self, response_id: str, request_id: str | None) -> None:
        """Note that a response began beside the conversation while another runs; if it is ours, it waits again."""
        self._beside.append(response_id)
        sent = self._sent or self._begun  # the other response may have been taken for this one
        if sent is None or sent.request.request_id != request_id:
            sent = self._find_in_doubt(request_id)
        if request_id is None or sent is None:
            return
        self._settle(sent)
        if not sent.covered:
            self._put_back(sent.request)
        if sent is self._sent or sent is self._begun:
            self._sent = self._begun = None
            self._review_expectations()

    def done(self, response_id: str) -> bool:
        """Note that a response is over; return ``False`` if that was known."""
        if response_id == self._answering:
            self._answering = None
        elif response_id == self._saying:
            self._saying = None
        elif response_id in self._past:
            return False
        elif self.active is None and response_id not in self._beside:
            self._sent = None  # it was ours, and its beginning never reached us
        self._past.append(response_id)
        self._retry_at = None
        if self.active is None:
            self._watch.ended()
            self._review_expectations()
        return True

    def refused(self, event_id: str | None, now: float) -> bool:
        """Note that the server found another response active.

        Args:
            event_id: The refused request's; ``None`` if the server did not say.
            now: The current time.

        Returns:
            Whether the refusal was for one of our requests; unless the other response answers it too, it
            waits again.
        """
        if self._sent is not None and event_id in (None, self._sent.event_id):
            sent, self._sent = self._sent, None
        elif self._begun is not None and event_id in (None, self._begun.event_id):
            sent, self._begun = self._begun, None  # the response that began was the server's own
        else:
            late = next((sent for sent in self._in_doubt if sent.event_id == event_id), None)
            if late is None:
                return False
            sent = late
        self._settle(sent)
        if not sent.covered and not (self._user_speaks and sent.request.is_fleeting):
            self._put_back(sent.request)
        if self._answering is None:
            self._retry_at = now + REFUSED_WAIT_S
            self.deadline_moved = True
        else:
            self._review_expectations()
        return True

    def failed(self, event_id: str | None) -> None:
        """Note that the server rejected one of our events for another reason; a request is then given up."""
        self._in_doubt = deque((sent for sent in self._in_doubt if sent.event_id != event_id), maxlen=IN_DOUBT)
        if self._sent is not None and event_id == self._sent.event_id:
            self._sent = None
        elif event_id is None and self._sent is None:
            self._turn_is_unanswered = False  # the server has said what is wrong
        self._review_expectations()

    def items_are_acknowledged(self, number: int) -> None:
        """Note that the server has put our items up to this number into the conversation, 0 if not ours."""
        self._acknowledges_items = True
        self._acknowledged = max(self._acknowledged, number)

    def user_started(self) -> list[str]:
        """Note that the user began to speak.

        Returns:
            The calls whose holding phrase is dropped for it.
        """
        self._user_speaks = self.deadline_moved = True
        self._turn_is_unanswered = False
        self._own_response_until = None
        self._review_expectations()
        return self._drop([request for request in self._queue if request.is_fleeting])

    def user_stopped(self, now: float) -> None:
        """Note that the user's turn is over."""
        if self._user_speaks and self._server_responds:
            self._turn_is_unanswered = True
            self._own_response_until = now + OWN_RESPONSE_WAIT_S
            self._watch.expect_answer(now)
            self.deadline_moved = True
        self._user_speaks = False

    def turn_is_judged(self) -> None:
        """Note that it is decided whether the user's turn is answered: if so, that is asked for by `request`."""
        self._turn_is_unanswered = False
        self._own_response_until = None
        self.deadline_moved = True
        self._review_expectations()

    def connection_lost(self, items_sent: int) -> list[str]:
        """Note that the session is gone: nobody speaks, nothing runs, and what was asked for in vain waits again.

        Args:
            items_sent: The number of the last item of ours: the next session begins with all of them.

        Returns:
            The calls whose holding phrase is dropped for it.
        """
        if self._sent is not None and self._sent.request.purpose is not Purpose.HOLDING:
            self._put_back(self._sent.request)
        self._past += self.running
        self._answering = self._saying = self._sent = self._begun = None
        self._user_speaks = self._turn_is_unanswered = False
        self.begin_anew(items_sent)
        return self._drop([request for request in self._queue if request.purpose is Purpose.HOLDING])

    def begin_anew(self, items_sent: int) -> None:
        """Note that a new session takes over, which knows all items of ours up to this number."""
        self._own_response_until = self._retry_at = None
        self._in_doubt.clear()
        self._acknowledged = items_sent
        self._watch.begin_anew()

    def drop_holding(self, group: str) -> list[str]:
        """Drop the holding phrases of a response that was cancelled; return their calls."""
        return self._drop([r for r in self._queue if r.purpose is Purpose.HOLDING and r.group == group])

    def _drop(self, requests: list[ResponseRequest]) -> list[str]:
        for request in requests:
            self._queue.remove(request)
        return [call_id for request in requests for call_id in request.call_ids]

    def _review_expectations(self) -> None:
        """Stop expecting a response if nobody is owed one any more."""
        if self._sent is None and not self._turn_is_unanswered:
            self._watch.expect_nothing()

    def _put_back(self, request: ResponseRequest) -> None:
        """Queue a request that was sent in vain: it comes first, with what has come to wait behind it."""
        for waiting in [waiting for waiting in self._queue if request.merges_with(waiting)]:
            request.merge(waiting)
            self._queue.remove(waiting)
        self._queue.appendleft(request)

    def _is_covered(self, request: ResponseRequest) -> bool:
        """Whether a response that begins now of the server's own accord answers this request.

        Such a response sees every item that was in the conversation when it began, and the server
        acknowledges items in the same stream. A server that acknowledges none is taken to have seen all.
        """
        seen = request.about <= self._acknowledged or not self._acknowledges_items
        return request.purpose is Purpose.RESUMING or (seen and not request.instructions)
