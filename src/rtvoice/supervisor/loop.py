"""A text model that works on a task with tools until it is done or has to ask the user.

Usable without an agent::

    supervisor = Supervisor(description="Books tables.", instructions="Book the table.", tools=tools)
    result = await supervisor.start("A table for two at eight")
    if isinstance(result, SupervisorClarificationNeeded):
        result = await supervisor.resume("Luigi's", result.resume_history, result.clarify_call_id)
"""

import asyncio
import contextlib
import copy
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self

from typing_extensions import TypeVar

from rtvoice.errors import (
    AgentStateError,
    ConfigurationError,
    SupervisorError,
    ToolArgumentsError,
    ToolFeedbackError,
)
from rtvoice.llm import (
    AssistantMessage,
    BaseOpenAICompatible,
    ChatInvokeCompletion,
    ChatInvokeUsage,
    ChatModel,
    ChatOpenAI,
    Message,
    SystemMessage,
    ToolCall,
    ToolResultMessage,
    UserMessage,
)
from rtvoice.supervisor.calls import (
    ENDING_TOOLS,
    CallOutcome,
    decode_arguments,
    ending_text,
    unanswered_calls,
    with_unique_ids,
)
from rtvoice.supervisor.results import SupervisorClarificationNeeded, SupervisorDone, SupervisorResult
from rtvoice.tools import ToolContext, Tools, UnresolvedInjection

logger = logging.getLogger(__name__)

T = TypeVar("T", default=None)

DEFAULT_MODEL = "gpt-5.4-mini"


