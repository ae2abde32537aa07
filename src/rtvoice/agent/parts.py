"""The parts of a running agent: made, started, and brought to an end together.

This is the only place that knows all components; they know nothing of each other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import rtvoice
from rtvoice.agent.stats import AgentStats
from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice
from rtvoice.audio.echo.canceller import EchoCanceller
from rtvoice.audio.echo.choice import EchoMode
from rtvoice.cancellation import is_being_cancelled, run_apart
from rtvoice.components.capture import Capture
from rtvoice.components.echo import Echo
from rtvoice.components.hooks import Hooks
from rtvoice.components.inactivity import Inactivity
from rtvoice.components.meter import Meter
from rtvoice.components.playback import Playback
from rtvoice.components.session import Session
from rtvoice.components.tool_runner import ToolRunner
from rtvoice.components.transcript import Transcript
from rtvoice.conversation import ConversationHistory
from rtvoice.errors import AudioDeviceError, AuthenticationFailed, RtvoiceError, SessionError
from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AgentSessionConnectedEvent,
    AgentStartingEvent,
    AgentStoppedEvent,
    EventBus,
    RestoredConversation,
    SayCommand,
    StopAgentCommand,
)
from rtvoice.listener import AgentListener
from rtvoice.realtime import RealtimeProvider
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.protocol import RealtimeProtocol
from rtvoice.settings import InterruptionPolicy, ReconnectPolicy, RotationPolicy, SessionLog, WatchdogPolicy
from rtvoice.tools import Tools
from rtvoice.usage import Prices, UsageMeter

if TYPE_CHECKING:
    from rtvoice.components.interruption import Interruption
    from rtvoice.components.recorder import Recorder
    from rtvoice.components.session_log import SessionLogger
    from rtvoice.components.supervision import Supervision
    from rtvoice.supervisor import Supervisor

logger = logging.getLogger(__name__)

_NO_WATCHDOGS: Final = WatchdogPolicy(
    answer_s=None, response_s=None, ping_s=None, write_s=None, capture_s=None, playback_s=None
)
_DEVICE_STOP_S: Final = 1.0
"""How long a device may take to stop before it is left alone."""
_TOOLS_STOP_S: Final = 0.5
"""How long cancelled tools may take to be answered."""
_RECORDER_STOP_S: Final = 10.0
"""How long a slow disk may take to complete the recording."""
_SUBSCRIBERS_STOP_S: Final = 1.0
"""How long application event handlers may take to work off what is queued for them."""
_LISTENER_STOP_S: Final = 5.0
"""How long ``on_agent_stopped`` may take."""
_COMPONENT_STOP_S: Final = 1.0
"""How long a component may take to end when it is cancelled: longer than anything of others that it runs."""


class _Over(Exception):  # noqa: N818 - ends the task group
    """The conversation is over: cancel what still runs."""


class Parts:
    """All components of one agent on one bus.

    Attributes:
        hooks: Calls the listener.
        meter: Knows usage and latency.
        stop_reason: Why the conversation ended, in a few words; empty while it goes on.
    """

    hears = (StopAgentCommand,)
    says = (
        AgentStartingEvent,
        AgentSessionConnectedEvent,
        AgentErrorEvent,
        SayCommand,
        StopAgentCommand,
        AgentStoppedEvent,
    )

    def __init__(
        self,
        bus: EventBus,
        *,
        provider: RealtimeProvider,
        config: SessionConfig,
        audio_input: AudioInputDevice,
        audio_output: AudioOutputDevice,
        tools: Tools,
        tool_timeout_s: float | None,
        prices: Prices | None,
        max_cost_usd: float | None,
        history: ConversationHistory,
        listener: AgentListener,
        inactivity_s: float | None,
        recording_path: Path | None,
        greeting: str | None = None,
        reconnect: ReconnectPolicy | None = None,
        rotation: RotationPolicy | None = None,
        watchdogs: WatchdogPolicy | None = None,
        on_device_lost: Literal["end", "continue"] = "end",
        echo: EchoMode | EchoCanceller | None = None,
        interruption: InterruptionPolicy | None = None,
        session_log: SessionLog | None = None,
        supervisor: "Supervisor[Any] | None" = None,
        dependencies: Sequence[object] = (),
    ) -> None:
        loop = asyncio.get_running_loop()
        self._bus = bus
        self.stop_reason = ""
        self._commands = bus.open_inbox(*self.hears)
        self._greeting = greeting
        self.hooks = Hooks(bus, listener, wants_deltas="text" in config.modalities)
        long_calls = (supervisor.name,) if supervisor is not None else ()
        backend = RealtimeProtocol(config, loop.time, watchdogs=watchdogs, long_calls=long_calls)
        self._session_log = _session_log(bus, session_log, provider, config)
        wiretap = None
        if self._session_log is not None:
            provider, wiretap = self._session_log.provider, self._session_log.wiretap
        self._session = Session(
            bus,
            provider,
            backend,
            model=config.model,
            reconnect=reconnect,
            rotation=rotation,
            watchdogs=watchdogs,
            wiretap=wiretap,
        )
        limits = watchdogs or _NO_WATCHDOGS
        steady = config.turn_detection is not None  # push-to-talk: a device may deliver only while the button is held
        self._capture = Capture(bus, audio_input, on_lost=on_device_lost, stall_s=limits.capture_s if steady else None)
        self._interruption = _interruption(bus, interruption, audio_output, config)
        self._playback = Playback(
            bus,
            audio_output,
            on_lost=on_device_lost,
            stall_s=limits.playback_s,
            judged_elsewhere=self._interruption is not None,
        )
        self._echo = Echo(bus, echo, audio_input, audio_output)
        self._supervision = _supervision(bus, supervisor, history, config, dependencies)
        others = self._supervision.tool_names if self._supervision is not None else frozenset()
        self._tool_runner = ToolRunner(bus, tools, timeout_s=tool_timeout_s, others=others)
        self._transcript = Transcript(bus, history)
        usage_meter = UsageMeter(config.model, config.transcription_model, prices)
        self.meter = Meter(bus, usage_meter, max_cost_usd=max_cost_usd)
        self._inactivity = Inactivity(bus, inactivity_s) if inactivity_s is not None else None
        self._tools_answered = asyncio.Event()  # unset while tools can be called
        self._tools_answered.set()
        self._recorder = _recorder(bus, recording_path, audio_output)

    @property
    def recording_path(self) -> Path | None:
        """The recording, if there is a complete one."""
        return self._recorder.path if self._recorder is not None else None

    @property
    def connected(self) -> bool:
        """Whether the session is open."""
        return self._session.connected

    @property
    def stats(self) -> AgentStats:
        """The counters of all parts."""
        return AgentStats(
            session=self._session.stats,
            microphone=self._capture.stats,
            loudspeaker=self._playback.stats,
            events_waiting=self._bus.waiting,
            events_dropped=self._bus.dropped,
        )

    async def restart(self) -> RestoredConversation:
        """Go on in a new session; see `RealtimeAgent.restart`."""
        return await self._session.restart()

    async def conduct(self) -> BaseException | None:
        """Run the conversation from beginning to end.

        Returns:
            The exception that ``run()`` is to raise: why it could not begin. ``None`` if it began.
        """
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                self._bus.attach(group)
                self._run(group, "hooks", self.hooks.run)
                self._run(group, "transcript", self._transcript.run)
                self._run(group, "meter", self.meter.run)
                beginning = group.create_task(self._begin(group), name="rtvoice beginning")
                try:
                    failure = await self._wait_for_stop()
                finally:  # also when run() is cancelled; that exception then ends the group
                    await _undisturbed(group.create_task(self._end(failure, beginning), name="rtvoice ending"))
                _cancel_the_rest()
        except* _Over:
            pass
        finally:
            await _bounded(self.hooks.stopped, _LISTENER_STOP_S, "on_agent_stopped")
        return failure

    async def _wait_for_stop(self) -> BaseException | None:
        command: StopAgentCommand = await self._commands.get()
        self.stop_reason = command.reason
        logger.info("The agent stops: %s", command.reason)
        return command.exception

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        """Connect, configure, then open the devices; a failure ends the agent with that exception."""
        try:
            self._bus.publish(AgentStartingEvent())
            await self.hooks.starting()
            if self._session_log is not None:
                self._session_log.start()
                self._run(group, "session log", self._session_log.run)
            await self._session.connect()
            self._run(group, "session", self._session.run)
            await self._session.wait_for_server()
            self._tools_answered.clear()
            self._run(group, "tool runner", self._run_tools)
            if self._recorder is not None:
                await self._recorder.start()
                self._run(group, "recorder", self._recorder.run)
            self._bus.publish(AgentSessionConnectedEvent())
            await run_apart("the output device's start()", self._playback.start)
            self._run(group, "playback", self._playback.run)
            if self._interruption is not None:
                self._run(group, "interruption", self._interruption.run)
            await run_apart("the input device's start()", self._capture.start)
            self._capture.clean = self._echo.start()
            self._run(group, "echo", self._echo.run)
            self._run(group, "capture", self._capture.run)
            if self._inactivity is not None:
                self._run(group, "inactivity", self._inactivity.run)
            if self._greeting:
                self._bus.publish(SayCommand(text=self._greeting, request_id="greeting"))
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            failure = RtvoiceError("The agent could not start: what a device or the provider waited for was cancelled")
            failure.__cause__ = error
            self._bus.publish(StopAgentCommand(reason="it could not start", exception=failure))
        except Exception as error:
            logger.debug("The agent cannot start", exc_info=True)
            self._bus.publish(StopAgentCommand(reason="it could not start", exception=error))

    async def _end(self, failure: BaseException | None, beginning: asyncio.Task[None]) -> None:
        """Close everything in order: first what brings new work, then what carries it out."""
        if self._session_log is not None:
            self._session_log.agent_stops()
        beginning.cancel()
        await asyncio.wait([beginning], timeout=_DEVICE_STOP_S)
        if failure is not None:
            self._bus.publish(AgentErrorEvent(_as_agent_error(failure)))
        await _bounded(self._capture.stop, _DEVICE_STOP_S, "the input device's stop()")
        self._echo.stop()
        self._tool_runner.stop()
        if self._supervision is not None:
            self._supervision.stop()
        if self._session.connected:  # so that the server gets their outputs
            await _bounded(self._tools_answered.wait, _TOOLS_STOP_S, "cancelling the tools")
        async with asyncio.TaskGroup() as group:
            group.create_task(_bounded(self._playback.stop, _DEVICE_STOP_S, "the output device's stop()"))
            group.create_task(self._session.close())
        if self._interruption is not None:
            self._interruption.stop()
        if self._inactivity is not None:
            self._inactivity.stop()
        self._transcript.stop()
        self.meter.stop()
        if self._recorder is not None:
            await _bounded(self._recorder.stop, _RECORDER_STOP_S, "the recording to be complete")
        if self._session_log is not None:
            await _bounded(self._session_log.stop, _RECORDER_STOP_S, "the session log to be complete")
        self._bus.publish(AgentStoppedEvent())
        await self._bus.detach(_SUBSCRIBERS_STOP_S)
        await self.hooks.stop()

    async def _run_tools(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tool_runner.run())
                if self._supervision is not None:
                    group.create_task(self._supervision.run())
        finally:
            self._tools_answered.set()

    def _run(self, group: asyncio.TaskGroup, name: str, run: Callable[[], Awaitable[None]]) -> None:
        group.create_task(self._guard(name, run), name=f"rtvoice {name}")

    async def _guard(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a component; if it fails, which it never should, say so and end the conversation."""
        try:
            await run_apart(f"The {name}", run, grace_s=_COMPONENT_STOP_S)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            logger.exception("The %s failed", name)
            self._bus.publish(AgentErrorEvent(AgentError("internal_error", f"The {name} failed: {error!r}")))
            self._bus.publish(StopAgentCommand(reason=f"the {name} failed"))


