"""An audio delta: one parse, one event, no hop (one before Python 3.12), no copy of the sound."""

import json
import sys
from typing import Any

import pytest

from rtvoice import eager
from rtvoice.events import AssistantAudioReceivedEvent
from rtvoice.realtime import server_events

MOST = (1.2, 1.2) if eager.START_AT_ONCE else (2.2, 3.2)
"""Turns of the loop and callbacks: the reader wakes up and the sound is played; without eager tasks, playback's feeder
wakes up for that, and the reader makes way for it."""

SOUND = bytes(range(240)) * 20


def test_events_and_wake_ups_of_an_audio_delta(rig: Any) -> None:
    async def body() -> None:
        await rig.begin_response()
        rig.say_delta(SOUND)
        await rig.settle()
        rig.published.clear()
        iterations, callbacks = await rig.cost(lambda: rig.say_delta(SOUND))
        assert rig.published == {"AssistantAudioReceivedEvent": 200}
        assert rig.loudspeaker.chunks == 201
        most_iterations, most_callbacks = MOST
        assert iterations <= most_iterations
        assert callbacks <= most_callbacks

    rig.run(body)


def test_sound_is_played_before_what_came_behind_it_is_parsed(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.count_calls(server_events, "parse")
    parsed: list[int] = []

    async def play_chunk(_: bytes) -> None:
        parsed.append(rig.calls["parse"])

    async def body() -> None:
        await rig.begin_response()
        monkeypatch.setattr(rig.loudspeaker, "play_chunk", play_chunk)
        rig.calls.clear()
        rig.say_delta(SOUND)
        for _ in range(20):
            rig.say_transcript_delta()
        await rig.settle()
        assert parsed == [1]
        assert rig.calls["parse"] == 21

    rig.run(body)


def test_events_and_wake_ups_of_a_delta_with_its_transcript(rig: Any) -> None:
    def both() -> None:
        rig.say_delta(SOUND)
        rig.say_transcript_delta()

    async def body() -> None:
        await rig.begin_response()
        rig.say_delta(SOUND)
        await rig.settle()
        rig.published.clear()
        iterations, callbacks = await rig.cost(both)
        assert rig.published["AssistantAudioReceivedEvent"] == 200
        assert rig.published.total() <= 3 * 200
        most_iterations, most_callbacks = MOST
        assert iterations <= most_iterations, "both are read at once"
        assert callbacks <= most_callbacks + 1

    rig.run(body)


def test_a_delta_is_parsed_once(rig: Any) -> None:
    rig.count_calls(server_events, "parse")
    rig.count_calls(json, "loads")

    async def body() -> None:
        await rig.begin_response()
        rig.calls.clear()
        rig.say_delta(SOUND)
        await rig.settle()
        assert rig.calls == {"parse": 1}

    rig.run(body)


def test_the_sound_is_not_copied_once_it_is_parsed(rig: Any) -> None:
    async def body() -> None:
        events = rig.agent.event_bus.open_inbox(AssistantAudioReceivedEvent)
        await rig.begin_response()
        rig.say_delta(SOUND)
        await rig.settle()
        assert rig.loudspeaker.last == SOUND
        assert [event.pcm is rig.loudspeaker.last for event in events.take_all()] == [True]

    rig.run(body)


def test_memory_does_not_grow_with_what_was_heard(rig: Any) -> None:
    async def body() -> None:
        await rig.begin_response()
        await rig.cost(lambda: rig.say_delta(SOUND))
        blocks = sys.getallocatedblocks()
        await rig.cost(lambda: rig.say_delta(SOUND), 1_000)
        assert sys.getallocatedblocks() - blocks < 300

    rig.run(body)
