"""Tools on the wire: every call answered once, nothing said twice, against the emulator and on the virtual clock."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rtvoice import AgentListener, Inject, RealtimeAgent, Tools
from rtvoice.events import (
    AgentError,
    EventBus,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UpdateSessionToolsCommand,
    UpdateToolChoiceCommand,
)
from rtvoice.listener import ToolApproval, ToolApprovalRequest
from rtvoice.testing import (
    EmulatedSession,
    Faults,
    McpCall,
    RealtimeEmulator,
    Reply,
    ToolCall,
    VirtualMicrophone,
    VirtualSpeaker,
)
from rtvoice.testing.faults import Duplicate
from rtvoice.tools import ActionResult
from rtvoice.tools.results import MAX_OUTPUT_CHARACTERS

pytestmark = pytest.mark.virtual_clock

CANCELLED = "output c1: Error: the call was cancelled because the conversation ended."


def calls(*names: str, first: int = 1) -> Reply:
    """A response that makes calls c1, c2 and so on, and says nothing."""
    return Reply(calls=[ToolCall(name, {}, f"c{number}") for number, name in enumerate(names, first)])


class Work:
    """What a tool does, for as long as the test wants."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.runs = 0
        self._released = asyncio.Event()

    async def __call__(self) -> str:
        self.runs += 1
        self.started.set()
        await self._released.wait()
        return "done"

    def release(self) -> None:
        self._released.set()


class Diary(AgentListener):
    def __init__(self, approve: Callable[[ToolApprovalRequest], Any] | None = None) -> None:
        self.executed: list[tuple[str, str | None, bool]] = []
        self.errors: list[AgentError] = []
        self.said: list[str] = []
        self.approve = approve

    async def on_tool_executed(self, name: str, action_kind: str | None, silent: bool) -> None:
        self.executed.append((name, action_kind, silent))

    async def on_tool_approval_requested(self, request: ToolApprovalRequest) -> ToolApproval | bool:
        assert self.approve is not None
        return await self.approve(request)

    async def on_agent_error(self, error: AgentError) -> None:
        self.errors.append(error)

    async def on_assistant_transcript(self, transcript: str) -> None:
        self.said.append(transcript)


class Talk:
    """A conversation in progress."""

    def __init__(self, server: RealtimeEmulator, agent: RealtimeAgent[Any], session: EmulatedSession) -> None:
        self.server = server
        self.agent = agent
        self.session = session
        self._shown = len(session.received)

    async def settle(self) -> None:
        """Wait until everything that is said has been said."""
        await asyncio.sleep(20)

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
        case "response.create":
            return f"say {event.get('response', {}).get('instructions', '')}".strip()
        case "conversation.item.create" if event["item"]["type"] == "function_call_output":
            return f"output {event['item']['call_id']}: {event['item']['output']}"
        case "session.update":
            session = event["session"]
            return f"update {session.get('tool_choice') or [tool['name'] for tool in session['tools']]}"
    return str(event["type"])


