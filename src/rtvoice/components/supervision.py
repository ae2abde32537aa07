"""Supervision: the voice agent hands long tasks to a supervisor and talks on while it works."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rtvoice.conversation import ConversationHistory
from rtvoice.errors import SupervisorError
from rtvoice.events import (
    CancelSupervisorCommand,
    EventBus,
    SpeakHoldingPhraseCommand,
    SpeakProgressCommand,
    SupervisorFinishedEvent,
    SupervisorStartedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UpdateSessionToolsCommand,
    UpdateSupervisorCommand,
)
from rtvoice.supervisor import ClarificationCheckpoint, Supervisor, SupervisorDone, TextAgent

logger = logging.getLogger(__name__)

CANCEL_TOOL: Final = "cancel_supervisor"
UPDATE_TOOL: Final = "update_supervisor"

_CANCEL_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": CANCEL_TOOL,
    "description": "Give up the task that the supervisor is working on or asking about, because the user no longer "
    "wants it.",
    "parameters": {"type": "object", "properties": {}, "required": []},
}
_UPDATE_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": UPDATE_TOOL,
    "description": "Tell the working supervisor something new from the user: a change, a correction, a further wish.",
    "parameters": {
        "type": "object",
        "properties": {"message": {"type": "string", "description": "What the user has added or changed."}},
        "required": ["message"],
    },
}


def supervisor_schema(supervisor: Supervisor[Any]) -> dict[str, Any]:
    """Return the function tool by which the realtime model delegates."""
    description = supervisor.description
    if supervisor.handoff_instructions:
        description += f"\n\nHow to hand over: {supervisor.handoff_instructions}"
    properties = {
        "task": {
            "type": "string",
            "description": "The whole task in your own words, with every detail the user has given.",
        },
    }
    if not isinstance(supervisor, TextAgent):
        properties["clarification_answer"] = {
            "type": "string",
            "description": "The user's answer, only when the supervisor has asked for it; otherwise leave it out.",
        }
    return {
        "type": "function",
        "name": supervisor.name,
        "description": description,
        "parameters": {"type": "object", "properties": properties, "required": ["task"]},
    }


class Supervision:
    """Runs the supervisor on behalf of the realtime model, one task at a time.

    Args:
        bus: The agent's bus.
        supervisor: The user's supervisor; it is bound to this agent.
        history: The conversation, which the supervisor gets to read.
        tools: The schemas of the agent's other tools, in order.
        context: The agent's context object, for the supervisor's tools; ``None`` for none.
    """

    hears = (ToolCallRequestedEvent, CancelSupervisorCommand, UpdateSupervisorCommand)
    says = (
        ToolCallFinishedEvent,
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
        context: object | None = None,
    ) -> None:
        self._bus = bus
        self._history = history
        objects = () if context is None else (context,)
        self._supervisor = supervisor.bind(
            *objects, event_bus=bus, conversation_history=history, on_progress=self._speak_progress
        )
        self._base_tools = [*tools, supervisor_schema(supervisor)]
        self._controllable = not isinstance(supervisor, TextAgent)
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        self._work: asyncio.Task[None] | None = None
        self._call: ToolCallRequestedEvent | None = None  # the call that the work will answer
        self._checkpoint: ClarificationCheckpoint | None = None

    @property
    def tool_names(self) -> frozenset[str]:
        """The calls that are answered here."""
        return frozenset({self._supervisor.name, CANCEL_TOOL, UPDATE_TOOL} if self._controllable else {"text_agent"})

    def stop(self) -> None:
        """Let `run` end: a task that is being worked on is cancelled, and its call answered."""
        self._inbox.close()

    async def run(self) -> None:
        """Serve calls until `stop`."""
        async with asyncio.TaskGroup() as group:
            async for event in self._inbox:
                match event:
                    case ToolCallRequestedEvent() if event.name == self._supervisor.name:
                        await self._delegate(event, group)
                    case ToolCallRequestedEvent() if event.name == CANCEL_TOOL and self._controllable:
                        await self._cancel(event)
                    case ToolCallRequestedEvent() if event.name == UPDATE_TOOL and self._controllable:
                        await self._update(event)
                    case CancelSupervisorCommand():
                        await self._give_up("The task was cancelled by the application.")
                    case UpdateSupervisorCommand():
                        await self._supervisor.update(event.message)
            await self._give_up("The task was cancelled because the conversation ended.")

    # --- the three tools ---

    async def _delegate(self, call: ToolCallRequestedEvent, group: asyncio.TaskGroup) -> None:
        task, answer = call.arguments.get("task"), call.arguments.get("clarification_answer")
        if self._work is not None:
            self._answer(
                call, "This task is already being worked on; its result will follow. Tell the user so briefly."
            )
            return
        if self._checkpoint is not None and not answer:
            self._answer(
                call,
                f"The supervisor is waiting for the user's answer to: {self._checkpoint.question} Either call "
                f"{self._supervisor.name} again with the answer in clarification_answer, or call {CANCEL_TOOL} first "
                "and then delegate the new task.",
            )
            return
        if not isinstance(task, str) or not task.strip():
            self._answer(call, "Error: task must be a text that says what to do.", success=False)
            return
        self._call = call
        self._bus.publish(UpdateSessionToolsCommand(self._tools(cancel=True, update=True)))
        self._bus.publish(SupervisorStartedEvent())
        if self._supervisor.holding_instruction:
            phrase = self._supervisor.holding_instruction
            self._bus.publish(SpeakHoldingPhraseCommand(call_id=call.call_id, phrase=phrase))
        name = f"rtvoice {self._supervisor.name}"
        self._work = group.create_task(self._run_task(call, task, str(answer or "")), name=name)

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
        if self._work is None:
            self._answer(call, "The supervisor has no task any more; delegate a new one if the user wants that.")
        elif not isinstance(message, str) or not message.strip():
            self._answer(call, "Error: message must be a text that says what is new.", success=False)
        else:
            await self._supervisor.update(message)
            self._answer(
                call,
                "The supervisor has been told.",
                instruction="Acknowledge briefly that the supervisor takes this into account.",
            )

    # --- the work ---

    async def _run_task(self, call: ToolCallRequestedEvent, task: str, answer: str) -> None:
        supervisor, checkpoint = self._supervisor, self._checkpoint
        try:
            if checkpoint is not None:
                result = await supervisor.resume(answer, checkpoint.resume_history, checkpoint.clarify_call_id)
            else:
                if answer:
                    task = f"{task}\n\nThe user has already answered: {answer}"
                result = await supervisor.start(task, context=self._history.format())
        except SupervisorError as error:
            logger.warning("The supervisor failed: %s", type(error.__cause__ or error).__name__)
            logger.debug("The supervisor failed", exc_info=True)
            self._checkpoint = None
            supervisor.discard_pending_updates()
            self._finish(call, f"Error: the task failed: {error}. Tell the user so.", success=False)
            return
        if isinstance(result, SupervisorDone):
            self._checkpoint = None
            output = json.dumps({"message": result.message, "success": result.success}, ensure_ascii=False)
            self._finish(call, output, success=result.success, instruction=supervisor.result_instructions)
        else:
            self._checkpoint = ClarificationCheckpoint.of(result)
            self._finish(
                call,
                f"The supervisor needs an answer of the user before it can go on: {result.question}",
                instruction=(
                    f'Ask the user: "{result.question}" When the user has answered, call {supervisor.name} again with '
                    "the same task and the answer in clarification_answer. Do not make up an answer."
                ),
            )

    async def _give_up(self, why: str) -> bool:
        """Cancel what is being worked on or waited for; return whether there was anything."""
        work, call, waiting = self._work, self._call, self._checkpoint is not None
        self._checkpoint = None
        if work is None or call is None:
            if waiting:
                self._bus.publish(UpdateSessionToolsCommand(self._tools()))
            return waiting
        work.cancel()
        await asyncio.wait([work])
        self._supervisor.discard_pending_updates()
        if self._work is work:  # it had not just finished
            self._end_work()
            self._answer(call, why, success=False, respond=False)
        return True

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
        self._bus.publish(UpdateSessionToolsCommand(self._tools(cancel=self._checkpoint is not None)))

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

    def _tools(self, *, cancel: bool = False, update: bool = False) -> list[Mapping[str, Any]]:
        controls = [_CANCEL_SCHEMA] * cancel + [_UPDATE_SCHEMA] * update
        return [*self._base_tools, *(controls if self._controllable else ())]

    def _speak_progress(self, phrase: str) -> None:
        self._bus.publish(SpeakProgressCommand(phrase=phrase))
