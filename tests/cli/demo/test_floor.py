import asyncio

import pytest

from rtvoice.cli.demo.floor import Floor
from rtvoice.events import (
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    Event,
    EventBus,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)
from rtvoice.testing import clock

CALLED = ToolCallRequestedEvent(call_id="c", name="look", arguments={}, response_id="r")
RETURNED = ToolCallFinishedEvent(call_id="c", name="look", output="seen")
RETURNED_SILENTLY = ToolCallFinishedEvent(call_id="c", name="look", output="seen", respond=False)


def started(name: str) -> Event:
    return ResponseStartedEvent(response_id=name)


def finished(name: str) -> Event:
    return ResponseFinishedEvent(response_id=name, status="completed")


def audible(name: str) -> Event:
    return AssistantStartedRespondingEvent(response_id=name)


def silent(name: str) -> Event:
    return AssistantStoppedRespondingEvent(response_id=name)


ANSWER = (started("r"), audible("r"), finished("r"), silent("r"))


def after(*events: Event) -> Floor:
    """Return a floor on which the user has spoken at 0 s, and events have come at 1 s, 2 s and so on."""

    async def hear() -> Floor:
        bus, floor = EventBus(), Floor()
        floor.follow(bus)
        floor.take()
        for event in events:
            await asyncio.sleep(1)
            await bus.dispatch(event)
        return floor

    return clock.run(hear())


def test_it_is_free_once_the_answer_was_heard_to_its_end() -> None:
    floor = after(*ANSWER)
    assert floor.free_for(now=5.5) == pytest.approx(1.5)
    assert floor.audible_for(now=5.5) == 0


def test_it_is_free_before_anybody_has_spoken() -> None:
    async def begin() -> float:
        floor = Floor()
        floor.give()
        return floor.free_for(now=2.0)

    assert clock.run(begin()) == 2.0


@pytest.mark.parametrize(
    "events",
    [
        (),
        (started("r"),),
        (started("r"), finished("r")),
        (*ANSWER, started("another")),
        (*ANSWER, CALLED),
        (*ANSWER, CALLED, RETURNED),
        (*ANSWER, CALLED, RETURNED, started("about it")),
    ],
)
def test_it_is_taken_while_an_answer_is_still_to_come(events: tuple[Event, ...]) -> None:
    floor = after(*events)
    assert floor.free_for(now=60.0) == 0
    assert floor.idle_for(now=60.0) == pytest.approx(60.0 - len(events))


@pytest.mark.parametrize(
    "events",
    [
        (*ANSWER, CALLED, RETURNED_SILENTLY),
        (*ANSWER, CALLED, RETURNED, started("about it"), finished("about it")),
        (audible("r"), finished("r"), started("r"), silent("r")),
    ],
)
def test_it_is_free_when_nothing_is_owed_any_more(events: tuple[Event, ...]) -> None:
    assert after(*events).free_for(now=60.0) == pytest.approx(60.0 - len(events))


def test_it_is_taken_while_the_assistant_speaks() -> None:
    floor = after(started("r"), audible("r"), finished("r"))
    assert floor.audible_for(now=4.5) == pytest.approx(2.5)
    assert floor.idle_for(now=60.0) == 0
    assert floor.free_for(now=60.0) == 0
