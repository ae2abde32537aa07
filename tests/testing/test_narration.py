"""Lines about a conversation, while it happens."""

import asyncio

import pytest

from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AgentReconnectedEvent,
    AgentReconnectingEvent,
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    EventBus,
    RestoredConversation,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.testing.narration import Narration

STORY = (
    UserTranscriptCompletedEvent("Hello.", "item_1"),
    ToolCallRequestedEvent(call_id="c", name="look", arguments={"where": "up", "times": 2}, response_id="r"),
    ToolCallFinishedEvent(call_id="c", name="look", output="a star"),
    AssistantTranscriptCompletedEvent(" A star. ", "item_2", 0, 0),
    AssistantInterruptedEvent("item_2", 1240),
    AssistantInterruptedEvent(),
    AgentErrorEvent(AgentError("audio_error", "No sound.")),
    AgentReconnectingEvent(attempt=1, reason="The socket broke."),
    AgentReconnectedEvent(restored=RestoredConversation(items=2, lost_user_turns=0)),
)


@pytest.mark.parametrize("user_too", [True, False])
async def test_every_line(user_too: bool) -> None:
    bus, told = EventBus(), list[str]()
    narration = Narration(bus, told.append, user_too=user_too)
    for event in STORY:
        await bus.dispatch(event)
    narration.line("user", "Bye.")
    assert told == [
        *(["user       Hello."] if user_too else []),
        "tool       look(where='up', times=2)",
        "tool       look -> a star",
        "assistant  A star.",
        "assistant  ... interrupted after 1.2 s",
        "assistant  ... interrupted after 0.0 s",
        "error      [audio_error] No sound.",
        "network    reconnecting: The socket broke.",
        "network    the connection is restored",
        "user       Bye.",
    ]


async def test_published_events_come_in_order() -> None:
    bus, told = EventBus(), list[str]()
    Narration(bus, told.append, user_too=True)
    async with asyncio.TaskGroup() as group:
        bus.attach(group)
        for _ in range(3):  # until every handler's task waits for events
            await asyncio.sleep(0)
        for event in STORY:
            bus.publish(event)
        await bus.detach(1)
    assert [line.split()[0] for line in told] == [
        "user",
        "tool",
        "tool",
        *["assistant"] * 3,
        "error",
        "network",
        "network",
    ]
