"""Tool runner: every call of the model runs in a task of its own and is answered exactly once."""

import asyncio
import logging
from typing import Final

from rtvoice.events import (
    EventBus,
    SpeakHoldingPhraseCommand,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)
from rtvoice.tools import PreparedCall, Tools

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 60.0
"""How long a tool may run unless it says otherwise, in seconds."""

_CANCELLED: Final = "Error: the call was cancelled because the conversation ended."


class ToolRunner:
    """Runs the tools that the model calls; nothing else ever waits for them.

    Args:
        bus: The agent's bus.
        tools: The agent's tools.
        timeout_s: Limit for tools without one of their own; ``None`` for no limit.
        others: Names of calls that another part answers.
    """

    hears = (ToolCallRequestedEvent,)
    says = (SpeakHoldingPhraseCommand, ToolCallFinishedEvent)

    def __init__(
        self,
        bus: EventBus,
        tools: Tools,
        *,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        others: frozenset[str] = frozenset(),
    ) -> None:
        self._bus = bus
        self._tools = tools
        self._timeout_s = timeout_s
        self._others = others
        self._inbox = bus.open_inbox(*self.hears, in_order=True)

    def stop(self) -> None:
        """Let `run` end: running calls are cancelled and answered."""
        self._inbox.close()

    async def run(self) -> None:
        """Run calls until `stop`."""
        async with asyncio.TaskGroup() as group:
            running: set[asyncio.Task[None]] = set()
            async for event in self._inbox:
                if event.name in self._others:
                    continue
                task = self._start(event, group)
                running.add(task)
                task.add_done_callback(running.discard)
            for task in running:
                task.cancel()

    def _start(self, event: ToolCallRequestedEvent, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        call = self._tools.prepare(event.name, event.arguments)
        if call.phrase is not None:
            self._bus.publish(SpeakHoldingPhraseCommand(call_id=event.call_id, phrase=call.phrase))
        return group.create_task(self._run(event, call), name=f"tool {event.name}")

    async def _run(self, event: ToolCallRequestedEvent, call: PreparedCall) -> None:
        try:
            outcome = await call.run(default_timeout=self._timeout_s)
        except asyncio.CancelledError:
            self._answer(event, _CANCELLED, success=False)
            raise
        self._answer(
            event,
            outcome.output,
            success=outcome.success,
            respond=outcome.respond,
            result_instruction=outcome.result_instruction,
        )

    def _answer(
        self,
        event: ToolCallRequestedEvent,
        output: str,
        *,
        success: bool,
        respond: bool = True,
        result_instruction: str | None = None,
    ) -> None:
        self._bus.publish(
            ToolCallFinishedEvent(
                call_id=event.call_id,
                name=event.name,
                output=output,
                success=success,
                respond=respond,
                result_instruction=result_instruction,
            )
        )
