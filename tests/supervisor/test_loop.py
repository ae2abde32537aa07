import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from rtvoice.errors import (
    AgentStateError,
    ConfigurationError,
    MissingCredentialsError,
    SupervisorError,
    ToolFeedbackError,
)
from rtvoice.llm import (
    AssistantMessage,
    ChatInvokeCompletion,
    ChatInvokeUsage,
    ChatModel,
    ChatOpenAI,
    Message,
    ToolCall,
    UserMessage,
)
from rtvoice.supervisor import Supervisor, SupervisorClarificationNeeded, SupervisorDone, loop
from rtvoice.tools import Inject, Tools


class Bus: ...


class History: ...


class Diary:
    """An application's own object."""


def make(llm: Any, tools: Tools | None = None, **kwargs: Any) -> Supervisor[Any]:
    return Supervisor(description="Books tables.", instructions="Book it.", llm=llm, tools=tools, **kwargs)


@pytest.fixture
def tools() -> Tools:
    tools = Tools()

    @tools.action("Add two numbers", holding_instruction="Adding up.")
    async def add(a: int, b: int) -> int:
        return a + b

    @tools.action("Always fails")
    async def fail() -> None:
        raise RuntimeError("out of order")

    return tools


# --- construction -----------------------------------------------------------------------------------------------------


def test_attributes() -> None:
    supervisor: Supervisor[Diary] = Supervisor[Diary](
        description="d",
        instructions="i",
        handoff_instructions="ho",
        result_instructions="r",
        holding_instruction="h",
    )
    assert supervisor.name == "supervisor"
    assert supervisor.description == "d"
    assert (supervisor.handoff_instructions, supervisor.result_instructions) == ("ho", "r")
    assert supervisor.holding_instruction == "h"
    assert supervisor.max_iterations == 10
    assert supervisor.running is False
    assert repr(supervisor) == "Supervisor('d')"


@pytest.mark.parametrize("name", ["done", "clarify"])
def test_reserved_tool_names(name: str) -> None:
    tools = Tools()
    tools.action("x", name=name)(lambda: None)
    with pytest.raises(ConfigurationError, match=f"'{name}'") as caught:
        make(None, tools)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("max_iterations", [0, -1])
def test_max_iterations_has_a_minimum(max_iterations: int) -> None:
    with pytest.raises(ValueError, match="max_iterations has to be at least 1"):
        make(None, max_iterations=max_iterations)


