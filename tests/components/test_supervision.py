import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from rtvoice.components.supervision import Supervision
from rtvoice.conversation import ConversationHistory
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
from rtvoice.llm import ChatInvokeCompletion, ChatModel, Function, Message, ToolResultMessage
from rtvoice.llm import ToolCall as ChatToolCall
from rtvoice.supervisor import Supervisor, SupervisorDone, SupervisorResult, TextAgent
from rtvoice.testing import ScriptedChatModel, ToolCall
from rtvoice.tools import Inject, Tools

pytestmark = pytest.mark.virtual_clock

CLOCK = {"type": "function", "name": "clock"}
DONE = ToolCall("done", {"result": "Booked."})
QUESTION = ToolCall("clarify", {"question": "Inside?"})
OUTPUT = ("output", "c1", '{"message": "Booked.", "success": true}', True)


class LoggingBus(EventBus):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[Any] = []

    def publish(self, event: object) -> None:
        self.log.append(event)
        super().publish(event)


class Bench:
    """A supervision alone on a bus."""

    def __init__(self, supervisor: Supervisor[Any], **options: Any) -> None:
        self.bus = LoggingBus()
        self.history = ConversationHistory()
        self.supervision = Supervision(self.bus, supervisor, history=self.history, tools=[CLOCK], **options)

    async def call(self, name: str = "supervisor", call_id: str = "c1", **arguments: Any) -> None:
        self.call_at_once(name, call_id, **arguments)
        await self.settle()

    def call_at_once(self, name: str = "supervisor", call_id: str = "c1", **arguments: Any) -> None:
        if name == "supervisor":
            arguments.setdefault("task", "Book")
        self.bus.publish(ToolCallRequestedEvent(call_id=call_id, name=name, arguments=arguments, response_id="r1"))

    async def settle(self) -> None:
        await asyncio.sleep(1)

    def said(self) -> list[Any]:
        """What it has published since the last time, in short."""
        log, self.bus.log = self.bus.log, []
        short = [_short(event) for event in log]
        return [entry for entry in short if entry is not None]


def _short(event: object) -> Any:
    match event:
        case UpdateSessionToolsCommand():
            return tuple(tool["name"] for tool in event.tools)
        case ToolCallFinishedEvent():
            return ("output", event.call_id, event.output, event.respond)
        case SpeakHoldingPhraseCommand() | SpeakProgressCommand():
            return event.phrase
        case SupervisorStartedEvent():
            return "started"
        case SupervisorFinishedEvent():
            return "finished"
        case ToolApprovalRequestedEvent():
            return ("approve?", event.call_id, event.name, event.arguments)
    assert type(event) not in Supervision.says
    return None


ALL = ("clock", "supervisor", "cancel_supervisor", "update_supervisor")
CANCEL = ("clock", "supervisor", "cancel_supervisor")
NONE = ("clock", "supervisor")


@asynccontextmanager
async def running(supervisor: Supervisor[Any], **options: Any) -> AsyncIterator[Bench]:
    bench = Bench(supervisor, **options)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.supervision.run())
        yield bench
        bench.supervision.stop()


def make(*answers: Any, **options: Any) -> Supervisor[Any]:
    return Supervisor(description="d", instructions="i", llm=ScriptedChatModel(*answers), **options)


def pause(answer: Any = DONE) -> tuple[asyncio.Event, Callable[[list[Message]], Any]]:
    """Return an event, and an answer that waits for it."""
    released = asyncio.Event()

    async def think(_: list[Message]) -> Any:
        await released.wait()
        return answer

    return released, think


# --- the order of what it says ----------------------------------------------------------------------------------------


async def test_accepted_and_finished() -> None:
    released, work = pause()
    async with running(make(work, holding_instruction="One moment.")) as bench:
        await bench.call()
        assert bench.said() == [ALL, "started", "One moment."]
        released.set()
        await bench.settle()
        assert bench.said() == [OUTPUT, "finished", NONE]
    assert bench.said() == []


async def test_clarification_and_answer() -> None:
    released, work = pause(QUESTION)
    async with running(make(work, DONE)) as bench:
        await bench.call()
        bench.said()
        released.set()
        await bench.settle()
        output, finished, tools = bench.said()
        assert output == ("output", "c1", output[2], True)
        assert "Inside?" in output[2]
        assert (finished, tools) == ("finished", CANCEL)
        await bench.call(call_id="c2", clarification_answer="Yes.")
        assert bench.said() == [ALL, "started", ("output", "c2", OUTPUT[2], True), "finished", NONE]


