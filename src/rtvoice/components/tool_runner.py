"""Tool runner: every call of the model runs in a task of its own and is answered exactly once."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from rtvoice.events import (
    EventBus,
    SpeakHoldingPhraseCommand,
    ToolApprovalRequestedEvent,
    ToolApprovalResolvedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)
from rtvoice.tools import PreparedCall, Tools
from rtvoice.tools.approvals import APPROVAL_TIMEOUT_S, Approvals

DEFAULT_TIMEOUT_S: Final = 60.0
"""How long a tool may run unless it says otherwise, in seconds."""

_CANCELLED: Final = "Error: the call was cancelled because the conversation ended."


class ToolRunner:
    """Runs the tools that the model calls; nothing else ever waits for them.

    Args:
        bus: The agent's bus.
        tools: The agent's tools.
        timeout_s: Limit for tools without one of their own; ``None`` for no limit.
        approval_timeout_s: How long a person may take to approve a tool that needs it.
        others: Names of calls that another part answers.
    """

    hears = (ToolCallRequestedEvent, ToolApprovalResolvedEvent)
    says = (SpeakHoldingPhraseCommand, ToolApprovalRequestedEvent, ToolCallFinishedEvent)

    def __init__(
        self,
        bus: EventBus,
        tools: Tools,
        *,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        approval_timeout_s: float = APPROVAL_TIMEOUT_S,
        others: frozenset[str] = frozenset(),
    ) -> None:
        self._bus = bus
        self._tools = tools
        self._timeout_s = timeout_s
        self._approvals = Approvals(self._ask_for_approval, timeout_s=approval_timeout_s)
        self._others = others
        self._inbox = bus.open_inbox(*self.hears, in_order=True)

    def stop(self) -> None:
        """Let `run` end: running calls are cancelled and answered."""
        self._inbox.close()

    async def run(self) -> None:
        """Run calls until `stop`."""
        async with asyncio.TaskGroup() as group:
            running: dict[asyncio.Task[None], ToolCallRequestedEvent] = {}

            def settle(task: asyncio.Task[None]) -> None:
                """A call that was cancelled, perhaps before its first step, is answered all the same."""
                event = running.pop(task)
                if task.cancelled():
                    kind = _kind(self._tools, event.name)
                    self._answer(event, _CANCELLED, success=False, respond=False, kind=kind)

            async for event in self._inbox:
                if type(event) is ToolApprovalResolvedEvent:
                    self._approvals.decide(event.call_id, approved=event.approved, reason=event.reason)
                    continue
                if event.name in self._others:
                    continue
                task = self._start(event, group)
                running[task] = event
                task.add_done_callback(settle)
            for task in running:
                task.cancel()

    def _start(self, event: ToolCallRequestedEvent, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        call = self._tools.prepare(event.name, event.arguments)
        if call.phrase is not None and not call.needs_approval:
            self._speak(event, call)
        return group.create_task(self._run(event, call), name=f"tool {event.name}")

    async def _run(self, event: ToolCallRequestedEvent, call: PreparedCall) -> None:
        kind = _kind(self._tools, event.name)
        if call.needs_approval:
            refusal = await self._approvals.refusal(event.call_id, event.name, event.arguments)
            if refusal is not None:
                self._answer(event, refusal, success=False, kind=kind)
                return
            self._speak(event, call)
        outcome = await call.run(default_timeout=self._timeout_s)
        self._answer(
            event,
            outcome.output,
            success=outcome.success,
            respond=outcome.respond,
            result_instruction=outcome.result_instruction,
            kind=kind,
        )

    def _speak(self, event: ToolCallRequestedEvent, call: PreparedCall) -> None:
        if call.phrase is not None:
            self._bus.publish(SpeakHoldingPhraseCommand(call_id=event.call_id, phrase=call.phrase))

    def _ask_for_approval(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        self._bus.publish(ToolApprovalRequestedEvent(call_id=call_id, name=name, arguments=arguments))

    def _answer(
        self,
        event: ToolCallRequestedEvent,
        output: str,
        *,
        success: bool,
        respond: bool = True,
        result_instruction: str | None = None,
        kind: str | None = None,
    ) -> None:
        self._bus.publish(
            ToolCallFinishedEvent(
                call_id=event.call_id,
                name=event.name,
                output=output,
                success=success,
                respond=respond,
                result_instruction=result_instruction,
                kind=kind,
            )
        )


def _kind(tools: Tools, name: str) -> str | None:
    tool = tools.get(name)
    return tool.kind if tool is not None else None
