"""A spoken conversation, with a tool and an interruption, by openai-agents' RealtimeRunner.

Usage: openai_agents_client.py URL CLIP; prints one line of JSON. Runs in an environment of its own, see `install`.
"""

import asyncio
import json
import sys
import wave
from typing import Any

from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner

set_tracing_disabled(True)

calls: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    calls.append(city)
    return "18 degrees"


SETTINGS = {
    "voice": "marin",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300, "interrupt_response": True},
            "transcription": {"model": "gpt-4o-mini-transcribe"},
        }
    },
}


async def main(url: str, clip: str) -> None:
    with wave.open(clip) as file:
        speech = file.readframes(file.getnframes())
    told: dict[str, Any] = {"calls": calls, "errors": [], "interruptions": 0, "audio_bytes": 0}
    sound_came = asyncio.Event()
    runner = RealtimeRunner(RealtimeAgent(name="helper", instructions="Help.", tools=[get_weather]))
    session = await runner.run(model_config={"url": url, "api_key": "any", "initial_model_settings": SETTINGS})

    async def speak() -> None:
        for start in range(0, len(speech), 4800):
            await session.send_audio(speech[start : start + 4800])
        await session.send_audio(bytes(48 * 600))

    async def talk() -> None:
        await speak()
        await sound_came.wait()
        await asyncio.sleep(0.5)
        await speak()

    async def listen() -> None:
        async for event in session:
            if event.type == "error":
                told["errors"].append(str(event.error))
            elif event.type == "audio":
                told["audio_bytes"] += len(event.audio.data)
                sound_came.set()
            elif event.type == "audio_interrupted":
                told["interruptions"] += 1
            elif event.type == "history_updated":
                told["history"] = [
                    [item.role, [getattr(part, "transcript", None) for part in item.content]]
                    for item in event.history
                    if item.type == "message"
                ]
                if told["interruptions"] and ["All right."] in [words for _, words in told["history"]]:
                    return

    async with session, asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(talk())
        group.create_task(listen())
    print(json.dumps(told))


asyncio.run(main(*sys.argv[1:]))
