"""A telephone call: G.711 at 8 kHz, 160 bytes for 20 ms, goes to the service and comes from it untouched.

python examples/phone_bridge.py             a rehearsal with scripted words: no key, no microphone
python examples/phone_bridge.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from collections.abc import AsyncIterator
from typing import Any

from rtvoice import RealtimeAgent
from rtvoice.audio import AudioFormat, AudioInputDevice, AudioOutputDevice, MicrophoneInput, SpeakerOutput
from rtvoice.audio.format_conversion import Decoder, Encoder
from rtvoice.testing import ScriptedUser, rehearse_or_run

MULAW = AudioFormat.MULAW


class Caller(AudioInputDevice):
    """Where a media stream's frames come in; here a microphone stands for the telephone."""

    audio_format = MULAW  # all that rtvoice has to know

    def __init__(self, telephone: AudioInputDevice) -> None:
        self._telephone = telephone

    async def start(self) -> None:
        await self._telephone.start()

    async def stop(self) -> None:
        await self._telephone.stop()

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        to_mulaw = Encoder(MULAW)
        async for pcm in self._telephone.stream_chunks():
            yield to_mulaw.take(pcm)  # a media stream: base64.b64decode(message["media"]["payload"])

    @property
    def is_active(self) -> bool:
        return self._telephone.is_active


class Line(AudioOutputDevice):
    """Where frames go out; here to a loudspeaker."""

    audio_format = MULAW

    def __init__(self, telephone: AudioOutputDevice) -> None:
        self._telephone = telephone
        self._from_mulaw = Decoder(MULAW)

    async def start(self) -> None:
        await self._telephone.start()

    async def stop(self) -> None:
        await self._telephone.stop()

    async def play_chunk(self, chunk: bytes) -> None:  # G.711 as the service sent it
        await self._telephone.play_chunk(self._from_mulaw.take(chunk))

    async def clear_buffer(self) -> None:  # a media stream: send its "clear" message
        await self._telephone.clear_buffer()

    @property
    def is_playing(self) -> bool:
        return self._telephone.is_playing


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    caller = Caller(devices.pop("audio_input", None) or MicrophoneInput())
    line = Line(devices.pop("audio_output", None) or SpeakerOutput())
    return RealtimeAgent(greeting="Hello, this is the library.", audio_input=caller, audio_output=line, **devices)


async def conversation(user: ScriptedUser) -> None:
    await user.hears("library")
    await user.says("Are you open today?")
    await user.hears("until six")


if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, ["Hello, this is the library.", "We are open until six."])
