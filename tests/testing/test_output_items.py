"""Messages and function calls as they are put out."""

import asyncio
import base64
from array import array
from typing import Any

import pytest

from rtvoice.testing import Hold, RealtimeEmulator, Reply, ToolCall

PCM = array("h", range(-24_000, 24_000)).tobytes()


def audio_of(client: Any) -> list[bytes]:
    return [base64.b64decode(e["delta"]) for e in client.events if e["type"] == "response.output_audio.delta"]


async def test_the_audio_arrives_whole_and_in_unequal_deltas(dial: Any) -> None:
    async with RealtimeEmulator([Reply("Two seconds.", audio=PCM)]) as server, dial(server) as client:
        await client.send("response.create")
        await client.until("response.done")
        deltas = audio_of(client)
        assert b"".join(deltas) == PCM
        assert len({len(delta) for delta in deltas}) > 1
        assert all(len(delta) % 2 == 0 and len(delta) <= 400 * 48 for delta in deltas)
        (item,) = server.current.conversation
        assert bytes(item.audio[0]) == PCM


async def test_the_same_seed_gives_the_same_deltas(dial: Any) -> None:
    sizes = []
    for seed in (1, 1, 2):
        async with RealtimeEmulator([Reply("x", audio=PCM)], seed=seed) as server, dial(server) as client:
            await client.send("response.create")
            await client.until("response.done")
            sizes.append([len(delta) for delta in audio_of(client)])
    assert sizes[0] == sizes[1] != sizes[2]


async def test_given_delta_sizes_are_repeated(dial: Any) -> None:
    reply = Reply("x", audio=bytes(48 * 100), delta_ms=[30, 10])
    async with RealtimeEmulator([reply]) as server, dial(server) as client:
        await client.send("response.create")
        await client.until("response.done")
        assert [len(delta) // 48 for delta in audio_of(client)] == [30, 10, 30, 10, 20]


async def test_the_transcript_runs_ahead_of_the_audio(dial: Any) -> None:
    text = "one two three four five six seven eight nine ten"
    reply = Reply(text, audio=bytes(48 * 1000), delta_ms=[100])
    async with RealtimeEmulator([reply]) as server, dial(server) as client:
        await client.send("response.create")
        await client.until("response.done")
        kinds = [kind for kind in client.types() if kind.endswith(".delta")]
        words = [e["delta"] for e in client.events if e["type"] == "response.output_audio_transcript.delta"]
        assert "".join(words) == text
        assert kinds[0] == "response.output_audio_transcript.delta"
        assert kinds[-3:] == ["response.output_audio.delta"] * 3


async def test_audio_without_words_and_words_without_audio(dial: Any) -> None:
    replies = [Reply(audio=bytes(480)), Reply("Silent.", audio=b""), Reply("  ", audio=bytes(96))]
    async with RealtimeEmulator(replies) as server, dial(server) as client:
        for transcript in ("", "Silent.", ""):
            await client.send("response.create")
            done = await client.until("response.done")
            assert done["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": transcript}]


async def test_a_hold_freezes_at_the_exact_sample(dial: Any) -> None:
    hold = Hold(123)
    async with RealtimeEmulator([Reply("x", audio=PCM, hold=hold)]) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        assert b"".join(audio_of(client)) == PCM[: 123 * 48]
        hold.release()
        await client.until("response.done")
        assert b"".join(audio_of(client)) == PCM


@pytest.mark.parametrize("after_ms", [0, 2000, 9999])
async def test_a_hold_before_all_and_after_all_audio(dial: Any, after_ms: int) -> None:
    hold = Hold(after_ms)
    async with RealtimeEmulator([Reply("x", audio=PCM, hold=hold)]) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        assert b"".join(audio_of(client)) == PCM[: after_ms * 48]
        assert "response.output_audio.done" not in client.types()
        hold.release()
        await client.until("response.done")


async def test_a_hold_of_text(dial: Any) -> None:
    hold = Hold()
    async with RealtimeEmulator([Reply("Some text.", hold=hold)]) as server, dial(server) as client:
        await client.send("response.create", response={"output_modalities": ["text"]})
        await hold.reached()
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        assert "response.output_text.delta" not in client.types()
        hold.release()
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Some text."}]


