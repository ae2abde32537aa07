"""Inactivity: ends a conversation in which nobody speaks any more."""

import asyncio
import math
from typing import Final

from rtvoice.events import (
    AgentReconnectedEvent,
    AgentReconnectingEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    Event,
    EventBus,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SpeechDetectedEvent,
    StopAgentCommand,
    SupervisorFinishedEvent,
    SupervisorStartedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserInactivityCountdownEvent,
    UserInactivityTimeoutEvent,
    UserStoppedSpeakingEvent,
)
from rtvoice.events.bus import InboxClosed

COUNTDOWN_FROM: Final = 5
"""The last so many whole seconds are counted down."""


class Inactivity:
    """Counts the time in which nobody is busy: user, assistant, its playback, tools, supervisor, and the connection.

    While a lost connection is being restored nobody can be heard, so that time does not count.

    Args:
        bus: The agent's bus.
        timeout_s: Idle time after which the agent stops, in seconds, greater than 0.
    """

    hears = (
        SpeechDetectedEvent,
        UserStoppedSpeakingEvent,
        ResponseStartedEvent,
        ResponseFinishedEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        AssistantInterruptedEvent,
        ToolCallRequestedEvent,
        ToolCallFinishedEvent,
        SupervisorStartedEvent,
        SupervisorFinishedEvent,
        AgentReconnectingEvent,
        AgentReconnectedEvent,
    )
    says = (UserInactivityCountdownEvent, UserInactivityTimeoutEvent, StopAgentCommand)

    def __init__(self, bus: EventBus, timeout_s: float) -> None:
        self._bus = bus
        self._timeout_s = timeout_s
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        self._busy: set[object] = set()

    def stop(self) -> None:
        """Let `run` end."""
        self._inbox.close()

    async def run(self) -> None:
        """Wait, count down, and stop the agent; every sign of life starts the count anew."""
        loop = asyncio.get_running_loop()
        try:
            idle_since = loop.time()
            counted = self._first_count()
            while True:
                if self._busy:
                    self._note(await self._inbox.get())
                    idle_since, counted = loop.time(), self._first_count()
                    continue
                due = idle_since + self._timeout_s - counted
                event = await self._inbox.get(max(0.0, due - loop.time()))
                if event is not None:
                    self._note(event)
                    idle_since, counted = loop.time(), self._first_count()
                elif counted:
                    self._bus.publish(UserInactivityCountdownEvent(counted))
                    counted -= 1
                else:
                    self._bus.publish(UserInactivityTimeoutEvent(self._timeout_s))
                    self._bus.publish(StopAgentCommand(reason=f"nobody has spoken for {self._timeout_s:g} s"))
                    return
        except InboxClosed:
            pass

    def _first_count(self) -> int:
        return math.floor(min(COUNTDOWN_FROM, self._timeout_s))

    def _note(self, event: Event | None) -> None:
        match event:
            case SpeechDetectedEvent():  # not UserStartedSpeakingEvent, which may come after the end of a short word
                self._busy.add("user")
            case UserStoppedSpeakingEvent():
                self._busy.discard("user")
            case ResponseStartedEvent():
                self._busy.add(("response", event.response_id))
            case ResponseFinishedEvent():
                self._busy.discard(("response", event.response_id))
            case AssistantStartedRespondingEvent():
                self._busy.add("assistant")
            case AssistantStoppedRespondingEvent() | AssistantInterruptedEvent():
                self._busy.discard("assistant")
            case ToolCallRequestedEvent():
                self._busy.add(("tool", event.call_id))
            case ToolCallFinishedEvent():
                self._busy.discard(("tool", event.call_id))
            case SupervisorStartedEvent():
                self._busy.add("supervisor")
            case SupervisorFinishedEvent():
                self._busy.discard("supervisor")
            case AgentReconnectingEvent():
                self._busy.add("connection")
            case AgentReconnectedEvent():  # pragma: no branch - the last of all that it hears
                self._busy.discard("connection")
