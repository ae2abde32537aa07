"""A spoken conversation without network and key: real speech recognition and synthesis on your machine.

python examples/offline_voice.py          a synthetic voice asks, in real time; needs rtvoice[local]
python examples/offline_voice.py --mic    ask yourself; needs rtvoice[audio,local]
"""

import asyncio
import sys
from typing import Any

from rtvoice import AgentListener, RealtimeAgent, ServerVAD, Tools
from rtvoice.errors import RtvoiceError
from rtvoice.local import HibariVoice, LocalServer
from rtvoice.testing import VirtualMicrophone, VirtualSpeaker

tools = Tools()


@tools.action("Current weather of a city")
async def get_weather(city: str) -> str:
    return f"It is eighteen degrees and partly cloudy in {city}."


class Screen(AgentListener):
    def __init__(self) -> None:
        self.has_answered = asyncio.Event()

    async def on_user_transcript(self, transcript: str) -> None:  # what the server understood
        print("user      ", transcript)

    async def on_assistant_transcript(self, transcript: str) -> None:
        print("assistant ", transcript)

    async def on_assistant_stopped_responding(self) -> None:
        self.has_answered.set()


async def main() -> None:
    screen = Screen()
    async with LocalServer() as server:  # LocalServer(ChatReplies(model)): a language model instead of simple rules
        devices: dict[str, Any] = {}
        if "--mic" not in sys.argv:
            devices = {"audio_input": VirtualMicrophone(), "audio_output": VirtualSpeaker()}
        agent = RealtimeAgent[None](
            tools=tools, turn_detection=ServerVAD(), listener=screen, provider=server.provider, **devices
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run())
            if devices:
                voice = await asyncio.to_thread(HibariVoice)
                devices["audio_input"].say(voice.synthesize("What is the weather in Berlin?", speed=1.0))
                await screen.has_answered.wait()
                await agent.stop()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except* RtvoiceError as errors:
        sys.exit(f"offline_voice.py: {errors.exceptions[0]}")
