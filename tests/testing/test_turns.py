"""The user's turns over the wire."""

import wave
from pathlib import Path
from typing import Any

import pytest

from rtvoice.testing import Hold, RealtimeEmulator, Reply

CLIPS = Path(__file__).parents[1] / "fixtures" / "audio"
TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
]


def clip(name: str) -> bytes:
    with wave.open(str(CLIPS / name)) as file:
        return file.readframes(file.getnframes())


def ms(count: int) -> bytes:
    return bytes(48 * count)


async def say(client: Any, audio: bytes, chunk_ms: int = 40) -> None:
    for start in range(0, len(audio), 48 * chunk_ms):
        await client.append(audio[start : start + 48 * chunk_ms])


@pytest.mark.parametrize("detection", ["server_vad", "semantic_vad"])
async def test_speech_makes_a_turn_and_an_answer(dial: Any, detection: str) -> None:
    async with RealtimeEmulator(["Sunny."]) as server, dial(server) as client:
        await client.update(audio={"input": {"turn_detection": {"type": detection}}})
        await client.until("session.updated")
        client.clear()
        await say(client, clip("weather.wav") + ms(1200))
        await client.until("response.done")
        assert client.types()[:6] == TURN
        started, stopped, committed, added = client.events[:4]
        assert started["audio_start_ms"] == pytest.approx(0, abs=150)
        assert stopped["audio_end_ms"] == pytest.approx(1920 + (200 if detection == "server_vad" else 1000), abs=200)
        assert started["item_id"] == stopped["item_id"] == committed["item_id"] == added["item"]["id"]
        assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
        item = server.current.conversation.retrieve(started["item_id"])
        assert item.audio_ms() == stopped["audio_end_ms"] - started["audio_start_ms"]
        await server.current.audio_received(len(clip("weather.wav")) // 48 + 1200)
        assert server.current.user_audio == clip("weather.wav") + ms(1200)


async def test_the_committed_audio_is_what_was_said(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        lead = ms(3000)
        await say(client, lead + clip("weather.wav") + ms(300))
        stopped = await client.until("input_audio_buffer.speech_stopped")
        started = next(e for e in client.events if e["type"] == "input_audio_buffer.speech_started")
        assert started["audio_start_ms"] == pytest.approx(3000 + 290 - 300, abs=100)
        await client.until("conversation.item.done")
        item = server.current.conversation.retrieve(started["item_id"])
        everything = lead + clip("weather.wav") + ms(300)
        assert item.audio[0] == everything[48 * started["audio_start_ms"] : 48 * stopped["audio_end_ms"]]


async def test_two_turns_follow_each_other(dial: Any) -> None:
    async with RealtimeEmulator(["One.", "Two."]) as server, dial(server) as client:
        for _ in range(2):
            await say(client, clip("yes.wav") + ms(600))
            await client.until("response.done")
            while server.current.active_response is not None or client.types()[-1] != "response.done":
                await client.receive()
        starts = [e["audio_start_ms"] for e in client.events if e["type"] == "input_audio_buffer.speech_started"]
        assert starts == sorted(starts)
        assert len(starts) >= 2


async def test_speech_over_the_assistant_interrupts(dial: Any) -> None:
    hold = Hold(500)
    async with RealtimeEmulator([Reply("A long story about a fox.", hold=hold)]) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        await say(client, clip("stop.wav"))
        await client.until("input_audio_buffer.speech_started")
        client.clear()
        done = await client.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert client.types()[-6:] == [
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]


async def test_without_interrupt_response_it_goes_on_and_the_turn_gets_no_answer(dial: Any) -> None:
    hold = Hold(500)
    async with (
        RealtimeEmulator([Reply("A story.", hold=hold)], detect_speech=False) as server,
        dial(server) as client,
    ):
        await client.update(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
        await client.send("response.create")
        await hold.reached()
        await say(client, ms(200))
        await server.current.audio_received(200)
        server.current.speech_started()
        server.current.speech_stopped()
        hold.release()
        done = await client.until("response.done")
        assert done["response"]["status"] == "completed"
        assert client.types().count("response.created") == 1


async def test_manual_commits(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.update(audio={"input": {"turn_detection": None}})
        await client.until("session.updated")
        await say(client, clip("weather.wav"))
        await client.send("input_audio_buffer.commit")
        await client.until("conversation.item.done")
        assert "input_audio_buffer.speech_started" not in client.types()
        assert server.current.active_response is None
        assert next(iter(server.current.conversation)).audio[0] == clip("weather.wav")
        with pytest.raises(RuntimeError, match="turn detection is off"):
            server.current.speech_started()
        error = await client.refused("input_audio_buffer.commit", event_id="c2")
        assert error == {
            "type": "invalid_request_error",
            "code": "input_audio_buffer_commit_empty",
            "message": "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
            "but buffer only has 0.00ms of audio.",
            "param": None,
            "event_id": "c2",
        }
        await client.append(bytes(48 * 99 + 24))
        assert "99.50ms" in (await client.refused("input_audio_buffer.commit"))["message"]
        await client.append(bytes(24))
        await client.send("input_audio_buffer.commit")
        assert (await client.until("input_audio_buffer.committed"))["previous_item_id"]


async def test_a_commit_during_speech_takes_the_utterances_id(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await say(client, clip("weather.wav")[: 48 * 1000])
        started = await client.until("input_audio_buffer.speech_started")
        await client.send("input_audio_buffer.commit")
        assert (await client.until("input_audio_buffer.committed"))["item_id"] == started["item_id"]
        await say(client, ms(1000))
        await client.send("conversation.item.retrieve", item_id=started["item_id"])
        await client.until("conversation.item.retrieved")
        assert "input_audio_buffer.speech_stopped" not in client.types()


async def test_clearing_drops_the_utterance(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await say(client, clip("weather.wav")[: 48 * 1000])
        await client.until("input_audio_buffer.speech_started")
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        await say(client, ms(1000))
        await client.refused("conversation.item.delete", item_id="x")
        assert "input_audio_buffer.speech_stopped" not in client.types()
        assert len(server.current.conversation) == 0


async def test_bad_audio_is_refused(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        for wrong in ("", "***"):
            error = await client.refused("input_audio_buffer.append", audio=wrong, event_id="a")
            assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio", "a")
        await client.append(bytes(15 * 1024 * 1024 + 1))
        assert "15 MiB" in (await client.until("error"))["error"]["message"]
        assert server.current.user_audio == b""


async def test_scripted_speech_needs_a_beginning(dial: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, dial(server) as client:
        await client.until("session.created")
        with pytest.raises(RuntimeError, match="the user is not speaking"):
            server.current.speech_stopped()


async def test_scripted_speech_is_not_ended_by_the_ear(dial: Any) -> None:
    """A test that starts speech by hand over real audio gets one beginning, not two."""
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.append(ms(400))
        await server.received("input_audio_buffer.append")
        server.current.speech_started()
        started = await client.until("input_audio_buffer.speech_started")
        assert started["audio_start_ms"] == 100
        await say(client, clip("weather.wav") + ms(400))
        await client.until("input_audio_buffer.speech_stopped")
        assert client.types().count("input_audio_buffer.speech_started") == 1


async def test_a_stop_by_hand_before_the_ear_hears_it(dial: Any) -> None:
    async with RealtimeEmulator(["Hm."]) as server, dial(server) as client:
        await say(client, clip("weather.wav")[: 48 * 1000])
        await client.until("input_audio_buffer.speech_started")
        await server.current.audio_received(1000)
        server.current.speech_stopped()
        await client.until("response.done")
        await say(client, ms(600))
        await client.send("conversation.item.retrieve", item_id=server.current.items[0]["id"])
        await client.until("conversation.item.retrieved")
        assert client.types().count("input_audio_buffer.speech_stopped") == 1


async def test_changing_the_detection_in_mid_speech(dial: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, dial(server) as client:
        await client.append(ms(400))
        await server.received("input_audio_buffer.append")
        server.current.speech_started()
        await client.update(audio={"input": {"noise_reduction": {"type": "near_field"}}})
        await client.until("session.updated")
        assert server.current.turns.in_speech
        await client.update(audio={"input": {"turn_detection": None}})
        await client.until("session.updated")
        assert not server.current.turns.in_speech


async def test_a_new_format_begins_a_new_buffer_and_keeps_the_clock(dial: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, dial(server) as client:
        await client.append(ms(500))
        await client.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
        await client.until("session.updated")
        assert server.current.audio_clock_ms == 500
        await client.append(bytes(800))
        await client.send("input_audio_buffer.commit")
        done = await client.until("conversation.item.done")
        assert server.current.audio_clock_ms == 600
        assert server.current.conversation.retrieve(done["item"]["id"]).audio_ms() == 100


async def test_the_idle_timeout_counts_after_playback(dial: Any) -> None:
    settings = {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}
    async with (
        RealtimeEmulator([Reply("Hello!", audio=ms(700)), "Are you there?"]) as server,
        dial(server) as client,
    ):
        await client.update(audio={"input": settings})
        await client.append(ms(100))
        await client.send("response.create")
        await client.until("response.done")
        await say(client, ms(5699), 100)
        await client.send("conversation.item.retrieve", item_id=server.current.items[0]["id"])
        await client.until("conversation.item.retrieved")
        assert "input_audio_buffer.timeout_triggered" not in client.types()
        await say(client, ms(1))
        idle = await client.until("input_audio_buffer.timeout_triggered")
        assert (idle["audio_start_ms"], idle["audio_end_ms"]) == (800, 5800)
        assert (await client.until("input_audio_buffer.committed"))["item_id"] == idle["item_id"]
        await client.until("response.done")
        assert server.current.conversation.retrieve(idle["item_id"]).audio_ms() == 5000


async def test_speech_and_new_settings_end_the_idle_wait(dial: Any) -> None:
    settings = {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000, "interrupt_response": False}}
    hold = Hold(10)
    replies = [Reply("Hello!", audio=ms(100)), Reply("Hm.", audio=ms(100), hold=hold)]
    async with RealtimeEmulator(replies, detect_speech=False) as server, dial(server) as client:
        await client.update(audio={"input": settings})
        await client.send("response.create")
        await client.until("response.done")
        await client.append(ms(200))
        await server.received("input_audio_buffer.append")
        server.current.speech_started()
        await client.send("response.create")
        await hold.reached()
        hold.release()
        await client.until("response.done")
        await client.append(ms(9000))
        await client.update(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": None}}})
        await client.until("session.updated")
        assert "input_audio_buffer.timeout_triggered" not in client.types()


async def test_a_conversation_in_g711(dial: Any) -> None:
    audio = {"format": {"type": "audio/pcma"}}
    async with RealtimeEmulator(["x" * 15]) as server, dial(server) as client:
        await client.update(audio={"input": audio, "output": audio})
        await client.send("response.create")
        await client.until("response.done")
        deltas = [e["delta"] for e in client.events if e["type"] == "response.output_audio.delta"]
        assert sum(len(delta) * 3 // 4 for delta in deltas) == pytest.approx(8000, abs=2 * len(deltas))