def _recorder(bus: EventBus, path: Path | None, output: AudioOutputDevice) -> "Recorder | None":
    if path is None:
        return None
    from rtvoice.components.recorder import Recorder  # it needs numpy, which an agent without it does not

    return Recorder(bus, path, output)


def _interruption(
    bus: EventBus, policy: InterruptionPolicy | None, output: AudioOutputDevice, config: SessionConfig
) -> "Interruption | None":
    if policy is None or config.turn_detection is None:
        return None
    from rtvoice.components.interruption import Interruption  # it needs numpy, which an agent without it does not

    return Interruption(bus, policy, output, config.turn_detection)


def _session_log(
    bus: EventBus, settings: SessionLog | None, provider: RealtimeProvider, config: SessionConfig
) -> "SessionLogger | None":
    if settings is None:
        return None
    from rtvoice.components.session_log import SessionLogger  # few agents need it

    return SessionLogger(bus, settings, provider, header={"rtvoice": rtvoice.__version__, "model": config.model})


def _supervision(
    bus: EventBus,
    supervisor: "Supervisor[Any] | None",
    history: ConversationHistory,
    config: SessionConfig,
    dependencies: Sequence[object],
) -> "Supervision | None":
    if supervisor is None:
        return None
    from rtvoice.components.supervision import Supervision  # an agent without a supervisor needs no language model

    *tools, _ = config.tools
    return Supervision(bus, supervisor, history=history, tools=tools, dependencies=dependencies)


