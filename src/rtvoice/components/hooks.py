"""Hooks: tells the application's listener what happens, one callback at a time and in order."""

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from rtvoice.events import (
    AgentErrorEvent,
    AgentSessionConnectedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    Event,
    EventBus,
    ResolveToolApprovalCommand,
    ResponseFinishedEvent,
    SupervisorFinishedEvent,
    SupervisorStartedEvent,
    ToolApprovalRequestedEvent,
    ToolCallFinishedEvent,
    UserInactivityCountdownEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.listener import AgentListener, ToolApproval, ToolApprovalRequest

logger = logging.getLogger(__name__)

DELIVERY_TIMEOUT_S: Final = 5.0
"""How long shutdown waits for callbacks that are still queued."""


class Hooks:
    """Calls the listener. The rest of the agent never waits for it.

    Args:
        bus: The agent's bus.
        listener: The application's listener; it may lack any of the methods.
        wants_deltas: Whether ``on_assistant_transcript_delta`` is to be called.
    """

    hears = (
        AgentSessionConnectedEvent,
        UserStartedSpeakingEvent,
        UserStoppedSpeakingEvent,
        UserTranscriptCompletedEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        AssistantTranscriptDeltaEvent,
        AssistantTranscriptCompletedEvent,
        AssistantInterruptedEvent,
        ResponseFinishedEvent,
        ToolCallFinishedEvent,
        ToolApprovalRequestedEvent,
        SupervisorStartedEvent,
        SupervisorFinishedEvent,
        UserInactivityCountdownEvent,
        AgentErrorEvent,
    )
    says = (ResolveToolApprovalCommand,)

    def __init__(self, bus: EventBus, listener: AgentListener | object, *, wants_deltas: bool) -> None:
        self._bus = bus
        self._listener = listener
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        self._wants_deltas = wants_deltas
        self._gate = TranscriptGate()
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
            ToolCallFinishedEvent: lambda event: ("on_tool_executed", event.name, event.kind, not event.respond),
            SupervisorStartedEvent: lambda _: ("on_supervisor_started",),
            SupervisorFinishedEvent: lambda _: ("on_supervisor_finished",),
            UserInactivityCountdownEvent: lambda event: (
                "on_user_inactivity_countdown",
                event.remaining_seconds,
            ),
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
                        await self._deliver(event)
            finally:
                for task in approvals:
                    task.cancel()
                self._delivered.set()

    async def _deliver(self, event: Event) -> None:
        for ready in self._gate.pass_on(event):
            if type(ready) is AssistantTranscriptDeltaEvent and not self._wants_deltas:
                continue
            await self._call(*self._callbacks[type(ready)](ready))

    async def _ask_for_approval(self, event: ToolApprovalRequestedEvent) -> None:
        """Ask the listener, beside the other callbacks: a person may take a while."""
        request = ToolApprovalRequest(call_id=event.call_id, name=event.name, arguments=event.arguments)
        answer = await self._call("on_tool_approval_requested", request)
        if not isinstance(answer, ToolApproval):
            answer = ToolApproval(answer is True)
        self._bus.publish(
            ResolveToolApprovalCommand(call_id=event.call_id, approved=answer.approved, reason=answer.reason)
        )

    async def _call(self, name: str, *arguments: object) -> object:
        callback: Callable[..., object] | None = getattr(self._listener, name, None)
        if callback is None:
            return None
        try:
            result = callback(*arguments)
            return await result if inspect.isawaitable(result) else result
        except Exception:
            logger.exception("Listener callback %s failed", name)
            return None


class TranscriptGate:
    """Keeps a response's words back until it can be heard.

    The server sends words ahead of their sound, and whole responses while another is still playing. A
    listener shall hear of an answer's beginning first, then of its words; and not of words that nobody
    ever heard.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[str, None] = OrderedDict()  # responses that can be heard, or were
        self._held: OrderedDict[str, list[Event]] = OrderedDict()

    def pass_on(self, event: Event) -> list[Event]:
        """Return the events that may be delivered now that ``event`` has come."""
        match event:
            case AssistantTranscriptDeltaEvent() | AssistantTranscriptCompletedEvent():
                if event.response_id in self._open:
                    return [event]
                self._held.setdefault(event.response_id, []).append(event)
                return []
            case AssistantStartedRespondingEvent():
                self._open[event.response_id] = None
                if len(self._open) > 32:
                    self._open.popitem(last=False)
                return [event, *self._held.pop(event.response_id, [])]
            case AssistantInterruptedEvent():
                self._held.clear()
                return [event]
            case ResponseFinishedEvent():
                return self._close(event)
            case _:
                return [event]

    def _close(self, event: ResponseFinishedEvent) -> list[Event]:
        if event.has_audio and event.status != "cancelled":
            return []  # it will be heard
        held = self._held.pop(event.response_id, [])
        return [] if event.status == "cancelled" else held