@pytest.mark.virtual_clock
@pytest.mark.parametrize("pace", [1.0, 0.5, 4.0])
async def test_the_pace_of_audio(dial: Any, pace: float) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator([Reply("x", audio=PCM, pace=pace, delta_ms=[100])]) as server, dial(server) as client:
        await client.send("response.create")
        arrivals = []
        while len(arrivals) < 20:
            await client.until("response.output_audio.delta")
            arrivals.append(loop.time())
        assert [at - arrivals[0] for at in arrivals] == pytest.approx([n * 0.1 / pace for n in range(20)])


@pytest.mark.virtual_clock
async def test_a_hold_does_not_hurry_the_rest(dial: Any) -> None:
    loop = asyncio.get_running_loop()
    hold = Hold(1000)
    async with (
        RealtimeEmulator([Reply("x", audio=PCM, pace=1.0, delta_ms=[100], hold=hold)]) as server,
        dial(server) as client,
    ):
        await client.send("response.create")
        await hold.reached()
        await asyncio.sleep(60)
        hold.release()
        released = loop.time()
        await client.until("response.done")
        assert loop.time() - released == pytest.approx(0.9 + 0.1, abs=0.11)


@pytest.mark.virtual_clock
async def test_the_pace_of_text(dial: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator([Reply("x" * 14 + " y", pace=1.0)]) as server, dial(server) as client:
        await client.send("response.create", response={"output_modalities": ["text"]})
        await client.until("response.output_text.delta")
        first = loop.time()
        await client.until("response.output_text.delta")
        assert loop.time() - first == pytest.approx(1.0)


@pytest.mark.virtual_clock
async def test_the_model_may_think_first(dial: Any) -> None:
    async with RealtimeEmulator([Reply("Hm.", delay_s=3.0)]) as server, dial(server) as client:
        loop = asyncio.get_running_loop()
        await client.send("response.create")
        await client.until("response.created")
        created = loop.time()
        await client.until("response.output_item.added")
        assert loop.time() - created == pytest.approx(3.0)


async def test_function_calls_after_a_preamble(dial: Any) -> None:
    calls = [ToolCall("weather", {"city": "Oslo"}), ToolCall("clock", "{broken", "call_mine")]
    async with RealtimeEmulator([Reply("One moment.", calls=calls)]) as server, dial(server) as client:
        await client.send("response.create")
        done = await client.until("response.done")
        preamble, weather, clock = done["response"]["output"]
        assert preamble["content"][0]["transcript"] == "One moment."
        assert (weather["name"], weather["arguments"], weather["status"]) == (
            "weather",
            '{"city":"Oslo"}',
            "completed",
        )
        assert (clock["arguments"], clock["call_id"]) == ("{broken", "call_mine")
        assert weather["call_id"].startswith("call_")
        pieces = [e["delta"] for e in client.events if e["type"] == "response.function_call_arguments.delta"]
        assert "".join(pieces) == '{"city":"Oslo"}{broken'
        indexes = [e["output_index"] for e in client.events if e["type"] == "response.output_item.added"]
        assert indexes == [0, 1, 2]


async def test_a_call_that_is_cancelled_keeps_what_was_sent(dial: Any) -> None:
    arguments = {"text": "x" * 2000}
    async with RealtimeEmulator([Reply(calls=[ToolCall("note", arguments)])]) as server, dial(server) as client:
        await client.send("response.create")
        await server.sent("response.function_call_arguments.delta")
        server.current.speech_started()
        done = await client.until("response.done")
        (call,) = done["response"]["output"]
        assert call["status"] == "incomplete"
        finished = next(e for e in client.events if e["type"] == "response.function_call_arguments.done")
        assert finished["arguments"] == call["arguments"]
        assert 0 < len(call["arguments"]) < 2000


async def test_an_item_truncated_while_it_grows_keeps_no_transcript(dial: Any) -> None:
    hold = Hold(500)
    async with RealtimeEmulator([Reply("A story.", audio=PCM, hold=hold)]) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        item_id = server.current.items[0]["id"]
        await client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=400)
        await client.until("conversation.item.truncated")
        hold.release()
        await client.until("response.done")
        await client.send("conversation.item.retrieve", item_id=item_id)
        (content,) = (await client.until("conversation.item.retrieved"))["item"]["content"]
        assert "transcript" not in content
        assert len(base64.b64decode(content["audio"])) == 400 * 48
