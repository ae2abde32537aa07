"""When an answer is complete."""

import asyncio

from rtvoice.events import (
    AgentErrorEvent,
    EventBus,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)

_SETTLED_S = 0.05
"""Events that belong together are told of one after the other; after so long without one nothing is on its way."""


class Answers:
    """Follows an agent's events and knows whether what was said to it has been answered, tool calls included."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._finished: set[str] = set()
        self._calls: set[str] = set()
        self._owes_tool_answer = False
        self._answered = True
        self._changed = asyncio.Event()

    def follow(self, bus: EventBus) -> None:
        """Begin to listen."""
        bus.subscribe(ResponseStartedEvent, self._started)
        bus.subscribe(ResponseFinishedEvent, self._response_finished)
        bus.subscribe(ToolCallRequestedEvent, self._tool_called)
        bus.subscribe(ToolCallFinishedEvent, self._tool_finished)
        bus.subscribe(AgentErrorEvent, self._failed)

    def expect(self) -> None:
        """Note that something is said to the assistant now."""
        self._answered = False

    async def complete(self) -> None:
        """Wait until the assistant has answered it, or something went wrong."""
        while True:
            self._changed.clear()
            if self._is_complete:
                try:
                    await asyncio.wait_for(self._changed.wait(), _SETTLED_S)
                except TimeoutError:
                    return
            else:
                await self._changed.wait()

    @property
    def _is_complete(self) -> bool:
        return self._answered and not (self._begun - self._finished or self._calls or self._owes_tool_answer)

    def _started(self, event: ResponseStartedEvent) -> None:
        self._begun.add(event.response_id)
        self._owes_tool_answer = False
        self._changed.set()

    def _response_finished(self, event: ResponseFinishedEvent) -> None:
        self._finished.add(event.response_id)
        self._answered = True
        self._changed.set()

    def _tool_called(self, event: ToolCallRequestedEvent) -> None:
        self._calls.add(event.call_id)
        self._changed.set()

    def _tool_finished(self, event: ToolCallFinishedEvent) -> None:
        self._calls.discard(event.call_id)
        self._owes_tool_answer = event.respond
        self._changed.set()

    def _failed(self, _event: AgentErrorEvent) -> None:
        self._answered, self._owes_tool_answer = True, False
        self._changed.set()