async def _undisturbed(ending: asyncio.Task[None]) -> None:
    """Wait for a task that takes a bounded time, even if the waiting is cancelled meanwhile, once or more."""
    cancellation: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
    ending.result()


def _cancel_the_rest() -> None:
    """End the task group around the caller: what has not ended by itself is cancelled."""
    raise _Over


async def _bounded(action: Callable[[], Awaitable[object]], limit_s: float, what: str) -> None:
    """Wait for something that is not ours, for a limited time; what it raises is logged."""
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task is not None else 0
    try:
        async with asyncio.timeout(limit_s):
            await run_apart(what, action, grace_s=_COMPONENT_STOP_S)
    except TimeoutError:
        logger.warning("Gave up waiting for %s after %.1f s", what, limit_s)
    except asyncio.CancelledError:
        if task is None or task.cancelling() > cancelled_before:
            raise
        logger.warning("%s awaited something that was cancelled", what)
    except Exception:
        logger.exception("%s failed", what)


def _as_agent_error(failure: BaseException) -> AgentError:
    kinds: dict[type[BaseException], str] = {
        AuthenticationFailed: "authentication_failed",
        SessionError: "connection_failed",
        AudioDeviceError: "audio_error",
    }
    kind = next((name for cls, name in kinds.items() if isinstance(failure, cls)), "start_failed")
    code = failure.code if isinstance(failure, SessionError) else None
    return AgentError(kind, str(failure) or type(failure).__name__, code=code)
