"""``tests/virtual-audio run uv run python -m benchmarks.echo_live``: the cancellers on real PortAudio streams.

The virtual microphone hears the virtual loudspeaker after about 60 ms, 6 dB softer; the two streams have clocks of
their own. The assistant speaks, nobody else.
"""

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Final

import numpy as np

from benchmarks.echo import ASSISTANT, Signal, beginnings, from_pcm, level_db, say, speech, to_pcm
from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.audio.echo.choice import EchoMode
from rtvoice.components.capture import Capture
from rtvoice.components.echo import Echo
from rtvoice.events import EventBus, UserAudioCapturedEvent

_VIRTUAL_AUDIO: Final = "tests/virtual-audio"
_SECONDS: Final = 60
_MODES: Final[tuple[EchoMode, ...]] = ("off", "half_duplex", "builtin", "webrtc")


def main() -> int:
    """Let each mode hear the same minute."""
    if os.environ.get("VIRTUAL_AUDIO") != "1":
        say("Start it with: tests/virtual-audio run uv run python -m benchmarks.echo_live")
        return 2
    said = speech(ASSISTANT, _SECONDS, pause_s=(0.3, 0.8), seed=1)
    say("| echo | level in seconds 1-3, 3-8, 8- (dBFS) | false interruptions per hour |\n| --- | --- | ---: |")
    _echo_path("60", "-6")
    try:
        for mode in _MODES:
            heard = asyncio.run(_listen(mode, to_pcm(said)))
            levels = " ".join(f"{level_db(part):.0f}" for part in np.split(heard, [24_000, 72_000, 192_000])[1:])
            say(f"| {mode} | {levels} | {len(list(beginnings(heard))) * 3600 / _SECONDS:.0f} |")
    finally:
        _echo_path("off")
    return 0


def _echo_path(*setting: str) -> None:
    subprocess.run([_VIRTUAL_AUDIO, "echo", *setting], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own script


async def _listen(mode: EchoMode, said: bytes) -> Signal:
    """Return what the service hears while the assistant says something."""
    bus = EventBus()
    inbox = bus.open_inbox(UserAudioCapturedEvent, limit=100_000)
    microphone, speaker = MicrophoneInput(device="va_mic"), SpeakerOutput(device="va_speaker")
    capture = Capture(bus, microphone)
    echo = Echo(bus, mode, microphone, speaker)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        await speaker.start()
        stack.push_async_callback(speaker.stop)
        await capture.start()
        capture.clean = echo.start()
        group.create_task(capture.run())
        await speaker.play_chunk(said)
        await speaker.finish_response()
        await asyncio.sleep(len(said) / 48_000 + 0.5)
        echo.stop()
        await capture.stop()
    return from_pcm(b"".join(event.pcm for event in inbox.take_all()))


if __name__ == "__main__":
    sys.exit(main())
