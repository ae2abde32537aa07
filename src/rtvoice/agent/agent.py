"""RealtimeAgent: puts the parts together and runs one conversation."""

import asyncio
import logging
from collections.abc import Sequence
from contextvars import ContextVar
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, cast

from typing_extensions import TypeVar

from rtvoice.agent import checks
from rtvoice.agent.images import image_url
from rtvoice.agent.interrupt_signal import graceful_interrupt
from rtvoice.agent.parts import Parts
from rtvoice.agent.result import AgentResult
from rtvoice.agent.speech import say
from rtvoice.agent.stats import AgentStats
from rtvoice.audio import AudioInputDevice, AudioOutputDevice, MicrophoneInput, SpeakerOutput
from rtvoice.audio.echo.canceller import EchoCanceller
from rtvoice.audio.echo.choice import EchoMode, check_echo
from rtvoice.audio.formats import converted_input, converted_output, wire_codec
from rtvoice.audio.recording_file import check_recording_path
from rtvoice.components.tool_runner import DEFAULT_TIMEOUT_S
from rtvoice.conversation import ConversationHistory
from rtvoice.errors import AgentStateError, ConfigurationError
from rtvoice.events import (
    CommitUserTurnCommand,
    EventBus,
    InterruptCommand,
    RestoredConversation,
    SendMessageCommand,
    StopAgentCommand,
    UpdateInstructionsCommand,
    UpdateSpeechSpeedCommand,
)
from rtvoice.listener import AgentListener
from rtvoice.realtime import AzureOpenAIProvider, OpenAIProvider, RealtimeProvider
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.settings import (
    AssistantVoice,
    ConversationSeed,
    InterruptionPolicy,
    NoiseReduction,
    OutputModality,
    RealtimeModel,
    ReasoningEffort,
    ReconnectPolicy,
    RotationPolicy,
    SemanticVAD,
    SessionLog,
    TranscriptionModel,
    TurnDetection,
    WatchdogPolicy,
)
from rtvoice.tools import ToolContext, Tools
from rtvoice.usage import Prices, UsageReport

if TYPE_CHECKING:
    from rtvoice.supervisor import Supervisor, TextAgent

logger = logging.getLogger(__name__)

T = TypeVar("T", default=None)


class _Default(Enum):
    VALUE = auto()


_RECONNECT: Final = ReconnectPolicy()
_ROTATION: Final = RotationPolicy()
_WATCHDOGS: Final = WatchdogPolicy()
DEFAULT: Final = _Default.VALUE
"""Stands for "not given" where ``None`` has a meaning of its own."""


class _State(Enum):
    NEW = auto()
    RUNNING = auto()
    FINISHED = auto()


_inside: ContextVar[frozenset[int]] = ContextVar("rtvoice_inside", default=frozenset())
"""The agents within whose tasks the current code runs."""


class ProviderLike(Protocol):
    """What the agent needs of a provider that is no `RealtimeProvider`, such as the emulator's."""

    def build_url(self, model: str) -> str:
        """Return the WebSocket URL for a session with this model."""

    def build_headers(self) -> dict[str, str]:
        """Return the HTTP headers of the WebSocket upgrade, credentials included."""


