import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rtvoice.components.tool_runner import DEFAULT_TIMEOUT_S, ToolRunner
from rtvoice.events import (
    EventBus,
    SpeakHoldingPhraseCommand,
    ToolApprovalRequestedEvent,
    ToolApprovalResolvedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)
from rtvoice.tools import ActionResult, Tools

pytestmark = pytest.mark.virtual_clock

tools = Tools()
cancelled: list[str] = []


@tools.action("Answers at once.", result_instruction="Be brief.", kind="lookup")
async def quick(city: str) -> dict[str, str]:
    return {"city": city}


@tools.action("Takes a while.", holding_instruction="One moment.")
async def slow(seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        cancelled.append("slow")
        raise
    return "done"


@tools.action("Fails.")
async def broken() -> None:
    raise LookupError("no such thing")


@tools.action("Says nothing.", respond=False)
async def silent() -> ActionResult:
    return ActionResult.success("quiet")


@tools.action("Has a limit.", timeout=2)
async def limited() -> None:
    await asyncio.sleep(1_000)


@tools.action("Costs money.", needs_approval=True, holding_instruction="I am paying.")
async def pay(euro: int) -> str:
    return f"paid {euro}"


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.bus = EventBus()
        self.heard = self.bus.open_inbox(*ToolRunner.says, in_order=True)
        self.runner = ToolRunner(self.bus, tools, **settings)

    def call(self, name: str, arguments: Mapping[str, Any] | None = None, call_id: str = "c1") -> None:
        event = ToolCallRequestedEvent(call_id=call_id, name=name, arguments=arguments or {}, response_id="r1")
        self.bus.publish(event)

    async def finished(self) -> ToolCallFinishedEvent:
        while not isinstance(event := await self.heard.get(), ToolCallFinishedEvent):
            pass
        return event


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Bench]:
    bench = Bench(**settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.runner.run())
        yield bench
        bench.runner.stop()


async def test_a_call_is_answered() -> None:
    async with running() as bench:
        bench.call("quick", {"city": "Oslo"})
        assert await bench.finished() == ToolCallFinishedEvent(
            call_id="c1", name="quick", output='{"city": "Oslo"}', success=True, respond=True,
            result_instruction="Be brief.", kind="lookup",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("broken", {}, "LookupError"),
        ("nonsense", {}, "nonsense"),
        ("quick", {}, "city"),
        ("quick", {"city": ["a", "list"]}, "city"),
    ],
)
async def test_a_call_that_fails_is_answered_too(name: str, arguments: dict[str, Any], words: str) -> None:
    async with running() as bench:
        bench.call(name, arguments)
        event = await bench.finished()
        assert not event.success
        assert event.respond
        assert words in event.output
        bench.call("quick", {"city": "Oslo"})
        assert (await bench.finished()).success


async def test_a_silent_tool() -> None:
    async with running() as bench:
        bench.call("silent")
        event = await bench.finished()
        assert (event.output, event.respond) == ("quiet", False)


async def test_calls_run_side_by_side_and_nobody_waits() -> None:
    loop = asyncio.get_running_loop()
    async with running() as bench:
        for number, seconds in enumerate((3, 1, 2)):
            bench.call("slow", {"seconds": seconds}, f"c{number}")
        order = [(await bench.finished()).call_id for _ in range(3)]
        assert order == ["c1", "c2", "c0"]
        assert loop.time() == 3


async def test_the_phrase_comes_before_the_answer() -> None:
    async with running() as bench:
        bench.call("slow", {"seconds": 0})
        await bench.finished()
        bench.call("slow", {"seconds": 1})
        await asyncio.sleep(0.5)
        assert list(bench.heard.take_all()) == [SpeakHoldingPhraseCommand(call_id="c1", phrase="One moment.")]
        await bench.finished()
        bench.call("slow", {"seconds": "not a number"})
        await asyncio.sleep(0.5)
        assert [type(event) for event in bench.heard.take_all()] == [ToolCallFinishedEvent]


@pytest.mark.parametrize(("name", "limit"), [("slow", 5), ("limited", 2)])
async def test_calls_have_a_limit(name: str, limit: float) -> None:
    loop = asyncio.get_running_loop()
    async with running(timeout_s=5) as bench:
        bench.call(name, {"seconds": 100})
        event = await bench.finished()
        assert loop.time() == limit
        assert not event.success
        assert f"{limit} seconds" in event.output


async def test_the_limit_can_be_lifted() -> None:
    async with running(timeout_s=None) as bench:
        bench.call("slow", {"seconds": 10 * DEFAULT_TIMEOUT_S})
        assert (await bench.finished()).output == "done"


async def test_calls_of_others_are_left_alone() -> None:
    async with running(others=frozenset({"supervisor"})) as bench:
        bench.call("supervisor")
        await asyncio.sleep(1)
        assert list(bench.heard.take_all()) == []


async def test_at_the_end_running_calls_are_cancelled_and_answered() -> None:
    cancelled.clear()
    async with running() as bench:
        bench.call("slow", {"seconds": 100})
        bench.call("pay", {"euro": 5}, "c2")
        await asyncio.sleep(1)
        bench.runner.stop()
        events = [await bench.finished(), await bench.finished()]
        assert {event.call_id for event in events} == {"c1", "c2"}
        assert all("cancelled" in event.output and not event.success for event in events)
    assert cancelled == ["slow"]


# --- approval ----------------------------------------------------------------------------------------


async def test_an_approved_call_runs() -> None:
    async with running() as bench:
        bench.call("pay", {"euro": 5})
        await asyncio.sleep(1)
        expected = ToolApprovalRequestedEvent(call_id="c1", name="pay", arguments={"euro": 5})
        assert list(bench.heard.take_all()) == [expected]
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="another", approved=True))
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="c1", approved=True))
        await asyncio.sleep(1)
        phrase, finished = bench.heard.take_all()
        assert phrase == SpeakHoldingPhraseCommand(call_id="c1", phrase="I am paying.")
        assert finished.output == "paid 5"


async def test_a_refused_call_does_not_run() -> None:
    async with running() as bench:
        bench.call("pay", {"euro": 5})
        await asyncio.sleep(1)
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="c1", approved=False, reason="too dear"))
        event = await bench.finished()
        assert not event.success
        assert "too dear" in event.output
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="c1", approved=True))  # too late
        await asyncio.sleep(1)
        assert list(bench.heard.take_all()) == []


async def test_an_approval_that_does_not_come_is_a_refusal() -> None:
    loop = asyncio.get_running_loop()
    async with running(approval_timeout_s=30) as bench:
        bench.call("pay", {"euro": 5})
        event = await bench.finished()
        assert loop.time() == 30
        assert not event.success


async def test_an_approved_tool_without_a_phrase() -> None:
    quiet = Tools()
    quiet.action("Costs money.", name="pay", needs_approval=True)(lambda: "paid")
    bench = Bench()
    bench.runner = ToolRunner(bench.bus, quiet)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.runner.run())
        bench.call("pay")
        await asyncio.sleep(1)
        bench.bus.publish(ToolApprovalResolvedEvent(call_id="c1", approved=True))
        assert (await bench.finished()).output == "paid"
        bench.runner.stop()


async def test_a_call_with_wrong_arguments_needs_no_approval() -> None:
    async with running() as bench:
        bench.call("pay", {"euro": "much"})
        event = await bench.finished()
        assert not event.success
        assert "euro" in event.output
