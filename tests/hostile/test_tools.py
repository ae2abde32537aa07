"""Tools that do what they should not: every call is answered, and the conversation goes on."""

import asyncio
import time
from typing import Any

import pytest
from tests.hostile.conftest import ILLS, Conversation, Ill

from rtvoice import RealtimeAgent, Tools

pytestmark = pytest.mark.virtual_clock


@pytest.mark.parametrize("what", ILLS)
async def test_a_tool_harms_nobody(what: str, conversation: Conversation, caplog: pytest.LogCaptureFixture) -> None:
    ill, tools = Ill(what), Tools()

    @tools.action("Looks.", timeout=40)
    async def look() -> str:
        await ill()
        return "seen"

    agent: RealtimeAgent[Any] = RealtimeAgent(tools=tools, **conversation.devices)
    await conversation.hold(agent, ill)
    assert ill.began == 1
    assert conversation.result is not None
    [output] = [item for item in conversation.server.current.items if item["type"] == "function_call_output"]
    assert output["output"]
    if what not in ("stops the agent", "interrupts the agent"):
        assert conversation.answered
    if "swallows" in what:
        assert "gave no result within 40 seconds" in output["output"]
    if what == "swallows every cancellation":
        assert "tool look ignores that it was cancelled" in caplog.text


@pytest.mark.parametrize("what", ["swallows a cancellation", "swallows every cancellation"])
async def test_a_tool_that_is_not_to_be_cancelled_does_not_hold_up_the_end(
    what: str, conversation: Conversation
) -> None:
    ill, tools = Ill(what), Tools()

    @tools.action("Looks.", timeout=None)
    async def look() -> str:
        await ill()
        return "seen"

    agent: RealtimeAgent[Any] = RealtimeAgent(tools=tools, **conversation.devices)
    await conversation.hold(agent, ill)
    assert conversation.ended_after_s < 3
    [output] = [item for item in conversation.server.current.items if item["type"] == "function_call_output"]
    assert "the conversation ended" in output["output"]


async def test_a_tool_that_blocks_its_thread_does_not_hold_up_the_end(conversation: Conversation) -> None:
    tools = Tools()

    @tools.action("Looks.", timeout=0.2)
    def look() -> str:
        time.sleep(0.5)
        return "seen"

    agent: RealtimeAgent[Any] = RealtimeAgent(tools=tools, **conversation.devices)
    await conversation.hold(agent)
    assert conversation.answered


async def test_a_tool_may_be_called_by_many_responses_while_it_refuses_to_end(conversation: Conversation) -> None:
    """What is left behind is left behind alone: the same tool can be called again."""
    ill, tools = Ill("swallows every cancellation"), Tools()

    @tools.action("Looks.", timeout=1)
    async def look() -> str:
        await ill()
        return "seen"

    agent: RealtimeAgent[Any] = RealtimeAgent(tools=tools, **conversation.devices)
    ill.agent = agent
    outcomes = [await tools.prepare("look", {}).run() for _ in range(3)]
    assert [outcome.success for outcome in outcomes] == [False] * 3
    await conversation.hold(agent, ill)
    assert ill.began == 4
    await asyncio.sleep(0)
