"""The Realtime protocol as a state machine without I/O.

Frames go in by `RealtimeProtocol.receive` and come out as facts; what the other parts say goes in
by `RealtimeProtocol.send`; frames for the socket are fetched by `RealtimeProtocol.frames`. Nothing
here waits, and no frame from the server makes it raise.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from rtvoice.errors import RtvoiceError, SessionError
from rtvoice.events import (
    AgentErrorEvent,
    AssistantAudioCompletedEvent,
    AssistantAudioReceivedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptChunkReceivedEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    CommitUserTurnCommand,
    ConversationItemAddedEvent,
    Event,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SendMessageCommand,
    SpeakHoldingPhraseCommand,
    SpeakProgressCommand,
    SpeechDetectedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UpdateInstructionsCommand,
    UpdateSessionToolsCommand,
    UpdateSpeechSpeedCommand,
    UpdateToolChoiceCommand,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
)
from rtvoice.events.facts import AgentError
from rtvoice.realtime import client_events, refusals, server_events
from rtvoice.realtime.calls import Call, FunctionCalls
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.responses import Purpose, ResponseArbiter, ResponseRequest

logger = logging.getLogger(__name__)

REMEMBERED: Final = 1_000
"""Items and responses whose state is kept; older ones are forgotten."""

_HOLDING_SENTENCE: Final = 'Say this to the user now, word for word in your usual voice, and nothing else: "{}"'


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
        refusal: The exception that ends the session, when the server refused its settings.
    """

    def __init__(self, config: SessionConfig, clock: Callable[[], float]) -> None:
        self.session_id: str | None = None
        self.expires_at: int | None = None
        self.confirmed = False
        self.heard_from_server = False
        self.refusal: RtvoiceError | None = None
        self._last_error: server_events.Error | None = None
        self._established = False
        self._config = config
        self._clock = clock
        self._instructions = config.instructions
        self._speed: float | None = None
        self._arbiter = ResponseArbiter(server_responds=config.turn_detection is not None)
        self._calls = FunctionCalls()
        self._frames: list[bytes] = []
        self._facts: list[Event] = []
        self._next_id = 0
        self._items: OrderedDict[str, None] = OrderedDict()
        self._audio_bytes: OrderedDict[str, int] = OrderedDict()
        self._speaking: set[str] = set()  # responses of text that have begun
        self._sounding: OrderedDict[str, bool] = OrderedDict()  # responses that have audio
        self._muted: OrderedDict[str, None] = OrderedDict()  # responses that nobody shall hear
        self._message_tokens: list[str] = []  # messages of ours that the server has yet to acknowledge
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
            server_events.AudioDelta: self._audio_delta,
            server_events.AudioDone: self._audio_done,
            server_events.TextDelta: self._text_delta,
            server_events.TranscriptDone: self._transcript_done,
            server_events.TextDone: self._text_done,
            server_events.FunctionCallDone: self._function_call_done,
        }
        self._senders: dict[type[Any], Callable[[Any], None]] = {
            AssistantInterruptedEvent: self._interrupted,
            ToolCallFinishedEvent: self._tool_finished,
            SpeakHoldingPhraseCommand: self._speak_holding_phrase,
            SpeakProgressCommand: self._speak_progress,
            SendMessageCommand: self._send_message,
            RequestResponseCommand: self._request_response,
            CommitUserTurnCommand: self._commit_user_turn,
            UpdateSpeechSpeedCommand: self._update_speed,
            UpdateInstructionsCommand: self._update_instructions,
            UpdateToolChoiceCommand: self._update_tool_choice,
            UpdateSessionToolsCommand: self._update_tools,
        }

    # --- in and out ---

    def start(self) -> None:
        """Prepare the first frames: the configuration, then the seed."""
        self._frames.append(client_events.full_session_update(self._id("config"), self._config))
        if self._config.seed is not None:
            for message in self._config.seed.messages:
                self._frames.append(client_events.seed_message(self._id("seed"), message.role, message.text))

    def receive(self, frame: str | bytes) -> list[Event]:
        """Take in one frame from the server and return what it means, in order."""
        event = server_events.parse(frame)
        if event is None:
            return []
        kind = type(event)
        if kind is not server_events.ErrorReceived:
            self.heard_from_server = True
            self._established = self._established or kind is not server_events.SessionCreated
        self._receivers[kind](event)
        facts, self._facts = self._facts, []
        return facts

    def send(self, event: Event) -> None:
        """Take in a fact or command of another part that concerns the server."""
        self._senders[type(event)](event)

    def frames(self) -> list[bytes]:
        """Return the frames that may be sent now, in order."""
        self._use_free_line()
        frames, self._frames = self._frames, []
        return frames

    def deadline(self) -> float | None:
        """Return the time at which `frames` should be asked again even if nothing happens."""
        return self._arbiter.deadline()

    def append_audio(self, pcm: bytes) -> bytes:
        """Return the frame for microphone audio."""
        return client_events.append_audio(pcm)

    @property
    def wants_to_send(self) -> bool:
        """Whether `frames` may have something."""
        return bool(self._frames) or self._arbiter.waiting > 0 or self._speed is not None

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

    @property
    def last_error_code(self) -> str | None:
        """Code of the last ``error`` event, which may explain a close."""
        return self._last_error.code if self._last_error else None

    @property
    def response_active(self) -> bool:
        """Whether the server is generating a response, or was asked to."""
        return self._arbiter.line_in_use

    @property
    def open_calls(self) -> list[Call]:
        """Function calls that have no output yet."""
        return self._calls.open

    # --- from the server: session and errors ---

    def _session_created(self, event: server_events.SessionCreated) -> None:
        self.session_id = event.session.id
        self.expires_at = event.session.expires_at

    def _session_updated(self, event: server_events.SessionUpdated) -> None:
        self.confirmed = True
        self.expires_at = event.session.expires_at or self.expires_at

    def _error(self, event: server_events.ErrorReceived) -> None:
        error = self._last_error = event.error
        if error.code == refusals.ALREADY_ACTIVE and self._arbiter.refused(error.event_id, self._clock()):
            logger.debug("A response was already running; the request waits")
            return
        if error.code == refusals.ALREADY_ACTIVE or refusals.is_benign(error):
            logger.debug("The server found a request superfluous: %s", error.code)
            return
        self._arbiter.failed(error.event_id)
        if (error.event_id or "").startswith("config_"):
            self.refusal = refusals.settings_refusal(error)
            return
        if refusals.is_refusal(error.code) and not self._established:
            return  # the close that follows says it all, and names this error
        self._report(refusals.as_agent_error(error))

    # --- from the server: the user ---

    def _speech_started(self, event: server_events.SpeechStarted) -> None:
        for call_id in self._arbiter.user_started():
            self._release(call_id)
        self._facts.append(SpeechDetectedEvent(item_id=event.item_id, audio_start_ms=event.audio_start_ms))

    def _speech_stopped(self, _: server_events.SpeechStopped) -> None:
        self._arbiter.user_stopped(self._clock())
        self._facts.append(UserStoppedSpeakingEvent())

    def _committed(self, event: server_events.Committed) -> None:
        self._arbiter.user_stopped(self._clock())
        self._place_item(event.item_id, event.previous_item_id, "user")

    def _item_added(self, event: server_events.ItemAdded) -> None:
        item = event.item
        if item.type == "function_call_output" and item.call_id:
            self._arbiter.acknowledged(item.call_id)
        elif item.type == "message" and item.role == "user" and item.id not in self._items and self._message_tokens:
            self._arbiter.acknowledged(self._message_tokens.pop(0))
        elif item.type == "function_call":
            self._calls.announce(item.id, item.call_id, item.name)
        self._place_item(item.id, event.previous_item_id, item.role)

    def _place_item(self, item_id: str, previous_item_id: str | None, role: str | None) -> None:
        if item_id and item_id not in self._items:
            _remember(self._items, item_id, None)
            self._facts.append(
                ConversationItemAddedEvent(item_id=item_id, previous_item_id=previous_item_id, role=role)
            )

    def _user_transcript_delta(self, event: server_events.UserTranscriptDelta) -> None:
        self._facts.append(UserTranscriptChunkReceivedEvent(event.delta, item_id=event.item_id))

    def _user_transcript_completed(self, event: server_events.UserTranscriptCompleted) -> None:
        self._facts.append(UserTranscriptCompletedEvent(event.transcript, event.item_id, usage=event.usage or {}))

    def _user_transcript_failed(self, event: server_events.UserTranscriptFailed) -> None:
        self._facts.append(UserTranscriptFailedEvent(item_id=event.item_id, error=refusals.as_agent_error(event.error)))

    # --- from the server: responses ---

    def _response_created(self, event: server_events.ResponseCreated) -> None:
        response_id = event.response.id
        if self._arbiter.created(response_id):
            _remember(self._muted, response_id, None)
            self._frames.append(client_events.response_cancel(self._id("cancel"), response_id))
            return
        self._facts.append(ResponseStartedEvent(response_id=response_id))

    def _response_done(self, event: server_events.ResponseDone) -> None:
        response = event.response
        for item in response.output:
            if item is not None and item.type == "function_call" and item.status != "incomplete":
                self._report_call(response.id, item.id, item.call_id, item.name, item.arguments)
        self._arbiter.done(response.id)
        cancelled = response.status == "cancelled"
        for call in self._calls.finish_response(response.id, cancelled=cancelled):
            self._answer(call.call_id, f"Error: {call.problem}", respond=True)
        if cancelled:
            for call_id in self._arbiter.drop_holding(response.id):
                self._release(call_id)
        self._follow_up(response.id)
        details = response.status_details or server_events.StatusDetails()
        if details.error is not None or response.status == "failed":
            self._report(_response_error(response.status, details.error))
        if response.id in self._muted:
            del self._muted[response.id]
            return
        if response.id in self._speaking:
            self._speaking.discard(response.id)
            self._facts.append(AssistantStoppedRespondingEvent(response_id=response.id))
        self._facts.append(
            ResponseFinishedEvent(
                response_id=response.id,
                status=response.status,
                reason=details.reason,
                has_audio=self._sounding.pop(response.id, False),
                usage=response.usage or {},
            )
        )

    def _output_item(self, event: server_events.OutputItem) -> None:
        item = event.item
        if item.type != "function_call":
            return
        self._calls.announce(item.id, item.call_id, item.name)
        if item.status == "completed":
            self._report_call(event.response_id, item.id, item.call_id, item.name, item.arguments)

    def _audio_delta(self, event: server_events.AudioDelta) -> None:
        if event.response_id in self._muted or not event.delta:
            return
        item_id = event.item_id
        received = self._audio_bytes.get(item_id, 0)
        self._audio_bytes[item_id] = received + len(event.delta)
        if not received:
            _bound(self._audio_bytes)
            _remember(self._sounding, event.response_id, True)
        self._facts.append(
            AssistantAudioReceivedEvent(
                pcm=event.delta,
                response_id=event.response_id,
                item_id=item_id,
                content_index=event.content_index,
            )
        )

    def _audio_done(self, event: server_events.AudioDone) -> None:
        if event.response_id not in self._muted:
            self._facts.append(
                AssistantAudioCompletedEvent(
                    response_id=event.response_id, item_id=event.item_id, content_index=event.content_index
                )
            )

    def _text_delta(self, event: server_events.TextDelta) -> None:
        if event.response_id in self._muted:
            return
        if not self._config.speaks and event.response_id not in self._speaking:
            self._speaking.add(event.response_id)
            self._facts.append(AssistantStartedRespondingEvent(response_id=event.response_id))
        self._facts.append(
            AssistantTranscriptDeltaEvent(
                event.delta, event.item_id, event.output_index, event.content_index, response_id=event.response_id
            )
        )
        self._facts.append(AssistantTranscriptChunkReceivedEvent(event.delta))

    def _transcript_done(self, event: server_events.TranscriptDone) -> None:
        self._message_done(event, event.transcript)

    def _text_done(self, event: server_events.TextDone) -> None:
        self._message_done(event, event.text)

    def _message_done(self, event: server_events.TranscriptDone | server_events.TextDone, text: str) -> None:
        if event.response_id not in self._muted:
            self._facts.append(
                AssistantTranscriptCompletedEvent(
                    text, event.item_id, event.output_index, event.content_index, response_id=event.response_id
                )
            )

    def _function_call_done(self, event: server_events.FunctionCallDone) -> None:
        self._report_call(event.response_id, event.item_id, event.call_id, event.name, event.arguments)

    def _report_call(
        self, response_id: str, item_id: str, call_id: str | None, name: str | None, arguments: str | None
    ) -> None:
        call = self._calls.report(response_id, item_id=item_id, call_id=call_id, name=name, arguments=arguments)
        if call is not None and call.name is not None and call.arguments is not None:
            self._facts.append(
                ToolCallRequestedEvent(
                    call_id=call.call_id, name=call.name, arguments=call.arguments, response_id=call.response_id
                )
            )

    def _report(self, error: AgentError) -> None:
        self._facts.append(AgentErrorEvent(error, error.event_id))

    # --- from the other parts ---

    def _interrupted(self, event: AssistantInterruptedEvent) -> None:
        # The server cancels by itself when it hears the user; asking again would only earn an error.
        if event.by_program and self._arbiter.active is not None:
            self._frames.append(client_events.response_cancel(self._id("cancel")))
        for cut in event.cuts:
            received_ms = self._audio_bytes.get(cut.item_id, 0) // 48
            if received_ms:
                played_ms = max(0, min(cut.played_ms, received_ms))
                self._frames.append(
                    client_events.truncate(self._id("truncate"), cut.item_id, cut.content_index, played_ms)
                )

    def _use_free_line(self) -> None:
        """If no response is running, do what had to wait for that."""
        now = self._clock()
        if self._speed is not None and not self._arbiter.line_in_use:
            self._frames.append(client_events.speed_update(self._id("speed"), self._speed))
            self._speed = None
        while (request := self._arbiter.take(now)) is not None:
            self._create_response(request, now)

    def _speak_progress(self, command: SpeakProgressCommand) -> None:
        if self._arbiter.line_in_use or self._arbiter.waiting or self._arbiter.user_speaks:
            logger.debug("The line is in use: progress is not worth waiting for")
            return
        self._arbiter.request(ResponseRequest(Purpose.HOLDING, instructions=[command.phrase]))

    def _speak_holding_phrase(self, event: SpeakHoldingPhraseCommand) -> None:
        call = self._calls.get(event.call_id)
        if call is None or call.answered:
            return
        if self._arbiter.user_speaks or self._calls.was_cancelled(call.response_id):
            return
        call.awaits_phrase = True
        self._arbiter.request(
            ResponseRequest(
                Purpose.HOLDING, instructions=[event.phrase], call_ids=[call.call_id], group=call.response_id
            )
        )

    def _tool_finished(self, event: ToolCallFinishedEvent) -> None:
        self._answer(event.call_id, event.output, respond=event.respond, instruction=event.result_instruction)

    def _answer(self, call_id: str, output: str, *, respond: bool, instruction: str | None = None) -> None:
        call = self._calls.answer(call_id, output, respond=respond, instruction=instruction)
        if call is not None:
            self._send_output(call)

    def _release(self, call_id: str) -> None:
        call = self._calls.release(call_id)
        if call is not None:
            self._send_output(call)

    def _send_output(self, call: Call) -> None:
        self._frames.append(client_events.function_call_output(self._id("output"), call.call_id, call.output or ""))
        self._follow_up(call.response_id)

    def _follow_up(self, response_id: str) -> None:
        follow_up = self._calls.follow_up(response_id)
        if follow_up is not None and follow_up.respond:
            self._arbiter.request(
                ResponseRequest(
                    Purpose.ANSWER,
                    instructions=follow_up.instructions,
                    call_ids=follow_up.call_ids,
                    unseen=set(follow_up.call_ids),
                )
            )

    def _send_message(self, command: SendMessageCommand) -> None:
        event_id = self._id("message")
        self._frames.append(client_events.user_message(event_id, command.text, command.image_url))
        self._message_tokens.append(event_id)
        if command.respond:
            self._arbiter.request(ResponseRequest(Purpose.ANSWER, unseen={event_id}))

    def _request_response(self, command: RequestResponseCommand) -> None:
        instructions = [command.instructions] if command.instructions else []
        self._arbiter.request(ResponseRequest(Purpose.ANSWER, instructions=instructions))

    def _commit_user_turn(self, _: CommitUserTurnCommand) -> None:
        self._frames.append(client_events.commit_audio(self._id("commit")))
        self._arbiter.request(ResponseRequest(Purpose.ANSWER))

    def _update_speed(self, command: UpdateSpeechSpeedCommand) -> None:
        self._speed = command.speed

    def _update_instructions(self, command: UpdateInstructionsCommand) -> None:
        self._instructions = command.instructions
        self._frames.append(client_events.session_update(self._id("instructions"), instructions=command.instructions))

    def _update_tool_choice(self, command: UpdateToolChoiceCommand) -> None:
        self._frames.append(client_events.session_update(self._id("tools"), tool_choice=command.tool_choice))

    def _update_tools(self, command: UpdateSessionToolsCommand) -> None:
        self._use_free_line()  # what was asked for before still sees the old tools
        self._frames.append(client_events.session_update(self._id("tools"), tools=_tool_schemas(command.tools)))

    def _create_response(self, request: ResponseRequest, now: float) -> None:
        event_id = self._id("create")
        holding = request.purpose is Purpose.HOLDING
        sentences = request.instructions
        if holding:
            sentences = [_HOLDING_SENTENCE.format(" ".join(request.instructions))]
        instructions = None
        if sentences:
            # They replace the session's instructions for this response: keep persona and language.
            instructions = "\n\n".join(text for text in (self._instructions, "\n".join(sentences)) if text)
        tool_choice = ("none" if holding else "auto") if instructions is not None else None
        self._frames.append(client_events.response_create(event_id, instructions=instructions, tool_choice=tool_choice))
        self._arbiter.sent(request, event_id, now)
        if holding:
            for call_id in request.call_ids:
                self._release(call_id)

    def _id(self, purpose: str) -> str:
        self._next_id += 1
        return f"{purpose}_{self._next_id}"


def _response_error(status: str, error: server_events.Error | None) -> AgentError:
    message = f"The response ended as {status}."
    if error is None:
        return AgentError(type="response_failed", message=message)
    return AgentError(type=error.type, message=error.message or message, code=error.code, param=error.param)


def _tool_schemas(tools: Iterable[Any]) -> list[dict[str, Any]]:
    return [dict(tool) if isinstance(tool, dict) else tool.model_dump(exclude_none=True) for tool in tools]


def _remember(memory: OrderedDict[str, Any], key: str, value: Any) -> None:
    memory[key] = value
    _bound(memory)


def _bound(memory: OrderedDict[str, Any]) -> None:
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
