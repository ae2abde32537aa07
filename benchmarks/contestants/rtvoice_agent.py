"""rtvoice, as its README says."""

import asyncio
from collections.abc import AsyncIterator

from benchmarks.contestants.base import Call, Contestant
from benchmarks.devices import Microphone, Speaker
from rtvoice import OpenAIProvider, RealtimeAgent, Tools
from rtvoice.audio import AudioInputDevice, AudioOutputDevice
from rtvoice.audio.devices import PlaybackPosition


class RtvoiceAgent(Contestant):
    """An agent with two devices of its own."""

    async def converse(self, call: Call) -> None:
        """Hold the conversation."""
        output = _CountingOutput(call.speaker) if call.speaker.counts else _Output(call.speaker)
        tools = Tools()
        for tool in call.tools:
            tools.action(f"Does {tool.name}", name=tool.name)(tool.function)
        agent = RealtimeAgent(
            instructions="You are a helpful assistant.",
            provider=OpenAIProvider(api_key="none", base_url=call.url),
            audio_input=_Input(call.microphone),
            audio_output=output,
            tools=tools,
            recording_path=call.recording,
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(agent.run())
            await call.over.wait()
            await agent.stop()
            await running


class _Input(AudioInputDevice):
    def __init__(self, microphone: Microphone) -> None:
        self._microphone = microphone
        self._active = False

    async def start(self) -> None:
        self._active = True

    async def stop(self) -> None:
        self._active = False
        self._microphone.close()

    def stream_chunks(self) -> AsyncIterator[bytes]:
        return self._microphone.chunks()

    @property
    def is_active(self) -> bool:
        return self._active


class _Output(AudioOutputDevice):
    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def play_chunk(self, chunk: bytes) -> None:
        self._speaker.play(chunk)

    async def clear_buffer(self) -> None:
        self._speaker.clear()

    @property
    def is_playing(self) -> bool:
        return self._speaker.playing


class _CountingOutput(_Output):
    def position(self) -> PlaybackPosition:
        heard = self._speaker.heard_bytes // 2
        return PlaybackPosition(
            accepted=self._speaker.accepted_bytes // 2,
            rendered=heard,
            heard=heard,
            discarded=self._speaker.discarded_bytes // 2,
        )
