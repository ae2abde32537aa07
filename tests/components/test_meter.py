import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rtvoice.components.meter import FAREWELL_S, Meter
from rtvoice.events import (
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
    InterruptionDismissedEvent,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SpeechDetectedEvent,
    StopAgentCommand,
    UsageUpdatedEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.usage import ModelPrice, TranscriptionPrice, UsageMeter

pytestmark = pytest.mark.virtual_clock

PRICES = {
    "m": ModelPrice(
        text_in=1, text_cached=1, text_out=1, audio_in=1, audio_cached=1, audio_out=1, image_in=1, image_cached=1
    ),
    "t": TranscriptionPrice(per_minute=60),
}


@asynccontextmanager
async def metered(max_cost_usd: float | None = None) -> AsyncIterator[tuple[EventBus, Meter, Any]]:
    bus = EventBus()
    heard = bus.open_inbox(UsageUpdatedEvent, RequestResponseCommand, StopAgentCommand, in_order=True)
    meter = Meter(bus, UsageMeter("m", "t", PRICES), max_cost_usd=max_cost_usd)
    async with asyncio.TaskGroup() as group:
        group.create_task(meter.run())
        yield bus, meter, heard
        meter.stop()


def done(response_id: str, tokens: int) -> ResponseFinishedEvent:
    return ResponseFinishedEvent(response_id=response_id, status="completed", usage={"output_tokens": tokens})


def kinds(heard: Any) -> list[str]:
    return [type(event).__name__ for event in heard.take_all()]


async def test_usage_is_added_up() -> None:
    async with metered() as (bus, meter, heard):
        bus.publish(done("r1", 1_000_000))
        bus.publish(ResponseFinishedEvent(response_id="r2", status="cancelled"))
        bus.publish(UserTranscriptCompletedEvent("Hello.", "u1"))
        bus.publish(UserTranscriptCompletedEvent("Hello.", "u1", usage={"seconds": 3}))
        await asyncio.sleep(1)
        assert meter.usage.responses == 2
        assert meter.usage.tokens.output_text == 1_000_000
        assert meter.usage.transcribed_seconds == 3
        assert meter.usage.cost_usd == pytest.approx(1 + 3)
        assert [event.usage.responses for event in heard.take_all()] == [1, 2, 2]


async def test_waiting_times() -> None:
    async with metered() as (bus, meter, _):
        for wait_s in (0.5, 1.5):
            bus.publish(UserStoppedSpeakingEvent())
            await asyncio.sleep(wait_s)
            bus.publish(AssistantStartedRespondingEvent(response_id="r"))
            await asyncio.sleep(1)
        bus.publish(AssistantStartedRespondingEvent(response_id="nobody waited"))
        await asyncio.sleep(1)
        bus.publish(UserStoppedSpeakingEvent())
        bus.publish(SpeechDetectedEvent())  # the user goes on
        await asyncio.sleep(1)
        bus.publish(AssistantStartedRespondingEvent(response_id="r"))
        await asyncio.sleep(1)
        assert meter.latency.turns_ms == pytest.approx((500, 1_500))


async def test_a_used_up_budget_ends_the_conversation_after_a_goodbye() -> None:
    async with metered(max_cost_usd=1) as (bus, _, heard):
        bus.publish(done("r1", 900_000))
        await asyncio.sleep(1)
        assert kinds(heard) == ["UsageUpdatedEvent"]
        bus.publish(done("r2", 200_000))
        bus.publish(AssistantStoppedRespondingEvent(response_id="r2"))
        await asyncio.sleep(1)
        events = list(heard.take_all())
        assert [type(event) for event in events] == [UsageUpdatedEvent, RequestResponseCommand]
        assert "goodbye" in events[1].instructions
        bus.publish(ResponseStartedEvent(response_id="farewell"))
        bus.publish(done("farewell", 100_000))
        await asyncio.sleep(1)
        assert kinds(heard) == ["UsageUpdatedEvent"]
        bus.publish(AssistantStoppedRespondingEvent(response_id="farewell"))
        await asyncio.sleep(1)
        assert kinds(heard) == ["StopAgentCommand"]
        bus.publish(done("late", 100_000))
        await asyncio.sleep(100)
        assert kinds(heard) == ["UsageUpdatedEvent"]


async def test_a_goodbye_that_does_not_come_is_not_waited_for() -> None:
    async with metered(max_cost_usd=1) as (bus, _, heard):
        bus.publish(done("r1", 2_000_000))
        await asyncio.sleep(FAREWELL_S - 0.1)
        assert kinds(heard) == ["UsageUpdatedEvent", "RequestResponseCommand"]
        await asyncio.sleep(0.2)
        assert kinds(heard) == ["StopAgentCommand"]


async def test_nobody_waits_for_an_answer_to_what_was_no_turn() -> None:
    async with metered() as (bus, meter, _):
        bus.publish(SpeechDetectedEvent())
        bus.publish(UserStoppedSpeakingEvent())
        bus.publish(InterruptionDismissedEvent(reason="too_short"))
        await asyncio.sleep(1)
        bus.publish(AssistantStartedRespondingEvent(response_id="r1"))
        await asyncio.sleep(1)
        assert meter.latency.turns_ms == ()
