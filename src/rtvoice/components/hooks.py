"""Hooks: tells the application's listener what happens, one callback at a time and in order."""

import asyncio
import inspect
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from rtvoice.cancellation import is_being_cancelled, run_apart
from rtvoice.events import (
    AgentErrorEvent,
    AgentReconnectedEvent,
    AgentReconnectingEvent,
    AgentSessionConnectedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    AudioDeviceLostEvent,
    AudioDeviceRestoredEvent,
    Event,
    EventBus,
    InterruptionDismissedEvent,
    ResponseFinishedEvent,
    SessionRotatedEvent,
    SpeechDetectedEvent,
    SupervisorFinishedEvent,
    SupervisorStartedEvent,
    ToolApprovalRequestedEvent,
    ToolApprovalResolvedEvent,
    ToolCallFinishedEvent,
    UserInactivityCountdownEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptCompletedEvent,
    WatchdogFiredEvent,
)
from rtvoice.listener import AgentListener, ToolApproval, ToolApprovalRequest

logger = logging.getLogger(__name__)

DELIVERY_TIMEOUT_S: Final = 5.0
"""How long shutdown waits for callbacks that are still queued."""

_REMEMBERED_RESPONSES: Final = 32
_Words: TypeAlias = AssistantTranscriptDeltaEvent | AssistantTranscriptCompletedEvent


class Hooks:
    """Calls the listener. The rest of the agent never waits for it.

    Args:
        bus: The agent's bus.
        listener: The application's listener; it may lack any of the methods.
        wants_deltas: Whether ``on_assistant_transcript_delta`` is to be called.
    """

    hears = (
        AgentSessionConnectedEvent,
        SpeechDetectedEvent,
        UserStartedSpeakingEvent,
        UserStoppedSpeakingEvent,
        UserTranscriptCompletedEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        AssistantTranscriptDeltaEvent,
        AssistantTranscriptCompletedEvent,
        AssistantInterruptedEvent,
        InterruptionDismissedEvent,
        ResponseFinishedEvent,
        ToolCallFinishedEvent,
        ToolApprovalRequestedEvent,
        SupervisorStartedEvent,
        SupervisorFinishedEvent,
        UserInactivityCountdownEvent,
        AgentReconnectingEvent,
        AgentReconnectedEvent,
        SessionRotatedEvent,
        WatchdogFiredEvent,
        AudioDeviceLostEvent,
        AudioDeviceRestoredEvent,
        AgentErrorEvent,
    )
    says = (ToolApprovalResolvedEvent,)

    def __init__(self, bus: EventBus, listener: AgentListener | object, *, wants_deltas: bool) -> None:
        self._bus = bus
        self._listener = listener
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        if not wants_deltas:
            bus.ignore(self._inbox, AssistantTranscriptDeltaEvent)
        self._beginning = BeginningGate()
        self._utterances = UtteranceGate()
        self._transcripts = TranscriptGate()
        self._delivered = asyncio.Event()
        self._callbacks: dict[type, Callable[[Any], tuple[Any, ...]]] = {
            AgentSessionConnectedEvent: lambda _: ("on_agent_session_connected",),
            UserStartedSpeakingEvent: lambda _: ("on_user_started_speaking",),
            UserStoppedSpeakingEvent: lambda _: ("on_user_stopped_speaking",),
            UserTranscriptCompletedEvent: lambda event: ("on_user_transcript", event.transcript),
            AssistantStartedRespondingEvent: lambda _: ("on_assistant_started_responding",),
            AssistantStoppedRespondingEvent: lambda _: ("on_assistant_stopped_responding",),
            AssistantTranscriptDeltaEvent: lambda event: ("on_assistant_transcript_delta", event.delta),
            AssistantTranscriptCompletedEvent: lambda event: ("on_assistant_transcript", event.transcript),
            AssistantInterruptedEvent: lambda _: ("on_agent_interrupted",),
            InterruptionDismissedEvent: lambda event: ("on_interruption_dismissed", event.reason),
            ToolCallFinishedEvent: lambda event: ("on_tool_executed", event.name, event.kind, not event.respond),
            SupervisorStartedEvent: lambda _: ("on_supervisor_started",),
            SupervisorFinishedEvent: lambda _: ("on_supervisor_finished",),
            UserInactivityCountdownEvent: lambda event: (
                "on_user_inactivity_countdown",
                event.remaining_seconds,
            ),
            AgentReconnectingEvent: lambda event: ("on_agent_reconnecting", event.attempt, event.reason),
            AgentReconnectedEvent: lambda event: ("on_agent_reconnected", event.restored),
            SessionRotatedEvent: lambda event: ("on_session_rotated", event.restored),
            WatchdogFiredEvent: lambda event: ("on_watchdog_fired", event.watchdog, event.waited_s, event.action),
            AudioDeviceLostEvent: lambda event: ("on_audio_device_lost", event.direction, event.reason),
            AudioDeviceRestoredEvent: lambda event: ("on_audio_device_restored", event.direction, event.device),
            AgentErrorEvent: lambda event: ("on_agent_error", event.error),
        }

    async def starting(self) -> None:
        """Call ``on_agent_starting`` and wait for it."""
        await self._call("on_agent_starting")

    async def stopped(self) -> None:
        """Call ``on_agent_stopped`` and wait for it."""
        await self._call("on_agent_stopped")

    async def stop(self) -> None:
        """Take no more events, and wait a bounded time until those that are queued are delivered."""
        self._inbox.close()
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                await self._delivered.wait()
        except TimeoutError:
            logger.warning("Listener callbacks took over %.0f s at shutdown; the rest is dropped", DELIVERY_TIMEOUT_S)

    async def run(self) -> None:
        """Deliver until `stop`."""
        async with asyncio.TaskGroup() as group:
            approvals: set[asyncio.Task[None]] = set()
            try:
                async for event in self._inbox:
                    if type(event) is ToolApprovalRequestedEvent:
                        task = group.create_task(self._ask_for_approval(event), name="tool approval")
                        approvals.add(task)
                        task.add_done_callback(approvals.discard)
                    else:
                        await self._deliver(self._beginning.pass_on(event))
                await self._deliver(self._beginning.rest())
            finally:
                for task in approvals:
                    task.cancel()
                self._delivered.set()

    async def _deliver(self, events: list[Event]) -> None:
        in_turn = [utterance for event in events for utterance in self._utterances.pass_on(event)]
        for event in [ready for utterance in in_turn for ready in self._transcripts.pass_on(utterance)]:
            await self._call(*self._callbacks[type(event)](event))

    async def _ask_for_approval(self, event: ToolApprovalRequestedEvent) -> None:
        """Ask the listener, beside the other callbacks: a person may take a while."""
        request = ToolApprovalRequest(call_id=event.call_id, name=event.name, arguments=event.arguments)
        answer = await self._call("on_tool_approval_requested", request)
        if not isinstance(answer, ToolApproval):
            answer = ToolApproval(answer is True)
        self._bus.publish(
            ToolApprovalResolvedEvent(call_id=event.call_id, approved=answer.approved, reason=answer.reason)
        )

    async def _call(self, name: str, *arguments: object) -> object:
        callback: Callable[..., object] | None = getattr(self._listener, name, None)
        if callback is None:
            return None
        try:
            result = callback(*arguments)
            if inspect.isawaitable(result):
                return await run_apart(f"listener callback {name}", _awaited, result)
            return result
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            logger.warning("Listener callback %s awaited something that was cancelled", name)
            return None
        except Exception:
            logger.exception("Listener callback %s failed", name)
            return None


