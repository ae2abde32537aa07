"""Applications that use an agent as it is not meant to be used."""

import asyncio
from typing import Any

import pytest
from tests.hostile.conftest import Conversation

from rtvoice import AgentListener, RealtimeAgent
from rtvoice.errors import AgentStateError

pytestmark = pytest.mark.virtual_clock


def agent_of(conversation: Conversation, **more: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(tools=conversation.tools(), **conversation.devices, **more)


async def test_a_second_run_at_the_same_time_is_refused_and_disturbs_nobody(conversation: Conversation) -> None:
    agent = agent_of(conversation)

    async def run_again() -> None:
        await asyncio.sleep(1)
        with pytest.raises(AgentStateError, match="one conversation"):
            await agent.run()

    async with asyncio.TaskGroup() as group:
        group.create_task(run_again())
        await conversation.hold(agent)
    assert conversation.answered


async def test_a_second_run_afterwards_is_refused(conversation: Conversation) -> None:
    agent = agent_of(conversation)
    await conversation.hold(agent)
    with pytest.raises(AgentStateError, match="one conversation"):
        await agent.run()


@pytest.mark.parametrize("moment_s", [0.0, 0.001, 0.02, 0.5, 2.0])
async def test_many_who_stop_at_once_all_return(conversation: Conversation, moment_s: float) -> None:
    agent = agent_of(conversation)
    async with asyncio.TaskGroup() as group, asyncio.timeout(5):
        running = group.create_task(agent.run())
        await asyncio.sleep(moment_s)
        for _ in range(20):
            group.create_task(agent.stop())
    assert running.result().turns is not None


async def test_a_run_that_is_cancelled_again_and_again_still_cleans_up(conversation: Conversation) -> None:
    agent = agent_of(conversation)
    async with asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(agent.run())
            await asyncio.sleep(1)
            while not running.done():
                running.cancel()
                await asyncio.sleep(0.01)
    assert not conversation.mouth.is_active
    assert conversation.server.current.closed


async def test_a_loop_that_is_blocked_for_two_seconds_is_told_truthfully(conversation: Conversation) -> None:
    """The microphone goes on while a callback blocks; the assistant's audio resumes, and is counted as heard once."""
    loop: Any = asyncio.get_running_loop()

    class Blocking(AgentListener):
        async def on_assistant_started_responding(self) -> None:
            loop.advance(2.0)

    agent = agent_of(conversation, listener=Blocking())
    await conversation.hold(agent)
    [answer] = [turn for turn in conversation.result.turns if turn.role == "assistant"]  # type: ignore[union-attr]
    assert answer.transcript == "Fine."
    assert not answer.interrupted
    position = conversation.ear.position()
    assert position.heard == position.accepted
