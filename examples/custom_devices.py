"""Devices of your own: telephony, files, browsers, robots. Audio is 16-bit PCM, 24 kHz, mono, in chunks of any size.

python examples/custom_devices.py             a rehearsal with scripted words: no key, no microphone
python examples/custom_devices.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import RealtimeAgent
from rtvoice.audio import AudioOutputDevice, SpeakerOutput
from rtvoice.audio.pcm import level_dbfs
from rtvoice.testing import ScriptedUser, rehearse_or_run


class LevelMeter(AudioOutputDevice):
    """Shows how loud the assistant is, and hands the sound on to another device. An input has methods of that kind."""

    def __init__(self, loudspeaker: AudioOutputDevice) -> None:
        self._loudspeaker = loudspeaker

    async def start(self) -> None:
        await self._loudspeaker.start()

    async def stop(self) -> None:
        await self._loudspeaker.stop()

    async def play_chunk(self, chunk: bytes) -> None:
        print(f"{level_dbfs(chunk):6.1f} dB", "#" * max(0, int(level_dbfs(chunk) + 60)))
        await self._loudspeaker.play_chunk(chunk)

    async def clear_buffer(self) -> None:  # the user interrupts: drop what is not audible yet
        await self._loudspeaker.clear_buffer()

    @property
    def is_playing(self) -> bool:  # only a hint
        return self._loudspeaker.is_playing


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    loudspeaker = devices.pop("audio_output", None) or SpeakerOutput()
    return RealtimeAgent(instructions="Answer briefly.", audio_output=LevelMeter(loudspeaker), **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("How loud are you?")
    await user.hears("this loud")


if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, ["I am this loud."])
