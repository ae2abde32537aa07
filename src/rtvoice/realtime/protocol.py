"""The Realtime protocol as a state machine without I/O.

Frames go in by `RealtimeProtocol.receive` and come out as facts; what the other parts say goes in
by `RealtimeProtocol.send`; frames for the socket are fetched by `RealtimeProtocol.frames`. Nothing
here waits, and no frame from the server makes it raise.
"""

import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from rtvoice.errors import RtvoiceError, SessionError
from rtvoice.events import (
    AcceptUserTurnCommand,
    AgentErrorEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    CommitUserTurnCommand,
    DismissUserTurnCommand,
    Event,
    RequestResponseCommand,
    RestoredConversation,
    SayCommand,
    SendMessageCommand,
    SpeakHoldingPhraseCommand,
    SpeakProgressCommand,
    ToolCallFinishedEvent,
    UpdateInstructionsCommand,
    UpdateSessionToolsCommand,
    UpdateSpeechSpeedCommand,
    UpdateToolChoiceCommand,
)
from rtvoice.events.facts import AgentError
from rtvoice.realtime import client_events, refusals, server_events
from rtvoice.realtime.assistant_output import AssistantOutput
from rtvoice.realtime.calls import Call
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.conversation_items import ConversationItems
from rtvoice.realtime.memory import ConversationMemory, Retelling
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.response_dialogue import ResponseDialogue
from rtvoice.realtime.responses import Purpose, ResponseArbiter, ResponseRequest
from rtvoice.realtime.sayings import Sayings
from rtvoice.realtime.sent_items import SentItems
from rtvoice.realtime.session_settings import SessionSettings
from rtvoice.realtime.successor import Successor
from rtvoice.realtime.tool_dialogue import ToolDialogue
from rtvoice.realtime.user_turns import UserTurns
from rtvoice.settings import WatchdogPolicy

logger = logging.getLogger(__name__)

_GO_ON: Final = (
    "The connection was lost for a moment and is restored. If your last answer broke off, go on where it stopped, "
    "without repeating what was said; otherwise answer what the user said last."
)
_ASK_AGAIN: Final = (
    "The connection was lost for a moment and is restored. What the user said last did not arrive: apologise in a few "
    "words and ask the user to say it again."
)
_NO_PROGRESS: Final = frozenset(
    {
        server_events.SessionCreated,
        server_events.SessionUpdated,
        server_events.ErrorReceived,
        server_events.SpeechStarted,
        server_events.SpeechStopped,
        server_events.Committed,
        server_events.UserTranscriptDelta,
        server_events.UserTranscriptCompleted,
        server_events.UserTranscriptFailed,
    }
)
"""Events that are no part of a response."""


