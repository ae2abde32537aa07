import asyncio
from typing import Any

import pytest

from rtvoice.agent.speech import say
from rtvoice.events import (
    AgentStoppedEvent,
    AssistantInterruptedEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SayCommand,
)
from rtvoice.testing import RealtimeEmulator, Reply

pytestmark = pytest.mark.virtual_clock


def begun(command: SayCommand) -> ResponseStartedEvent:
    return ResponseStartedEvent(response_id="r1", request_id=command.request_id)


def finished(status: str = "completed", has_audio: bool = True, response_id: str = "r1") -> ResponseFinishedEvent:
    return ResponseFinishedEvent(response_id=response_id, status=status, has_audio=has_audio)


HEARD = AssistantStoppedRespondingEvent(response_id="r1")
OTHER = AssistantStoppedRespondingEvent(response_id="r0")
CUT = AssistantInterruptedEvent("a", 100)


@pytest.mark.parametrize(
    ("course", "heard"),
    [
        ([begun, finished(), HEARD], True),
        ([OTHER, CUT, finished("cancelled", response_id="r0"), begun, finished(), HEARD], True),
        ([ResponseStartedEvent(response_id="r0"), begun, finished(), HEARD], True),
        ([begun, CUT], False),
        ([begun, finished(), OTHER, CUT], False),  # it waited behind another answer
        ([begun, finished("failed")], False),
        ([begun, finished("cancelled")], False),
        ([begun, finished(has_audio=False)], False),
        ([AgentStoppedEvent()], False),
        ([begun, AgentStoppedEvent()], False),
    ],
)
async def test_what_becomes_of_it(course: list[Any], heard: bool) -> None:
    bus = EventBus()
    commands = bus.open_inbox(SayCommand)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        saying = group.create_task(say(bus, "Hello."))
        command = await commands.get()
        assert command.text == "Hello."
        for event in course:
            assert not saying.done()
            bus.publish(event(command) if callable(event) else event)
            await asyncio.sleep(0.1)
    assert saying.result() is heard
    assert not bus.is_heard(ResponseStartedEvent)


async def test_saying_something_in_a_conversation(converse: Any) -> None:
    replies = [Reply("Welcome."), Reply("A long story. " * 20), Reply("Bye.")]
    async with RealtimeEmulator(replies=replies, detect_speech=False) as server:
        async with converse(server, greeting="Welcome.") as conversation:
            await conversation.listener.wait_for("assistant_stopped_responding")
            async with asyncio.TaskGroup() as group:
                saying = group.create_task(conversation.agent.say("A long story. " * 20))
                await conversation.listener.wait_for("assistant_started_responding", 2)
                await asyncio.sleep(0.5)
                await conversation.agent.interrupt()
            assert saying.result() is False
            assert await conversation.agent.say("Bye.") is True
        assert await conversation.agent.say("Is anybody there?") is False