async def test_cancel() -> None:
    _, work = pause()
    async with running(make(work)) as bench:
        await bench.call()
        bench.said()
        await bench.call("cancel_supervisor", "c2")
        finished, tools, original, output = bench.said()
        assert (finished, tools) == ("finished", NONE)
        assert original == ("output", "c1", "The task was cancelled at the user's wish.", False)
        assert output == ("output", "c2", "The task was cancelled.", True)


async def test_results_and_failures_say_so() -> None:
    async with running(make(DONE, OSError("down"), result_instructions="Be brief.")) as bench:
        await bench.call()
        await bench.call(call_id="c2")
        done, failed = [event for event in bench.bus.log if type(event) is ToolCallFinishedEvent]
    assert (done.success, done.result_instruction, done.name) == (True, "Be brief.", "supervisor")
    assert (failed.success, failed.result_instruction) == (False, None)
    assert "OSError: down" in failed.output


# --- what it answers --------------------------------------------------------------------------------------------------


def test_the_names_it_answers_to() -> None:
    class Concierge(Supervisor[None]):
        name = "concierge"

    bench = Bench(make())
    assert bench.supervision.tool_names == {"supervisor", "cancel_supervisor", "update_supervisor"}
    bench = Bench(Concierge(description="d", instructions="i"))
    assert bench.supervision.tool_names == {"concierge", "cancel_supervisor", "update_supervisor"}
    bench = Bench(TextAgent(description="d", system_prompt="s"))
    assert bench.supervision.tool_names == {"text_agent"}


async def test_the_calls_of_others_are_left_alone() -> None:
    text_agent = TextAgent(description="d", system_prompt="s", llm=ScriptedChatModel("Booked."))
    async with running(text_agent) as bench:
        for name in ("clock", "supervisor", "cancel_supervisor", "update_supervisor"):
            await bench.call(name)
        assert bench.said() == []
        await bench.call("text_agent", task="Book")
        assert bench.said() == ["started", OUTPUT, "finished"]


async def answer_to(bench: Bench, name: str, **arguments: Any) -> str:
    """Make a call that changes nothing, and return its output."""
    bench.said()
    await bench.call(name, "c9", **arguments)
    ((_, call_id, output, respond),) = bench.said()
    assert (call_id, respond) == ("c9", True)
    return str(output)


async def test_calls_that_have_to_wait_or_come_too_late() -> None:
    released, work = pause(QUESTION)
    async with running(make(work)) as bench:
        assert "no task any more" in await answer_to(bench, "update_supervisor", message="at nine")
        assert "nothing to cancel" in await answer_to(bench, "cancel_supervisor")
        for task in (None, 5, " "):
            assert "task must be a text" in await answer_to(bench, "supervisor", task=task)
        await bench.call()
        assert "already being worked on" in await answer_to(bench, "supervisor", clarification_answer="Yes.")
        for message in (None, 5, " "):
            assert "message must be a text" in await answer_to(bench, "update_supervisor", message=message)
        released.set()
        await bench.settle()
        for answer in (None, "", " "):
            output = await answer_to(bench, "supervisor", clarification_answer=answer)
            assert "waiting for the user's answer to: Inside?" in output
        assert "waiting for the user's answer to: Inside?" in await answer_to(bench, "update_supervisor", message="x")


@pytest.mark.parametrize(("given", "heard"), [(8, "8"), (False, "false"), (0, "0"), (["ü"], '["ü"]'), (" x ", "x")])
async def test_an_answer_of_another_type_is_taken_as_text(given: Any, heard: str) -> None:
    supervisor = make(QUESTION, DONE)
    async with running(supervisor) as bench:
        await bench.call()
        await bench.call(call_id="c2", task=None, clarification_answer=given)
    assert results(supervisor) == [heard]


