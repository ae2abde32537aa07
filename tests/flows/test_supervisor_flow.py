"""The supervisor on the wire: every row of the contract's table, against the emulator and on the virtual clock."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rtvoice import AgentListener, ConversationSeed, Inject, RealtimeAgent, Supervisor, Tools
from rtvoice.conversation import ConversationHistory
from rtvoice.events import AgentError, CancelSupervisorCommand, EventBus, UpdateSupervisorCommand
from rtvoice.listener import ToolApproval, ToolApprovalRequest
from rtvoice.llm import ChatInvokeCompletion, ChatModel, Message, ToolResultMessage
from rtvoice.supervisor import TextAgent
from rtvoice.testing import (
    EmulatedSession,
    Hold,
    RealtimeEmulator,
    Reply,
    ScriptedChatModel,
    ToolCall,
    VirtualMicrophone,
    VirtualSpeaker,
)

pytestmark = pytest.mark.virtual_clock

ALL_TOOLS = "tools: supervisor cancel_supervisor update_supervisor"
NO_CONTROLS = "tools: supervisor"
CANCEL_ONLY = "tools: supervisor cancel_supervisor"
RESULT = 'output c1: {"message": "Booked for eight.", "success": true}'
DONE = ToolCall("done", {"result": "Booked for eight."})
QUESTION = ToolCall("clarify", {"question": "Inside or outside?"})


def delegation(call_id: str = "c1", **arguments: Any) -> Reply:
    return Reply(calls=[ToolCall("supervisor", {"task": "Book a table", **arguments}, call_id)])


def cancellation(call_id: str = "c2") -> Reply:
    return Reply(calls=[ToolCall("cancel_supervisor", {}, call_id)])


def update(call_id: str = "c2", message: Any = "at nine") -> Reply:
    return Reply(calls=[ToolCall("update_supervisor", {"message": message}, call_id)])


class Thinking:
    """An answer of the language model that waits until the test lets it go."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.reached = asyncio.Event()
        self.cancelled = False
        self._released = asyncio.Event()

    async def __call__(self, _: list[Message]) -> Any:
        self.reached.set()
        try:
            await self._released.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self._answer

    def release(self) -> None:
        self._released.set()


class Diary(AgentListener):
    def __init__(self) -> None:
        self.entries: list[str] = []
        self.errors: list[AgentError] = []

    async def on_supervisor_started(self) -> None:
        self.entries.append("started")

    async def on_supervisor_finished(self) -> None:
        self.entries.append("finished")

    async def on_agent_interrupted(self) -> None:
        self.entries.append("interrupted")

    async def on_agent_error(self, error: AgentError) -> None:
        self.errors.append(error)


class Talk:
    """A conversation in progress."""

    def __init__(self, server: RealtimeEmulator, agent: RealtimeAgent[Any], session: EmulatedSession) -> None:
        self.server = server
        self.agent = agent
        self.session = session
        self._shown = len(session.received)

    async def settle(self) -> None:
        """Wait until nothing happens any more: so long that every phrase is over."""
        await asyncio.sleep(30)

    async def user_speaks(self) -> None:
        """Let the user say something, and everything happen that follows from it."""
        self.session.speech_started()
        self.session.speech_stopped()
        await self.settle()

    def wire(self) -> list[str]:
        """What the client has sent since the last time."""
        events = self.session.received[self._shown :]
        self._shown = len(self.session.received)
        return [_shown(event) for event in events if event["type"] != "input_audio_buffer.append"]


def _shown(event: dict[str, Any]) -> str:
    match event["type"]:
        case "session.update":
            return "tools: " + " ".join(tool["name"] for tool in event["session"]["tools"])
        case "response.create":
            return f"say {event.get('response', {}).get('instructions', '')}".strip()
        case "conversation.item.create" if event["item"]["type"] == "function_call_output":
            return f"output {event['item']['call_id']}: {event['item']['output']}"
    return str(event["type"])