@asynccontextmanager
async def talk(
    tools: Tools,
    *replies: Reply | str,
    faults: Faults | None = None,
    mcp_servers: dict[str, Sequence[dict[str, Any]]] | None = None,
    **options: Any,
) -> AsyncIterator[Talk]:
    """Hold a conversation in which the assistant replies like this."""
    script = (*replies, *itertools.repeat("Anything else?", 20))
    async with RealtimeEmulator(
        script, ["the words"] * 20, detect_speech=False, faults=faults, mcp_servers=mcp_servers
    ) as server:
        agent = RealtimeAgent(
            provider=server.provider,
            audio_input=VirtualMicrophone(realtime=False),
            audio_output=VirtualSpeaker(),
            tools=tools,
            **options,
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
        answered = [line.split(":")[0] for line in map(_shown, session.received) if line.startswith("output")]
        assert len(answered) == len(set(answered)), "a call was answered twice"


# --- every call is answered exactly once ------------------------------------------------------------------------------


def all_sorts() -> Tools:
    tools = Tools()

    @tools.action("Succeeds")
    async def good(city: str = "Oslo") -> str:
        return f"18 degrees in {city}"

    @tools.action("Raises")
    async def bad() -> str:
        raise ValueError("no such city")

    @tools.action("Takes too long", timeout=2)
    async def slow() -> None:
        await asyncio.Event().wait()

    @tools.action("Takes longer than tools may")
    async def endless() -> None:
        await asyncio.Event().wait()

    @tools.action("Exits")
    async def leaves() -> None:
        raise SystemExit(3)

    return tools


@pytest.mark.parametrize(
    ("call", "output"),
    [
        (ToolCall("good", {"city": "Bergen"}, "c1"), "18 degrees in Bergen"),
        (ToolCall("good", {"city": "Bergen", "unknown": 1}, "c1"), "18 degrees in Bergen"),
        (ToolCall("bad", {}, "c1"), "Error: ValueError: no such city"),
        (ToolCall("slow", {}, "c1"), "Error: 'slow' gave no result within 2 seconds"),
        (ToolCall("endless", {}, "c1"), "Error: 'endless' gave no result within 5 seconds"),
        (ToolCall("leaves", {}, "c1"), "Error: SystemExit: 3"),
        (ToolCall("nothing", {}, "c1"), "Error: there is no tool named 'nothing'. Available tools: good, bad,"),
        (ToolCall("good", {"city": 5}, "c1"), "Error: 'good' was not run because its arguments are invalid"),
        (ToolCall("good", "{", "c1"), "Error: The arguments are not valid JSON"),
        (ToolCall("good", "", "c1"), "Error: The arguments are not valid JSON"),
        (ToolCall("good", "null", "c1"), "Error: The arguments must be a JSON object, not null"),
        (ToolCall("good", "[1]", "c1"), "Error: The arguments must be a JSON object, not [1]"),
        (ToolCall("good", '"Oslo"', "c1"), 'Error: The arguments must be a JSON object, not "Oslo"'),
    ],
)
@pytest.mark.parametrize("faults", [None, Faults(frames=[lambda: Duplicate(1.0)])], ids=["", "every frame twice"])
async def test_one_output_and_one_response_whatever_becomes_of_a_call(
    call: ToolCall, output: str, faults: Faults | None
) -> None:
    async with talk(all_sorts(), Reply(calls=[call]), faults=faults, tool_timeout_seconds=5) as t:
        await t.user_speaks()
        answer, say = t.wire()
        assert answer.startswith(f"output c1: {output}")
        assert say == "say"
        await t.user_speaks()
        assert t.wire() == []


async def test_many_calls_of_all_sorts_at_once_are_answered_by_one_response() -> None:
    names = ["good", "slow", "bad", "nothing", "good", "leaves", "endless", "good", "bad", "slow"]
    async with talk(all_sorts(), calls(*names), tool_timeout_seconds=5) as t:
        await t.user_speaks()
        wire = t.wire()
        assert sorted(line.split(":")[0] for line in wire[:-1]) == sorted(f"output c{n}" for n in range(1, 11))
        assert wire[-1] == "say"


async def test_a_call_that_is_reported_in_three_places_runs_once() -> None:
    tools, work = Tools(), Work()
    tools.action("Works", name="work")(work)
    async with talk(tools, calls("work"), faults=Faults(frames=[lambda: Duplicate(1.0)])) as t:
        await t.user_speaks()
        reports = t.session.types()
        assert reports.count("response.function_call_arguments.done") == 1
        assert reports.count("response.output_item.done") == 1
        assert t.wire() == []
        work.release()
        await t.settle()
        assert t.wire() == ["output c1: done", "say"]
    assert work.runs == 1


async def test_calls_that_run_at_stop_are_cancelled_and_answered() -> None:
    tools, first, second = Tools(), Work(), Work()
    tools.action("Works", name="first")(first)
    tools.action("Works", name="second")(second)
    async with talk(tools, calls("first", "second")) as t:
        await t.user_speaks()
        assert t.wire() == []
        await t.agent.stop()
        outputs = [line for line in t.wire() if line.startswith("output")]
        assert sorted(outputs) == [CANCELLED, CANCELLED.replace("c1", "c2")]


async def test_a_tool_may_stop_the_agent() -> None:
    tools, agents = Tools(), []

    @tools.action("Ends the conversation")
    async def hang_up() -> str:
        await agents[0].stop()
        return "bye"

    async with talk(tools, calls("hang_up")) as t:
        agents.append(t.agent)
        t.session.speech_started()
        t.session.speech_stopped()
        await t.session.wait_closed()
        assert t.wire()[0] in ("output c1: bye", CANCELLED)


async def test_calls_of_a_cancelled_response_are_answered_only_if_they_are_complete() -> None:
    tools = all_sorts()
    replies = Reply(calls=[ToolCall("good", {}, "c1"), ToolCall("good", {"city": "x" * 5000}, "c2")])
    async with talk(tools, replies) as t:
        t.session.speech_started()
        t.session.speech_stopped()
        await t.server.sent("response.function_call_arguments.delta", where=lambda event: event["call_id"] == "c2")
        t.session.speech_started()  # the server cancels the response
        done = await t.server.sent("response.done")
        assert done["response"]["status"] == "cancelled"
        await asyncio.sleep(1)
        t.session.speech_stopped()
        await t.settle()
        assert t.wire() == ["output c1: 18 degrees in Oslo"], "the server's own response has seen the output"


# --- one response for all ---------------------------------------------------------------------------------------------


async def test_a_response_waits_for_all_calls_and_presents_them_together() -> None:
    tools, slow = Tools(), Work()
    tools.action("Works", name="slow", result_instruction="Be brief.")(slow)

    @tools.action("Is quick", result_instruction="Say where.")
    async def quick() -> str:
        return "here"

    async with talk(tools, calls("slow", "quick", "quick"), instructions="You are Eva.") as t:
        await t.user_speaks()
        assert t.wire() == ["output c2: here", "output c3: here"]
        slow.release()
        await t.settle()
        answer, say = t.wire()
        assert answer == "output c1: done"
        assert say.startswith("say You are Eva.")
        assert say.endswith("Be brief.\nSay where.")


async def test_silent_tools_are_answered_without_a_response() -> None:
    tools, diary = Tools(), Diary()

    @tools.action("Switches the light", respond=False, kind="home")
    async def light() -> str:
        return "on"

    @tools.action("Tells the weather")
    async def weather() -> str:
        return "fine"

    @tools.action("Is silent sometimes", kind="home")
    async def volume() -> ActionResult:
        return ActionResult.success("louder", respond=False)

    @tools.action("Is silent, but fails", respond=False)
    async def lock() -> None:
        raise OSError("jammed")

    replies = (calls("light", "volume"), calls("light", "weather"), calls("lock"))
    async with talk(tools, *replies[:1], listener=diary) as t:
        await t.user_speaks()
        assert sorted(t.wire()) == ["output c1: on", "output c2: louder"]
        assert diary.said == []
    assert sorted(diary.executed) == [("light", "home", True), ("volume", "home", True)]

    diary = Diary()
    async with talk(tools, replies[1], listener=diary) as t:
        await t.user_speaks()
        assert sorted(t.wire()) == ["output c1: on", "output c2: fine", "say"]
    assert sorted(diary.executed, key=str) == [("light", "home", True), ("weather", None, False)]

    async with talk(tools, replies[2]) as t:
        await t.user_speaks()
        assert t.wire() == ["output c1: Error: OSError: jammed", "say"]


async def test_long_outputs_are_shortened() -> None:
    tools = Tools()

    @tools.action("Reads a book")
    async def read() -> str:
        return "word " * 100_000

    async with talk(tools, calls("read")) as t:
        await t.user_speaks()
        answer, say = t.wire()
        assert say == "say"
        assert MAX_OUTPUT_CHARACTERS < len(answer) < MAX_OUTPUT_CHARACTERS + 200
        assert "of 500000 characters are missing" in answer


# --- no dead air ------------------------------------------------------------------------------------------------------


def holding(**phrases: str) -> tuple[Tools, dict[str, Work]]:
    """Tools that work, with these phrases to hold the line."""
    tools, works = Tools(), {name: Work() for name in phrases}
    for name, phrase in phrases.items():
        tools.action("Works", name=name, holding_instruction=phrase)(works[name])
    return tools, works


async def test_the_holding_phrase_is_asked_for_before_the_output_even_of_a_fast_tool() -> None:
    tools, works = holding(search="I am looking.")
    works["search"].release()
    async with talk(tools, calls("search"), "I am looking.", instructions="You are Eva.") as t:
        await t.user_speaks()
        phrase, answer, say = t.wire()
        assert phrase.startswith("say You are Eva.")
        assert '"I am looking."' in phrase
        assert (answer, say) == ("output c1: done", "say")
        created = [event for event in t.session.received if event["type"] == "response.create"]
        assert created[0]["response"]["tool_choice"] == "none"


async def test_several_calls_hold_the_line_with_one_request() -> None:
    tools, works = holding(search="I am looking.", book="I am booking.", pay="I am looking.")
    async with talk(tools, calls("search", "book", "pay"), "I am looking and booking.") as t:
        await t.user_speaks()
        (phrase,) = t.wire()
        assert phrase.count("I am looking.") == phrase.count("I am booking.") == 1
        for work in works.values():
            work.release()
        await t.settle()
        assert t.wire()[-1] == "say"


async def test_no_phrase_holds_the_line_while_the_user_speaks() -> None:
    tools, works = holding(search="I am looking.")
    two_calls = Reply(calls=[ToolCall("search", {}, "c1"), ToolCall("search", {"for": "x" * 5000}, "c2")])
    async with talk(tools, two_calls) as t:
        t.session.speech_started()
        t.session.speech_stopped()
        await t.server.sent("response.function_call_arguments.delta", where=lambda event: event["call_id"] == "c2")
        t.session.speech_started()
        works["search"].release()
        await asyncio.sleep(1)
        assert t.wire() == ["output c1: done"]
        t.session.speech_stopped()
        await t.settle()
        assert t.wire() == []


async def test_an_interrupted_phrase_does_not_disturb_the_tool() -> None:
    tools, works = holding(search="I am looking.")
    async with talk(tools, calls("search"), "I am looking for it in all the shops of the town.", "Go on.") as t:
        t.session.speech_started()
        t.session.speech_stopped()
        await t.server.sent("response.done", where=lambda event: bool(event["response"]["output"]))
        await asyncio.sleep(1)
        (phrase,) = t.wire()
        assert "I am looking." in phrase
        await t.user_speaks()
        assert t.wire() == ["conversation.item.truncate"]
        works["search"].release()
        await t.settle()
        assert t.wire() == ["output c1: done", "say"]


# --- the user meanwhile -----------------------------------------------------------------------------------------------


async def test_results_are_spoken_when_the_user_has_finished() -> None:
    tools, work, told = Tools(), Work(), Work()
    tools.action("Works", name="work")(work)
    tools.action("Works", name="tell", result_instruction="Be brief.")(told)
    async with talk(tools, calls("work"), "It is done.") as t:
        await t.user_speaks()
        t.session.speech_started()
        await asyncio.sleep(0.1)
        work.release()
        await asyncio.sleep(2)
        assert t.wire() == ["output c1: done"], "the output is sent at once, but nothing is said"
        t.session.speech_stopped()
        await t.settle()
        assert t.wire() == [], "the response to the user's turn has seen the output"

    async with talk(tools, calls("tell"), "I see.", "It is done.") as t:
        await t.user_speaks()
        t.session.speech_started()
        await asyncio.sleep(0.1)
        told.release()
        await asyncio.sleep(2)
        assert t.wire() == ["output c1: done"]
        t.session.speech_stopped()
        await t.settle()
        (say,) = t.wire()
        assert say.endswith("Be brief."), "it has instructions, which the server's own response does not know"


async def test_the_conversation_goes_on_while_a_tool_runs() -> None:
    tools, work, diary = Tools(), Work(), Diary()
    tools.action("Works", name="work")(work)
    async with talk(
        tools, calls("work"), "Fine weather.", "Cloudy later.", "It is done.", listener=diary, tool_timeout_seconds=None
    ) as t:
        for _ in range(3):
            await t.user_speaks()
        assert diary.said == ["Fine weather.", "Cloudy later."]
        work.release()
        await t.settle()
        assert diary.said[-1] == "It is done."
        assert t.wire() == ["output c1: done", "say"]
        assert diary.errors == []


# --- approval ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "output", "phrases"),
    [
        (True, "done", 1),
        (ToolApproval(True), "done", 1),
        (False, "Error: pay was not approved, so it was not run.", 0),
        (ToolApproval(False, "too dear"), "Error: pay was not approved, so it was not run. Reason: too dear.", 0),
    ],
)
async def test_a_person_decides_while_the_conversation_goes_on(decision: Any, output: str, phrases: int) -> None:
    tools, work, asked, decided = Tools(), Work(), asyncio.Event(), asyncio.Event()
    tools.action("Pays", name="pay", needs_approval=True, holding_instruction="I am paying.")(work)
    work.release()
    requests: list[ToolApprovalRequest] = []

    async def approve(request: ToolApprovalRequest) -> Any:
        requests.append(request)
        asked.set()
        await decided.wait()
        return decision

    diary = Diary(approve)
    async with talk(tools, calls("pay"), "Fine weather.", listener=diary) as t:
        await t.user_speaks()
        await asked.wait()
        await t.user_speaks()
        assert diary.said == ["Fine weather."]
        assert t.wire() == []
        assert work.runs == 0
        decided.set()
        await t.settle()
        wire = t.wire()
        assert wire[-2:] == [f"output c1: {output}", "say"]
        assert sum("I am paying." in line for line in wire) == len(wire) - 2 == phrases
        assert [(request.call_id, request.name) for request in requests] == [("c1", "pay")]