async def test_update_by_the_model_and_by_the_application(caplog: pytest.LogCaptureFixture) -> None:
    released, work = pause("Booked.")
    supervisor = make(work, DONE)
    async with running(supervisor) as bench:
        with caplog.at_level(logging.WARNING):
            bench.bus.publish(UpdateSupervisorCommand("nobody is there"))
            await bench.settle()
        assert "has no task" in caplog.text
        await bench.call()
        await bench.call("update_supervisor", "c2", message="at nine")
        bench.bus.publish(UpdateSupervisorCommand("with a view"))
        released.set()
        await bench.settle()
        assert OUTPUT in bench.said()
    texts = [message.content for message in supervisor.llm.requests[1] if message.role == "user"]  # type: ignore[union-attr]
    assert texts[-2:] == [
        "<supervisor_update>\nat nine\n</supervisor_update>",
        "<supervisor_update>\nwith a view\n</supervisor_update>",
    ]


async def test_cancel_by_the_application() -> None:
    _, work = pause()
    async with running(make(work, QUESTION)) as bench:
        bench.bus.publish(CancelSupervisorCommand())
        await bench.settle()
        assert bench.said() == []
        await bench.call()
        bench.said()
        bench.bus.publish(CancelSupervisorCommand())
        await bench.settle()
        output = ("output", "c1", "The task was cancelled by the application.", True)
        assert bench.said() == ["finished", NONE, output]
        await bench.call(call_id="c2")
        bench.said()
        bench.bus.publish(CancelSupervisorCommand())
        await bench.settle()
        assert bench.said() == [NONE]


# --- what may go wrong ------------------------------------------------------------------------------------------------


class StubbornModel(ChatModel):
    """Answers although it is cancelled."""

    def __init__(self, answer: ToolCall) -> None:
        super().__init__()
        self.answer = answer

    async def invoke(
        self, messages: list[Message], output_format: Any = None, **kwargs: Any
    ) -> ChatInvokeCompletion[Any]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            function = Function(name=self.answer.name, arguments=self.answer.json_arguments)
            return ChatInvokeCompletion(completion="", tool_calls=[ChatToolCall(id="x", function=function)])
        raise AssertionError


async def test_a_task_that_ends_by_itself_while_it_is_cancelled() -> None:
    async with running(Supervisor(description="d", instructions="i", llm=StubbornModel(DONE))) as bench:
        await bench.call()
        bench.said()
        await bench.call("cancel_supervisor", "c2")
        result, finished, tools, late = bench.said()
        assert (result, finished, tools) == (OUTPUT, "finished", NONE)
        assert late == ("output", "c2", "There is nothing to cancel: the supervisor has no task.", True)


async def test_a_task_that_asks_while_it_is_cancelled() -> None:
    async with running(Supervisor(description="d", instructions="i", llm=StubbornModel(QUESTION))) as bench:
        await bench.call()
        bench.said()
        await bench.call("cancel_supervisor", "c2")
        question, finished, with_cancel, without, output = bench.said()
        assert "Inside?" in question[2]
        assert (finished, with_cancel, without) == ("finished", CANCEL, NONE)
        assert output == ("output", "c2", "The task was cancelled.", True)
        await bench.call(call_id="c3", clarification_answer="Yes.")
        assert bench.said()[:2] == [ALL, "started"], "nobody waits for that answer: it is a new task"


class Refusing(Supervisor[None]):
    """Does not end when it is cancelled."""

    def __init__(self, late: Exception | None) -> None:
        super().__init__(description="d", instructions="i", llm=ScriptedChatModel())
        self.released = asyncio.Event()
        self._late = late

    async def start(self, task: str, context: str | None = None) -> SupervisorResult:
        while not self.released.is_set():
            with suppress(asyncio.CancelledError):
                await self.released.wait()
        if self._late is not None:
            raise self._late
        return SupervisorDone(message="too late", success=True)


