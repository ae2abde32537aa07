"""Responses on the wire: those that begin and end, those that are asked for, those that are cut short."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    Event,
    ResponseStartedEvent,
    SayCommand,
    SpeakProgressCommand,
    WatchdogFiredEvent,
)
from rtvoice.realtime import client_events, refusals, server_events
from rtvoice.realtime.assistant_output import AssistantOutput
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.response_retry import ResponseRetry
from rtvoice.realtime.response_watch import Overdue
from rtvoice.realtime.responses import Beginning, Purpose, ResponseArbiter, ResponseRequest
from rtvoice.realtime.sayings import Sayings
from rtvoice.realtime.session_settings import SessionSettings
from rtvoice.realtime.tool_dialogue import ToolDialogue

logger = logging.getLogger(__name__)

REMEMBERED: Final = 32
"""Responses that were interrupted, or called off, and are remembered in case more comes of them."""

_GO_ON_AFTER_BREAK: Final = (
    "Your last answer broke off. Go on where it stopped, without repeating what was said; if nothing of it was said, "
    "answer what the user said last."
)
_VERBATIM: Final = 'Say this to the user now, word for word in your usual voice, and nothing else: "{}"'


class ResponseDialogue:
    """What is said to the server, and what it says, about responses.

    Args:
        emit: Takes the facts.
        outbox: Takes the frames.
        arbiter: Decides when a response is asked for.
        settings: What the session is to be.
        output: What the assistant says.
        sayings: Words of the application's own.
        tools: Learns of calls, and when responses end.

    Attributes:
        unheard: Responses with sound that is not heard to its end.
        given_up: Why it is of no use to wait for the server any longer.
        completed: Number of responses that the server has completed.
        retried: Number of responses that failed, and were asked for once more.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        outbox: Outbox,
        arbiter: ResponseArbiter,
        settings: SessionSettings,
        output: AssistantOutput,
        sayings: Sayings,
        tools: ToolDialogue,
    ) -> None:
        self.unheard: set[str] = set()
        self.given_up: str | None = None
        self.completed = self.retried = 0
        self._completed_at_stall = -1  # what that was when a response was cancelled for want of progress
        self._emit = emit
        self._outbox = outbox
        self._arbiter = arbiter
        self._settings = settings
        self._output = output
        self._sayings = sayings
        self._tools = tools
        self._interrupted: deque[str] = deque(maxlen=REMEMBERED)
        self._unwanted: deque[str] = deque(maxlen=REMEMBERED)  # in the conversation, that nobody shall hear
        self._stalled: set[str] = set()  # responses that we cancelled because nothing came of them
        self._retry = ResponseRetry()

    def begin_anew(self) -> None:
        """Note that a new session takes over."""
        self.given_up = None
        self._stalled.clear()
        self._retry.begin_anew()

    # --- from the server ---

    def created(self, event: server_events.ResponseCreated) -> None:
        """Take in that a response began."""
        response_id = event.response.id
        saying = (event.response.metadata or {}).get(client_events.SAY_KEY)
        request_id = saying if isinstance(saying, str) else None
        if request_id is None and not event.response.conversation_id:
            request_id = self._arbiter.asked_for  # not every server gives metadata back
        beside = request_id is not None or event.response.conversation_id is None
        if beside and self._arbiter.active is not None and not self._arbiter.is_running(response_id):
            self._begins_beside(response_id, request_id)
            return
        lost = self._arbiter.answering
        beginning = self._arbiter.created(response_id, request_id)
        if beginning is Beginning.REPEATED:
            return
        if lost is not None:  # its end never reached us
            self._end(server_events.Response(id=lost, status="incomplete"))
        self._tools.finish_others(response_id)
        if beginning is Beginning.UNWANTED:
            if not beside:
                self._unwanted.append(response_id)
            self._output.mute(response_id)
            self._cancel(response_id)
            return
        if request_id is not None:
            self._sayings.began(response_id, request_id)
            self._output.is_beside_conversation(response_id)
        self._emit(ResponseStartedEvent(response_id=response_id, request_id=request_id))

    def _begins_beside(self, response_id: str, request_id: str | None) -> None:
        """Let nobody hear a response beside the conversation that runs at the same time as another.

        It is words of ours that crossed a response of the server's own, and wait again, or it belongs to
        another client that is attached to the session.
        """
        self._output.mute(response_id)
        self._arbiter.began_beside(response_id, request_id)
        if request_id is not None:
            self._cancel(response_id)

    def done(self, event: server_events.ResponseDone) -> None:
        """Take in that a response is over."""
        response = event.response
        response.id = response.id or self._arbiter.active or ""
        for item in response.output:
            if item is not None and item.type == "function_call" and item.status != "incomplete":
                self._tools.report(response.id, item.id, item.call_id, item.name, item.arguments)
        self._end(response)

    def _end(self, response: server_events.Response) -> None:
        request = self._arbiter.request_for(response.id)
        if not self._arbiter.done(response.id):
            return
        self._tools.finish_response(response.id, cancelled=response.status == "cancelled")
        failure = refusals.response_failure(response)
        if failure is not None and not self._ask_again(response, request, failure):
            self._emit(AgentErrorEvent(failure, failure.event_id))
        if response.status == "completed":
            self.completed += 1
            self._retry.begin_anew()
        self._sayings.ended(response.id, completed=response.status == "completed")
        self._output.finish(response)
        if response.id in self._unwanted and response.status == "completed":
            self._take_back(response)  # it was too late to cancel it
        if response.id in self._stalled:
            self._stalled.discard(response.id)
            if response.status == "cancelled" and response.id not in self._sayings and not self._tools.open_calls:
                self._arbiter.request(ResponseRequest(Purpose.RESUMING, instructions=[_GO_ON_AFTER_BREAK]))

    def _ask_again(
        self, response: server_events.Response, request: ResponseRequest | None, failure: AgentError
    ) -> bool:
        """Ask once more for a response that has failed, if that may help; return whether that is so."""
        if response.status != "failed" or request is None:
            return False
        if response.id in self._unwanted or response.id in self._interrupted:
            return False
        if any(call.response_id == response.id for call in self._tools.open_calls):
            return False  # their outputs are answered
        if self._output.has_begun(response.id):
            if request.purpose is Purpose.SAYING:
                return False  # its beginning would be said twice
            request = ResponseRequest(Purpose.RESUMING, instructions=[*request.instructions, _GO_ON_AFTER_BREAK])
        pause_s = self._retry.pause_s(failure)
        if pause_s is None or not self._arbiter.ask_again(request, pause_s):
            return False
        self.retried += 1
        logger.warning("A response has failed (%s); it is asked for again in %.1f s", failure.message, pause_s)
        return True

    def audio_delta(self, event: server_events.AudioDelta) -> None:
        """Take in sound."""
        if self._output.audio_delta(event) and event.response_id not in self._interrupted:
            self.unheard.add(event.response_id)

    def _take_back(self, response: server_events.Response) -> None:
        """Take what nobody has heard out of the conversation."""
        for item in response.output:
            if item is not None and item.type == "message":
                self._outbox.put(client_events.delete_item(self._outbox.new_id("delete"), item.id))

    def output_item(self, event: server_events.OutputItem) -> None:
        """Take in an item of a response."""
        item = event.item
        self._sayings.item(event.response_id, item.id)
        if item.type == "function_call":
            self._tools.announce(item)
            if item.status == "completed":
                self._tools.report(event.response_id, item.id, item.call_id, item.name, item.arguments)

    def function_call_done(self, event: server_events.FunctionCallDone) -> None:
        """Take in a call, whole."""
        self._tools.report(event.response_id, event.item_id, event.call_id, event.name, event.arguments)

    # --- from the other parts ---

    def interrupted(self, event: AssistantInterruptedEvent) -> None:
        """Stop what is running, because nobody hears it any more."""
        self._interrupted += self._arbiter.running
        self.unheard.clear()
        # The server cancels by itself when it hears the user; asking again would only earn an error.
        # It does not cancel what is said beside the conversation.
        saying = self._arbiter.saying
        if saying is not None:
            self._cancel(saying)
        by_us = event.by_program or (
            self._settings.current.judges_turns and self._arbiter.answering in event.response_ids
        )
        if by_us and self._arbiter.line_in_use and (saying is None or self._arbiter.answering is not None):
            self._cancel(None)

    def can_be_heard(self, event: AssistantStartedRespondingEvent) -> None:
        """Take in that a response is being played."""
        self.unheard.add(event.response_id)

    def was_heard(self, event: AssistantStoppedRespondingEvent) -> None:
        """Take in that a response was heard to its end, or cut."""
        self.unheard.discard(event.response_id)

    def speak_progress(self, command: SpeakProgressCommand) -> None:
        """Ask for a phrase, if nobody else wants to speak."""
        arbiter = self._arbiter
        if arbiter.line_in_use or arbiter.waiting or arbiter.user_speaks or arbiter.awaits_own_response:
            logger.debug("The line is in use: progress is not worth waiting for")
            return
        self._arbiter.request(ResponseRequest(Purpose.HOLDING, instructions=[command.phrase]))

    def say(self, command: SayCommand) -> None:
        """Ask for words of the application's own."""
        self._sayings.request(command.request_id, command.text)
        self._arbiter.request(
            ResponseRequest(Purpose.SAYING, instructions=[command.text], request_id=command.request_id)
        )

    # --- to the server ---

    def use_free_line(self, now: float) -> None:
        """If no response is running, do what had to wait for that; nothing more if all was given up."""
        if self.given_up is not None:
            return
        overdue = self._arbiter.catch_up(now)
        if overdue is not None:
            self._mend(overdue)
        if not self._arbiter.line_in_use:
            self._settings.send_speed()
        request = self._arbiter.take()
        if request is not None:
            self._create_response(request, now)

    def _mend(self, overdue: Overdue) -> None:
        """Do something about a server that does not answer, or does not go on."""
        action = overdue.action
        if overdue.watchdog == "response":
            if self._completed_at_stall == self.completed:
                action = "reconnect"  # the one before was cancelled, too: it would go on like that
            self._completed_at_stall = self.completed
        self._emit(WatchdogFiredEvent(watchdog=overdue.watchdog, waited_s=overdue.waited_s, action=action))
        what = "begun to answer" if overdue.watchdog == "answer" else "gone on with its answer"
        if action == "reconnect":
            self.given_up = f"The server has not {what} for {overdue.waited_s:.0f} s, although it was asked again."
        elif overdue.watchdog == "response":
            for response_id in self._arbiter.running:
                self._stalled.add(response_id)
                self._cancel(response_id)

    def _create_response(self, request: ResponseRequest, now: float) -> None:
        sentences = request.instructions
        is_answer = request.purpose in (Purpose.ANSWER, Purpose.RESUMING)
        if not is_answer:
            sentences = [_VERBATIM.format(" ".join(request.instructions))]
        # Instructions replace the session's for this response: keep persona and language.
        texts = (self._settings.current.instructions, "\n".join(sentences)) if sentences else ()
        instructions = "\n\n".join(text for text in texts if text)
        event_id = self._outbox.new_id("create")
        if request.request_id is not None:
            frame = client_events.say(event_id, instructions, request.request_id)
        elif instructions:
            tool_choice = "auto" if is_answer else "none"
            frame = client_events.response_create(event_id, instructions=instructions, tool_choice=tool_choice)
        else:
            frame = client_events.response_create(event_id)
        self._outbox.put(frame)
        self._arbiter.sent(request, event_id, now)
        self._tools.release(request.call_ids)

    def _cancel(self, response_id: str | None) -> None:
        self._outbox.put(client_events.response_cancel(self._outbox.new_id("cancel"), response_id))