async def test_a_person_who_does_not_decide_is_not_waited_for_for_ever() -> None:
    tools, work = Tools(), Work()
    tools.action("Pays", name="pay", needs_approval=True)(work)

    async def approve(_: ToolApprovalRequest) -> bool:
        await asyncio.Event().wait()
        return True

    async with talk(tools, calls("pay"), listener=Diary(approve)) as t:
        await t.user_speaks()
        assert t.wire() == []
        await asyncio.sleep(120)
        assert t.wire() == ["output c1: Error: nobody approved pay within 120 s, so it was not run.", "say"]
        assert work.runs == 0


# --- what tools do to the session -------------------------------------------------------------------------------------


async def test_tools_change_the_session_by_commands_on_the_bus() -> None:
    tools = Tools()

    @tools.action("Goes on without tools")
    async def give_up(bus: Inject[EventBus]) -> str:
        await bus.dispatch(UpdateToolChoiceCommand("none"))
        return "no more tools"

    @tools.action("Offers another tool")
    async def grow(bus: Inject[EventBus]) -> str:
        await bus.dispatch(UpdateSessionToolsCommand([*tools.get_tool_schema()[:1], tools.realtime_schema()[1]]))
        return "more tools"

    async with talk(tools, calls("give_up"), "Without.", calls("grow", first=2), "With.") as t:
        await t.user_speaks()
        assert t.wire() == ["update none", "output c1: no more tools", "say"]
        assert t.session.config["tool_choice"] == "none"
        await t.user_speaks()
        assert t.wire() == ["update ['give_up', 'grow']", "output c2: more tools", "say"]
        assert [tool["name"] for tool in t.session.config["tools"]] == ["give_up", "grow"]