@asynccontextmanager
async def talk(supervisor: Supervisor[Any] | None, /, *replies: Reply | str, **options: Any) -> AsyncIterator[Talk]:
    """Hold a conversation in which the assistant replies like this."""
    async with RealtimeEmulator(replies, ["the words"] * 10, detect_speech=False) as server:
        agent = RealtimeAgent(
            provider=server.provider,
            audio_input=VirtualMicrophone(realtime=False),
            audio_output=VirtualSpeaker(),
            **{"supervisor": supervisor, **options},
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(agent.run())
            session = await server.connected()
            await server.sent("session.updated")
            await asyncio.sleep(1)
            try:
                yield Talk(server, agent, session)
            finally:
                await agent.stop()
                await running
        assert "error" not in session.types(), "the server refused something"


def booking(*answers: Any, **options: Any) -> Supervisor[Any]:
    options = {"description": "Books tables.", "instructions": "Book it.", **options}
    return Supervisor(llm=ScriptedChatModel(*answers), **options)


def thoughts(supervisor: Supervisor[Any]) -> ScriptedChatModel:
    assert isinstance(supervisor.llm, ScriptedChatModel)
    return supervisor.llm


def last_results(supervisor: Supervisor[Any]) -> list[str]:
    """The tool results that the language model saw in its last request."""
    return [message.content for message in thoughts(supervisor).requests[-1] if isinstance(message, ToolResultMessage)]


def user_texts(supervisor: Supervisor[Any], request: int = -1) -> str:
    messages = thoughts(supervisor).requests[request]
    return "\n".join(str(message.content) for message in messages if message.role == "user")


# --- accepted, finished -----------------------------------------------------------------------------------------------


async def test_accepted_and_finished() -> None:
    diary, work = Diary(), Thinking(DONE)
    async with talk(booking(work), delegation(), "It is booked.", listener=diary) as t:
        await t.user_speaks()
        assert t.wire() == [ALL_TOOLS]
        assert diary.entries == ["started"]
        work.release()
        await t.settle()
        assert t.wire() == [RESULT, "say", NO_CONTROLS]
        assert diary.entries == ["started", "finished"]
    assert t.wire() == []
    assert diary.errors == []


async def test_holding_phrase_and_result_instructions() -> None:
    work = Thinking(DONE)
    supervisor = booking(work, holding_instruction="One moment please.", result_instructions="Be brief.")
    async with talk(supervisor, delegation(), "One moment please.", "It is booked.", instructions="You are Eva.") as t:
        await t.user_speaks()
        tools, holding = t.wire()
        assert tools == ALL_TOOLS
        assert "You are Eva." in holding
        assert '"One moment please."' in holding
        create = [event for event in t.session.received if event["type"] == "response.create"][-1]
        assert create["response"]["tool_choice"] == "none"
        work.release()
        await t.settle()
        result, say, no_controls = t.wire()
        assert (result, no_controls) == (RESULT, NO_CONTROLS)
        assert say.startswith("say You are Eva.")
        assert say.endswith("Be brief.")


async def test_the_holding_phrase_comes_before_a_result_that_is_faster() -> None:
    supervisor = booking(DONE, holding_instruction="One moment please.")
    async with talk(supervisor, delegation(), "One moment please.", "It is booked.") as t:
        await t.user_speaks()
        wire = t.wire()
        assert ["One moment please." in line for line in wire].index(True) < wire.index(RESULT)
        assert wire[-1] == "say"
        assert wire.count(ALL_TOOLS) == wire.count(NO_CONTROLS) == 1


async def test_running_out_of_steps_is_told() -> None:
    async with talk(booking(ToolCall("nothing"), max_iterations=1), delegation(), "Sorry.") as t:
        await t.user_speaks()
        _, output, *rest = t.wire()
        assert json.loads(output.removeprefix("output c1: "))["success"] is False
        assert "say" in rest


async def test_its_conversation_is_what_was_said_seeds_included() -> None:
    supervisor = booking(DONE)
    seed = ConversationSeed.from_pairs(("I am Alice.", "Hello Alice."))
    replies = ("Which restaurant?", delegation(), "It is booked.")
    async with talk(supervisor, *replies, conversation_seed=seed) as t:
        await t.user_speaks()
        await t.user_speaks()
    history = (
        "[USER]: I am Alice.\n[ASSISTANT]: Hello Alice.\n[USER]: the words\n[ASSISTANT]: Which restaurant?\n"
        "[USER]: the words"
    )
    assert f"<conversation_history>\n{history}\n</conversation_history>" in user_texts(supervisor)
    assert "<task>\nBook a table\n</task>" in user_texts(supervisor)


# --- the user meanwhile -----------------------------------------------------------------------------------------------


async def test_the_user_talks_and_uses_other_tools_while_it_works() -> None:
    work, tools = Thinking(DONE), Tools()

    @tools.action("The time")
    async def clock() -> str:
        return "noon"

    call_clock = Reply(calls=[ToolCall("clock", {}, "c2")])
    replies = (delegation(), "Fine weather.", call_clock, "It is noon.", "It is booked.")
    async with talk(booking(work), *replies, tools=tools) as t:
        await t.user_speaks()
        assert t.wire() == [ALL_TOOLS.replace(" ", " clock ", 1)]
        await t.user_speaks()
        assert t.wire() == []
        await t.user_speaks()
        assert t.wire() == ["output c2: noon", "say"]
        work.release()
        await t.settle()
        assert t.wire() == [RESULT, "say", NO_CONTROLS.replace(" ", " clock ", 1)]
    assert [turn.transcript for turn in t.agent.history.turns if turn.role == "assistant"] == [
        "Fine weather.",
        "It is noon.",
        "It is booked.",
    ]


async def test_an_interrupted_holding_phrase_does_not_disturb_it() -> None:
    diary, work, hold = Diary(), Thinking(DONE), Hold(after_ms=400)
    supervisor = booking(work, holding_instruction="One moment please.")
    replies = (delegation(), Reply("One moment please.", hold=hold), "Yes?", "It is booked.")
    async with talk(supervisor, *replies, listener=diary) as t:
        t.session.speech_started()
        t.session.speech_stopped()
        await hold.reached()
        await asyncio.sleep(0.3)
        t.wire()
        t.session.speech_started()
        await t.settle()
        assert t.wire() == ["conversation.item.truncate"]
        assert not work.cancelled
        t.session.speech_stopped()
        await t.settle()
        assert t.wire() == []
        work.release()
        await t.settle()
        assert t.wire() == [RESULT, "say", NO_CONTROLS]
    assert diary.entries == ["started", "interrupted", "finished"]


async def test_a_result_waits_until_the_user_has_been_answered() -> None:
    work = Thinking(DONE)
    supervisor = booking(work, result_instructions="Be brief.")
    async with talk(supervisor, delegation(), "Fine weather.", "It is booked.") as t:
        await t.user_speaks()
        t.wire()
        t.session.speech_started()
        work.release()
        await t.settle()
        assert t.wire() == [RESULT, NO_CONTROLS]
        t.session.speech_stopped()
        await t.settle()
        assert t.wire() == ["say Be brief."]


async def test_a_tool_of_the_same_response_is_answered_at_once() -> None:
    work, tools = Thinking(DONE), Tools()

    @tools.action("The time")
    async def clock() -> str:
        return "noon"

    both = Reply(calls=[ToolCall("supervisor", {"task": "Book a table"}, "c1"), ToolCall("clock", {}, "c2")])
    async with talk(booking(work), both, "It is noon.", "It is booked.", tools=tools) as t:
        await t.user_speaks()
        assert t.wire()[1:] == ["output c2: noon", "say"]
        work.release()
        await t.settle()
        assert t.wire()[:2] == [RESULT, "say"]


# --- clarification ----------------------------------------------------------------------------------------------------


async def test_clarification() -> None:
    diary, second = Diary(), Thinking(DONE)
    supervisor = booking(QUESTION, second, holding_instruction="One moment please.")
    answer = delegation("c2", clarification_answer="Outside.")
    replies = (delegation(), "One moment please.", "Inside or outside?", answer, "One moment please.", "It is booked.")
    async with talk(supervisor, *replies, listener=diary) as t:
        await t.user_speaks()
        wire = t.wire()
        assert wire[0] == ALL_TOOLS
        output = next(line for line in wire if line.startswith("output c1: "))
        assert "needs an answer of the user" in output
        question = wire[-1]
        assert question.startswith("say ")
        for hint in ('"Inside or outside?"', "call supervisor again", "clarification_answer", "Do not make up"):
            assert hint in question
        assert wire.count(CANCEL_ONLY) == 1
        assert diary.entries == ["started", "finished"]

        await t.user_speaks()
        tools, holding = t.wire()
        assert tools == ALL_TOOLS
        assert "One moment please." in holding
        assert last_results(supervisor) == ["Outside."]
        second.release()
        await t.settle()
        assert t.wire() == [RESULT.replace("c1", "c2"), "say", NO_CONTROLS]
    assert diary.entries == ["started", "finished"] * 2


async def test_the_order_when_a_question_finds_the_line_free() -> None:
    first = Thinking(QUESTION)
    async with talk(booking(first), delegation(), "Inside or outside?") as t:
        await t.user_speaks()
        t.wire()
        first.release()
        await t.settle()
        output, question, tools = t.wire()
        assert output.startswith("output c1: ")
        assert question.startswith("say Ask the user:")
        assert tools == CANCEL_ONLY


@pytest.mark.parametrize(("given", "heard"), [(8, "8"), (False, "false"), (["a", "ü"], '["a", "ü"]'), (" x ", "x")])
async def test_an_answer_of_another_type_is_taken_as_text(given: Any, heard: str) -> None:
    supervisor = booking(QUESTION, DONE)
    replies = (delegation(), "Inside or outside?", delegation("c2", clarification_answer=given), "It is booked.")
    async with talk(supervisor, *replies) as t:
        await t.user_speaks()
        await t.user_speaks()
        assert RESULT.replace("c1", "c2") in t.wire()
    assert last_results(supervisor) == [heard]


@pytest.mark.parametrize("arguments", [{}, {"clarification_answer": None}, {"clarification_answer": " "}])
async def test_a_call_without_an_answer_is_told_what_can_be_done(arguments: dict[str, Any]) -> None:
    replies = (delegation(), "Inside or outside?", delegation("c2", **arguments), "Inside or outside?")
    async with talk(booking(QUESTION), *replies) as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        output, say = t.wire()
        assert output.startswith("output c2: ")
        for hint in ("Inside or outside?", "clarification_answer", "cancel_supervisor"):
            assert hint in output
        assert say == "say"


async def test_the_answer_needs_no_task_again() -> None:
    supervisor = booking(QUESTION, DONE)
    answer = Reply(calls=[ToolCall("supervisor", {"clarification_answer": "Outside."}, "c2")])
    async with talk(supervisor, delegation(), "Inside or outside?", answer, "It is booked.") as t:
        await t.user_speaks()
        await t.user_speaks()
        assert RESULT.replace("c1", "c2") in t.wire()


async def test_an_answer_that_nobody_asked_for_becomes_part_of_the_task() -> None:
    supervisor = booking(DONE)
    async with talk(supervisor, delegation(clarification_answer="Outside."), "It is booked.") as t:
        await t.user_speaks()
        assert RESULT in t.wire()
    assert "Book a table\n\nThe user has already answered: Outside." in user_texts(supervisor)


async def test_several_questions_one_after_the_other() -> None:
    supervisor = booking(QUESTION, ToolCall("clarify", {"question": "Smoking?"}), DONE)
    replies = (
        delegation(),
        "Inside or outside?",
        delegation("c2", clarification_answer="Outside."),
        "Smoking?",
        delegation("c3", clarification_answer="No."),
        "It is booked.",
    )
    async with talk(supervisor, *replies) as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        assert any(line.startswith('say Ask the user: "Smoking?"') for line in t.wire())
        await t.user_speaks()
        assert RESULT.replace("c1", "c3") in t.wire()
    assert last_results(supervisor) == ["Outside.", "No."]


# --- further calls ----------------------------------------------------------------------------------------------------


async def test_a_call_while_it_works_is_refused_and_the_user_hears_of_it() -> None:
    work = Thinking(DONE)
    async with talk(booking(work), delegation(), delegation("c2"), "I am at it.", "It is booked.") as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        output, say = t.wire()
        assert output.startswith("output c2: Not started: a task is already being worked on")
        assert say == "say"
        work.release()
        await t.settle()
        assert t.wire() == [RESULT, "say", NO_CONTROLS]


@pytest.mark.parametrize("arguments", [{}, {"task": 5}, {"task": "  "}, {"task": None}])
async def test_a_call_without_a_task_is_answered(arguments: dict[str, Any]) -> None:
    call = Reply(calls=[ToolCall("supervisor", arguments, "c1")])
    async with talk(booking(), call, "What shall I do?") as t:
        await t.user_speaks()
        assert t.wire() == ["output c1: Error: task must be a text that says what to do.", "say"]


async def test_one_task_after_the_other() -> None:
    diary = Diary()
    supervisor = booking(DONE, "Cancelled it again.")
    async with talk(supervisor, delegation(), "Booked.", delegation("c2"), "Cancelled.", listener=diary) as t:
        await t.user_speaks()
        await t.user_speaks()
    assert diary.entries == ["started", "finished"] * 2
    assert len(thoughts(supervisor).requests[1]) == 3


# --- cancel -----------------------------------------------------------------------------------------------------------


async def test_cancel_while_it_works() -> None:
    diary, work = Diary(), Thinking(DONE)
    async with talk(booking(work), delegation(), cancellation(), "Cancelled.", listener=diary) as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        tools, original, output, say = t.wire()
        assert tools == NO_CONTROLS
        assert original == "output c1: The task was cancelled at the user's wish."
        assert output == "output c2: The task was cancelled."
        assert "was cancelled" in say
        assert work.cancelled
    assert diary.entries == ["started", "finished"]


async def test_cancel_reaches_the_tools_of_the_supervisor() -> None:
    tools, begun, ended = Tools(), asyncio.Event(), asyncio.Event()

    @tools.action("Call the restaurant")
    async def call_restaurant() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    supervisor = booking(ToolCall("call_restaurant"), tools=tools)
    async with talk(supervisor, delegation(), cancellation(), "Cancelled.") as t:
        await t.user_speaks()
        assert begun.is_set()
        assert not ended.is_set()
        await t.user_speaks()
        assert ended.is_set()


async def test_cancel_while_the_user_is_asked() -> None:
    supervisor = booking(QUESTION, DONE)
    replies = (delegation(), "Inside or outside?", cancellation(), "Cancelled.", delegation("c3"), "It is booked.")
    async with talk(supervisor, *replies) as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        tools, output, say = t.wire()
        assert tools == NO_CONTROLS
        assert output == "output c2: The task was cancelled."
        assert "was cancelled" in say
        await t.user_speaks()
        assert RESULT.replace("c1", "c3") in t.wire()
    assert len(thoughts(supervisor).requests[1]) == 3, "the new task has nothing of the old one"


@pytest.mark.parametrize("late", [cancellation(), update()])
async def test_cancel_and_update_after_the_end_get_a_polite_output(late: Reply) -> None:
    async with talk(booking(DONE), delegation(), "It is booked.", late, "There is nothing.") as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        output, say = t.wire()
        assert "The supervisor has no task any more" in output or "There is nothing to cancel" in output
        assert say == "say"


async def test_cancel_by_the_application() -> None:
    diary, work = Diary(), Thinking(DONE)
    async with talk(booking(work), delegation(), "It was cancelled.", listener=diary) as t:
        await t.user_speaks()
        t.wire()
        await t.agent.event_bus.dispatch(CancelSupervisorCommand())
        await t.settle()
        assert t.wire() == [NO_CONTROLS, "output c1: The task was cancelled by the application.", "say"]
        await t.agent.event_bus.dispatch(CancelSupervisorCommand())
        await t.settle()
        assert t.wire() == []
    assert diary.entries == ["started", "finished"]


async def test_the_application_cancels_while_the_user_is_asked() -> None:
    async with talk(booking(QUESTION), delegation(), "Inside or outside?") as t:
        await t.user_speaks()
        t.wire()
        await t.agent.event_bus.dispatch(CancelSupervisorCommand())
        await t.settle()
        assert t.wire() == [NO_CONTROLS]


# --- update -----------------------------------------------------------------------------------------------------------


async def test_update_while_it_works() -> None:
    work = Thinking(DONE)
    supervisor = booking(work, ToolCall("done", {"result": "Booked for nine."}))
    async with talk(supervisor, delegation(), update(), "I pass it on.", "It is booked.") as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        output, say = t.wire()
        assert output == "output c2: The supervisor has been told."
        assert "Acknowledge briefly" in say
        work.release()
        await t.settle()
        assert t.wire() == [RESULT.replace("eight", "nine"), "say", NO_CONTROLS]
    assert "<supervisor_update>\nat nine\n</supervisor_update>" in user_texts(supervisor)


@pytest.mark.parametrize("message", [None, 5, " "])
async def test_an_update_without_a_message_is_answered(message: Any) -> None:
    work = Thinking(DONE)
    async with talk(booking(work), delegation(), update(message=message), "What is new?") as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        assert t.wire() == ["output c2: Error: message must be a text that says what is new.", "say"]


async def test_an_update_while_the_user_is_asked_is_shown_the_way() -> None:
    async with talk(booking(QUESTION), delegation(), "Inside or outside?", update(), "Inside or outside?") as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        output, say = t.wire()
        assert "Inside or outside?" in output
        assert "clarification_answer" in output
        assert say == "say"


async def test_update_by_the_application(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = booking(QUESTION, DONE, "Booked.")
    answer = delegation("c2", clarification_answer="Outside.")
    async with talk(
        supervisor, delegation(), "Inside or outside?", answer, "Booked.", delegation("c3"), "Booked."
    ) as t:
        with caplog.at_level(logging.WARNING, "rtvoice"):
            await t.agent.event_bus.dispatch(UpdateSupervisorCommand("nobody is there"))
            await t.settle()
        assert "UpdateSupervisorCommand does nothing" in caplog.text
        await t.user_speaks()
        await t.agent.event_bus.dispatch(UpdateSupervisorCommand("with a view"))
        await t.user_speaks()
        await t.user_speaks()
        assert [line[:9] for line in t.wire() if line.startswith("output")] == ["output c1", "output c2", "output c3"]
    assert "nobody is there" not in user_texts(supervisor, 1)
    assert "with a view" in user_texts(supervisor, 1)
    assert "with a view" not in user_texts(supervisor, 2)


# --- failure ----------------------------------------------------------------------------------------------------------


async def test_failure() -> None:
    diary, work = Diary(), Thinking(RuntimeError("no credit"))
    supervisor = booking(work, DONE)
    replies = (delegation(), "It failed.", delegation("c2"), "It is booked.")
    async with talk(supervisor, *replies, listener=diary) as t:
        await t.user_speaks()
        t.wire()
        work.release()
        await t.settle()
        output, say, tools = t.wire()
        assert output.startswith("output c1: Error: the task failed.")
        assert "no credit" in output
        assert (say, tools) == ("say", NO_CONTROLS)
        assert diary.entries == ["started", "finished"]
        await t.user_speaks()
        assert RESULT.replace("c1", "c2") in t.wire()
    assert diary.errors == []


async def test_a_failing_resume_clears_the_state() -> None:
    supervisor = booking(QUESTION, RuntimeError("no credit"), DONE)
    answer = delegation("c2", clarification_answer="Outside.")
    replies = (delegation(), "Inside or outside?", answer, "It failed.", delegation("c3"), "It is booked.")
    async with talk(supervisor, *replies) as t:
        await t.user_speaks()
        t.wire()
        await t.user_speaks()
        wire = t.wire()
        assert "Error: the task failed" in next(line for line in wire if line.startswith("output c2"))
        assert wire.count("say") == wire.count(NO_CONTROLS) == 1
        await t.user_speaks()
        assert RESULT.replace("c1", "c3") in t.wire()
    assert len(thoughts(supervisor).requests[2]) == 3, "the new task has nothing of the old one"


async def test_a_supervisor_without_a_key_fails_politely(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(description="d", instructions="i")
    async with talk(supervisor, delegation(), "It failed.") as t:
        assert "The supervisor will fail: No API key" in caplog.text
        await t.user_speaks()
        wire = t.wire()
        assert "OPENAI_API_KEY" in next(line for line in wire if line.startswith("output c1"))
        assert "say" in wire


# --- the end of the conversation --------------------------------------------------------------------------------------


async def test_stop_while_it_works() -> None:
    diary, work = Diary(), Thinking(DONE)
    async with talk(booking(work), delegation(), listener=diary) as t:
        await t.user_speaks()
        t.wire()
        await t.agent.stop()
        tools, output = t.wire()
        assert tools == NO_CONTROLS
        assert output == "output c1: The task was cancelled because the conversation ended."
    assert work.cancelled
    assert diary.entries == ["started", "finished"]


async def test_stop_while_the_user_is_asked() -> None:
    async with talk(booking(QUESTION), delegation(), "Inside or outside?") as t:
        await t.user_speaks()
        t.wire()
        await t.agent.stop()
        assert t.wire() == [NO_CONTROLS]


async def test_nobody_is_inactive_while_it_works() -> None:
    work = Thinking(DONE)
    options = {"inactivity_timeout_seconds": 5.0, "inactivity_timeout_enabled": True}
    async with talk(booking(work), delegation(), "It is booked.", **options) as t:
        t.session.speech_started()
        t.session.speech_stopped()
        await asyncio.sleep(60)
        assert not t.session.closed
        work.release()
        await t.session.wait_closed()
        assert t.wire() == [ALL_TOOLS, RESULT, "say", NO_CONTROLS]


# --- progress, approval, injection ------------------------------------------------------------------------------------


async def test_progress_is_spoken_when_the_line_is_free() -> None:
    tools = Tools()

    @tools.action("Look for a table", holding_instruction="I am looking for a table.")
    async def find() -> str:
        return "table 5"

    first, second = Thinking(ToolCall("find")), Thinking(ToolCall("find"))
    supervisor = booking(first, second, DONE, tools=tools)
    async with talk(supervisor, delegation(), "I am looking.", "Yes.", "It is booked.") as t:
        await t.user_speaks()
        t.wire()
        first.release()
        await t.settle()
        (progress,) = t.wire()
        assert '"I am looking for a table."' in progress
        t.session.speech_started()
        await t.settle()
        second.release()
        await t.settle()
        assert t.wire() == [RESULT, NO_CONTROLS], "nobody speaks while the user does"
        t.session.speech_stopped()
        await t.settle()
        assert t.wire() == [], "the answer to the user knows the result"


class Restaurant:
    name = "Luigi's"


async def test_tools_of_the_supervisor_get_what_the_agent_has(caplog: pytest.LogCaptureFixture) -> None:
    tools, seen = Tools(), []

    @tools.action("Look")
    async def look(
        place: Inject[Restaurant], number: Inject[int], bus: Inject[EventBus], history: Inject[ConversationHistory]
    ) -> str:
        seen.extend([bus, history])
        return f"{place.name} {number}"

    supervisor = booking(ToolCall("look"), DONE, tools=tools)
    options = {"context": Restaurant(), "tool_dependencies": [5]}
    async with talk(supervisor, delegation(), "It is booked.", **options) as t:
        await t.user_speaks()
    assert last_results(supervisor) == ["Luigi's 5"]
    assert seen == [t.agent.event_bus, t.agent.history]
    assert "injected" not in caplog.text


class Guard(AgentListener):
    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict
        self.requests: list[ToolApprovalRequest] = []

    async def on_tool_approval_requested(self, request: ToolApprovalRequest) -> Any:
        self.requests.append(request)
        return self.verdict


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        (True, "paid 5"),
        (ToolApproval(False, "too dear"), "Error: pay was not approved, so it was not run. Reason: too dear."),
        (False, "Error: pay was not approved, so it was not run."),
    ],
)
async def test_a_person_approves_what_the_supervisor_does(verdict: Any, result: str) -> None:
    tools, guard = Tools(), Guard(verdict)

    @tools.action("Pay", needs_approval=True)
    async def pay(euros: int) -> str:
        return f"paid {euros}"

    supervisor = booking(ToolCall("pay", {"euros": 5}), DONE, tools=tools)
    async with talk(supervisor, delegation(), "It is booked.", listener=guard) as t:
        await t.user_speaks()
        assert RESULT in t.wire()
    assert [(request.name, request.arguments) for request in guard.requests] == [("pay", {"euros": 5})]
    assert last_results(supervisor) == [result]


async def test_without_anybody_to_approve_it_is_not_run(caplog: pytest.LogCaptureFixture) -> None:
    tools = Tools()

    @tools.action("Pay", needs_approval=True)
    async def pay() -> str:
        raise AssertionError

    supervisor = booking(ToolCall("pay"), DONE, tools=tools)
    async with talk(supervisor, delegation(), "It is booked.") as t:
        assert "Calls of pay will be refused" in caplog.text
        await t.user_speaks()
    assert last_results(supervisor) == [
        "Error: pay was not approved, so it was not run. Reason: nobody is there to approve it."
    ]


# --- language models, text agents -------------------------------------------------------------------------------------


class OwnModel(ChatModel):
    def __init__(self) -> None:
        """Like many a user's, it does not call the base class."""

    async def invoke(
        self, messages: list[Message], output_format: Any = None, **kwargs: Any
    ) -> ChatInvokeCompletion[Any]:
        return ChatInvokeCompletion(completion="Booked for eight.")


async def test_a_model_of_the_users_own() -> None:
    supervisor = Supervisor(description="d", instructions="i", llm=OwnModel())
    async with talk(supervisor, delegation(), "It is booked.") as t:
        await t.user_speaks()
        assert RESULT in t.wire()


@pytest.mark.parametrize("parameter", ["text_agent", "supervisor"])
async def test_a_text_agent_is_an_ordinary_tool(parameter: str) -> None:
    diary = Diary()
    agent = TextAgent(description="Books tables.", system_prompt="Book it.", llm=ScriptedChatModel("Booked for eight."))
    call = Reply(calls=[ToolCall("text_agent", {"task": "Book a table"}, "c1")])
    options = {"supervisor": None, parameter: agent, "listener": diary}
    async with talk(None, call, "It is booked.", cancellation(), "Sorry.", **options) as t:
        await t.user_speaks()
        assert t.wire() == [RESULT, "say"]
        (config,) = [event for event in t.session.received if event["type"] == "session.update"]
        (tool,) = config["session"]["tools"]
        assert tool["name"] == "text_agent"
        assert set(tool["parameters"]["properties"]) == {"task"}
        await t.user_speaks()
        assert "there is no tool named 'cancel_supervisor'" in t.wire()[0]
    assert diary.entries == ["started", "finished"]


# --- construction -----------------------------------------------------------------------------------------------------


def make(**options: Any) -> RealtimeAgent[Any]:
    return RealtimeAgent(api_key="key", **options)


def test_one_supervisor_at_most() -> None:
    text_agent = TextAgent(description="d", system_prompt="s", llm=OwnModel())
    with pytest.raises(TypeError, match="not both"):
        make(supervisor=booking(), text_agent=text_agent)
    with pytest.raises(TypeError, match="supervisor must be a Supervisor, not str"):
        make(supervisor="books tables")
    with pytest.raises(TypeError, match="text_agent must be a TextAgent, not Supervisor"):
        make(text_agent=booking())


@pytest.mark.parametrize("name", ["supervisor", "cancel_supervisor", "update_supervisor"])
def test_reserved_names(name: str) -> None:
    tools = Tools()
    tools.action("x", name=name)(lambda: None)
    with pytest.raises(ValueError, match=f"'{name}'"):
        make(supervisor=booking(), tools=tools)
    make(tools=tools)
    make(text_agent=TextAgent(description="d", system_prompt="s", llm=OwnModel()), tools=tools)


def test_warnings(caplog: pytest.LogCaptureFixture) -> None:
    tools = Tools()

    @tools.action("Look")
    async def look(place: Inject[Restaurant]) -> str:
        return place.name

    make(supervisor=booking(tools=tools), transcription_model=None)
    assert "The supervisor's tool 'look' wants" in caplog.text
    assert "transcription_model=None is overridden" in caplog.text
    caplog.clear()
    make(supervisor=booking(tools=tools, context=Restaurant()))
    make(supervisor=booking(tools=tools), context=Restaurant())
    make(supervisor=booking(tools=tools), tool_dependencies=[Restaurant()], listener=Diary())
    assert caplog.text == ""
    make(listener=Diary())
    assert "on_supervisor_started will never be called" in caplog.text
    assert "on_supervisor_finished will never be called" in caplog.text
