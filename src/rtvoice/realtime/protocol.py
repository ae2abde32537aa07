"""The Realtime protocol as a state machine without I/O.

Frames go in by `RealtimeProtocol.receive` and come out as facts; what the other parts say goes in
by `RealtimeProtocol.send`; frames for the socket are fetched by `RealtimeProtocol.frames`. Nothing
here waits, and no frame from the server makes it raise.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from rtvoice.errors import RtvoiceError, SessionError
from rtvoice.events import (
    AgentErrorEvent,
    AssistantInterruptedEvent,
    CommitUserTurnCommand,
    ConversationItemAddedEvent,
    Event,
    RequestResponseCommand,
    ResponseStartedEvent,
    RestoredConversation,
    SayCommand,
    SendMessageCommand,
    SpeakHoldingPhraseCommand,
    SpeakProgressCommand,
    SpeechDetectedEvent,
    ToolCallFinishedEvent,
    UpdateInstructionsCommand,
    UpdateSessionToolsCommand,
    UpdateSpeechSpeedCommand,
    UpdateToolChoiceCommand,
    UserMessageAddedEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
)
from rtvoice.events.facts import AgentError
from rtvoice.realtime import client_events, refusals, server_events
from rtvoice.realtime.assistant_output import AssistantOutput
from rtvoice.realtime.calls import Call
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.memory import ConversationMemory
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.responses import Beginning, Purpose, ResponseArbiter, ResponseRequest
from rtvoice.realtime.sayings import Sayings
from rtvoice.realtime.sent_items import SentItems
from rtvoice.realtime.tool_dialogue import ToolDialogue

logger = logging.getLogger(__name__)

REMEMBERED_ITEMS: Final = 1_000
"""Items whose place has been told and is not told again; older ones are forgotten."""
MINIMUM_TURN_BYTES: Final = 4_800
"""The least audio that the server accepts as a turn committed by hand: 100 ms."""
REMEMBERED_SETTINGS: Final = 100
"""Changes of settings that can be taken back if the server refuses them."""

_GO_ON: Final = (
    "The connection was lost for a moment and is restored. If your last answer broke off, go on where it stopped, "
    "without repeating what was said; otherwise answer what the user said last."
)
_ASK_AGAIN: Final = (
    "The connection was lost for a moment and is restored. What the user said last did not arrive: apologise in a few "
    "words and ask the user to say it again."
)
_VERBATIM: Final = 'Say this to the user now, word for word in your usual voice, and nothing else: "{}"'


class RealtimeProtocol:
    """One Realtime session.

    Args:
        config: What the session is to be.
        clock: Returns the current time in seconds; only differences matter.

    Attributes:
        session_id: The server's id of the session, once known.
        expires_at: When the server will end it, as Unix time, if it said so.
        confirmed: Whether the server has accepted the configuration.
        heard_from_server: Whether any event has arrived that is not an error.
        refusal: The exception that ends the session, when the server refused it or its settings.
    """

    def __init__(self, config: SessionConfig, clock: Callable[[], float]) -> None:
        self.session_id: str | None = None
        self.expires_at: int | None = None
        self.confirmed = False
        self.heard_from_server = False
        self.refusal: RtvoiceError | None = None
        self._last_error: server_events.Error | None = None
        self._established = False  # the server has said more than its greeting
        self._config = config
        self._clock = clock
        self._replaced_settings: OrderedDict[str, dict[str, Any]] = OrderedDict()  # by the event that replaced them
        self._speed: float | None = None  # yet to be sent
        self._sent_speed: tuple[str, float] | None = None
        self._uncommitted_bytes = 0
        self._awaits_commit = False  # the user's turn was committed by hand, and the server has not said so yet
        self._memory = ConversationMemory(config.seed.messages if config.seed is not None else ())
        self._items: OrderedDict[str, None] = OrderedDict()
        self._facts: list[Event] = []
        self._outbox = Outbox()
        self._sent_items = SentItems()
        self._written: OrderedDict[int, SendMessageCommand] = OrderedDict()  # that the server has yet to acknowledge
        self._arbiter = ResponseArbiter(server_responds=config.turn_detection is not None)
        self._sayings = Sayings(self._outbox)
        self._output = AssistantOutput(self._facts.append, speaks=config.speaks)
        self._tools = ToolDialogue(self._facts.append, self._outbox, self._sent_items, self._arbiter)
        self._receivers: dict[type[Any], Callable[[Any], None]] = {
            server_events.SessionCreated: self._session_created,
            server_events.SessionUpdated: self._session_updated,
            server_events.ErrorReceived: self._error,
            server_events.SpeechStarted: self._speech_started,
            server_events.SpeechStopped: self._speech_stopped,
            server_events.Committed: self._committed,
            server_events.ItemAdded: self._item_added,
            server_events.UserTranscriptDelta: self._user_transcript_delta,
            server_events.UserTranscriptCompleted: self._user_transcript_completed,
            server_events.UserTranscriptFailed: self._user_transcript_failed,
            server_events.ResponseCreated: self._response_created,
            server_events.ResponseDone: self._response_done,
            server_events.OutputItem: self._output_item,
            server_events.FunctionCallDone: self._function_call_done,
            server_events.AudioDelta: self._output.audio_delta,
            server_events.AudioDone: self._output.audio_done,
            server_events.TextDelta: self._output.text_delta,
            server_events.TranscriptDone: self._output.transcript_done,
            server_events.TextDone: self._output.text_done,
        }
        self._senders: dict[type[Any], Callable[[Any], None]] = {
            AssistantInterruptedEvent: self._interrupted,
            ToolCallFinishedEvent: self._tools.tool_finished,
            SpeakHoldingPhraseCommand: self._tools.speak_holding_phrase,
            SpeakProgressCommand: self._speak_progress,
            SendMessageCommand: self._send_message,
            RequestResponseCommand: self._request_response,
            SayCommand: self._say,
            CommitUserTurnCommand: self._commit_user_turn,
            UpdateSpeechSpeedCommand: self._update_speed,
            UpdateInstructionsCommand: self._update_instructions,
            UpdateToolChoiceCommand: self._update_tool_choice,
            UpdateSessionToolsCommand: self._update_tools,
        }

    # --- in and out ---

    def start(self) -> None:
        """Prepare the first frames: the configuration, then the seed."""
        self._outbox.put(client_events.full_session_update(self._outbox.new_id("config"), self._config))
        for message in self._config.seed.messages if self._config.seed is not None else ():
            event_id = self._outbox.new_id("seed")
            self._outbox.put(client_events.seed_message(event_id, message.role, message.text))
            if message.role == "user":
                self._sent_items.add(event_id)

    def connection_lost(self) -> list[Event]:
        """Take in that the session is gone, and return what follows from that, in order."""
        active, spoke = self._arbiter.active, self._arbiter.user_speaks
        owes_answer = self._arbiter.awaits_own_response or (active is not None and active not in self._sayings)
        if spoke:
            self._facts.append(UserStoppedSpeakingEvent())
        if spoke or self._awaits_commit:
            self._memory.expect_words(self._outbox.new_id("lost"))
        released = self._arbiter.connection_lost(self._sent_items.forget())
        self._output.connection_lost(active)
        self._sayings.connection_lost()
        if active is not None:
            self._tools.finish_response(active, cancelled=True)
        self._tools.release(released)
        if self._memory.last_turn_is_lost:
            self._arbiter.request(ResponseRequest(Purpose.RESUMING, instructions=[_ASK_AGAIN]))
        elif owes_answer and not any(call.response_id == active for call in self._tools.open_calls):
            self._arbiter.request(ResponseRequest(Purpose.RESUMING, instructions=[_GO_ON]))
        return self._take_facts()

    def restart(self) -> RestoredConversation:
        """Prepare the first frames of a new session: the configuration as it is now, then the conversation so far.

        What was still to be sent to the old one is part of either. Until these frames are sent no audio must be,
        so that the server has no turn to answer before it knows the conversation.

        Returns:
            How much of the conversation the new session knows.
        """
        self._outbox.take()
        self.session_id = self.expires_at = self.refusal = self._last_error = None
        self.confirmed = self.heard_from_server = self._established = False
        if self._speed is not None:
            self._config = replace(self._config, speech_speed=self._speed)
        self._speed = self._sent_speed = None
        self._replaced_settings.clear()
        self._uncommitted_bytes, self._awaits_commit = 0, False
        self._outbox.put(client_events.full_session_update(self._outbox.new_id("config"), self._config))
        items = self._memory.retell(self._new_item_id)
        for item in items:
            self._outbox.put(client_events.retold_item(self._outbox.new_id("retell"), item))
        unacknowledged, self._written = self._written, OrderedDict()
        for command in unacknowledged.values():
            self._write_message(command)
        return RestoredConversation(
            items=len(items) + len(unacknowledged), lost_user_turns=self._memory.lost_user_turns
        )

    def receive(self, frame: str | bytes) -> list[Event]:
        """Take in one frame from the server and return what it means, in order."""
        event = server_events.parse(frame)
        if event is None:
            return []
        self._arbiter.heard(self._clock())
        kind = type(event)
        if kind is not server_events.ErrorReceived:
            self.heard_from_server = True
            self._last_error = None
            if kind is not server_events.SessionCreated:
                self._established = True
        self._receivers[kind](event)
        return self._take_facts()

    def _take_facts(self) -> list[Event]:
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
        self._use_free_line()
        return self._outbox.take()

    def deadline(self) -> float | None:
        """Return the time at which `frames` should be asked again even if nothing happens."""
        return self._arbiter.deadline()

    def append_audio(self, pcm: bytes) -> bytes:
        """Return the frame for microphone audio (PCM16, 24 kHz, mono, not empty)."""
        self._uncommitted_bytes += len(pcm)
        return client_events.append_audio(pcm)

    @property
    def wants_to_send(self) -> bool:
        """Whether `frames` may have something, or `deadline` may have moved."""
        return bool(self._outbox) or self._arbiter.waiting > 0 or self._speed is not None

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
        self.expires_at = event.session.expires_at or self.expires_at

    def _error(self, event: server_events.ErrorReceived) -> None:
        error = event.error
        if error.code == refusals.ALREADY_ACTIVE:
            if self._arbiter.refused(error.event_id, self._clock()):
                logger.debug("A response was already running; the request waits")
            return
        if refusals.is_benign(error):
            logger.debug("The server found a request superfluous: %s", error.code)
            return
        if self._sent_speed is not None and error.event_id == self._sent_speed[0] and self._arbiter.line_in_use:
            self._speed = self._speed or self._sent_speed[1]  # the server began to speak before it got there
            return
        self._last_error = error
        self._arbiter.failed(error.event_id)
        self._written.pop(self._sent_items.refuse(error.event_id or ""), None)
        self._config = replace(self._config, **self._replaced_settings.pop(error.event_id or "", {}))
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
            named = (error.param or "").startswith("session") or self._config.reasoning_effort is not None
            return error.type == "invalid_request_error" and named and not self._established
        return error.event_id.startswith("config_")

    def _report(self, error: AgentError) -> None:
        self._facts.append(AgentErrorEvent(error, error.event_id))

    # --- from the server: the user ---

    def _speech_started(self, event: server_events.SpeechStarted) -> None:
        self._tools.release(self._arbiter.user_started())
        self._facts.append(SpeechDetectedEvent(item_id=event.item_id, audio_start_ms=event.audio_start_ms))

    def _speech_stopped(self, _: server_events.SpeechStopped) -> None:
        self._arbiter.user_stopped(self._clock())
        self._facts.append(UserStoppedSpeakingEvent())

    def _committed(self, event: server_events.Committed) -> None:
        self._arbiter.user_stopped(self._clock())
        self._awaits_commit = False
        self._place_item(event.item_id, event.previous_item_id, "user")
        if event.item_id:
            self._memory.expect_words(event.item_id)

    def _item_added(self, event: server_events.ItemAdded) -> None:
        item = event.item
        number = 0
        if item.type == "function_call_output":
            number = self._sent_items.acknowledge(item.call_id or "")
        elif item.type == "message" and item.role == "user" and item.id not in self._items:
            number = self._sent_items.acknowledge()
        elif item.type == "function_call":
            self._tools.announce(item)
        self._arbiter.items_are_acknowledged(number)
        self._place_item(item.id, event.previous_item_id, item.role)
        written = self._written.pop(number, None)
        if written is not None:
            self._memory.add_message(item.id, "user", written.text, written.image_url)
            if written.text:
                self._facts.append(UserMessageAddedEvent(text=written.text, item_id=item.id))

    def _place_item(self, item_id: str, previous_item_id: str | None, role: str | None) -> None:
        if not item_id or item_id in self._items:
            return
        self._know_item(item_id)
        self._memory.place(item_id, previous_item_id)
        self._facts.append(ConversationItemAddedEvent(item_id=item_id, previous_item_id=previous_item_id, role=role))

    def _know_item(self, item_id: str) -> None:
        self._items[item_id] = None
        if len(self._items) > REMEMBERED_ITEMS:
            self._items.popitem(last=False)

    def _new_item_id(self) -> str:
        """Return the id of an item that we tell again; nobody needs to hear that the server has added it."""
        item_id = self._outbox.new_id("told")
        self._know_item(item_id)
        return item_id

    def _user_transcript_delta(self, event: server_events.UserTranscriptDelta) -> None:
        self._facts.append(UserTranscriptChunkReceivedEvent(event.delta, item_id=event.item_id))

    def _user_transcript_completed(self, event: server_events.UserTranscriptCompleted) -> None:
        self._facts.append(UserTranscriptCompletedEvent(event.transcript, event.item_id, usage=event.usage or {}))

    def _user_transcript_failed(self, event: server_events.UserTranscriptFailed) -> None:
        self._facts.append(UserTranscriptFailedEvent(item_id=event.item_id, error=refusals.as_agent_error(event.error)))

    # --- from the server: responses ---

    def _response_created(self, event: server_events.ResponseCreated) -> None:
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
            self._end_response(server_events.Response(id=lost, status="incomplete"))
        self._tools.finish_others(response_id)
        if beginning is Beginning.UNWANTED:
            self._output.mute(response_id)
            self._cancel(response_id)
            return
        if request_id is not None:
            self._sayings.began(response_id, request_id)
            self._output.is_beside_conversation(response_id)
        self._facts.append(ResponseStartedEvent(response_id=response_id, request_id=request_id))

    def _begins_beside(self, response_id: str, request_id: str | None) -> None:
        """Let nobody hear a response beside the conversation that runs at the same time as another.

        It is words of ours that crossed a response of the server's own, and wait again, or it belongs to
        another client that is attached to the session.
        """
        self._output.mute(response_id)
        self._arbiter.began_beside(response_id, request_id)
        if request_id is not None:
            self._cancel(response_id)

    def _cancel(self, response_id: str | None) -> None:
        self._outbox.put(client_events.response_cancel(self._outbox.new_id("cancel"), response_id))

    def _response_done(self, event: server_events.ResponseDone) -> None:
        response = event.response
        response.id = response.id or self._arbiter.active or ""
        for item in response.output:
            if item is not None and item.type == "function_call" and item.status != "incomplete":
                self._tools.report(response.id, item.id, item.call_id, item.name, item.arguments)
        self._end_response(response)

    def _end_response(self, response: server_events.Response) -> None:
        if not self._arbiter.done(response.id):
            return
        self._tools.finish_response(response.id, cancelled=response.status == "cancelled")
        failure = refusals.response_failure(response)
        if failure is not None:
            self._report(failure)
        self._sayings.ended(response.id, completed=response.status == "completed")
        self._output.finish(response)

    def _output_item(self, event: server_events.OutputItem) -> None:
        item = event.item
        self._sayings.item(event.response_id, item.id)
        if item.type == "function_call":
            self._tools.announce(item)
            if item.status == "completed":
                self._tools.report(event.response_id, item.id, item.call_id, item.name, item.arguments)

    def _function_call_done(self, event: server_events.FunctionCallDone) -> None:
        self._tools.report(event.response_id, event.item_id, event.call_id, event.name, event.arguments)

    # --- from the other parts ---

    def _interrupted(self, event: AssistantInterruptedEvent) -> None:
        # The server cancels by itself when it hears the user; asking again would only earn an error.
        # It does not cancel what is said beside the conversation.
        saying = self._arbiter.saying
        if saying is not None:
            self._cancel(saying)
        if event.by_program and self._arbiter.line_in_use and (saying is None or self._arbiter.answering is not None):
            self._cancel(None)
        for cut in event.cuts:
            self._sayings.was_cut(cut)
            self._correct(cut.item_id)
            audio_end_ms = self._output.truncation_point(cut.item_id, cut.content_index, cut.played_ms)
            if audio_end_ms is not None:
                event_id = self._outbox.new_id("truncate")
                self._outbox.put(client_events.truncate(event_id, cut.item_id, cut.content_index, audio_end_ms))

    def _correct(self, item_id: str) -> None:
        """Replace an item of a session before this one by what was heard of it after all."""
        correction = self._memory.correct(item_id, self._new_item_id)
        if correction is None:
            return
        self._outbox.put(client_events.delete_item(self._outbox.new_id("delete"), correction.outdated_id))
        if correction.item is not None:
            event_id = self._outbox.new_id("retell")
            self._outbox.put(client_events.retold_item(event_id, correction.item, correction.previous_item_id))

    def _speak_progress(self, command: SpeakProgressCommand) -> None:
        if self._arbiter.line_in_use or self._arbiter.waiting or self._arbiter.user_speaks:
            logger.debug("The line is in use: progress is not worth waiting for")
            return
        self._arbiter.request(ResponseRequest(Purpose.HOLDING, instructions=[command.phrase]))

    def _send_message(self, command: SendMessageCommand) -> None:
        number = self._write_message(command)
        if command.respond:
            self._arbiter.request(ResponseRequest(Purpose.ANSWER, about=number))

    def _write_message(self, command: SendMessageCommand) -> int:
        event_id = self._outbox.new_id("message")
        self._outbox.put(client_events.user_message(event_id, command.text, command.image_url))
        number = self._sent_items.add(event_id)
        self._written[number] = command
        if len(self._written) > REMEMBERED_ITEMS:
            self._written.popitem(last=False)
        return number

    def _request_response(self, command: RequestResponseCommand) -> None:
        instructions = [command.instructions] if command.instructions else []
        self._arbiter.request(ResponseRequest(Purpose.ANSWER, instructions=instructions))

    def _say(self, command: SayCommand) -> None:
        self._sayings.request(command.request_id, command.text)
        self._arbiter.request(
            ResponseRequest(Purpose.SAYING, instructions=[command.text], request_id=command.request_id)
        )

    def _commit_user_turn(self, _: CommitUserTurnCommand) -> None:
        if self._config.turn_detection is not None:
            logger.warning("The user's turn was not committed by hand: turn detection does it")
            return
        if self._uncommitted_bytes < MINIMUM_TURN_BYTES:
            logger.info("The user's turn was not committed: it has less than 100 ms of audio")
            return
        self._uncommitted_bytes, self._awaits_commit = 0, True
        self._outbox.put(client_events.commit_audio(self._outbox.new_id("commit")))
        self._arbiter.request(ResponseRequest(Purpose.ANSWER))

    def _update_speed(self, command: UpdateSpeechSpeedCommand) -> None:
        self._speed = command.speed

    def _update_instructions(self, command: UpdateInstructionsCommand) -> None:
        event_id = self._outbox.new_id("instructions")
        self._change_settings(event_id, instructions=command.instructions)
        self._outbox.put(client_events.session_update(event_id, instructions=command.instructions))

    def _update_tool_choice(self, command: UpdateToolChoiceCommand) -> None:
        event_id = self._outbox.new_id("tools")
        self._change_settings(event_id, tool_choice=command.tool_choice)
        self._outbox.put(client_events.session_update(event_id, tool_choice=command.tool_choice))

    def _update_tools(self, command: UpdateSessionToolsCommand) -> None:
        self._use_free_line()  # what was asked for before still sees the old tools
        event_id = self._outbox.new_id("tools")
        tools = client_events.tool_schemas(command.tools)
        self._change_settings(event_id, tools=tools)
        self._outbox.put(client_events.session_update(event_id, tools=tools))

    def _change_settings(self, event_id: str, **settings: Any) -> None:
        """Note what the session is to be from this event on, unless the server refuses it."""
        self._replaced_settings[event_id] = {name: getattr(self._config, name) for name in settings}
        if len(self._replaced_settings) > REMEMBERED_SETTINGS:
            self._replaced_settings.popitem(last=False)
        self._config = replace(self._config, **settings)

    # --- what had to wait ---

    def _use_free_line(self) -> None:
        """If no response is running, do what had to wait for that."""
        now = self._clock()
        unended = self._arbiter.catch_up(now)
        if unended is not None:
            self._end_response(server_events.Response(id=unended, status="incomplete"))
        if self._speed is not None and not self._arbiter.line_in_use:
            self._send_speed(self._speed)
        request = self._arbiter.take()
        if request is not None:
            self._create_response(request, now)

    def _send_speed(self, speed: float) -> None:
        event_id = self._outbox.new_id("speed")
        self._change_settings(event_id, speech_speed=speed)
        self._outbox.put(client_events.speed_update(event_id, speed))
        self._speed, self._sent_speed = None, (event_id, speed)

    def _create_response(self, request: ResponseRequest, now: float) -> None:
        sentences = request.instructions
        is_answer = request.purpose in (Purpose.ANSWER, Purpose.RESUMING)
        if not is_answer:
            sentences = [_VERBATIM.format(" ".join(request.instructions))]
        # Instructions replace the session's for this response: keep persona and language.
        texts = (self._config.instructions, "\n".join(sentences)) if sentences else ()
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