@pytest.mark.parametrize("late", [None, ValueError("too late")])
async def test_a_task_that_refuses_to_end_is_given_up(late: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Refusing(late)
    async with running(supervisor) as bench:
        bench.supervision._supervisor = supervisor  # not the copy that is bound to the agent, which is not released
        await bench.call()
        bench.said()
        await bench.call("cancel_supervisor", "c2")
        supervisor.released.set()
        finished, tools, original, output = bench.said()
        assert (original[1], finished, tools) == ("c1", "finished", NONE)
        assert output == ("output", "c2", "The task was cancelled.", True)
        assert "rtvoice supervisor ignores that it was cancelled" in caplog.text
        await bench.settle()
        assert bench.said() == [], "a call is answered once"


class Broken(Supervisor[None]):
    async def start(self, task: str, context: str | None = None) -> SupervisorResult:
        raise ValueError("broken by its author")


async def test_whatever_a_supervisor_raises_ends_no_conversation(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Broken(description="d", instructions="i")) as bench:
        with caplog.at_level(logging.WARNING):
            await bench.call()
        output = bench.said()[2]
        assert output[:2] == ("output", "c1")
        assert "ValueError: broken by its author" in output[2]
        await bench.call(call_id="c2")
        assert bench.said()[0] == ALL
    assert "The supervisor failed: ValueError" in caplog.text
    assert "broken by its author" not in caplog.text, "only DEBUG may have contents"


async def test_a_model_that_waits_for_something_cancelled() -> None:
    async def think(_: list[Message]) -> str:
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiter.cancel()
        return await waiter

    async with running(make(think)) as bench:
        await bench.call()
        said = bench.said()
        assert "was cancelled" in said[2][2]
        assert said[3:] == ["finished", NONE]


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_stop_answers_what_is_being_worked_on() -> None:
    _, work = pause()
    async with running(make(work)) as bench:
        await bench.call()
        bench.said()
    output = ("output", "c1", "The task was cancelled because the conversation ended.", False)
    assert bench.said() == ["finished", NONE, output]


async def test_stop_in_the_moment_of_the_call() -> None:
    async with running(make()) as bench:
        bench.call_at_once()
        bench.supervision.stop()
    assert bench.said()[-1] == ("output", "c1", "The task was cancelled because the conversation ended.", False)


async def test_to_be_cancelled_leaves_nothing() -> None:
    _, work = pause()
    bench = Bench(make(work))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.supervision.run())
        await bench.call()
        task.cancel()
    assert bench.said() == [ALL, "started"]


# --- progress and approval --------------------------------------------------------------------------------------------


def paying() -> Tools:
    tools = Tools()

    @tools.action("Pay", needs_approval=True, holding_instruction="Paying.")
    async def pay(euros: int) -> str:
        return f"paid {euros}"

    return tools


def results(supervisor: Supervisor[Any]) -> list[str]:
    (_, messages) = supervisor.llm.requests  # type: ignore[union-attr]
    return [message.content for message in messages if isinstance(message, ToolResultMessage)]


@pytest.mark.parametrize(
    ("decision", "result", "progress"),
    [
        ({"approved": True}, "paid 5", ["Paying."]),
        (
            {"approved": False, "reason": "too dear"},
            "Error: pay was not approved, so it was not run. Reason: too dear.",
            [],
        ),
    ],
)
async def test_approval(decision: Mapping[str, Any], result: str, progress: list[str]) -> None:
    supervisor = make(ToolCall("pay", {"euros": 5}), DONE, tools=paying())
    async with running(supervisor) as bench:
        await bench.call()
        assert bench.said() == [ALL, "started", ("approve?", "supervisor_1", "pay", {"euros": 5})]
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="c77", approved=True))
        await bench.settle()
        assert bench.said() == []
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="supervisor_1", **decision))
        await bench.settle()
        assert bench.said() == [*progress, OUTPUT, "finished", NONE]
    assert results(supervisor) == [result]


async def test_nobody_decides() -> None:
    supervisor = make(ToolCall("pay", {"euros": 5}), DONE, tools=paying())
    async with running(supervisor, approval_timeout_s=30) as bench:
        await bench.call()
        await asyncio.sleep(30)
        assert OUTPUT in bench.said()
    assert results(supervisor) == ["Error: nobody approved pay within 30 s, so it was not run."]


async def test_each_approval_has_an_id_of_its_own() -> None:
    twice = [ToolCall("pay", {"euros": 1}), ToolCall("pay", {"euros": 2})]
    supervisor = make(twice, DONE, tools=paying())
    async with running(supervisor) as bench:
        await bench.call()
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="supervisor_2", approved=True))
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="supervisor_1", approved=False))
        await bench.settle()
    assert results(supervisor) == ["Error: pay was not approved, so it was not run.", "paid 2"]


async def test_dependencies_reach_the_tools() -> None:
    tools = Tools()

    @tools.action("Look")
    async def look(number: Inject[int], history: Inject[ConversationHistory]) -> str:
        return f"{number} {len(history.turns)}"

    supervisor = make(ToolCall("look"), DONE, tools=tools)
    async with running(supervisor, dependencies=(None, 5)) as bench:
        await bench.call()
    assert results(supervisor) == ["5 0"]