class Supervisor(Generic[T]):
    """Works on one task at a time in a loop: ask the language model, run the tools it calls, tell it the results.

    The loop ends when the model calls ``done`` or ``clarify`` or answers in plain text, or after ``max_iterations``
    questions to it. Tools that are called together run together. The tools' ``Inject[...]`` parameters are filled from
    ``context``; an agent adds its own objects through ``bind``.

    Args:
        description: What it can do. The voice agent reads this to decide when to delegate.
        instructions: The system message of its language model.
        llm: The language model; stays the caller's to close. Default: ``ChatOpenAI(model="gpt-5.4-mini")``, made when
            a task begins and closed when it ends.
        tools: What it can call; copied. ``done`` and ``clarify`` are added.
        max_iterations: Questions to the language model per ``start`` or ``resume``, at least 1.
        handoff_instructions: What else the voice agent should know before it delegates.
        result_instructions: How the voice agent should present the result.
        holding_instruction: What the voice agent says when it has delegated.
        context: An object that tools get by ``Inject[...]``.
        tool_dependencies: Further objects that tools get by ``Inject[...]``.
        tool_timeout: Seconds after which a tool without a timeout of its own is given up; None waits for ever.

    Raises:
        ConfigurationError: A tool is called ``done`` or ``clarify``, or ``max_iterations`` is below 1.
        TypeError: ``llm`` cannot be invoked, ``tools`` is not a ``Tools``, or a text is not a string.
    """

    name = "supervisor"
    _endings: ClassVar[Mapping[str, dict[str, Any]]] = ENDING_TOOLS

    def __init__(
        self,
        *,
        description: str,
        instructions: str,
        llm: ChatModel | None = None,
        tools: Tools | None = None,
        max_iterations: int = 10,
        handoff_instructions: str | None = None,
        result_instructions: str | None = None,
        holding_instruction: str | None = None,
        context: T | None = None,
        tool_dependencies: Sequence[Any] = (),
        tool_timeout: float | None = 300.0,
    ) -> None:
        for parameter, text in (("description", description), ("instructions", instructions)):
            if not isinstance(text, str):
                raise TypeError(f"{parameter} has to be a string, not {text!r}")
        if llm is not None and not callable(getattr(llm, "invoke", None)):
            raise TypeError(f"llm has to be a rtvoice.llm.ChatModel, such as ChatOpenAI(), not {llm!r}")
        if tools is not None and not isinstance(tools, Tools):
            raise TypeError(f"tools has to be a rtvoice.Tools, not {tools!r}")
        if max_iterations < 1:
            raise ConfigurationError(f"max_iterations has to be at least 1, not {max_iterations}")
        self.description = description
        self.instructions = instructions
        self.llm = llm
        self.max_iterations = max_iterations
        self.handoff_instructions = handoff_instructions
        self.result_instructions = result_instructions
        self.holding_instruction = holding_instruction
        self.context = context
        self.tool_dependencies = tuple(tool_dependencies)
        self.tool_timeout = tool_timeout
        self._tools = Tools() if tools is None else tools
        for name in self._endings:
            if self._tools.get(name) is not None:
                raise ConfigurationError(f"The supervisor has a tool {name!r} of its own; give yours another name")
        self._attach(ToolContext(*self.tool_dependencies, context=context))

    def _attach(
        self,
        tool_context: ToolContext,
        *,
        on_progress: Callable[[str], None] | None = None,
        approve: Callable[[str, Mapping[str, Any]], Awaitable[bool]] | None = None,
    ) -> None:
        """Set everything that two bound copies do not share."""
        self._tools = self._tools.clone()
        self._tools.set_context(tool_context)
        self._on_progress = on_progress
        self._approve = approve
        self._updates: list[str] = []
        self._updates_read: list[str] = []
        self._running = False
        self._usage = ChatInvokeUsage(prompt_tokens=0, completion_tokens=0, total_tokens=0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.description[:60]!r})"

    @property
    def running(self) -> bool:
        """Whether a task is being worked on."""
        return self._running

    @property
    def usage(self) -> ChatInvokeUsage:
        """Tokens that the language model has used so far, over all tasks, as far as it tells."""
        return self._usage

    def bind(
        self,
        *objects: Any,
        event_bus: Any = None,
        conversation_history: Any = None,
        on_progress: Callable[[str], None] | None = None,
        approve: Callable[[str, Mapping[str, Any]], Awaitable[bool]] | None = None,
    ) -> Self:
        """Make an independent supervisor with the same settings, tools and language model for one agent.

        Args:
            *objects: Further objects for the tools' ``Inject[...]`` parameters, searched after the named ones.
            event_bus: The agent's event bus, for the same purpose.
            conversation_history: The agent's conversation history, for the same purpose.
            on_progress: Called with the ``status`` or ``holding_instruction`` of a tool when the tool begins. It must
                return at once; what it raises is logged.
            approve: Asks a person whether a tool with ``needs_approval`` may run; gets its name and arguments. It may
                raise ``ToolFeedbackError`` to tell the model why not. Without it such tools are refused.
        """
        bound = copy.copy(self)
        bound._attach(
            ToolContext(
                *self.tool_dependencies,
                *objects,
                event_bus=event_bus,
                context=self.context,
                conversation_history=conversation_history,
            ),
            on_progress=on_progress,
            approve=approve,
        )
        return bound

    @property
    def tools(self) -> Tools:
        """Its own copy of the tools that it can call, without ``done`` and ``clarify``."""
        return self._tools

    def unresolved_injections(self) -> list[UnresolvedInjection]:
        """Return the required ``Inject[...]`` parameters of the tools for which there is nothing to inject."""
        return self._tools.unresolved_injections()

    def check_credentials(self) -> None:
        """Raise ``MissingCredentialsError`` if the language model could not be reached for want of a key. No I/O."""
        llm = ChatOpenAI(DEFAULT_MODEL) if self.llm is None else self.llm
        if isinstance(llm, BaseOpenAICompatible):
            llm.check_credentials()

    async def start(self, task: str, context: str | None = None) -> SupervisorResult:
        """Work on a task until it is done or needs an answer. Cancelling ends it, tools included.

        Args:
            task: What to do.
            context: The conversation so far, as text.

        Raises:
            AgentStateError: It is already working on a task.
            SupervisorError: The language model failed; its exception is the cause.
        """
        messages: list[Message] = [SystemMessage(content=self.instructions)]
        if context:
            messages.append(UserMessage(content=f"<conversation_history>\n{context}\n</conversation_history>"))
        messages.append(UserMessage(content=f"<task>\n{task}\n</task>"))
        return await self._run(messages)

    async def resume(
        self, clarification_answer: str, resume_history: list[Message], clarify_call_id: str
    ) -> SupervisorResult:
        """Go on with a task after the user has answered, with a fresh budget of iterations.

        Args:
            clarification_answer: What the user said.
            resume_history: From the ``SupervisorClarificationNeeded``; left as it is, so that a failed attempt can be
                repeated.
            clarify_call_id: From the same object.

        Raises:
            ConfigurationError: The history does not wait for an answer to that call.
            AgentStateError: It is already working on a task.
            SupervisorError: The language model failed; its exception is the cause.
        """
        if clarify_call_id not in unanswered_calls(resume_history):
            raise ConfigurationError(
                f"resume_history does not wait for an answer to {clarify_call_id!r}: pass resume_history and "
                "clarify_call_id of the same SupervisorClarificationNeeded, unchanged"
            )
        answer = ToolResultMessage(tool_call_id=clarify_call_id, content=clarification_answer)
        return await self._run([*resume_history, answer])

    async def update(self, message: str) -> None:
        """Tell the supervisor something new. The language model reads it before its next step.

        A task does not end before all updates are read. Kept for the next ``start`` or ``resume`` are those that come
        when no task is running and those of a task that failed or was cancelled; ``discard_pending_updates`` prevents
        that.
        """
        self._updates.append(message)

    def discard_pending_updates(self) -> None:
        """Forget updates that are kept for the next task, for example because the last one was cancelled."""
        self._updates.clear()

    async def _run(self, messages: list[Message]) -> SupervisorResult:
        if self._running:
            raise AgentStateError("This supervisor is working on a task; wait for it, cancel it, or use bind() for two")
        self._running = True
        try:
            while True:
                async with ChatOpenAI(DEFAULT_MODEL) if self.llm is None else contextlib.nullcontext(self.llm) as llm:
                    result = await self._work(llm, messages)
                if not self._updates or not isinstance(result, SupervisorDone) or not result.success:
                    return result
                # An update came in while the connections were being closed.
        except BaseException:  # the messages are lost, and with them what the model has read
            self._updates[:0] = self._updates_read
            raise
        finally:
            self._updates_read.clear()
            self._running = False

    async def _work(self, llm: ChatModel, messages: list[Message]) -> SupervisorResult:
        """The loop. It appends to ``messages``, in the way that the API insists on: one result for every tool call."""
        tools = [*self._tools.get_json_tool_schema(), *self._endings.values()]
        draft = ""  # the latest result that could not be accepted
        for _ in range(self.max_iterations):
            messages += self._read_updates()
            answer = await self._ask(llm, messages, tools)
            text = "" if answer.completion is None else str(answer.completion)
            calls = with_unique_ids(answer.tool_calls)
            if text or calls:  # a message without either is refused
                messages.append(AssistantMessage(content=text or None, tool_calls=calls))
            if not calls:
                if not self._updates:
                    return _finished(text, answer.stop_reason)
                draft = text or draft
                continue

            outcomes = await self._execute(calls)
            questions = {
                call_id: outcome.text for call_id, outcome in outcomes.items() if outcome.ends_with == "clarify"
            }
            results = {call_id: outcome.text for call_id, outcome in outcomes.items() if outcome.ends_with == "done"}
            objection = self._objection(outcomes.values())
            asked = next(iter(questions), None)
            for call_id, outcome in outcomes.items():
                content = outcome.text
                if call_id in results:
                    content = objection or "Delivered."
                elif call_id in questions:
                    content = "Asked together with your other question."
                if call_id != asked:
                    messages.append(ToolResultMessage(tool_call_id=call_id, content=content))
            if asked is not None:
                question = "\n".join(questions.values())
                return SupervisorClarificationNeeded(question=question, resume_history=messages, clarify_call_id=asked)
            if results and objection is None:
                return SupervisorDone(message="\n".join(results.values()))
            draft = "\n".join(results.values()) or draft
        return self._exhausted(draft)

    async def _ask(
        self, llm: ChatModel, messages: list[Message], tools: list[dict[str, Any]]
    ) -> ChatInvokeCompletion[Any]:
        try:
            answer = await llm.invoke(list(messages), tools=tools)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise SupervisorError("The supervisor's language model awaited something that was cancelled") from error
        except Exception as error:
            raise SupervisorError(f"The supervisor's language model failed: {type(error).__name__}: {error}") from error
        if not isinstance(answer, ChatInvokeCompletion):
            raise SupervisorError(
                f"{type(llm).__name__}.invoke() has to return a ChatInvokeCompletion, not {type(answer).__name__}"
            )
        if answer.usage is not None:
            self._usage += answer.usage
        return answer

    async def _execute(self, calls: list[ToolCall]) -> dict[str, CallOutcome]:
        """Run all calls at the same time; return their outcomes by call id, in the order of the calls."""
        async with asyncio.TaskGroup() as tasks:
            running = {call.id: tasks.create_task(self._call(call)) for call in calls}
        return {call_id: task.result() for call_id, task in running.items()}

    async def _call(self, call: ToolCall) -> CallOutcome:
        name = call.function.name
        try:
            arguments = decode_arguments(call)
            if name in self._endings:
                return CallOutcome(ending_text(name, arguments), ends_with=name)
        except ToolArgumentsError as error:
            return CallOutcome(f"Error: {error}", success=False)
        prepared = self._tools.prepare(name, arguments)
        refusal = await self._refusal(name, arguments) if prepared.needs_approval else None
        if refusal is not None:
            return CallOutcome(refusal, success=False)
        self._announce(prepared.phrase)
        outcome = await prepared.run(default_timeout=self.tool_timeout)
        return CallOutcome(outcome.output, success=outcome.success)

    async def _refusal(self, name: str, arguments: Mapping[str, Any]) -> str | None:
        """Ask whether a tool may run; return what to tell the model if it may not."""
        try:
            if self._approve is not None and await self._approve(name, arguments):
                return None
        except ToolFeedbackError as error:
            return str(error)
        except Exception:
            logger.exception("Asking for the approval of tool %r failed", name)
        return f"Error: {name} was not run: it needs the user's approval, which was not given."

    def _announce(self, phrase: str | None) -> None:
        if phrase is None or self._on_progress is None:
            return
        try:
            self._on_progress(phrase)
        except Exception:
            logger.exception("The progress callback of the supervisor failed")

    def _objection(self, outcomes: Iterable[CallOutcome]) -> str | None:
        """Say why ``done`` cannot be accepted together with these outcomes; None if it can."""
        if any(outcome.ends_with == "clarify" for outcome in outcomes):
            return "Not finished: you asked the user a question at the same time. Wait for the answer."
        if not all(outcome.success for outcome in outcomes):
            return "Not finished: another call of the same turn failed. Deal with that, then call done again."
        if self._updates:
            return "Not finished: an update has come in, see below. Take it into account, then call done again."
        return None

    def _read_updates(self) -> list[Message]:
        updates = [*self._updates]
        self._updates.clear()
        self._updates_read += updates
        return [UserMessage(content=f"<supervisor_update>\n{text}\n</supervisor_update>") for text in updates]

    def _exhausted(self, draft: str) -> SupervisorDone:
        """The end of the budget: say so, and say all that is known and all that was left undone."""
        sentences = [f"Stopped: the limit of {self.max_iterations} steps was reached before the task was finished."]
        if draft:
            sentences.append(f"Latest result: {draft}")
        if self._updates:
            sentences.append(f"Not taken into account: {' '.join(self._updates)}")
            self._updates.clear()
        return SupervisorDone(message=" ".join(sentences), success=False)


def _finished(text: str, stop_reason: str | None) -> SupervisorDone:
    """The end by an answer in plain text. Nothing is what a model says that was cut off while thinking."""
    if text.strip():
        return SupervisorDone(message=text)
    return SupervisorDone(message=f"The task ended without a result (stop reason: {stop_reason}).", success=False)
