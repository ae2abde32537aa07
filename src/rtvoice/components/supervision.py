"""Supervision: the voice agent hands long tasks to a supervisor and talks on while it works."""

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rtvoice.cancellation import run_apart
from rtvoice.conversation import ConversationHistory
from rtvoice.errors import SupervisorError, ToolFeedbackError
from rtvoice.events import (
    CancelSupervisorCommand,
    EventBus,
    SpeakHoldingPhraseCommand,
    SpeakProgressCommand,
    SupervisorFinishedEvent,
    SupervisorStartedEvent,
    ToolApprovalRequestedEvent,
    ToolApprovalResolvedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UpdateSessionToolsCommand,
    UpdateSupervisorCommand,
)
from rtvoice.supervisor import ClarificationCheckpoint, Supervisor, SupervisorDone, SupervisorResult
from rtvoice.supervisor.voice_tools import CANCEL_TOOL, UPDATE_TOOL, control_schemas, delegation_schema, reserved_names
from rtvoice.tools.approvals import APPROVAL_TIMEOUT_S, Approvals

logger = logging.getLogger(__name__)


class Supervision:
    """Runs the supervisor on behalf of the realtime model, one task at a time.

    Args:
        bus: The agent's bus.
        supervisor: The user's supervisor; it is bound to this agent.
        history: The conversation, which the supervisor gets to read.
        tools: The schemas of the agent's other tools, in order.
        dependencies: The agent's objects for the ``Inject[...]`` parameters of the supervisor's tools.
        approval_timeout_s: How long a person may take to approve a tool of the supervisor that needs it.
    """

    hears = (ToolCallRequestedEvent, ToolApprovalResolvedEvent, CancelSupervisorCommand, UpdateSupervisorCommand)
    says = (
        ToolCallFinishedEvent,
        ToolApprovalRequestedEvent,
        SpeakHoldingPhraseCommand,
        SpeakProgressCommand,
        UpdateSessionToolsCommand,
        SupervisorStartedEvent,
        SupervisorFinishedEvent,
    )

    def __init__(
        self,
        bus: EventBus,
        supervisor: Supervisor[Any],
        *,
        history: ConversationHistory,
        tools: Sequence[Mapping[str, Any]] = (),
        dependencies: Sequence[object] = (),
        approval_timeout_s: float = APPROVAL_TIMEOUT_S,
    ) -> None:
        self._bus = bus
        self._history = history
        self._supervisor = supervisor.bind(
            *dependencies,
            event_bus=bus,
            conversation_history=history,
            on_progress=self._speak_progress,
            approve=self._approve,
        )
        self._base_tools = [*tools, delegation_schema(supervisor)]
        self._offered_tools = self._base_tools
        self._approvals = Approvals(self._ask_for_approval, timeout_s=approval_timeout_s)
        self._approval_ids = itertools.count(1)
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        self._work: asyncio.Task[None] | None = None
        self._call: ToolCallRequestedEvent | None = None  # the call that the work will answer
        self._checkpoint: ClarificationCheckpoint | None = None  # the user was asked, or the answer is worked on

    @property
    def tool_names(self) -> frozenset[str]:
        """The calls that are answered here."""
        return reserved_names(self._supervisor)

    def stop(self) -> None:
        """Let `run` end: a task that is being worked on is cancelled, and its call answered."""
        self._inbox.close()

    async def run(self) -> None:
        """Serve calls until `stop`."""
        async with asyncio.TaskGroup() as group:
            async for event in self._inbox:
                match event:
                    case ToolCallRequestedEvent() if event.name in self.tool_names:
                        await self._serve(event, group)
                    case ToolApprovalResolvedEvent():
                        self._approvals.decide(event.call_id, approved=event.approved, reason=event.reason)
                    case CancelSupervisorCommand():
                        await self._give_up("The task was cancelled by the application.", respond=True)
                    case UpdateSupervisorCommand():
                        await self._update_from_application(event.message)
            await self._give_up("The task was cancelled because the conversation ended.")

    async def _serve(self, call: ToolCallRequestedEvent, group: asyncio.TaskGroup) -> None:
        if call.name == CANCEL_TOOL:
            await self._cancel(call)
        elif call.name == UPDATE_TOOL:
            await self._update(call)
        else:
            self._delegate(call, group)

    # --- the three tools ---

    def _delegate(self, call: ToolCallRequestedEvent, group: asyncio.TaskGroup) -> None:
        supervisor = self._supervisor
        task, answer = call.arguments.get("task"), _spoken_answer(call.arguments.get("clarification_answer"))
        if self._work is not None:
            self._answer(
                call,
                "Not started: a task is already being worked on, and its result will follow. Tell the user so briefly. "
                "If this is another task, delegate it after that.",
            )
            return
        if self._checkpoint is not None:
            if not answer:
                self._answer(call, self._waiting_for_answer(self._checkpoint))
                return
            checkpoint = self._checkpoint
            work = partial(supervisor.resume, answer, checkpoint.resume_history, checkpoint.clarify_call_id)
        elif isinstance(task, str) and task.strip():
            if answer:
                task = f"{task}\n\nThe user has already answered: {answer}"
            work = partial(supervisor.start, task, context=self._history.format())
        else:
            self._answer(call, "Error: task must be a text that says what to do.", success=False)
            return
        self._call = call
        self._offer_controls(cancel=True, update=True)
        self._bus.publish(SupervisorStartedEvent())
        if supervisor.holding_instruction:
            self._bus.publish(SpeakHoldingPhraseCommand(call_id=call.call_id, phrase=supervisor.holding_instruction))
        name = f"rtvoice {supervisor.name}"
        self._work = group.create_task(run_apart(name, self._run_task, call, work), name=name)

    async def _cancel(self, call: ToolCallRequestedEvent) -> None:
        if await self._give_up("The task was cancelled at the user's wish."):
            self._answer(
                call,
                "The task was cancelled.",
                instruction="Tell the user in a few words that the task was cancelled.",
            )
        else:
            self._answer(call, "There is nothing to cancel: the supervisor has no task.")

    async def _update(self, call: ToolCallRequestedEvent) -> None:
        message = call.arguments.get("message")
        if self._work is not None:
            if not isinstance(message, str) or not message.strip():
                self._answer(call, "Error: message must be a text that says what is new.", success=False)
                return
            await self._supervisor.update(message)
            self._answer(
                call,
                "The supervisor has been told.",
                instruction="Acknowledge briefly that the supervisor takes this into account.",
            )
        elif self._checkpoint is not None:
            self._answer(call, self._waiting_for_answer(self._checkpoint))
        else:
            self._answer(call, "The supervisor has no task any more; delegate a new one if the user wants that.")

    async def _update_from_application(self, message: str) -> None:
        if self._work is None and self._checkpoint is None:
            logger.warning("UpdateSupervisorCommand does nothing: the supervisor has no task")
        else:
            await self._supervisor.update(message)

    def _waiting_for_answer(self, checkpoint: ClarificationCheckpoint) -> str:
        return (
            f"The supervisor is waiting for the user's answer to: {checkpoint.question} Either call "
            f"{self._supervisor.name} again with the answer in clarification_answer, or call {CANCEL_TOOL} first and "
            "then delegate the new task."
        )

    # --- the work ---

    async def _run_task(self, call: ToolCallRequestedEvent, work: Callable[[], Awaitable[SupervisorResult]]) -> None:
        try:
            result = await work()
        except Exception as error:
            if self._call is not call:
                return  # given up; it did not end when it was cancelled
            logger.warning("The supervisor failed: %s", type(error.__cause__ or error).__name__)
            logger.debug("Traceback of the failed supervisor", exc_info=True)
            self._forget_task()
            reason = error if isinstance(error, SupervisorError) else f"{type(error).__name__}: {error}"
            self._finish(call, f"Error: the task failed. Tell the user so. Reason: {reason}", success=False)
            return
        if self._call is not call:
            return
        if isinstance(result, SupervisorDone):
            self._forget_task()
            output = json.dumps({"message": result.message, "success": result.success}, ensure_ascii=False)
            instruction = self._supervisor.result_instructions
            self._finish(call, output, success=result.success, instruction=instruction)
        else:
            self._checkpoint = ClarificationCheckpoint.of(result)
            self._finish(
                call,
                f"The supervisor needs an answer of the user before it can go on: {result.question}",
                instruction=(
                    f'Ask the user: "{result.question}" When the user has answered, call {self._supervisor.name} again '
                    "with the same task and the answer in clarification_answer. Do not make up an answer."
                ),
            )

    async def _give_up(self, why: str, *, respond: bool = False) -> bool:
        """Cancel what is being worked on or waited for.

        Args:
            why: Told to the model as the output of the call that began the work.
            respond: Whether the model should speak about that output.

        Returns:
            Whether there was anything to cancel.
        """
        work, call = self._work, self._call
        if work is not None and call is not None:
            work.cancel()
            await asyncio.wait([work])
            if self._work is work:  # it has not ended by itself after all
                self._forget_task()
                self._end_work()
                self._answer(call, why, success=False, respond=respond)
                return True
        if self._checkpoint is None:
            return False
        self._forget_task()
        self._offer_controls()
        return True

    def _forget_task(self) -> None:
        """Keep nothing of a task that is over, so that the next one begins afresh."""
        self._checkpoint = None
        self._supervisor.discard_pending_updates()

    def _finish(
        self,
        call: ToolCallRequestedEvent,
        output: str,
        *,
        success: bool = True,
        instruction: str | None = None,
    ) -> None:
        """Answer the call that began the work, and say that the work has ended."""
        self._answer(call, output, success=success, instruction=instruction)
        self._end_work()

    def _end_work(self) -> None:
        self._work = self._call = None
        self._bus.publish(SupervisorFinishedEvent())
        self._offer_controls(cancel=self._checkpoint is not None)

    def _answer(
        self,
        call: ToolCallRequestedEvent,
        output: str,
        *,
        success: bool = True,
        respond: bool = True,
        instruction: str | None = None,
    ) -> None:
        self._bus.publish(
            ToolCallFinishedEvent(
                call_id=call.call_id,
                name=call.name,
                output=output,
                success=success,
                respond=respond,
                result_instruction=instruction,
            )
        )

    def _offer_controls(self, *, cancel: bool = False, update: bool = False) -> None:
        """Let the realtime model cancel or update the task, as far as there is one."""
        tools = [*self._base_tools, *control_schemas(self._supervisor, cancel=cancel, update=update)]
        if tools != self._offered_tools:
            self._offered_tools = tools
            self._bus.publish(UpdateSessionToolsCommand(tools))

    def _speak_progress(self, phrase: str) -> None:
        self._bus.publish(SpeakProgressCommand(phrase=phrase))

    async def _approve(self, name: str, arguments: Mapping[str, Any]) -> bool:
        call_id = f"{self._supervisor.name}_{next(self._approval_ids)}"
        refusal = await self._approvals.refusal(call_id, name, arguments)
        if refusal is not None:
            raise ToolFeedbackError(refusal)
        return True

    def _ask_for_approval(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        self._bus.publish(ToolApprovalRequestedEvent(call_id=call_id, name=name, arguments=arguments))


def _spoken_answer(argument: object) -> str:
    """Return the user's answer as text, empty for none: a model may well pass ``8`` or ``false``."""
    if argument is None:
        return ""
    return argument.strip() if isinstance(argument, str) else json.dumps(argument, ensure_ascii=False)
