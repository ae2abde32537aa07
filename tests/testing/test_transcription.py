"""Transcription events."""

import asyncio
import math
from typing import Any

import pytest

from rtvoice.testing import RealtimeEmulator, Transcript, UserTurn

PREFIX = "conversation.item.input_audio_transcription."


async def committed(client: Any, *, model: str | None, ms: int = 1500, **settings: Any) -> None:
    audio_input: dict[str, Any] = {"turn_detection": None}
    if model is not None:
        audio_input["transcription"] = {"model": model}
    await client.update(audio={"input": audio_input}, **settings)
    await client.append(bytes(48 * ms))
    await client.send("input_audio_buffer.commit")


def deltas(client: Any) -> list[str]:
    return [event["delta"] for event in client.events if event["type"] == f"{PREFIX}delta"]


async def test_deltas_and_the_whole(dial: Any) -> None:
    async with RealtimeEmulator(transcripts=["Weather in Oslo?"]) as server, dial(server) as client:
        await committed(client, model="gpt-4o-transcribe")
        done = await client.until(f"{PREFIX}completed")
        assert deltas(client) == ["Weather ", "in ", "Oslo?"]
        assert done["transcript"] == "Weather in Oslo?"
        assert done["usage"] == {
            "type": "tokens",
            "total_tokens": 19,
            "input_tokens": 15,
            "output_tokens": 4,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 15},
        }
        assert server.current.items[0]["content"][0]["transcript"] == "Weather in Oslo?"
        assert not {"languages", "logprobs"} & done.keys()


async def test_whisper_sends_one_delta_and_bills_whole_seconds(dial: Any) -> None:
    async with RealtimeEmulator(transcripts=["Weather in Oslo?"]) as server, dial(server) as client:
        await committed(client, model="whisper-1")
        done = await client.until(f"{PREFIX}completed")
        assert deltas(client) == ["Weather in Oslo?"]
        assert done["usage"] == {"type": "duration", "seconds": 2}


async def test_nothing_said_is_an_empty_transcript(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await committed(client, model="gpt-transcribe")
        assert (await client.until(f"{PREFIX}completed"))["transcript"] == ""
        assert deltas(client) == []


async def test_without_transcription_there_are_no_events_but_the_reply_knows(dial: Any) -> None:
    async with (
        RealtimeEmulator(lambda request: f"You said {request.user_text}", ["hello"]) as server,
        dial(server) as client,
    ):
        await committed(client, model=None)
        await client.send("response.create")
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "You said hello"
        assert not [kind for kind in client.types() if kind.startswith(PREFIX)]


async def test_a_function_hears_the_audio_and_the_reply_waits_for_it(dial: Any) -> None:
    release = asyncio.Event()

    async def recognise(turn: UserTurn) -> str:
        await release.wait()
        return f"{len(turn.audio) // 48} ms"

    async with RealtimeEmulator(lambda request: request.user_text, recognise) as server, dial(server) as client:
        await committed(client, model="gpt-transcribe", ms=300)
        await client.send("response.create")
        await client.until("response.created")
        release.set()
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "300 ms"


@pytest.mark.virtual_clock
async def test_a_late_transcript_does_not_hold_up_the_reply(dial: Any) -> None:
    async with (
        RealtimeEmulator(lambda request: request.user_text, [Transcript("Hello.", delay_s=30)]) as server,
        dial(server) as client,
    ):
        await committed(client, model="gpt-transcribe")
        await client.send("response.create")
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "Hello."
        assert asyncio.get_running_loop().time() < 30
        await client.until(f"{PREFIX}completed")
        assert asyncio.get_running_loop().time() == pytest.approx(30, abs=0.1)


async def test_a_failure_leaves_the_turn_alone(dial: Any) -> None:
    error = {"type": "transcription_error", "code": "audio_unintelligible", "message": "No.", "param": None}
    async with RealtimeEmulator(["What?"], [Transcript("Hm.", error=error)]) as server, dial(server) as client:
        await committed(client, model="gpt-transcribe")
        assert (await client.until(f"{PREFIX}failed"))["error"] == error
        await client.send("response.create")
        await client.until("response.done")


async def test_languages_segments_and_logprobs(dial: Any) -> None:
    segments = [{"text": "Hello there.", "speaker": "A", "start": 0.0, "end": 1.0}]
    transcript = Transcript("Hello there.", language="en", segments=segments)
    async with RealtimeEmulator(transcripts=[transcript]) as server, dial(server) as client:
        await committed(client, model="gpt-transcribe", include=["item.input_audio_transcription.logprobs"])
        done = await client.until(f"{PREFIX}completed")
        assert done["languages"] == [{"code": "en"}]
        assert [entry["token"] for entry in done["logprobs"]] == ["Hello", "there."]
        assert all(math.isclose(entry["logprob"], -0.01) for entry in done["logprobs"])
        segment = next(event for event in client.events if event["type"] == f"{PREFIX}segment")
        assert (segment["text"], segment["id"]) == ("Hello there.", "seg_0001")
        assert all(e["logprobs"] for e in client.events if e["type"] == f"{PREFIX}delta")


async def test_streaming_models_transcribe_before_the_commit(dial: Any) -> None:
    async with RealtimeEmulator(transcripts=["Turn it on."]) as server, dial(server, transcription=True) as client:
        transcription = {"model": "gpt-live-transcribe"}
        settings = {"audio": {"input": {"turn_detection": None, "transcription": transcription}}}
        await client.send("session.update", session={"type": "transcription", **settings})
        await client.until("session.updated")
        await client.append(bytes(48 * 200))
        server.current.transcribe_early("Turn ")
        early = await client.until(f"{PREFIX}delta")
        await client.send("input_audio_buffer.commit")
        done = await client.until(f"{PREFIX}completed")
        assert early["item_id"] == done["item_id"]
        assert "".join(deltas(client)) == done["transcript"] == "Turn it on."


async def test_other_models_wait_for_the_commit(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        with pytest.raises(RuntimeError, match="only gpt-live-transcribe and gpt-realtime-whisper"):
            server.current.transcribe_early("x")


async def test_a_user_item_deleted_meanwhile_is_transcribed_all_the_same(dial: Any) -> None:
    async with RealtimeEmulator(transcripts=[Transcript("Hi.", delay_s=0.01)]) as server, dial(server) as client:
        await committed(client, model="gpt-transcribe")
        done = await client.until("conversation.item.done")
        await client.send("conversation.item.delete", item_id=done["item"]["id"])
        assert (await client.until(f"{PREFIX}completed"))["item_id"] == done["item"]["id"]
