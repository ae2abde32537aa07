"""Through real PortAudio streams whose microphone hears the loudspeaker: ``tests/virtual-audio run pytest``."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from tests.audio.echo.sounds import Signal, from_pcm, level_db, speech, to_pcm

from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.components.capture import Capture
from rtvoice.components.echo import Echo
from rtvoice.events import EventBus, UserAudioCapturedEvent
from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.input_audio import TurnDetector

pytestmark = [
    pytest.mark.audio_device,
    pytest.mark.skipif(
        os.environ.get("VIRTUAL_AUDIO") != "1",
        reason="needs virtual devices: tests/virtual-audio run pytest -m audio_device",
    ),
]

VIRTUAL_AUDIO = Path(__file__).parents[2] / "virtual-audio"
TURNS = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500}


@pytest.fixture
def echo_path() -> Iterator[None]:
    subprocess.run([VIRTUAL_AUDIO, "echo", "60", "-6"], check=True)
    yield
    subprocess.run([VIRTUAL_AUDIO, "echo", "off"], check=True)


async def listen(setting: str, said: bytes) -> Signal:
    """Return what the service hears while the assistant says something."""
    bus = EventBus()
    inbox = bus.open_inbox(UserAudioCapturedEvent, limit=10_000)
    microphone, speaker = MicrophoneInput(device="va_mic"), SpeakerOutput(device="va_speaker")
    capture = Capture(bus, microphone)
    echo = Echo(bus, setting, microphone, speaker)  # type: ignore[arg-type]
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        await speaker.start()
        stack.push_async_callback(speaker.stop)
        await capture.start()
        capture.clean = echo.start()
        group.create_task(capture.run())
        await speaker.play_chunk(said)
        await speaker.finish_response()
        while speaker.is_playing:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        echo.stop()
        await capture.stop()
    return from_pcm(b"".join(event.pcm for event in inbox.take_all()))


@pytest.mark.usefixtures("echo_path")
async def test_the_assistant_does_not_hear_itself() -> None:
    said = to_pcm(speech("book", "name", "weather"))
    heard, cleaned = await listen("off", said), await listen("builtin", said)
    begins = [
        [edge.at_ms for edge in TurnDetector(TURNS, AudioFormat("audio/pcm"), 0).feed(to_pcm(sound))]
        for sound in (heard, cleaned)
    ]
    assert begins[0]
    assert begins[1] == []
    assert level_db(heard) - level_db(cleaned) > 20
    assert len(cleaned) == pytest.approx(len(heard), rel=0.1)
    assert np.abs(heard).max() > 0.05
