import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rtvoice.components.inactivity import Inactivity
from rtvoice.events import (
    AgentReconnectedEvent,
    AgentReconnectingEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    RestoredConversation,
    SpeechDetectedEvent,
    StopAgentCommand,
    SupervisorFinishedEvent,
    SupervisorStartedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserInactivityCountdownEvent,
    UserInactivityTimeoutEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
)

pytestmark = pytest.mark.virtual_clock


class Bench:
    def __init__(self, timeout_s: float) -> None:
        self.log: list[tuple[float, Any]] = []
        self.bus = EventBus()
        for kind in Inactivity.says:
            self.bus.subscribe(kind, self._note)
        self.inactivity = Inactivity(self.bus, timeout_s)

    def _note(self, event: object) -> None:
        self.log.append((asyncio.get_running_loop().time(), event))

    @property
    def story(self) -> list[tuple[float, object]]:
        short = {UserInactivityTimeoutEvent: "timeout", StopAgentCommand: "stop"}
        return [
            (
                round(at, 6),
                event.remaining_seconds if type(event) is UserInactivityCountdownEvent else short[type(event)],
            )
            for at, event in self.log
        ]


@asynccontextmanager
async def idle(timeout_s: float) -> AsyncIterator[Bench]:
    bench = Bench(timeout_s)
    async with asyncio.TaskGroup() as group:
        bench.bus.attach(group)
        group.create_task(bench.inactivity.run())
        yield bench
        bench.inactivity.stop()
        await bench.bus.detach(timeout_s=1)


@pytest.mark.parametrize(
    ("timeout_s", "expected"),
    [
        (0.5, [(0.5, "timeout"), (0.5, "stop")]),
        (1, [(0, 1), (1, "timeout"), (1, "stop")]),
        (3, [(0, 3), (1, 2), (2, 1), (3, "timeout"), (3, "stop")]),
        (3.4, [(0.4, 3), (1.4, 2), (2.4, 1), (3.4, "timeout"), (3.4, "stop")]),
        (5, [(0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, "timeout"), (5, "stop")]),
        (30, [(25, 5), (26, 4), (27, 3), (28, 2), (29, 1), (30, "timeout"), (30, "stop")]),
    ],
)
async def test_the_countdown_is_exact(timeout_s: float, expected: list[tuple[float, object]]) -> None:
    async with idle(timeout_s) as bench:
        await asyncio.sleep(timeout_s + 100)
    assert bench.story == expected
    assert bench.log[-2][1].timeout_seconds == timeout_s
    assert bench.log[-1][1].exception is None


async def test_for_ever_is_a_long_time() -> None:
    async with idle(float("inf")) as bench:
        await asyncio.sleep(86_400 * 7)
    assert bench.story == []


SIGNS_OF_LIFE: dict[str, tuple[Sequence[object], Sequence[object]]] = {
    "the user speaks": ([SpeechDetectedEvent()], [UserStoppedSpeakingEvent()]),
    "a response is generated": (
        [ResponseStartedEvent(response_id="r")],
        [ResponseFinishedEvent(response_id="r", status="completed")],
    ),
    "a response is heard": (
        [ResponseStartedEvent(response_id="r"), AssistantStartedRespondingEvent(response_id="r"),
         ResponseFinishedEvent(response_id="r", status="completed", has_audio=True)],
        [AssistantStoppedRespondingEvent(response_id="r")],
    ),
    "a response is heard and interrupted": (
        [AssistantStartedRespondingEvent(response_id="r")],
        [AssistantInterruptedEvent("item", 100)],
    ),
    "a tool runs": (
        [ToolCallRequestedEvent(call_id="c", name="n", arguments={}, response_id="r")],
        [ToolCallFinishedEvent(call_id="c", name="n", output="")],
    ),
    "the supervisor works": ([SupervisorStartedEvent()], [SupervisorFinishedEvent()]),
}  # fmt: skip


@pytest.mark.parametrize(("begin", "end"), SIGNS_OF_LIFE.values(), ids=SIGNS_OF_LIFE.keys())
async def test_the_clock_stands_while_somebody_is_busy(begin: Sequence[object], end: Sequence[object]) -> None:
    async with idle(3) as bench:
        await asyncio.sleep(1.5)
        for event in begin:
            bench.bus.publish(event)
        await asyncio.sleep(60)
        for event in end:
            bench.bus.publish(event)
        await asyncio.sleep(1.5)
        assert bench.story == [(0, 3), (1, 2), (61.5, 3), (62.5, 2)]
        bench.bus.publish(SpeechDetectedEvent())
        bench.bus.publish(UserStoppedSpeakingEvent())  # too short for a poll, but not for us
        await asyncio.sleep(2.5)
        assert bench.story[4:] == [(63, 3), (64, 2), (65, 1)]


async def test_every_sign_of_life_begins_the_count_anew() -> None:
    async with idle(2) as bench:
        await asyncio.sleep(1.5)
        bench.bus.publish(UserStoppedSpeakingEvent())
        await asyncio.sleep(2.5)
    assert bench.story == [(0, 2), (1, 1), (1.5, 2), (2.5, 1), (3.5, "timeout"), (3.5, "stop")]


async def test_two_tools_are_two_reasons() -> None:
    async with idle(2) as bench:
        for call_id in ("a", "b"):
            bench.bus.publish(ToolCallRequestedEvent(call_id=call_id, name="n", arguments={}, response_id="r"))
        await asyncio.sleep(10)
        bench.bus.publish(ToolCallFinishedEvent(call_id="a", name="n", output=""))
        await asyncio.sleep(10)
        assert bench.story == []
        bench.bus.publish(ToolCallFinishedEvent(call_id="b", name="n", output=""))
        await asyncio.sleep(1.5)
        assert bench.story == [(20, 2), (21, 1)]


async def test_a_short_word_whose_beginning_is_announced_late_does_not_stop_the_clock_for_ever() -> None:
    async with idle(2) as bench:
        bench.bus.publish(SpeechDetectedEvent())
        bench.bus.publish(UserStoppedSpeakingEvent())
        await asyncio.sleep(0.3)
        bench.bus.publish(UserStartedSpeakingEvent())  # playback had to clear a slow device first
        await asyncio.sleep(5)
        assert bench.story[-1][1] == "stop"


async def test_it_ends_when_it_is_stopped() -> None:
    async with idle(2) as bench:
        await asyncio.sleep(0.5)
        bench.inactivity.stop()
        await asyncio.sleep(5)
    assert bench.story == [(0, 2)]


async def test_it_ends_while_somebody_is_busy() -> None:
    async with idle(2) as bench:
        bench.bus.publish(SpeechDetectedEvent())
        await asyncio.sleep(5)
    assert bench.story == []


async def test_the_time_without_a_connection_does_not_count() -> None:
    async with idle(10) as bench:
        await asyncio.sleep(4)
        bench.bus.publish(AgentReconnectingEvent(attempt=1, reason="lost"))
        await asyncio.sleep(60)
        bench.bus.publish(AgentReconnectingEvent(attempt=2, reason="still lost"))
        await asyncio.sleep(60)
        assert bench.story == []
        bench.bus.publish(AgentReconnectedEvent(restored=RestoredConversation(items=0, lost_user_turns=0)))
        await asyncio.sleep(11)
    assert bench.story[-1] == (134, "stop")
