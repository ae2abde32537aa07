"""Who has the floor: what a polite speaker notices of the other side before speaking."""

import asyncio

from rtvoice.events import (
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)


class Floor:
    """Follows an agent's events and knows whether the assistant speaks, works, or has answered.

    All times are the event loop's, in seconds. Handlers of different event types run in tasks of their own, so a
    response's end may come to be known before its beginning; the sets of ids stand that.
    """

    def __init__(self) -> None:
        self._audible: set[str] = set()
        self._audible_since = 0.0
        self._begun: set[str] = set()
        self._finished: set[str] = set()
        self._calls: set[str] = set()
        self._owes_tool_answer = False
        self._answered = False
        self._changed_at = 0.0

    def follow(self, bus: EventBus) -> None:
        """Begin to listen."""
        bus.subscribe(AssistantStartedRespondingEvent, self._started)
        bus.subscribe(AssistantStoppedRespondingEvent, self._stopped)
        bus.subscribe(ResponseStartedEvent, self._response_started)
        bus.subscribe(ResponseFinishedEvent, self._response_finished)
        bus.subscribe(ToolCallRequestedEvent, self._tool_called)
        bus.subscribe(ToolCallFinishedEvent, self._tool_finished)

    def give(self) -> None:
        """Note that nobody owes anybody an answer: the conversation begins."""
        self._answered = True
        self._touch()

    def take(self) -> None:
        """Note that the user has the floor: an answer to this is awaited from now on."""
        self._answered = False
        self._touch()

    def audible_for(self, now: float) -> float:
        """Return for how many seconds the assistant has been speaking; 0 if it is silent."""
        return now - self._audible_since if self._audible else 0.0

    def idle_for(self, now: float) -> float:
        """Return for how many seconds nothing has happened; 0 while the assistant speaks."""
        return 0.0 if self._audible else now - self._changed_at

    def free_for(self, now: float) -> float:
        """Return for how many seconds the assistant has been done with its answer; 0 if it is not."""
        busy = self._begun - self._finished or self._calls or self._owes_tool_answer
        return self.idle_for(now) if self._answered and not busy else 0.0

    def _touch(self) -> None:
        self._changed_at = asyncio.get_running_loop().time()

    def _started(self, event: AssistantStartedRespondingEvent) -> None:
        self._touch()
        self._audible.add(event.response_id)
        self._audible_since = self._changed_at
        self._answered = True

    def _stopped(self, event: AssistantStoppedRespondingEvent) -> None:
        self._touch()
        self._audible.discard(event.response_id)

    def _response_started(self, event: ResponseStartedEvent) -> None:
        self._touch()
        self._begun.add(event.response_id)
        self._owes_tool_answer = False

    def _response_finished(self, event: ResponseFinishedEvent) -> None:
        self._touch()
        self._finished.add(event.response_id)

    def _tool_called(self, event: ToolCallRequestedEvent) -> None:
        self._touch()
        self._calls.add(event.call_id)

    def _tool_finished(self, event: ToolCallFinishedEvent) -> None:
        self._touch()
        self._calls.discard(event.call_id)
        self._owes_tool_answer = event.respond
