"""A microphone chunk: one event, one frame, no hop, no copy of the sound but its base64."""

import base64
import json
import sys
import tracemalloc
from typing import Any

from rtvoice.events import UserAudioCapturedEvent
from rtvoice.realtime import server_events

CHUNK = bytes(range(256)) * 3 + bytes(192)
ENVELOPE_BYTES = 60


def test_events_frames_and_wake_ups(rig: Any) -> None:
    async def body() -> None:
        rig.published.clear()
        sent = rig.connection.sent
        iterations, callbacks = await rig.cost(lambda: rig.microphone.speak(CHUNK))
        assert rig.published == {"UserAudioCapturedEvent": 200}
        assert rig.connection.sent - sent == 200
        assert iterations <= 1.2, "capture wakes up and the frame is sent; now and then capture makes way"
        assert callbacks <= 1.2

    rig.run(body)


def test_a_frame_is_the_base64_and_a_short_envelope(rig: Any) -> None:
    async def body() -> None:
        rig.microphone.speak(CHUNK)
        await rig.settle()
        assert base64.b64decode(json.loads(rig.connection.last)["audio"]) == CHUNK
        assert len(rig.connection.last) <= len(CHUNK) * 4 / 3 + ENVELOPE_BYTES

    rig.run(body)


def test_the_sound_is_not_copied_and_nothing_is_parsed(rig: Any) -> None:
    rig.count_calls(server_events, "parse")
    rig.count_calls(json, "dumps")
    rig.count_calls(json, "loads")

    async def body() -> None:
        events = rig.agent.event_bus.open_inbox(UserAudioCapturedEvent)
        rig.calls.clear()
        rig.microphone.speak(CHUNK)
        await rig.settle()
        assert [event.pcm is CHUNK for event in events.take_all()] == [True]
        assert not rig.calls

    rig.run(body)


def test_memory_does_not_grow_and_a_chunk_needs_little(rig: Any) -> None:
    async def body() -> None:
        await rig.cost(lambda: rig.microphone.speak(CHUNK))
        blocks = sys.getallocatedblocks()
        await rig.cost(lambda: rig.microphone.speak(CHUNK), 1_000)
        assert sys.getallocatedblocks() - blocks < 300
        tracemalloc.start()
        try:
            rig.microphone.speak(CHUNK)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            await rig.settle()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak - before < 4 * len(CHUNK) + 4_000, "base64, frame, and small change"

    rig.run(body)