async def _awaited(result: Awaitable[object]) -> object:
    return await result


class BeginningGate:
    """Keeps everything back until the session is announced: a server may complain at once."""

    def __init__(self) -> None:
        self._early: list[Event] | None = []

    def pass_on(self, event: Event) -> list[Event]:
        """Return the events that may be delivered now that ``event`` has come."""
        if self._early is None:
            return [event]
        if type(event) is AgentSessionConnectedEvent:
            return [event, *self.rest()]
        self._early.append(event)
        return []

    def rest(self) -> list[Event]:
        """Return what was kept back, and keep nothing back any more."""
        early, self._early = self._early or [], None
        return early


class UtteranceGate:
    """Keeps the end of an utterance, and its words, back until its beginning has been announced.

    The server says all of it, one after the other; but the beginning takes the way through playback, which
    has to silence the assistant first. What turns out to be nobody's utterance is never announced.
    """

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()  # begins with the utterance that is not announced yet
        self._unspoken: OrderedDict[str | None, None] = OrderedDict()  # items of what was no utterance

    def pass_on(self, event: Event) -> list[Event]:
        """Return the events that may be delivered now that ``event`` has come."""
        match event:
            case SpeechDetectedEvent():
                self._waiting.append(event)
                return []
            case InterruptionDismissedEvent() if not event.was_speech:
                self._unspoken[event.item_id] = None
                _bound(self._unspoken)
                self._next_utterance()
                return [event]
            case UserTranscriptCompletedEvent() if event.item_id in self._unspoken:
                return []
            case UserStoppedSpeakingEvent() | UserTranscriptCompletedEvent() if self._waiting:
                self._waiting.append(event)
                return []
            case UserStartedSpeakingEvent() if self._waiting:
                return [event, *self._next_utterance()]
            case _:
                return [event]

    def _next_utterance(self) -> list[Event]:
        """Take out the utterance that waits longest; return what came after its beginning."""
        rest: list[Event] = []
        if self._waiting:
            self._waiting.popleft()
        while self._waiting and type(self._waiting[0]) is not SpeechDetectedEvent:
            rest.append(self._waiting.popleft())
        return rest


class TranscriptGate:
    """Keeps a response's words back until it can be heard.

    The server sends words ahead of their sound, and whole responses while another is still playing. A
    listener shall hear of an answer's beginning first, then of its words; and not of words that nobody
    ever heard.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[str, None] = OrderedDict()  # responses that can be heard, or were
        self._held: OrderedDict[str, list[_Words]] = OrderedDict()

    def pass_on(self, event: Event) -> list[Event]:
        """Return the events that may be delivered now that ``event`` has come."""
        match event:
            case AssistantTranscriptDeltaEvent() | AssistantTranscriptCompletedEvent():
                if event.response_id in self._open:
                    return [event]
                self._held.setdefault(event.response_id, []).append(event)
                _bound(self._held)
                return []
            case AssistantStartedRespondingEvent():
                self._open[event.response_id] = None
                _bound(self._open)
                return [event, *self._held.pop(event.response_id, [])]
            case AssistantInterruptedEvent():
                self._forget({cut.item_id for cut in event.cuts})
                return [event]
            case ResponseFinishedEvent():
                return self._close(event)
            case _:
                return [event]

    def _close(self, event: ResponseFinishedEvent) -> list[Event]:
        if event.has_audio and event.status != "cancelled":
            return []  # it will be heard
        held = self._held.pop(event.response_id, [])
        return [] if event.status == "cancelled" else [*held]

    def _forget(self, items: set[str]) -> None:
        """Drop the words of responses that were cut before anything of them could be heard."""
        for response_id, events in list(self._held.items()):
            if any(event.item_id in items for event in events):
                del self._held[response_id]


def _bound(memory: OrderedDict[Any, Any]) -> None:
    if len(memory) > _REMEMBERED_RESPONSES:
        memory.popitem(last=False)
