"""What is written down of a conversation; what users see of it is tested with Rehearsal and ScriptedUser."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from rtvoice.events import (
    AgentSessionConnectedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    EventBus,
    InterruptionDismissedEvent,
    PlaybackCut,
    SpeechDetectedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
)
from rtvoice.testing import VirtualSpeaker
from rtvoice.testing.observations import Observations

pytestmark = pytest.mark.virtual_clock


async def seen_of(*steps: object) -> Observations:
    """Return what is written down of these events; a number is a pause in seconds, a function is called."""
    bus = EventBus()
    seen = Observations(bus, VirtualSpeaker())
    async with asyncio.TaskGroup() as group:
        group.create_task(seen.follow())
        for step in steps:
            if isinstance(step, int | float):
                await asyncio.sleep(step)
            elif callable(step):
                step(seen)
            else:
                bus.publish(step)
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.end()
    return seen


def says(response_id: str, *texts: str, item_id: str = "item") -> list[object]:
    return [
        AssistantTranscriptCompletedEvent(text, item_id, 0, index, response_id=response_id)
        for index, text in enumerate(texts)
    ]


def user_says(words: str, *, end_at: float) -> Callable[[Observations], None]:
    return lambda seen: seen.user_says(words, end_at=end_at)


def cut(item_id: str, *, played_ms: int, received_ms: int) -> PlaybackCut:
    return PlaybackCut(item_id=item_id, content_index=0, played_ms=played_ms, received_ms=received_ms, complete=True)


STARTED: Sequence[object] = (AssistantStartedRespondingEvent(response_id="r1"),)
STOPPED: Sequence[object] = (AssistantStoppedRespondingEvent(response_id="r1"),)


async def test_an_answer_of_several_parts_and_items() -> None:
    more = says("r1", " Three. ", item_id="other")
    (answer,) = (await seen_of(*STARTED, *says("r1", "One.", "Two."), *more, *STOPPED)).answers
    assert answer.text == answer.heard == str(answer) == "One. Two. Three."


async def test_words_count_before_they_are_complete() -> None:
    deltas = [AssistantTranscriptDeltaEvent(word, "item", 0, 0, response_id="r1") for word in ("It ", "is ")]
    (answer,) = (await seen_of(*deltas, *STARTED)).answers
    assert answer.text == "It is"
    assert not answer.ended


async def test_what_was_cut_was_not_heard() -> None:
    texts = [*says("r1", "All of this.", item_id="a"), *says("r1", "Half of this here.", item_id="b")]
    texts += says("r1", "None of this.", item_id="c")
    cuts = (cut("b", played_ms=500, received_ms=1000), cut("c", played_ms=0, received_ms=1000))
    (answer,) = (await seen_of(*texts, *STARTED, AssistantInterruptedEvent("b", 500, cuts=cuts), *STOPPED)).answers
    assert answer.heard == "All of this. Half of"
    assert answer.interrupted_at_ms == 500
    assert str(answer) == (
        "All of this. Half of this here. None of this. [interrupted after 500 ms; heard: 'All of this. Half of']"
    )


async def test_answers_end_by_their_own_end() -> None:
    second = AssistantStartedRespondingEvent(response_id="r2")
    seen = await seen_of(*STARTED, second, *STOPPED)
    assert [answer.ended for answer in seen.answers] == [True, False]


async def test_the_user_waits_from_the_last_word_to_the_first_answer() -> None:
    second = AssistantStartedRespondingEvent(response_id="r2")
    seen = await seen_of(user_says("Hello?", end_at=1.0), 1.25, *STARTED, *STOPPED, second)
    assert [answer.latency_ms for answer in seen.answers] == [pytest.approx(250), None]
    assert seen.latencies_ms == [pytest.approx(250)]


async def test_an_answer_before_the_last_word_answers_something_else() -> None:
    second = AssistantStartedRespondingEvent(response_id="r2")
    seen = await seen_of(user_says("Hello?", end_at=1.0), 0.5, *STARTED, 0.75, second)
    assert [answer.latency_ms for answer in seen.answers] == [None, pytest.approx(250)]


async def test_times_count_from_the_connection() -> None:
    call = ToolCallRequestedEvent(call_id="c", name="look", arguments={}, response_id="r1")
    done = ToolCallFinishedEvent(call_id="c", name="look", output="a star", success=False)
    seen = await seen_of(2, AgentSessionConnectedEvent(), 1.5, call, 1, done, *STARTED)
    assert (seen.tool_calls[0].started_at, seen.answers[0].started_at) == (1.5, 2.5)
    assert (seen.tool_calls[0].output, seen.tool_calls[0].success) == ("a star", False)
    assert seen.transcript() == "   1.50 s  tool       look() -> a star\n   2.50 s  assistant  "


async def test_a_turn_that_the_agent_takes_no_notice_of_and_its_own_echo() -> None:
    backchannel = [
        SpeechDetectedEvent(),
        UserStoppedSpeakingEvent(),
        UserStartedSpeakingEvent(),
        InterruptionDismissedEvent(reason="backchannel"),
    ]
    seen = await seen_of(*backchannel)
    assert (seen.user_turns, seen.user_is_speaking) == (1, False)
    seen = await seen_of(SpeechDetectedEvent(), InterruptionDismissedEvent(reason="too_short"))
    assert (seen.user_turns, seen.user_is_speaking) == (1, True)
    assert (await seen_of(InterruptionDismissedEvent(reason="self_echo"))).user_turns == 0