async def test_the_bus_tells_of_every_call_and_its_end() -> None:
    requested: list[str] = []
    finished: list[tuple[str, bool]] = []

    async def on_request(event: ToolCallRequestedEvent) -> None:
        requested.append(event.name)

    async def on_finish(event: ToolCallFinishedEvent) -> None:
        finished.append((event.name, event.success))

    async with talk(all_sorts(), calls("good", "bad", "nothing")) as t:
        t.agent.event_bus.subscribe(ToolCallRequestedEvent, on_request)
        t.agent.event_bus.subscribe(ToolCallFinishedEvent, on_finish)
        await t.user_speaks()
    assert requested == ["good", "bad", "nothing"]
    assert sorted(finished) == [("bad", False), ("good", True), ("nothing", False)]


async def test_server_side_tools_are_offered_and_left_to_the_server() -> None:
    tools = all_sorts()
    tools.add_server_tool(
        {"type": "mcp", "server_label": "docs", "server_url": "https://example.com", "require_approval": "never"}
    )
    offered = {"docs": [{"name": "search", "input_schema": {"type": "object"}}]}
    diary = Diary()
    reply = Reply("Tea is a drink.", calls=[McpCall("docs", "search", {"q": "tea"}, output="a drink")])
    async with talk(tools, reply, mcp_servers=offered, listener=diary) as t:
        assert t.session.config["tools"][-1]["server_label"] == "docs"
        assert "mcp_list_tools.completed" in t.session.types()
        await t.user_speaks()
        assert "response.mcp_call.completed" in t.session.types()
        assert diary.said == ["Tea is a drink."]
        assert t.wire() == []
        assert diary.errors == []
