"""Listeners that do what they should not: the conversation goes on, and ends when it is told to."""

import logging
from typing import Any

import pytest
from tests.hostile.conftest import ILLS, Conversation, Ill

from rtvoice import AgentListener, RealtimeAgent

pytestmark = pytest.mark.virtual_clock

CALLBACKS = (
    "on_agent_starting",
    "on_agent_session_connected",
    "on_user_started_speaking",
    "on_user_stopped_speaking",
    "on_user_transcript",
    "on_assistant_started_responding",
    "on_assistant_transcript",
    "on_assistant_stopped_responding",
    "on_tool_executed",
    "on_agent_stopped",
)


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("what", ILLS)
async def test_a_callback_harms_nobody(
    what: str, callback: str, conversation: Conversation, caplog: pytest.LogCaptureFixture
) -> None:
    ill, listener = Ill(what), AgentListener()
    setattr(listener, callback, ill)
    agent: RealtimeAgent[Any] = RealtimeAgent(listener=listener, tools=conversation.tools(), **conversation.devices)
    await conversation.hold(agent, ill)
    assert ill.began
    assert conversation.result is not None
    holds_up_the_beginning = callback == "on_agent_starting" and "swallows" in what
    if what not in ("stops the agent", "interrupts the agent") and not holds_up_the_beginning:
        assert conversation.answered
    if what == "swallows every cancellation":
        [warning] = [record for record in caplog.records if "ignores that it was cancelled" in record.message]
        assert warning.levelno == logging.WARNING
        assert callback in warning.message


async def test_a_callback_that_is_slow_keeps_nobody_waiting(conversation: Conversation) -> None:
    ill, listener = Ill("takes 30 s"), AgentListener()
    listener.on_user_started_speaking = ill  # type: ignore[method-assign]
    agent: RealtimeAgent[Any] = RealtimeAgent(listener=listener, tools=conversation.tools(), **conversation.devices)
    await conversation.hold(agent, ill)
    first_sound_at, _ = conversation.ear.taken[0]
    assert first_sound_at < 5
