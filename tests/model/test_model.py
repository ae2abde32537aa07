"""The whole agent against a model of the service, in random worlds: see `tests.model.world` for what must hold.

A plan that fails is shrunk by Hypothesis, and shown as what happened, as bytes for `take_place`, and as a blob for
``@reproduce_failure``. ``RTVOICE_MODEL_STEPS`` says how many steps are to be taken.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.model.link import ClientEnd
from tests.model.world import Broken, play

import rtvoice.testing.clock
from rtvoice.events import (
    AgentReconnectingEvent,
    AssistantAudioReceivedEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptCompletedEvent,
    EventBus,
    SendMessageCommand,
    SpeechDetectedEvent,
    StopAgentCommand,
    ToolCallFinishedEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.testing import VirtualClockLoop

STEPS = int(os.environ.get("RTVOICE_MODEL_STEPS", "100000"))
PLAN_STEPS = 250
STEPS_TAKEN = 100
"""Of these take place, on average, at least; the others make no sense at their moment."""


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """What goes wrong here is meant to, and would be told a hundred thousand times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def take_place(plan: bytes) -> int:
    """Carry out a plan on a clock that need not look for sockets; return how many steps took place."""
    with (
        mock.patch.object(rtvoice.testing.clock, "_POLLS_BEFORE_JUMP", 0),
        asyncio.Runner(loop_factory=VirtualClockLoop) as runner,
    ):
        return runner.run(play(plan))


@pytest.mark.timeout(900)  # of which shrinking a failure may take the most
def test_every_rule_holds_whatever_happens() -> None:
    steps: list[int] = []

    @settings(
        max_examples=max(1, STEPS // STEPS_TAKEN),
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(min_size=2 * PLAN_STEPS, max_size=2 * PLAN_STEPS))
    def worlds(plan: bytes) -> None:
        steps.append(take_place(plan))

    worlds()
    assert sum(steps) >= 0.9 * STEPS, f"only {sum(steps)} steps took place"


def test_a_plan_is_reproducible() -> None:
    plan = random.Random(1).randbytes(2 * PLAN_STEPS)
    assert take_place(plan) == take_place(plan) > 0


def _first_failure(plans: int = 150) -> str:
    for seed in range(plans):
        try:
            take_place(random.Random(seed).randbytes(2 * PLAN_STEPS))
        except Broken as broken:
            return str(broken)
    return ""


@pytest.mark.parametrize(
    ("lost", "complaint"),
    [
        (AssistantAudioReceivedEvent, "is not answered"),
        (SpeechDetectedEvent, "user_speaks"),
        (ToolCallFinishedEvent, "has 0 outputs"),
        (UserTranscriptCompletedEvent, "what the user said"),
        (AssistantTranscriptCompletedEvent, "what the assistant said"),
        (AgentReconnectingEvent, "has said nothing"),
        (AssistantStoppedRespondingEvent, "assistant_speaks was already True"),
        (SendMessageCommand, "is not answered"),
        (StopAgentCommand, ""),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_agent_that_loses_an_event_is_found_out(lost: type, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = EventBus.publish

    def forgetful(self: EventBus, event: object) -> None:
        if type(event) is not lost:
            publish(self, event)

    monkeypatch.setattr(EventBus, "publish", forgetful)
    failure = _first_failure()
    assert failure
    assert complaint in failure


def _twice(kind: bytes) -> Callable[..., object]:
    take = ClientEnd.take

    def stuttering(self: ClientEnd, frame: bytes) -> None:
        take(self, frame)
        if kind in frame:
            take(self, frame)

    return stuttering


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (b'"function_call_output"', "is answered twice"),
        (b'"item":{"type":"message","role":"user"', "stands 2 times"),
        (b'"id":"told_', "is used twice"),
    ],
)
def test_an_agent_that_says_something_twice_is_found_out(
    kind: bytes, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClientEnd, "take", _twice(kind))
    assert complaint in _first_failure()
