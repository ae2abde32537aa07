"""Tool runner: every call of the model runs in a task of its own and is answered exactly once."""

import asyncio
import logging
from typing import Final

from rtvoice.events import (
    EventBus,
    ResolveToolApprovalCommand,
    SpeakHoldingPhraseCommand,
    ToolApprovalRequestedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)
from rtvoice.tools import PreparedCall, Tools

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 60.0
"""How long a tool may run unless it says otherwise, in seconds."""
APPROVAL_TIMEOUT_S: Final = 120.0
"""How long a person may take to decide about a tool, in seconds."""

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

    hears = (ToolCallRequestedEvent, ResolveToolApprovalCommand)
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
        self._approval_timeout_s = approval_timeout_s
        self._others = others
        self._undecided: dict[str, asyncio.Future[ResolveToolApprovalCommand]] = {}
        self._inbox = bus.open_inbox(*self.hears, in_order=True)

    def stop(self) -> None:
        """Let `run` end: running calls are cancelled and answered."""
        self._inbox.close()

    async def run(self) -> None:
        """Run calls until `stop`."""
        async with asyncio.TaskGroup() as group:
            running: set[asyncio.Task[None]] = set()
            async for event in self._inbox:
                if type(event) is ResolveToolApprovalCommand:
                    self._decide(event)
                    continue
                if event.name in self._others:
                    continue
                task = self._start(event, group)
                running.add(task)
                task.add_done_callback(running.discard)
            for task in running:
                task.cancel()

    def _start(self, event: ToolCallRequestedEvent, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        call = self._tools.prepare(event.name, event.arguments)
        if call.phrase is not None and not call.needs_approval:
            self._speak(event, call)
        return group.create_task(self._run(event, call), name=f"tool {event.name}")

    async def _run(self, event: ToolCallRequestedEvent, call: PreparedCall) -> None:
        kind = call.tool.kind if call.tool is not None else None
        try:
            if call.needs_approval:
                refusal = await self._refusal(event)
                if refusal is not None:
                    self._answer(event, refusal, success=False, kind=kind)
                    return
                self._speak(event, call)
            outcome = await call.run(default_timeout=self._timeout_s)
        except asyncio.CancelledError:
            self._answer(event, _CANCELLED, success=False, kind=kind)
            raise
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

    # --- approval ---

    async def _refusal(self, event: ToolCallRequestedEvent) -> str | None:
        """Ask a person whether a call may run; return what to tell the model if it may not."""
        decision: asyncio.Future[ResolveToolApprovalCommand] = asyncio.get_running_loop().create_future()
        self._undecided[event.call_id] = decision
        self._bus.publish(ToolApprovalRequestedEvent(call_id=event.call_id, name=event.name, arguments=event.arguments))
        try:
            async with asyncio.timeout(self._approval_timeout_s):
                verdict = await decision
        except TimeoutError:
            return f"Error: nobody approved {event.name} within {self._approval_timeout_s:g} s, so it was not run."
        finally:
            del self._undecided[event.call_id]
        if verdict.approved:
            return None
        reason = f" Reason: {verdict.reason}." if verdict.reason else ""
        return f"Error: {event.name} was not approved, so it was not run.{reason}"

    def _decide(self, command: ResolveToolApprovalCommand) -> None:
        decision = self._undecided.get(command.call_id)
        if decision is None or decision.done():
            logger.debug("Nothing waits for the approval of call %s", command.call_id)
        else:
            decision.set_result(command)

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
