"""Handlers on the bus that do what they should not: nobody else notices."""

from typing import Any

import pytest
from tests.hostile.conftest import ILLS, Conversation, Ill

from rtvoice import RealtimeAgent
from rtvoice.events import (
    AgentSessionConnectedEvent,
    AgentStartingEvent,
    AgentStoppedEvent,
    AssistantAudioReceivedEvent,
    AssistantStartedRespondingEvent,
    ToolCallFinishedEvent,
    UserStartedSpeakingEvent,
)

pytestmark = pytest.mark.virtual_clock

EVENTS = (
    AgentStartingEvent,
    AgentSessionConnectedEvent,
    UserStartedSpeakingEvent,
    ToolCallFinishedEvent,
    AssistantAudioReceivedEvent,
    AssistantStartedRespondingEvent,
    AgentStoppedEvent,
)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("what", ILLS)
async def test_a_handler_harms_nobody(
    what: str, event: type, conversation: Conversation, caplog: pytest.LogCaptureFixture
) -> None:
    ill = Ill(what)

    async def handler(_: object) -> None:
        await ill()

    agent: RealtimeAgent[Any] = RealtimeAgent(tools=conversation.tools(), **conversation.devices)
    agent.event_bus.subscribe(event, handler)
    await conversation.hold(agent, ill)
    assert ill.began
    assert conversation.result is not None
    if what not in ("stops the agent", "interrupts the agent"):
        assert conversation.answered
    if what == "swallows every cancellation":
        assert "test_a_handler_harms_nobody.<locals>.handler ignores that it was cancelled" in caplog.text


async def test_a_handler_that_subscribes_and_unsubscribes_is_served(conversation: Conversation) -> None:
    agent: RealtimeAgent[Any] = RealtimeAgent(tools=conversation.tools(), **conversation.devices)
    heard: list[str] = []

    def once(_: object) -> None:
        heard.append("once")
        agent.event_bus.unsubscribe(UserStartedSpeakingEvent, once)
        agent.event_bus.subscribe(AssistantStartedRespondingEvent, lambda _: heard.append("later"))

    agent.event_bus.subscribe(UserStartedSpeakingEvent, once)
    await conversation.hold(agent)
    assert heard == ["once", "later"]