class RealtimeProtocol:
    """One Realtime session.

    Args:
        config: What the session is to be.
        clock: Returns the current time in seconds; only differences matter.
        watchdogs: How long the server may take.
        long_calls: Functions that may work for minutes: what others have brought is spoken of before.

    Attributes:
        session_id: The server's id of the session, once known.
        expires_at: When the server will end it, as Unix time, if it said so.
        confirmed: Whether the server has accepted the configuration.
        heard_from_server: Whether any event has arrived that is not an error.
        refusal: The exception that ends the session, when the server refused it or its settings.
        errors: Number of ``error`` events.
    """

    def __init__(
        self,
        config: SessionConfig,
        clock: Callable[[], float],
        *,
        watchdogs: WatchdogPolicy | None = None,
        long_calls: Collection[str] = (),
    ) -> None:
        self.session_id: str | None = None
        self.expires_at: int | None = None
        self.confirmed = False
        self.heard_from_server = False
        self.refusal: RtvoiceError | None = None
        self.errors = 0
        self._last_error: server_events.Error | None = None
        self._established = False  # the server has said more than its greeting
        self._seed = config.seed.messages if config.seed is not None else ()
        self._clock = clock
        self._facts: list[Event] = []
        self._outbox = Outbox()
        self._sent_items = SentItems()
        self._settings = SessionSettings(config, self._outbox)
        self._memory = ConversationMemory(self._seed)
        by_hand = config.turn_detection is None
        self._arbiter = ResponseArbiter(server_responds=not by_hand, limits=watchdogs)
        emit = self._facts.append
        self._items = ConversationItems(emit, self._outbox, self._sent_items, self._memory)
        self._turns = UserTurns(
            emit,
            self._outbox,
            self._arbiter,
            self._items,
            self._memory,
            by_hand=by_hand,
            judged=config.judges_turns,
            codec=config.input_codec,
        )
        self._sayings = Sayings(self._outbox)
        self._output = AssistantOutput(emit, speaks=config.speaks, codec=config.output_codec)
        self._tools = ToolDialogue(emit, self._outbox, self._sent_items, self._arbiter, long_calls=long_calls)
        self._responses = ResponseDialogue(
            emit, self._outbox, self._arbiter, self._settings, self._output, self._sayings, self._tools
        )
        self._receivers: dict[type[Any], Callable[[Any], None]] = {
            server_events.SessionCreated: self._session_created,
            server_events.SessionUpdated: self._session_updated,
            server_events.ErrorReceived: self._error,
            server_events.SpeechStarted: self._speech_started,
            server_events.SpeechStopped: self._speech_stopped,
            server_events.Committed: self._committed,
            server_events.ItemAdded: self._item_added,
            server_events.UserTranscriptDelta: self._turns.transcript_delta,
            server_events.UserTranscriptCompleted: self._turns.transcript_completed,
            server_events.UserTranscriptFailed: self._turns.transcript_failed,
            server_events.ResponseCreated: self._responses.created,
            server_events.ResponseDone: self._responses.done,
            server_events.OutputItem: self._responses.output_item,
            server_events.FunctionCallDone: self._responses.function_call_done,
            server_events.AudioDelta: self._responses.audio_delta,
            server_events.AudioDone: self._output.audio_done,
            server_events.TextDelta: self._output.text_delta,
            server_events.TranscriptDone: self._output.transcript_done,
            server_events.TextDone: self._output.text_done,
        }
        self._senders: dict[type[Any], Callable[[Any], None]] = {
            AssistantInterruptedEvent: self._interrupted,
            AssistantStartedRespondingEvent: self._responses.can_be_heard,
            AssistantStoppedRespondingEvent: self._responses.was_heard,
            ToolCallFinishedEvent: self._tools.tool_finished,
            SpeakHoldingPhraseCommand: self._tools.speak_holding_phrase,
            SpeakProgressCommand: self._responses.speak_progress,
            SendMessageCommand: self._send_message,
            RequestResponseCommand: self._request_response,
            SayCommand: self._responses.say,
            CommitUserTurnCommand: self._commit_user_turn,
            AcceptUserTurnCommand: lambda command: self._turns.judged.accept(command.item_id),
            DismissUserTurnCommand: lambda command: self._turns.judged.dismiss(command.item_id, forget=command.forget),
            UpdateSpeechSpeedCommand: lambda command: self._settings.hold_speed(command.speed),
            UpdateInstructionsCommand: lambda command: self._settings.update_instructions(command.instructions),
            UpdateToolChoiceCommand: lambda command: self._settings.update_tool_choice(command.tool_choice),
            UpdateSessionToolsCommand: self._update_tools,
        }

    # --- in and out ---

    def start(self) -> None:
        """Prepare the first frames: the configuration, with the changes that were made to it by now, then the seed."""
        self._settings.send_all()
        for message in self._seed:
            event_id = self._outbox.new_id("seed")
            self._outbox.put(client_events.seed_message(event_id, message.role, message.text))
            if message.role == "user":
                self._sent_items.add(event_id)

    def connection_lost(self) -> list[Event]:
        """Take in that the session is gone, and return what follows from that, in order."""
        answering, running = self._arbiter.answering, self._arbiter.running
        unanswered = self._arbiter.awaits_own_response
        self._turns.connection_lost()
        released = self._arbiter.connection_lost(self._sent_items.forget())
        self._output.connection_lost(running)
        self._sayings.connection_lost()
        for response_id in running:
            self._tools.finish_response(response_id, cancelled=True)
        self._tools.release(released)
        calls = any(call.response_id == answering for call in self._tools.open_calls)  # then their outputs go on
        broke_off = answering is not None and not calls
        if self._memory.last_turn_is_lost:
            self._arbiter.request(ResponseRequest(Purpose.RESUMING, instructions=[_ASK_AGAIN]))
        elif broke_off or (answering is None and unanswered and not self._arbiter.answer_waits):
            self._arbiter.request(ResponseRequest(Purpose.RESUMING, instructions=[_GO_ON]))
        return self.facts()

    def restart(self) -> RestoredConversation:
        """Prepare the first frames of a new session: the configuration as it is now, then the conversation so far.

        What was still to be sent to the old one is part of either. Until these frames are sent no audio must be,
        so that the server has no turn to answer before it knows the conversation.

        Returns:
            How much of the conversation the new session knows.
        """
        self._outbox.take()
        self.session_id = self.expires_at = None
        self.confirmed = self.heard_from_server = self._established = False
        self._settings.send_all()
        retelling = self._memory.retell(self._items.new_id)
        for item in retelling.items:
            self._outbox.put(client_events.retold_item(self._outbox.new_id("retell"), item))
        return self._begin_anew(retelling)

    def prepare_successor(self) -> Successor:
        """Return a new session that can take over by `hand_over`; the old one goes on."""
        retelling = self._memory.retell(self._items.new_id)
        frames = [client_events.full_session_update(self._outbox.new_id("config"), self._settings.current)]
        frames += [client_events.retold_item(self._outbox.new_id("retell"), item) for item in retelling.items]
        return Successor(frames, retelling, self.revision)

    def hand_over(self, successor: Successor) -> RestoredConversation | None:
        """Go on in a new session that has been sent its frames, and is ready.

        Returns:
            How much of the conversation it knows; ``None`` if it must not take over: the moment is not quiet, or it
            does not know the latest. Then all stays as it is.
        """
        if not self.quiet or successor.revision != self.revision:
            return None
        self.session_id, self.expires_at = successor.session_id, successor.expires_at
        self._settings.begin()
        self._arbiter.begin_anew(self._sent_items.forget())
        self._sayings.connection_lost()
        self._output.connection_lost(())
        return self._begin_anew(successor.retelling)

    def _begin_anew(self, retelling: Retelling) -> RestoredConversation:
        self.refusal = self._last_error = None
        self._responses.begin_anew()
        self._turns.begin_anew()
        self._memory.adopt(retelling)
        items = len(retelling.items) + self._items.write_again()
        return RestoredConversation(items=items, lost_user_turns=self._memory.lost_user_turns)

    @property
    def revision(self) -> tuple[int, int]:
        """Grows with everything that a new session would have to be told differently."""
        return self._settings.revision, self._memory.revision

    @property
    def quiet(self) -> bool:
        """Whether nothing is going on: nobody speaks or is about to, nothing plays, no call is under way."""
        arbiter = self._arbiter
        return not (
            arbiter.line_in_use
            or arbiter.waiting
            or arbiter.awaits_own_response
            or self._turns.under_way
            or self._responses.unheard
            or self._tools.open_calls
            or self._outbox
            or self._settings.holds_speed
        )

    def receive(self, frame: str | bytes) -> list[Event]:
        """Take in one frame from the server and return what it means, in order."""
        event = server_events.parse(frame)
        now = self._clock()
        if event is None:  # it may be a part of a response that we have no use for
            self._arbiter.progress(now)
            return []
        self._arbiter.heard(now)
        kind = type(event)
        if kind not in _NO_PROGRESS:
            self._arbiter.progress(now)
        if kind is not server_events.ErrorReceived:
            self.heard_from_server = True
            self._last_error = None
            if kind is not server_events.SessionCreated:
                self._established = True
        self._receivers[kind](event)
        return self.facts()

    def facts(self) -> list[Event]:
        """Return what has followed since the last call: `frames`, too, has consequences, when time has passed."""
        facts = self._facts.copy()
        self._facts.clear()
        for fact in facts:
            self._memory.note(fact)
        return facts

    def send(self, event: Event) -> None:
        """Take in a fact or command of another part that concerns the server."""
        self._memory.note(event)
        self._senders[type(event)](event)

    def frames(self) -> list[bytes]:
        """Return the frames that may be sent now, in order."""
        self._responses.use_free_line(self._clock())
        return self._outbox.take()

    def deadline(self) -> float | None:
        """Return the time at which `frames` should be asked again even if nothing happens."""
        return None if self.given_up is not None else self._arbiter.deadline()

    def append_audio(self, pcm: bytes) -> bytes:
        """Return the frame for microphone audio (PCM16, 24 kHz, mono, not empty)."""
        return self._turns.append_audio(pcm)

    @property
    def wants_to_send(self) -> bool:
        """Whether `frames` may have something, or `deadline` may have moved."""
        arbiter = self._arbiter
        return bool(self._outbox) or arbiter.waiting > 0 or arbiter.deadline_moved or self._settings.holds_speed

    def connection_failure(self, close_code: int | None, reason: str) -> SessionError | None:
        """Return the exception for a connection that the server closed before the session stood.

        Args:
            close_code: The WebSocket close code; ``None`` if the connection broke.
            reason: The close reason.

        Returns:
            The exception, or ``None`` if the session had begun: then it was lost, not refused.
        """
        refused = refusals.is_refusing_close(self._last_error, close_code, reason)
        if self.heard_from_server and (self._established or not refused):
            return None
        return refusals.close_refusal(self._last_error, close_code, reason)

    def is_final(self, close_code: int | None, reason: str) -> bool:
        """Return whether a close means that connecting again cannot help: a bad key, for example."""
        return refusals.is_refusing_close(self._last_error, close_code, reason)

    @property
    def last_error_code(self) -> str | None:
        """Code of the last ``error`` event that was not harmless, if nothing came after it: it may explain a close."""
        return self._last_error.code if self._last_error else None

    @property
    def given_up(self) -> str | None:
        """Why the connection is of no use any more, although it is open."""
        return self._responses.given_up

    @property
    def completed_responses(self) -> int:
        """Number of responses that the server has completed."""
        return self._responses.completed

    @property
    def retried_responses(self) -> int:
        """Number of responses that have failed, and were asked for once more."""
        return self._responses.retried

    @property
    def response_active(self) -> bool:
        """Whether the server is generating a response, or was asked to."""
        return self._arbiter.line_in_use

    @property
    def open_calls(self) -> list[Call]:
        """Function calls that have no output yet."""
        return self._tools.open_calls

    # --- from the server: session and errors ---

    def _session_created(self, event: server_events.SessionCreated) -> None:
        self.session_id = event.session.id
        self.expires_at = event.session.expires_at

    def _session_updated(self, event: server_events.SessionUpdated) -> None:
        self.confirmed = True
        self.session_id = event.session.id or self.session_id
        self.expires_at = event.session.expires_at or self.expires_at

    def _error(self, event: server_events.ErrorReceived) -> None:
        error = event.error
        self.errors += 1
        if error.code == refusals.ALREADY_ACTIVE:
            if self._arbiter.refused(error.event_id, self._clock()):
                logger.debug("A response was already running; the request waits")
            return
        if refusals.is_benign(error):
            logger.debug("The server found a request superfluous: %s", error.code)
            return
        if self._arbiter.line_in_use and self._settings.speed_came_too_late(error.event_id):
            return  # the server began to speak before it got there
        self._last_error = error
        self._arbiter.failed(error.event_id)
        self._items.refuse(error.event_id)
        self._settings.refuse(error.event_id)
        if refusals.is_token_expired(error) and not self._established:
            self.refusal = refusals.close_refusal(error, None, "")
        elif refusals.is_refusal(error.code) and not self._established:
            logger.debug("The server refuses the session: %s", error.code)  # it closes next, see connection_failure
        elif self._is_about_config(error):
            self.refusal = refusals.settings_refusal(error)
        elif error.code != refusals.SESSION_EXPIRED:  # that, too, is followed by a close that names it
            self._report(refusals.as_agent_error(error))

    def _is_about_config(self, error: server_events.Error) -> bool:
        """Whether the server refused the configuration: it may do so without saying what it refuses."""
        if error.event_id is None:
            # Azure's gpt-realtime-1.5 refuses reasoning like that, without naming the parameter.
            named = (error.param or "").startswith("session") or self._settings.current.reasoning_effort is not None
            return error.type == "invalid_request_error" and named and not self._established
        return error.event_id.startswith("config_")

    def _report(self, error: AgentError) -> None:
        self._facts.append(AgentErrorEvent(error, error.event_id))

    # --- from the server: the user and the conversation ---

    def _speech_started(self, event: server_events.SpeechStarted) -> None:
        self._tools.release(self._turns.speech_started(event))

    def _speech_stopped(self, event: server_events.SpeechStopped) -> None:
        self._turns.speech_stopped(event, self._clock())

    def _committed(self, event: server_events.Committed) -> None:
        self._turns.committed(event, self._clock())

    def _item_added(self, event: server_events.ItemAdded) -> None:
        if event.item.type == "function_call":
            self._tools.announce(event.item)
        self._arbiter.items_are_acknowledged(self._items.added(event))

    # --- from the other parts ---

    def _interrupted(self, event: AssistantInterruptedEvent) -> None:
        self._responses.interrupted(event)
        for cut in event.cuts:
            self._sayings.was_cut(cut)
            self._correct(cut.item_id)
            audio_end_ms = self._output.truncation_point(cut.item_id, cut.content_index, cut.played_ms)
            if audio_end_ms is not None:
                event_id = self._outbox.new_id("truncate")
                self._outbox.put(client_events.truncate(event_id, cut.item_id, cut.content_index, audio_end_ms))

    def _correct(self, item_id: str) -> None:
        """Replace an item of a session before this one by what was heard of it after all."""
        correction = self._memory.correct(item_id, self._items.new_id)
        if correction is None:
            return
        self._outbox.put(client_events.delete_item(self._outbox.new_id("delete"), correction.outdated_id))
        if correction.item is not None:
            event_id = self._outbox.new_id("retell")
            self._outbox.put(client_events.retold_item(event_id, correction.item, correction.previous_item_id))

    def _send_message(self, command: SendMessageCommand) -> None:
        number = self._items.write(command)
        if command.respond:
            self._arbiter.request(ResponseRequest(Purpose.ANSWER, about=number))

    def _request_response(self, command: RequestResponseCommand) -> None:
        instructions = [command.instructions] if command.instructions else []
        self._arbiter.request(ResponseRequest(Purpose.ANSWER, instructions=instructions))

    def _commit_user_turn(self, _: CommitUserTurnCommand) -> None:
        if self._turns.commit():
            self._arbiter.request(ResponseRequest(Purpose.ANSWER))

    def _update_tools(self, command: UpdateSessionToolsCommand) -> None:
        self._responses.use_free_line(self._clock())  # what was asked for before still sees the old tools
        self._settings.update_tools(client_events.tool_schemas(command.tools))
