"""Realtime clients of other people hold a conversation with the emulator: spoken, with a tool, interrupted.

The ``openai`` package is here anyway (see also test_openai_sdk.py); the others are installed by tests/clients/install.
"""

import asyncio
import base64
import json
import shutil
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from rtvoice.testing import EmulatedSession, RealtimeEmulator, Reply, ToolCall

CLIENTS = Path(__file__).parents[1] / "clients"
HELLO = Path(__file__).parents[1] / "fixtures" / "audio" / "hello.wav"
ANSWER = "It is 18 degrees in Berlin, and it will stay dry for the whole of the coming week."


def emulator() -> RealtimeEmulator:
    replies = [Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]), Reply(ANSWER), Reply("All right.")]
    return RealtimeEmulator(replies, ["How is the weather?", "Stop."])


def check(session: EmulatedSession) -> None:
    """The service's side of the conversation."""
    assert "error" not in session.types("sent")
    items = [item for item in session.items if item["type"] in ("message", "function_call_output")]
    asked, output, answer, stopped, last = items
    assert asked["content"][0]["transcript"] == "How is the weather?"
    assert "18 degrees" in output["output"]
    assert answer["role"] == "assistant"
    assert stopped["content"][0]["transcript"] == "Stop."
    assert last["content"][0]["transcript"] == "All right."
    (truncation,) = (event for event in session.received if event["type"] == "conversation.item.truncate")
    assert truncation["item_id"] == answer["id"]
    assert 0 < truncation["audio_end_ms"] < len(ANSWER) / 15 * 1000


@pytest.mark.parametrize(
    ("runtime", "program", "needs"),
    [
        (str(CLIENTS / ".python" / "bin" / "python"), "openai_agents_client.py", ".python"),
        ("node", "agents_realtime_client.mjs", ".node"),
    ],
    ids=["openai-agents", "@openai/agents-realtime"],
)
async def test_agent_frameworks(runtime: str, program: str, needs: str) -> None:
    command = shutil.which(runtime)
    if command is None or not (CLIENTS / needs).is_dir():
        pytest.skip("tests/clients/install has not installed it")
    async with emulator() as server:
        url = f"{server.url}?model=gpt-realtime-2.1"
        client = await asyncio.create_subprocess_exec(
            command, str(CLIENTS / program), url, str(HELLO), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await client.communicate()
        assert client.returncode == 0, output
        told = json.loads(output)
        check(server.sessions[0])
    assert (told["calls"], told["errors"], told["interruptions"]) == (["Berlin"], [], 1)
    assert told["audio_bytes"] > 48 * 4000
    assert told["history"] == [
        ["user", ["How is the weather?"]],
        ["assistant", [ANSWER]],
        ["user", ["Stop."]],
        ["assistant", ["All right."]],
    ]


async def test_the_openai_package() -> None:
    with wave.open(str(HELLO)) as file:
        speech = file.readframes(file.getnframes()) + bytes(48 * 700)
    tool = {"type": "function", "name": "get_weather", "description": "Weather.", "parameters": {"type": "object"}}
    detection = {"type": "server_vad", "silence_duration_ms": 300}
    settings: Any = {
        "type": "realtime",
        "tools": [tool],
        "audio": {"input": {"turn_detection": detection, "transcription": {"model": "gpt-4o-mini-transcribe"}}},
    }
    async with (
        emulator() as server,
        AsyncOpenAI(api_key="any", websocket_base_url=server.base_url) as client,
        client.realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        incoming = aiter(connection)

        async def until(event_type: str, where: Callable[[Any], bool] = lambda _: True) -> Any:
            async with asyncio.timeout(10):
                while True:
                    event = await anext(incoming)
                    assert event.type != "error", event
                    if event.type == event_type and where(event):
                        return event

        async def speak() -> None:
            for start in range(0, len(speech), 4800):
                await connection.input_audio_buffer.append(
                    audio=base64.b64encode(speech[start : start + 4800]).decode()
                )

        await connection.session.update(session=settings)
        await speak()
        call = (await until("response.done")).response.output[0]
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Berlin"})
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
        await connection.conversation.item.create(item=result)
        await connection.response.create()
        sound = await until("response.output_audio.delta")
        await speak()
        await until("input_audio_buffer.speech_started")
        await connection.conversation.item.truncate(item_id=sound.item_id, content_index=0, audio_end_ms=500)
        await until("conversation.item.truncated")
        await until("response.done", lambda event: event.response.status == "completed")
        heard = "conversation.item.input_audio_transcription.completed"
        await server.sent(heard, lambda event: event["transcript"] == "Stop.")
        check(server.sessions[0])
