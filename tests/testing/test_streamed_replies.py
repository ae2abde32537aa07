"""Replies that are still being made while their beginning is sent."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from rtvoice.testing import RealtimeEmulator, ReplyFailed, Spoken, StreamedReply, ToolCall

MS = 48
Pieces = AsyncGenerator[Spoken | ToolCall, None]


async def respond(client: Any, **response: Any) -> dict[str, Any]:
    await client.send("response.create", response=response)
    done: dict[str, Any] = (await client.until("response.done"))["response"]
    return done


def audio_of(client: Any) -> bytes:
    deltas = (event["delta"] for event in client.events if event["type"] == "response.output_audio.delta")
    return b"".join(base64.b64decode(delta) for delta in deltas)


async def test_a_sentence_is_sent_before_the_next_is_made(dial: Any) -> None:
    second = asyncio.Event()

    async def pieces() -> Pieces:
        yield Spoken("One. ", b"\1" * 700 * MS)
        await second.wait()
        yield Spoken("Two.", b"\2" * 300 * MS)

    async with RealtimeEmulator(lambda _: StreamedReply(pieces())) as server, dial(server) as client:
        await client.send("response.create")
        while len(audio_of(client)) < 700 * MS:
            await client.receive()
        assert "response.output_audio.done" not in client.types()
        second.set()
        done = (await client.until("response.done"))["response"]
        assert audio_of(client) == b"\1" * 700 * MS + b"\2" * 300 * MS
        assert done["status"] == "completed"
        (item,) = done["output"]
        assert item["content"] == [{"type": "output_audio", "transcript": "One. Two."}]
        assert server.current.conversation.retrieve(item["id"]).audio_ms() == 1000
        assert done["usage"]["output_token_details"]["audio_tokens"] == 20


async def test_words_and_calls_become_items(dial: Any) -> None:
    async def pieces() -> Pieces:
        yield Spoken("Just ")
        yield Spoken("a moment.")
        yield ToolCall("look", {"up": "it"})
        yield ToolCall("look", {"up": "that"})
        yield Spoken(" So.")

    async with RealtimeEmulator(lambda _: StreamedReply(pieces())) as server, dial(server) as client:
        done = await respond(client)
        kinds = [(item["type"], item["status"]) for item in done["output"]]
        assert kinds == [(kind, "completed") for kind in ("message", "function_call", "function_call", "message")]
        assert [item["arguments"] for item in done["output"][1:3]] == ['{"up":"it"}', '{"up":"that"}']
        hums = server.current.conversation.retrieve(done["output"][0]["id"]).audio_ms()
        assert 900 < hums < 1000  # 14 characters at 15 a second: no sound was given


async def test_a_text_response_has_no_sound(dial: Any) -> None:
    async def pieces() -> Pieces:
        yield Spoken("Yes. ", b"\1" * MS)
        yield Spoken("No.")

    async with RealtimeEmulator(lambda _: StreamedReply(pieces())) as server, dial(server) as client:
        done = await respond(client, output_modalities=["text"])
        assert done["output"][0]["content"] == [{"type": "output_text", "text": "Yes. No."}]
        assert audio_of(client) == b""


async def test_nothing_is_a_reply_too(dial: Any) -> None:
    async def pieces() -> Pieces:
        for nothing in ():
            yield nothing

    async with RealtimeEmulator(lambda _: StreamedReply(pieces())) as server, dial(server) as client:
        done = await respond(client)
        assert (done["status"], done["output"]) == ("completed", [])


async def test_an_interruption_closes_the_generator(dial: Any) -> None:
    closed = asyncio.Event()

    async def pieces() -> Pieces:
        try:
            yield Spoken("One.", b"\1" * 100 * MS)
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with RealtimeEmulator(lambda _: StreamedReply(pieces())) as server, dial(server) as client:
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        server.current.speech_started()
        done = (await client.until("response.done"))["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
        assert done["output"][0]["status"] == "incomplete"
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_generator_that_swallows_the_cancellation_says_nothing_more(dial: Any) -> None:
    ended = asyncio.Event()

    async def pieces() -> Pieces:
        try:
            yield Spoken("One.", b"\1" * 100 * MS)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            yield Spoken("Two.")

    async with RealtimeEmulator(lambda _: StreamedReply(pieces())) as server, dial(server) as client:
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        await client.send("response.cancel")
        done = (await client.until("response.done"))["response"]
        await asyncio.wait_for(ended.wait(), 5)
        assert [part.get("transcript") for item in done["output"] for part in item["content"]] == ["One."]
        assert server.current.active_response is None


async def test_a_failure_is_told(dial: Any) -> None:
    async def pieces() -> Pieces:
        yield Spoken("One.", b"\1" * 100 * MS)
        raise ReplyFailed("the model has gone")

    async with RealtimeEmulator(lambda _: StreamedReply(pieces())) as server, dial(server) as client:
        done = await respond(client)
        assert done["status"] == "failed"
        assert done["status_details"]["error"]["message"] == "the model has gone"
        assert done["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("piece", [Spoken("word " * 200), ToolCall("f", {"text": "x" * 500})])
async def test_tokens_run_out(dial: Any, piece: Spoken | ToolCall) -> None:
    async def pieces() -> Pieces:
        yield piece
        raise AssertionError("nobody wants the rest")

    async with RealtimeEmulator(lambda _: StreamedReply(pieces())) as server, dial(server) as client:
        done = await respond(client, max_output_tokens=20)
        assert done["status"] == "incomplete"
        assert done["status_details"]["reason"] == "max_output_tokens"
        assert done["output"][0]["status"] == "incomplete"
