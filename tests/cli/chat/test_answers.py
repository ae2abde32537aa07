"""When an answer is complete."""

import asyncio

import pytest

from rtvoice.cli.chat.answers import Answers
from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    Event,
    EventBus,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)

STARTED = ResponseStartedEvent(response_id="r1")
FINISHED = ResponseFinishedEvent(response_id="r1", status="completed")
CALLED = ToolCallRequestedEvent(call_id="c1", name="look", arguments={}, response_id="r1")
RETURNED = ToolCallFinishedEvent(call_id="c1", name="look", output="x")
SILENT = ToolCallFinishedEvent(call_id="c1", name="look", output="x", respond=False)
NEXT = ResponseStartedEvent(response_id="r2")
DONE = ResponseFinishedEvent(response_id="r2", status="completed")
ERROR = AgentErrorEvent(AgentError(type="x", message="x"))


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("events", "complete"),
    [
        ([], False),
        ([STARTED], False),
        ([STARTED, FINISHED], True),
        ([FINISHED, STARTED], True),
        ([STARTED, CALLED, FINISHED], False),
        ([STARTED, CALLED, FINISHED, RETURNED], False),
        ([STARTED, CALLED, FINISHED, RETURNED, NEXT], False),
        ([STARTED, CALLED, FINISHED, RETURNED, NEXT, DONE], True),
        ([STARTED, CALLED, FINISHED, SILENT], True),
        ([ERROR], True),
        ([STARTED, CALLED, FINISHED, RETURNED, ERROR], True),
    ],
)
async def test_complete(events: list[Event], complete: bool) -> None:
    answers, bus = Answers(), EventBus()
    answers.follow(bus)
    await asyncio.wait_for(answers.complete(), 1)  # nothing was said yet
    answers.expect()
    for event in events:
        await bus.dispatch(event)
    try:
        await asyncio.wait_for(answers.complete(), 5)
    except TimeoutError:
        assert not complete
    else:
        assert complete