@pytest.mark.parametrize(
    "wrong",
    [{"llm": "gpt-4o"}, {"tools": [print]}, {"description": None}, {"instructions": 5}],
)
def test_wrong_types(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        Supervisor(**{"description": "d", "instructions": "i"} | wrong)


async def test_tools_are_copied(script: Any, tools: Tools) -> None:
    llm = script("ok")
    supervisor = make(llm, tools)
    tools.action("later", name="later")(lambda: None)
    await supervisor.start("x")
    assert [tool["function"]["name"] for tool in llm.tools] == ["add", "fail", "done", "clarify"]


# --- start ------------------------------------------------------------------------------------------------------------


async def test_first_messages(script: Any) -> None:
    llm = script("Booked.")
    assert await make(llm).start("A table", "[USER]: hi") == SupervisorDone(message="Booked.", success=True)
    assert llm.texts() == [
        ("system", "Book it."),
        ("user", "<conversation_history>\n[USER]: hi\n</conversation_history>"),
        ("user", "<task>\nA table\n</task>"),
    ]


@pytest.mark.parametrize("context", [None, ""])
async def test_without_context(script: Any, context: str | None) -> None:
    llm = script("Booked.")
    await make(llm).start("A table", context)
    assert [role for role, _ in llm.texts()] == ["system", "user"]


async def test_tool_results_go_back_in_call_order(script: Any, call: Any, tools: Tools) -> None:
    llm = script(
        [
            call("1", "add", a=1, b=2),
            call("2", "nonsense"),
            call("3", "add", a="x", b=2),
            call("4", "fail"),
            call("5", "add", raw="{broken"),
            call("6", "add", raw="[1, 2]"),
            call("7", "add", a="3", b=4),
        ],
        [call("8", "done", result="Three, and some trouble.")],
    )
    assert await make(llm, tools).start("Add") == SupervisorDone(message="Three, and some trouble.")
    results = llm.results()
    assert list(results) == ["1", "2", "3", "4", "5", "6", "7"]
    assert (results["1"], results["7"]) == ("3", "7")
    assert "nonsense" in results["2"]
    assert "a" in results["3"]
    assert "RuntimeError: out of order" in results["4"]
    assert results["5"].startswith("Error: The arguments of add are not valid JSON")
    assert results["6"].startswith("Error: The arguments of add have to be a JSON object")
    message = llm.seen[-1][2]
    assert isinstance(message, AssistantMessage)
    assert message.content is None
    assert len(message.tool_calls) == 7


async def test_text_next_to_calls_is_kept(script: Any, call: Any, tools: Tools) -> None:
    spoken: ChatInvokeCompletion[str] = ChatInvokeCompletion(
        completion="Let me see.", tool_calls=[call("1", "add", a=1, b=2)]
    )
    llm = script(spoken, "3")
    await make(llm, tools).start("Add")
    assert llm.texts()[2] == ("assistant", "Let me see.")


async def test_calls_run_concurrently(script: Any, call: Any) -> None:
    tools = Tools()
    meeting = asyncio.Barrier(2)

    @tools.action("Wait for the other")
    async def meet(who: str) -> str:
        await meeting.wait()
        return who

    llm = script([call("1", "meet", who="Ann"), call("2", "meet", who="Bob")], "Met.")
    async with asyncio.timeout(5):
        await make(llm, tools).start("Meet")
    assert llm.results() == {"1": "Ann", "2": "Bob"}


async def test_missing_and_repeated_ids_are_mended(script: Any, call: Any, tools: Tools) -> None:
    llm = script([call("", "add", a=1, b=1), call("x", "add", a=1, b=2), call("x", "add", a=1, b=3)], "ok")
    await make(llm, tools).start("Add")  # the scripted model checks the history
    assert list(llm.results().values()) == ["2", "3", "4"]


@pytest.mark.parametrize("empty", ["", "  \n", None])
async def test_an_empty_answer_is_no_success(script: Any, empty: Any) -> None:
    llm = script(ChatInvokeCompletion(completion=empty, stop_reason="length"))
    result = await make(llm).start("x")
    assert result == SupervisorDone(message="The task ended without a result (stop reason: length).", success=False)


async def test_answers_that_are_no_strings(script: Any) -> None:
    class Table(BaseModel):
        number: int

    result = await make(script(ChatInvokeCompletion(completion=Table(number=4)))).start("x")
    assert result == SupervisorDone(message="number=4")


async def test_iteration_limit(script: Any, call: Any, tools: Tools) -> None:
    llm = script(*[[call(str(n), "add", a=n, b=n)] for n in range(3)])
    result = await make(llm, tools, max_iterations=3).start("Add for ever")
    assert isinstance(result, SupervisorDone)
    assert result.success is False
    assert "limit of 3 steps" in result.message
    assert len(llm.seen) == 3


async def test_usage_is_summed_up(script: Any, call: Any, tools: Tools) -> None:
    usage = ChatInvokeUsage(prompt_tokens=10, completion_tokens=1, total_tokens=11)
    llm = script(
        ChatInvokeCompletion(completion="", tool_calls=[call("1", "add", a=1, b=1)], usage=usage),
        ChatInvokeCompletion(completion="2", usage=usage),
        "no usage",
    )
    supervisor = make(llm, tools)
    assert supervisor.usage.total_tokens == 0
    await supervisor.start("Add")
    await supervisor.start("Again")
    assert supervisor.usage.total_tokens == 22


# --- done -------------------------------------------------------------------------------------------------------------


async def test_siblings_of_done_run(script: Any, call: Any) -> None:
    tools, sent = Tools(), []

    @tools.action("Send")
    async def send() -> None:
        sent.append(True)

    llm = script([call("1", "done", result="Sent."), call("2", "send")])
    assert await make(llm, tools).start("Send") == SupervisorDone(message="Sent.")
    assert sent == [True]


async def test_done_next_to_a_failure_is_not_believed(script: Any, call: Any, tools: Tools) -> None:
    llm = script([call("1", "fail"), call("2", "done", result="Worked.")], [call("3", "done", result="It failed.")])
    assert await make(llm, tools).start("Try") == SupervisorDone(message="It failed.")
    assert "another call of the same turn failed" in llm.results()["2"]


async def test_done_without_result_is_answered(script: Any, call: Any) -> None:
    llm = script([call("1", "done")], [call("2", "done", result="Now.")])
    assert await make(llm).start("x") == SupervisorDone(message="Now.")
    assert llm.results()["1"] == "Error: done needs 'result', a text that is not empty. Call it again."


async def test_several_done_are_one(script: Any, call: Any) -> None:
    llm = script([call("1", "done", result="This."), call("2", "done", result="That.")])
    assert await make(llm).start("x") == SupervisorDone(message="This.\nThat.")


# --- clarify and resume -----------------------------------------------------------------------------------------------


async def test_clarify_pauses_with_all_siblings_answered(
    script: Any, call: Any, tools: Tools, history_is_valid: Callable[..., None]
) -> None:
    llm = script(
        [
            call("1", "add", a=1, b=2),
            call("2", "clarify", question="When?"),
            call("3", "fail"),
            call("4", "done", result="?"),
            call("5", "clarify", question="Where?"),
        ],
        [call("6", "done", result="Booked.")],
    )
    supervisor = make(llm, tools)
    paused = await supervisor.start("Book")
    assert isinstance(paused, SupervisorClarificationNeeded)
    assert (paused.question, paused.clarify_call_id) == ("When?\nWhere?", "2")
    history_is_valid(paused.resume_history, waiting="2")
    assert supervisor.running is False

    before = list(paused.resume_history)
    done = await supervisor.resume("At eight", paused.resume_history, paused.clarify_call_id)
    assert done == SupervisorDone(message="Booked.")
    assert paused.resume_history == before
    assert llm.results() | {"3": ""} == {
        "1": "3",
        "2": "At eight",
        "3": "",
        "4": "Not finished: you asked the user a question at the same time. Wait for the answer.",
        "5": "Asked together with your other question.",
    }


async def test_resume_has_a_fresh_budget_and_works_from_storage(script: Any, call: Any, tools: Tools) -> None:
    llm = script([call("1", "clarify", question="When?")], [call("2", "add", a=1, b=1)], "2")
    paused = await make(llm, tools, max_iterations=1).start("Book")
    assert isinstance(paused, SupervisorClarificationNeeded)
    stored = SupervisorClarificationNeeded.model_validate_json(paused.model_dump_json())
    other = make(llm, tools, max_iterations=2)
    assert await other.resume("Now", stored.resume_history, "1") == SupervisorDone(message="2")


async def test_clarify_without_question_is_answered(script: Any, call: Any) -> None:
    llm = script([call("1", "clarify")], "Fine.")
    assert await make(llm).start("x") == SupervisorDone(message="Fine.")
    assert "clarify needs 'question'" in llm.results()["1"]


async def test_resume_refuses_what_does_not_wait(script: Any, call: Any) -> None:
    supervisor = make(script([call("1", "clarify", question="?")]))
    paused = await supervisor.start("x")
    assert isinstance(paused, SupervisorClarificationNeeded)
    cases: list[tuple[list[Message], str]] = [
        (paused.resume_history, "2"),
        ([], "1"),
        ([UserMessage(content="x")], "1"),
    ]
    for history, call_id in cases:
        with pytest.raises(ConfigurationError, match=f"does not wait for an answer to '{call_id}'"):
            await supervisor.resume("yes", history, call_id)


# --- updates ----------------------------------------------------------------------------------------------------------

UPDATE = ("user", "<supervisor_update>\nfor three\n</supervisor_update>")


async def test_update_before_the_start_is_kept(script: Any) -> None:
    llm = script("ok", "ok")
    supervisor = make(llm)
    await supervisor.update("for three")
    await supervisor.start("Book")
    assert llm.texts()[-1] == UPDATE
    await supervisor.start("Book again")
    assert UPDATE not in llm.texts()


async def test_discarded_updates(script: Any) -> None:
    llm = script("ok")
    supervisor = make(llm)
    await supervisor.update("for three")
    supervisor.discard_pending_updates()
    await supervisor.start("Book")
    assert UPDATE not in llm.texts()


async def test_updates_during_a_tool_keep_their_order(script: Any, call: Any) -> None:
    tools = Tools()

    @tools.action("Wait")
    async def wait() -> None:
        await supervisor.update("for three")
        await supervisor.update("no, four")

    llm = script([call("1", "wait")], "ok")
    supervisor = make(llm, tools)
    await supervisor.start("Book")
    assert [text for _, text in llm.texts()][-3:] == [
        "OK",
        "<supervisor_update>\nfor three\n</supervisor_update>",
        "<supervisor_update>\nno, four\n</supervisor_update>",
    ]


async def test_update_during_the_last_answer_prolongs_the_work(script: Any) -> None:
    async def answer() -> str:
        await supervisor.update("for three")
        return "Booked for two."

    llm = script(answer, "Booked for three.")
    supervisor = make(llm)
    assert await supervisor.start("Book") == SupervisorDone(message="Booked for three.")
    assert llm.texts()[-2:] == [("assistant", "Booked for two."), UPDATE]


async def test_update_during_an_empty_answer_leaves_no_empty_message(script: Any) -> None:
    async def answer() -> str:
        await supervisor.update("for three")
        return ""

    llm = script(answer, "Booked for three.")
    supervisor = make(llm)
    await supervisor.start("Book")  # the scripted model checks the history
    assert llm.texts()[-2:] == [("user", "<task>\nBook\n</task>"), UPDATE]


async def test_update_during_done_prolongs_the_work(script: Any, call: Any) -> None:
    async def answer() -> list[ToolCall]:
        await supervisor.update("for three")
        return [call("1", "done", result="Booked for two.")]

    llm = script(answer, [call("2", "done", result="Booked for three.")])
    supervisor = make(llm)
    assert await supervisor.start("Book") == SupervisorDone(message="Booked for three.")
    assert "an update has come in" in llm.results()["1"]
    assert llm.texts()[-1] == UPDATE


async def test_update_during_clarify_waits_for_the_answer(script: Any, call: Any) -> None:
    async def answer() -> list[ToolCall]:
        await supervisor.update("for three")
        return [call("1", "clarify", question="When?")]

    llm = script(answer, "Booked.")
    supervisor = make(llm)
    paused = await supervisor.start("Book")
    assert isinstance(paused, SupervisorClarificationNeeded)
    await supervisor.resume("At eight", paused.resume_history, "1")
    assert llm.texts()[-2:] == [("tool", "At eight"), UPDATE]


async def test_update_at_the_limit_is_reported(script: Any, call: Any) -> None:
    async def answer() -> list[ToolCall]:
        await supervisor.update("for three")
        return [call("1", "done", result="Booked for two.")]

    llm = script(answer, "ok")
    supervisor = make(llm, max_iterations=1)
    result = await supervisor.start("Book")
    assert isinstance(result, SupervisorDone)
    assert result.success is False
    assert "Latest result: Booked for two. Not taken into account: for three" in result.message
    await supervisor.start("Something else")
    assert UPDATE not in llm.texts()


async def test_failure_gives_read_updates_back(script: Any, call: Any, tools: Tools) -> None:
    llm = script([call("1", "clarify", question="When?")], ValueError("boom"), "ok", "ok")
    supervisor = make(llm, tools)
    paused = await supervisor.start("Book")
    assert isinstance(paused, SupervisorClarificationNeeded)
    await supervisor.update("for three")
    with pytest.raises(SupervisorError):
        await supervisor.resume("At eight", paused.resume_history, "1")
    await supervisor.update("outside")
    await supervisor.resume("At eight", paused.resume_history, "1")
    assert [text for _, text in llm.texts()][-2:] == [UPDATE[1], UPDATE[1].replace("for three", "outside")]
    await supervisor.start("Something else")
    assert UPDATE not in llm.texts()


async def test_failure_gives_only_its_own_updates_back(script: Any) -> None:
    llm = script("ok", ValueError("boom"), "ok")
    supervisor = make(llm)
    await supervisor.update("for three")
    await supervisor.start("Book")
    with pytest.raises(SupervisorError):
        await supervisor.start("Something else")
    await supervisor.start("Something else")
    assert UPDATE not in llm.texts()


# --- failures and cancellation ----------------------------------------------------------------------------------------


async def test_model_errors(script: Any) -> None:
    failure = ValueError("quota")
    supervisor = make(script(failure, "works again"))
    with pytest.raises(SupervisorError, match=r"language model failed: ValueError: quota") as caught:
        await supervisor.start("x")
    assert caught.value.__cause__ is failure
    assert supervisor.running is False
    assert await supervisor.start("x") == SupervisorDone(message="works again")


async def test_models_that_return_something_else(script: Any) -> None:
    with pytest.raises(
        SupervisorError, match=r"ScriptedModel.invoke\(\) has to return a ChatInvokeCompletion, not int"
    ):
        await make(script(5)).start("x")


async def test_one_task_at_a_time(script: Any) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer() -> str:
        asked.set()
        await go_on.wait()
        return "first"

    supervisor = make(script(answer, "second"))
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(supervisor.start("x"))
        await asked.wait()
        assert supervisor.running
        with pytest.raises(AgentStateError, match="working on a task"):
            await supervisor.start("y")
        assert supervisor.running
        go_on.set()
    assert first.result() == SupervisorDone(message="first")
    assert await supervisor.start("z") == SupervisorDone(message="second")


async def test_a_model_that_waits_for_something_cancelled(script: Any) -> None:
    async def answer() -> str:
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiter.cancel()
        return await waiter

    supervisor = make(script(answer, "ok"))
    with pytest.raises(SupervisorError, match="something that was cancelled"):
        await supervisor.start("x")
    assert await supervisor.start("x") == SupervisorDone(message="ok")


async def test_cancelling_cancels_the_tools(script: Any, call: Any) -> None:
    tools, running, ended = Tools(), asyncio.Barrier(3), []

    @tools.action("Wait for ever")
    async def wait(who: str) -> None:
        try:
            await running.wait()
            await asyncio.Event().wait()
        finally:
            ended.append(who)

    supervisor = make(script([call("1", "wait", who="a"), call("2", "wait", who="b")], "again"), tools)
    await supervisor.update("for three")
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(supervisor.start("x"))
            await running.wait()
            task.cancel()
    assert task.cancelled()
    assert sorted(ended) == ["a", "b"]
    assert supervisor.running is False
    await supervisor.start("x")
    assert supervisor.llm.texts()[-1] == UPDATE  # type: ignore[union-attr]


async def test_tool_timeout(script: Any, call: Any) -> None:
    tools = Tools()

    @tools.action("Wait for ever")
    async def wait() -> None:
        await asyncio.Event().wait()

    llm = script([call("1", "wait")], "Gave up.")
    assert await make(llm, tools, tool_timeout=0.001).start("x") == SupervisorDone(message="Gave up.")
    assert "no result within" in llm.results()["1"]


# --- the default model ------------------------------------------------------------------------------------------------


class OwnModel(ChatOpenAI):
    """Stands in for ChatOpenAI."""

    events: list[str]

    async def invoke(self, *args: Any, **kwargs: Any) -> Any:
        self.events.append(f"ask {self.model}")
        return ChatInvokeCompletion(completion="ok")

    async def aclose(self) -> None:
        self.events.append("close")


async def test_default_model_is_made_when_needed_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    OwnModel.events = []
    monkeypatch.setattr(loop, "ChatOpenAI", OwnModel)
    supervisor = make(None)
    assert supervisor.llm is None
    assert await supervisor.start("x") == SupervisorDone(message="ok")
    assert OwnModel.events == ["ask gpt-5.4-mini", "close"]


@pytest.mark.parametrize("first", ["text", "done"])
async def test_update_while_the_default_model_is_closed(
    monkeypatch: pytest.MonkeyPatch, script: Any, call: Any, tools: Tools, first: str
) -> None:
    said = "Booked for two." if first == "text" else [call("1", "add", a=1, b=1), call("2", "done", result="For two.")]
    llm, updates = script(said, [call("3", "done", result="Booked for three.")]), ["for three"]

    class Closing(OwnModel):
        async def invoke(self, *args: Any, **kwargs: Any) -> Any:
            return await llm.invoke(*args, **kwargs)

        async def aclose(self) -> None:
            if updates:
                await supervisor.update(updates.pop())

    monkeypatch.setattr(loop, "ChatOpenAI", Closing)
    supervisor = make(None, tools)
    assert await supervisor.start("Book") == SupervisorDone(message="Booked for three.")
    assert llm.texts()[-1] == UPDATE


async def test_given_model_is_left_open(script: Any) -> None:
    OwnModel.events = []
    await make(OwnModel("m")).start("x")
    assert OwnModel.events == ["ask m"]


async def test_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    supervisor = make(None)
    with pytest.raises(MissingCredentialsError, match="OPENAI_API_KEY"):
        supervisor.check_credentials()
    with pytest.raises(SupervisorError, match="OPENAI_API_KEY") as caught:
        await supervisor.start("x")
    assert isinstance(caught.value.__cause__, MissingCredentialsError)
    make(ChatOpenAI("m", "key")).check_credentials()


def test_models_without_credentials(script: Any) -> None:
    make(script()).check_credentials()


async def test_smallest_model_of_ones_own(call: Any, tools: Tools) -> None:
    class Mine(ChatModel):
        def __init__(self) -> None:
            self.steps = [[call("1", "add", a=1, b=1)], []]

        async def invoke(self, messages: Any, output_format: Any = None, **kwargs: Any) -> ChatInvokeCompletion[str]:
            return ChatInvokeCompletion(completion="2", tool_calls=self.steps.pop(0))

    assert await make(Mine(), tools).start("Add") == SupervisorDone(message="2")


# --- injection, progress, approval ------------------------------------------------------------------------------------


@pytest.fixture
def nosy_tools() -> Tools:
    tools = Tools()

    @tools.action("Say what was injected")
    async def look(
        diary: Inject[Diary], bus: Inject[Bus | None], history: Inject[History | None], n: Inject[int]
    ) -> str:
        return f"{type(diary).__name__} {type(bus).__name__} {type(history).__name__} {n}"

    return tools


async def test_injection_alone(script: Any, call: Any, nosy_tools: Tools) -> None:
    llm = script([call("1", "look", n=7)], "ok")
    supervisor = make(llm, nosy_tools, context=Diary(), tool_dependencies=[3])
    assert supervisor.unresolved_injections() == []
    await supervisor.start("x")
    assert llm.results() == {"1": "Diary NoneType NoneType 3"}


async def test_injection_when_bound(script: Any, call: Any, nosy_tools: Tools) -> None:
    llm = script([call("1", "look")], "ok")
    original = make(llm, nosy_tools, context=Diary())
    assert [missing.parameter for missing in original.unresolved_injections()] == ["n"]
    bound = original.bind(3, event_bus=Bus(), conversation_history=History())
    assert bound.unresolved_injections() == []
    assert [missing.parameter for missing in original.unresolved_injections()] == ["n"]
    await bound.start("x")
    assert llm.results() == {"1": "Diary Bus History 3"}


async def test_bound_copies_are_independent(script: Any, call: Any) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer() -> str:
        asked.set()
        await go_on.wait()
        return "first"

    original = make(script(answer, "second"))
    one, two = original.bind(), original.bind()
    assert (one.description, one.llm, one.name) == (original.description, original.llm, "supervisor")
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(one.start("x"))
        await asked.wait()
        assert (one.running, two.running, original.running) == (True, False, False)
        await original.update("for nobody")
        assert await two.start("y") == SupervisorDone(message="second")
        go_on.set()
    assert first.result() == SupervisorDone(message="first")


async def test_progress_is_announced(script: Any, call: Any, tools: Tools) -> None:
    calls = [call("1", "add", a=1, b=2), call("2", "fail"), call("3", "add", a="x"), call("4", "unknown")]
    spoken: list[str] = []
    await make(script(calls, "ok"), tools).bind(on_progress=spoken.append).start("x")
    assert spoken == ["Adding up."]


async def test_failing_progress_changes_nothing(
    script: Any, call: Any, tools: Tools, caplog: pytest.LogCaptureFixture
) -> None:
    def on_progress(phrase: str) -> None:
        raise RuntimeError("mute")

    llm = script([call("1", "add", a=1, b=2)], "3")
    with caplog.at_level(logging.ERROR):
        assert await make(llm, tools).bind(on_progress=on_progress).start("x") == SupervisorDone(message="3")
    assert llm.results() == {"1": "3"}
    assert "progress callback" in caplog.text


async def test_who_refuses_may_say_why(script: Any, call: Any) -> None:
    tools = Tools()
    tools.action("Pay", name="pay", needs_approval=True)(lambda: "paid")

    async def approve(name: str, arguments: Mapping[str, Any]) -> bool:
        raise ToolFeedbackError(f"{name}: too dear")

    llm = script([call("1", "pay")], "ok")
    supervisor = make(llm, tools)
    assert [*supervisor.tools.tools] == ["pay"]
    await supervisor.bind(approve=approve).start("x")
    assert llm.results() == {"1": "pay: too dear"}


@pytest.mark.parametrize("answer", [None, True, False, RuntimeError("nobody there")])
async def test_approval(script: Any, call: Any, answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    tools = Tools()
    asked: list[Any] = []
    spoken: list[str] = []

    @tools.action("Pay", needs_approval=True, holding_instruction="Paying.")
    async def pay(euros: int) -> str:
        return f"paid {euros}"

    async def approve(name: str, arguments: Mapping[str, Any]) -> bool:
        asked.append((name, dict(arguments)))
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    llm = script([call("1", "pay", euros=5)], "ok")
    await make(llm, tools).bind(approve=None if answer is None else approve, on_progress=spoken.append).start("x")
    assert asked == ([] if answer is None else [("pay", {"euros": 5})])
    if answer is True:
        assert (llm.results(), spoken) == ({"1": "paid 5"}, ["Paying."])
    else:
        assert "needs the user's approval" in llm.results()["1"]
        assert spoken == []
    assert ("approval of tool 'pay' failed" in caplog.text) == isinstance(answer, Exception)
