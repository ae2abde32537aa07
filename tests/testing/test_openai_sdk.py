"""The ``openai`` package itself talks to the emulator."""

import asyncio
import base64
import wave
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from rtvoice.testing import RealtimeEmulator, Reply, ToolCall

HELLO = Path(__file__).parents[1] / "fixtures" / "audio" / "hello.wav"
TOOL: Any = {"type": "function", "name": "weather", "description": "d", "parameters": {"type": "object"}}


async def until(connection: Any, *event_types: str) -> list[Any]:
    """Return the events up to the moment when one of each of these types has come."""
    events: list[Any] = []
    async with asyncio.timeout(10):
        async for event in connection:
            assert event.type != "error", event
            events.append(event)
            if {*event_types} <= {event.type for event in events}:
                return events
    raise AssertionError(f"the connection ended before {event_types}")


async def test_a_text_conversation_with_a_tool() -> None:
    replies = [Reply(calls=[ToolCall("weather", {"city": "Oslo"}, "call_1")]), "It is four degrees."]
    async with RealtimeEmulator(replies, api_key="secret") as server:
        url = server.base_url
        async with (
            AsyncOpenAI(api_key="secret", websocket_base_url=url) as client,
            client.realtime.connect(model="gpt-realtime-2.1") as connection,
        ):
            await connection.session.update(
                session={"type": "realtime", "output_modalities": ["text"], "tools": [TOOL]}
            )
            message: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}
            await connection.conversation.item.create(item=message)
            await connection.response.create()
            done = (await until(connection, "response.done"))[-1]
            (call,) = done.response.output
            assert (call.type, call.arguments) == ("function_call", '{"city":"Oslo"}')
            output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "4"}
            await connection.conversation.item.create(item=output)
            await connection.response.create()
            events = await until(connection, "response.done")
            text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            assert text == "It is four degrees."
            assert events[-1].response.usage.total_tokens > 0


async def test_an_audio_conversation_with_turn_detection() -> None:
    with wave.open(str(HELLO)) as file:
        hello = file.readframes(file.getnframes())
    answer = bytes(range(0, 250, 2)) * 384
    async with RealtimeEmulator([Reply("Half past nine.", audio=answer)], ["What time is it?"]) as server:
        url = server.base_url
        async with (
            AsyncOpenAI(api_key="any", websocket_base_url=url) as client,
            client.realtime.connect(model="gpt-realtime-2.1") as connection,
        ):
            detection: Any = {"type": "server_vad", "silence_duration_ms": 500}
            transcription: Any = {"model": "gpt-4o-mini-transcribe"}
            settings: Any = {"input": {"turn_detection": detection, "transcription": transcription}}
            await connection.session.update(session={"type": "realtime", "audio": settings})
            for start in range(0, len(hello), 1920):
                chunk = base64.b64encode(hello[start : start + 1920]).decode()
                await connection.input_audio_buffer.append(audio=chunk)
            await connection.input_audio_buffer.append(audio=base64.b64encode(bytes(48 * 700)).decode())
            completed = "conversation.item.input_audio_transcription.completed"
            events = await until(connection, "response.done", completed)
            audio = b"".join(
                base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta"
            )
            assert audio == answer
            transcripts = [e.transcript for e in events if e.type == completed]
            assert transcripts == ["What time is it?"]


@pytest.mark.virtual_clock
async def test_session_expiry_ends_the_iteration_without_an_exception() -> None:
    """What the protocol page says of the SDK: iteration simply ends after close 1001."""
    async with RealtimeEmulator() as server:
        url = server.base_url
        async with (
            AsyncOpenAI(api_key="any", websocket_base_url=url) as client,
            client.realtime.connect(model="gpt-realtime-2.1") as connection,
        ):
            events = [event async for event in connection]
        assert [event.type for event in events] == ["session.created", "error"]