class RealtimeAgent(Generic[T]):
    """A voice agent: it listens, answers, can be interrupted, and calls tools.

    An agent holds one conversation: make a new one for the next. Making it does no I/O and needs no
    running event loop.

    Args:
        instructions: Who the assistant is and how it behaves. ``system_prompt`` is another name for it.
        model: The speech-to-speech model; any name passes.
        voice: The assistant's voice; any name passes.
        speech_speed: 0.25 to 1.5; other values are clipped with a warning.
        transcription_model: Writes down what the user says; ``None`` switches that off. Default:
            ``gpt-transcribe``, with Azure ``whisper-1`` (there it is the name of a deployment).
        output_modalities: ``["audio"]``, ``["text"]``, or both: audio, with the text as deltas.
        noise_reduction: The server's noise reduction; ``None`` for none.
        reasoning_effort: How much the ``gpt-realtime-2`` models think; ``None`` leaves it to the service.
        turn_detection: How the server knows that the user has finished; default ``SemanticVAD()``.
            ``None`` switches it off (push-to-talk): `commit_user_turn` ends each turn.
        interruption: What it takes to interrupt the assistant; ``None``: any sound that the server takes for speech.
        tools: What the model may call. The agent works on a copy.
        supervisor: Works on long tasks that the model hands over.
        text_agent: The same in the spelling of rtvoice 0.8 and later; give one of the two.
        audio_input: Where the user is heard; default ``MicrophoneInput()``.
        audio_output: Where the assistant is heard; default ``SpeakerOutput()``.
        context: An object of yours that tools receive as ``Inject[YourType]``.
        tool_dependencies: Further objects for ``Inject[...]``, searched in order after the others.
        tool_timeout_seconds: How long a tool may run unless it says otherwise; ``None`` for no limit.
        listener: Receives callbacks; see `AgentListener`.
        conversation_seed: A conversation that counts as already held. ``injected_conversation`` is another
            name for it.
        greeting: Said word for word as soon as the devices are open.
        inactivity_timeout_seconds: Stop when nobody has spoken for so long; needs the next one.
        inactivity_timeout_enabled: Switches the timeout on.
        recording_path: Record the session: ``.wav`` stereo (left user, right assistant), so too ``.flac`` and
            ``.ogg`` (Opus) with the extra ``recording``; any other suffix raw mono PCM16 at 24 kHz.
        session_log: Write everything that goes over the wire to this file, for ``rtvoice replay``; a path, or a
            `SessionLog`, which can leave sound and words out.
        max_cost_usd: Budget of the conversation in US dollars; when it is used up, the assistant says
            goodbye and the agent stops. Needs known prices.
        prices: Prices that replace or extend `rtvoice.usage.DEFAULT_PRICES`.
        provider: The service to talk to; default `OpenAIProvider`.
        reconnect: How a lost connection is restored; ``None``: it is not, and the conversation ends.
        rotation: When a new session takes over, before the service ends the old one; ``None``: it does not, and
            the session reconnects when it has ended.
        watchdogs: How long anything may stand still before it is mended.
        on_device_lost: What follows when a microphone or loudspeaker is lost and cannot be opened again: ``"end"``,
            or ``"continue"``. Then the agent goes on without it: deaf, or silent with its words in the transcript.
        echo: How the assistant is kept from hearing itself: ``"off"``; ``"half_duplex"``, the microphone is muted while
            it speaks; ``"builtin"`` or ``"webrtc"``, a canceller takes its voice out of the microphone; or an
            `EchoCanceller` of yours. ``None`` decides by the devices, and logs why.
        api_key: OpenAI's key, instead of ``provider``; default the variable ``OPENAI_API_KEY``.

    Raises:
        ConfigurationError: A value can never work. It is a ``ValueError``.
        MissingCredentialsError: There is no API key. It is a ``RuntimeError``.
        TypeError: A value has the wrong type.
    """

    def __init__(
        self,
        *,
        instructions: str = "",
        model: RealtimeModel | str = RealtimeModel.GPT_REALTIME_2_1_MINI,
        voice: AssistantVoice | str = AssistantVoice.MARIN,
        speech_speed: float = 1.0,
        transcription_model: TranscriptionModel | str | _Default | None = DEFAULT,
        output_modalities: list[OutputModality] | None = None,
        noise_reduction: NoiseReduction | str | None = NoiseReduction.FAR_FIELD,
        reasoning_effort: ReasoningEffort | str | None = None,
        turn_detection: TurnDetection | _Default | None = DEFAULT,
        interruption: InterruptionPolicy | None = None,
        tools: Tools | None = None,
        supervisor: "Supervisor[Any] | None" = None,
        text_agent: "TextAgent[Any] | None" = None,
        audio_input: AudioInputDevice | None = None,
        audio_output: AudioOutputDevice | None = None,
        context: T | None = None,
        tool_dependencies: Sequence[object] = (),
        tool_timeout_seconds: float | None = DEFAULT_TIMEOUT_S,
        listener: AgentListener | None = None,
        conversation_seed: ConversationSeed | None = None,
        greeting: str | None = None,
        inactivity_timeout_seconds: float | None = None,
        inactivity_timeout_enabled: bool = False,
        recording_path: str | Path | None = None,
        session_log: SessionLog | str | Path | None = None,
        max_cost_usd: float | None = None,
        prices: Prices | None = None,
        provider: RealtimeProvider | ProviderLike | None = None,
        reconnect: ReconnectPolicy | None = _RECONNECT,
        rotation: RotationPolicy | None = _ROTATION,
        watchdogs: WatchdogPolicy = _WATCHDOGS,
        on_device_lost: Literal["end", "continue"] = "end",
        echo: EchoMode | EchoCanceller | None = None,
        api_key: str | None = None,
        system_prompt: str | None = None,
        injected_conversation: ConversationSeed | None = None,
    ) -> None:
        if system_prompt is not None:
            instructions = checks.one_spelling("system_prompt", system_prompt, "instructions", instructions or None)
        if injected_conversation is not None:
            conversation_seed = checks.one_spelling(
                "injected_conversation", injected_conversation, "conversation_seed", conversation_seed
            )
        self._provider = _provider(provider, api_key)
        self._speed = checks.speed(speech_speed)
        self._model = checks.model(model)
        self._voice = checks.voice(voice)
        self._instructions = checks.instance("instructions", instructions, str)
        self._transcription_model = _transcription_model(transcription_model, self._provider)
        self._modalities = checks.modalities(output_modalities)
        self._noise_reduction = checks.noise_reduction(noise_reduction)
        self._reasoning_effort = checks.reasoning_effort(reasoning_effort)
        self._turn_detection = (
            SemanticVAD() if isinstance(turn_detection, _Default) else checks.turn_detection(turn_detection)
        )
        self._greeting = checks.instance("greeting", greeting, str) if greeting is not None else None
        self._seed = None
        if conversation_seed is not None:
            self._seed = checks.instance("conversation_seed", conversation_seed, ConversationSeed)
        self._inactivity_s = checks.inactivity(inactivity_timeout_seconds, enabled=inactivity_timeout_enabled)
        self._recording_path = Path(recording_path) if recording_path else None
        self._session_log = checks.session_log(session_log)
        if self._recording_path is not None:
            check_recording_path(self._recording_path)
        microphone = checks.device(
            "audio_input",
            audio_input if audio_input is not None else MicrophoneInput(),
            ("start", "stop", "stream_chunks", "is_active"),
        )
        loudspeaker = checks.device(
            "audio_output",
            audio_output if audio_output is not None else SpeakerOutput(),
            ("start", "stop", "play_chunk", "clear_buffer", "is_playing"),
        )
        self._input, self._input_codec = converted_input(microphone), wire_codec(microphone)
        self._output, self._output_codec = converted_output(loudspeaker), wire_codec(loudspeaker)
        checks.no_class("listener", listener)
        self._listener: AgentListener = listener if listener is not None else AgentListener()
        self._bus = EventBus()
        self._history = ConversationHistory(seed=self._seed.messages if self._seed else ())
        self._tools = checks.instance("tools", tools, Tools).clone() if tools is not None else Tools()
        self._supervisor = checks.supervisor(supervisor, text_agent)
        self._dependencies = (context, *tool_dependencies)
        self._reconnect = None if reconnect is None else checks.instance("reconnect", reconnect, ReconnectPolicy)
        self._rotation = None if rotation is None else checks.instance("rotation", rotation, RotationPolicy)
        self._watchdogs = checks.instance("watchdogs", watchdogs, WatchdogPolicy)
        self._on_device_lost = checks.on_device_lost(on_device_lost)
        self._echo = check_echo(echo, self._output)
        self._interruption = checks.interruption(
            interruption,
            detects_turns=self._turn_detection is not None,
            writes_down=self._transcription_model is not None or self._supervisor is not None,
        )
        self._prices = prices
        self._max_cost_usd = checks.budget(max_cost_usd, self._model, prices)
        self._tool_timeout_s = checks.limit("tool_timeout_seconds", tool_timeout_seconds)
        self._tools.set_context(
            ToolContext(*tool_dependencies, event_bus=self._bus, context=context, conversation_history=self._history)
        )
        checks.warn_of_unresolved_injections(self._tools.unresolved_injections())
        checks.warn_of_unapproved_tools(self._tools, self._listener)
        if self._supervisor is not None:
            self._check_supervisor(self._supervisor)
        if listener is not None:
            checks.warn_of_idle_hooks(
                listener,
                inactivity_on=self._inactivity_s is not None,
                has_supervisor=self._supervisor is not None,
                has_text="text" in self._modalities,
            )
        self._state = _State.NEW
        self._finished = asyncio.Event()
        self._parts: Parts | None = None
        self._usage = UsageReport()
        self._stats = AgentStats()

    # --- the conversation ---

    async def run(self) -> AgentResult:
        """Hold the conversation until it ends.

        It ends by `stop`, by Ctrl+C, by the inactivity timeout, when the server closes it, and when a lost
        connection cannot be restored. Whatever happens, socket, devices, tasks and recording are closed before
        this returns or raises.

        Returns:
            What was said.

        Raises:
            ConnectionFailed: The server could not be reached.
            AuthenticationFailed: It refused the credentials.
            ServerError: It refused the settings.
            AgentStateError: This agent has run before.
            Exception: Whatever an audio device raises when it is opened.
        """
        if self._state is not _State.NEW:
            raise AgentStateError("An agent holds one conversation: make a new RealtimeAgent for the next")
        self._state = _State.RUNNING
        token = _inside.set(_inside.get() | {id(self)})
        try:
            with graceful_interrupt(lambda: self._request_stop("Ctrl+C was pressed")):
                return await self._hold_conversation()
        finally:
            _inside.reset(token)
            self._state = _State.FINISHED
            self._finished.set()

    async def start(self) -> AgentResult:
        """Do the same as `run`."""
        return await self.run()

    async def stop(self) -> None:
        """End the conversation; may be called from anywhere in the event loop, and more than once.

        From outside it returns when everything is closed and ``on_agent_stopped`` is done. From a tool,
        a listener callback, an event handler or a device it only asks for the end and returns at once.
        """
        if self._state is _State.NEW:
            self._state = _State.FINISHED
            token = _inside.set(_inside.get() | {id(self)})
            try:
                await self._make_parts().hooks.stopped()
            finally:
                _inside.reset(token)
                self._finished.set()
        if self._state is _State.RUNNING:
            self._request_stop("stop() was called")
        if id(self) not in _inside.get():
            await self._finished.wait()

    async def interrupt(self) -> None:
        """Silence the assistant, as if the user had spoken."""
        if self._is_connected("interrupt"):
            self._bus.publish(InterruptCommand())

    async def send_message(self, text: str) -> None:
        """Add a message of the user in writing; the assistant answers it."""
        if self._is_connected("send_message"):
            self._bus.publish(SendMessageCommand(text=checks.instance("text", text, str)))

    async def send_image(self, image_data_url: str | bytes | Path, text: str = "") -> None:
        """Show the assistant an image; it answers.

        Args:
            image_data_url: A data URL (``data:image/png;base64,…``) or https URL; or the bytes or the
                path of a PNG or JPEG file of at most 15 MiB.
            text: What to say about it; empty for nothing.

        Raises:
            ConfigurationError: It is no such image.
        """
        url = await image_url(image_data_url)
        if self._is_connected("send_image"):
            self._bus.publish(SendMessageCommand(text=text, image_url=url))

    async def say(self, text: str) -> bool:
        """Let the assistant say something word for word, and wait until it was heard.

        It is said beside the conversation, when nobody else is speaking; the model is told afterwards what
        was heard of it.

        Args:
            text: What to say.

        Returns:
            Whether it was heard to the end: not if the user interrupts it, or the agent stops.
        """
        if not self._is_connected("say"):
            return False
        return await say(self._bus, checks.instance("text", text, str))

    async def update_instructions(self, instructions: str) -> None:
        """Replace the instructions, from the next response on."""
        self._instructions = checks.instance("instructions", instructions, str)
        self._bus.publish(UpdateInstructionsCommand(self._instructions))

    async def restart(self) -> RestoredConversation:
        """Open a new session now and go on in it: instructions, tools and conversation stay.

        The new session is opened before the old one is left. A response that is running breaks off, and is taken up
        again. While a lost connection is being restored, this makes the next attempt at once.

        Returns:
            How much of the conversation the new session knows.

        Raises:
            ConnectionFailed: There is no new session, or not within 20 s; the message says why. The old one stays.
            AuthenticationFailed: The server refused the credentials. The old session stays.
            AgentStateError: The agent is not connected.
        """
        if self._parts is None or not self._parts.connected:
            raise AgentStateError("restart() needs a running conversation: the agent is not connected")
        return await self._parts.restart()

    async def commit_user_turn(self) -> None:
        """End the user's turn by hand, with ``turn_detection=None``; the assistant answers.

        Turns of less than 100 ms of audio are not committed: the service does not take them.
        """
        if self._is_connected("commit_user_turn"):
            self._bus.publish(CommitUserTurnCommand())

    async def set_speech_speed(self, speed: float) -> None:
        """Let the assistant speak faster or slower from its next response on.

        Args:
            speed: 0.25 to 1.5; other values are clipped with a warning.
        """
        self._speed = checks.speed(speed)
        self._bus.publish(UpdateSpeechSpeedCommand(self._speed))

    @property
    def event_bus(self) -> EventBus:
        """The agent's bus; ``subscribe`` to follow events that have no callback."""
        return self._bus

    @property
    def history(self) -> ConversationHistory:
        """The conversation so far, seeds included."""
        return self._history

    @property
    def usage(self) -> UsageReport:
        """What the conversation has used so far."""
        return self._parts.meter.usage if self._parts is not None else self._usage

    @property
    def stats(self) -> AgentStats:
        """Counters of the conversation so far, or of the one that is over."""
        return self._parts.stats if self._parts is not None else self._stats

    # --- one run ---

    async def _hold_conversation(self) -> AgentResult:
        parts = self._parts = self._make_parts()
        try:
            failure = await parts.conduct()
        finally:
            self._stats = parts.stats
            self._usage = parts.meter.usage
            self._parts = None
        if failure is not None:
            raise failure
        return AgentResult(
            turns=self._history.spoken_turns,
            recording_path=parts.recording_path,
            usage=self._usage,
            latency=parts.meter.latency,
            stop_reason=parts.stop_reason,
        )

    def _make_parts(self) -> Parts:
        config = SessionConfig(
            model=self._model,
            names_model=not isinstance(self._provider, AzureOpenAIProvider),
            instructions=self._instructions,
            voice=self._voice,
            speech_speed=self._speed,
            modalities=self._modalities,
            input_codec=self._input_codec,
            output_codec=self._output_codec,
            transcription_model=self._transcription_model,
            noise_reduction=self._noise_reduction,
            turn_detection=self._turn_detection,
            judges_turns=self._interruption is not None,
            reasoning_effort=self._reasoning_effort,
            tools=self._tool_schemas(),
            seed=self._seed,
        )
        return Parts(
            self._bus,
            provider=self._provider,
            config=config,
            audio_input=self._input,
            audio_output=self._output,
            tools=self._tools,
            tool_timeout_s=self._tool_timeout_s,
            prices=self._prices,
            max_cost_usd=self._max_cost_usd,
            history=self._history,
            listener=self._listener,
            inactivity_s=self._inactivity_s,
            recording_path=self._recording_path,
            interruption=self._interruption,
            session_log=self._session_log,
            greeting=self._greeting,
            reconnect=self._reconnect,
            rotation=self._rotation,
            watchdogs=self._watchdogs,
            on_device_lost=self._on_device_lost,
            echo=self._echo,
            supervisor=self._supervisor,
            dependencies=self._dependencies,
        )

    def _tool_schemas(self) -> list[dict[str, Any]]:
        schemas = self._tools.realtime_schema()
        if self._supervisor is not None:
            from rtvoice.supervisor.voice_tools import delegation_schema  # loaded with the supervisor

            schemas.append(delegation_schema(self._supervisor))
        return schemas

    def _request_stop(self, reason: str) -> None:
        self._bus.publish(StopAgentCommand(reason=reason))

    def _is_connected(self, what: str) -> bool:
        if self._parts is not None and self._parts.connected:
            return True
        logger.warning("%s() does nothing: the agent is not connected", what)
        return False

    def _check_supervisor(self, supervisor: "Supervisor[Any]") -> None:
        from rtvoice.supervisor.voice_tools import reserved_names  # loaded with the supervisor

        for name in sorted(reserved_names(supervisor)):
            if self._tools.get(name) is not None:
                raise ConfigurationError(f"The agent needs the name {name!r} for its supervisor: rename your tool")
        bound = supervisor.bind(*self._dependencies, event_bus=self._bus, conversation_history=self._history)
        checks.warn_of_supervisor(bound, self._listener)
        if self._transcription_model is None:
            self._transcription_model = _transcription_model(DEFAULT, self._provider)
            logger.warning(
                "transcription_model=None is overridden with %r: the supervisor has to read what the user says",
                self._transcription_model,
            )


def _provider(provider: RealtimeProvider | ProviderLike | None, api_key: str | None) -> RealtimeProvider:
    if provider is None:
        return OpenAIProvider(api_key=api_key)
    if api_key is not None:
        raise ConfigurationError("Give either provider= or api_key=, not both: a provider brings its own key")
    checks.no_class("provider", provider)
    for method in ("build_url", "build_headers"):
        if not callable(getattr(provider, method, None)):
            raise TypeError(f"provider must be a RealtimeProvider: {type(provider).__name__} lacks {method}()")
    return cast("RealtimeProvider", provider)


def _transcription_model(value: str | _Default | None, provider: RealtimeProvider) -> str | None:
    if isinstance(value, _Default):
        azure = isinstance(provider, AzureOpenAIProvider)
        return str(TranscriptionModel.WHISPER_1 if azure else TranscriptionModel.GPT_TRANSCRIBE)
    name = checks.transcription_model(value)
    checks.warn_of_transcription_shutdown(name)
    return name
