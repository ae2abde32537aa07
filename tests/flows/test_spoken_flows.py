"""The flows of ARCHITECTURE.md, end to end: a chunk, an answer, a call, an interruption."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rtvoice import Tools
from rtvoice.audio.wav import WavFileInput
from rtvoice.testing import (
    Faults,
    Hold,
    PositionedSpeaker,
    RealtimeEmulator,
    Reply,
    ToolCall,
    VirtualMicrophone,
    VirtualSpeaker,
)
from rtvoice.testing.faults import Duplicate, Malform

pytestmark = pytest.mark.virtual_clock

AUDIO = Path(__file__).parent.parent / "fixtures" / "audio"


async def test_a_microphone_chunk(converse: Any) -> None:
    """What the microphone hears arrives at the server, byte for byte and at once."""
    pcm = bytes(range(256)) * 375  # 2 s
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        session = await server.connected()
        clip = conversation.microphone.say(pcm)
        await clip.done()
        await asyncio.sleep(0.05)
        received = bytes(session.user_audio)
        assert pcm in received
        streamed = conversation.microphone.streamed_samples * 2
        assert 0 <= streamed - len(received) <= 2 * 960


async def test_an_answer(converse: Any) -> None:
    """Real speech goes out, is noticed, and is answered in sound and words."""
    async with RealtimeEmulator(replies=["It is sunny in Oslo."], transcripts=["What is the weather?"]) as server:
        async with converse(server) as conversation:
            conversation.microphone.say(AUDIO / "weather.wav")
            await conversation.listener.wait_for("assistant_stopped_responding")
            await conversation.listener.wait_for("user_transcript")
            (answer,) = [item for item in server.current.conversation if item.data.get("role") == "assistant"]
            assert conversation.speaker.heard_pcm == bytes(answer.audio[0])
        names = conversation.listener.names
        told = [name for name in names if name.startswith(("user", "assistant"))]
        assert [name for name in told if name != "user_transcript"] == [
            "user_started_speaking", "user_stopped_speaking", "assistant_started_responding", "assistant_transcript",
            "assistant_stopped_responding",
        ]  # fmt: skip
        assert names.index("user_stopped_speaking") < names.index("user_transcript")
        assert conversation.listener.all("assistant_transcript") == ["It is sunny in Oslo."]
        turns = [(turn.role, turn.text) for turn in conversation.result.turns]
        assert turns == [("user", "What is the weather?"), ("assistant", "It is sunny in Oslo.")]
        assert conversation.listener.all("agent_error") == []


async def test_a_function_call_does_not_hold_up_the_conversation(converse: Any) -> None:
    """While a tool works, the user speaks, is answered and interrupts; then the result is told."""
    tools = Tools()
    release = asyncio.Event()

    @tools.action("Takes a while.", holding_instruction="One moment.", result_instruction="Be brief.")
    async def search(query: str) -> str:
        await release.wait()
        return f"found {query}"

    replies = [
        Reply(calls=[ToolCall("search", {"query": "socks"}, "c1")]),
        "One moment.",
        "Still searching.",
        "Here are socks.",
    ]
    async with RealtimeEmulator(replies=replies, detect_speech=False) as server:
        async with converse(server, tools=tools) as conversation:
            session = await server.connected()
            await conversation.agent.send_message("Find socks.")
            await conversation.listener.wait_for("assistant_stopped_responding")
            assert conversation.listener.all("assistant_transcript") == ["One moment."]
            session.speech_started()
            await asyncio.sleep(0.5)
            session.speech_stopped()
            await conversation.listener.wait_for("assistant_stopped_responding", 2)
            release.set()
            await conversation.listener.wait_for("assistant_stopped_responding", 3)
        outputs = [
            event["item"]["output"]
            for event in session.received
            if event["type"] == "conversation.item.create" and event["item"]["type"] == "function_call_output"
        ]
        assert outputs == ["found socks"]
        assert conversation.listener.all("assistant_transcript")[1:] == ["Still searching.", "Here are socks."]
        assert session.types("received").count("response.create") == 3
        assert conversation.listener.all("agent_error") == []


SPEAKERS = {
    "queues": VirtualSpeaker,
    "blocks": lambda: VirtualSpeaker(buffer_ms=0),
    "stuck": lambda: VirtualSpeaker(stuck_playing=True),
    "counts": PositionedSpeaker,
}


@pytest.mark.parametrize("make_speaker", SPEAKERS.values(), ids=SPEAKERS.keys())
@pytest.mark.parametrize("variant", ["while generating", "after response.done", "after an underrun", "late audio"])
async def test_a_barge_in(variant: str, make_speaker: Any, converse: Any) -> None:
    """The assistant falls silent at once, the server learns what was heard, and the next answer is heard in full."""
    loop = asyncio.get_running_loop()
    hold = Hold(after_ms=2_000)
    story = "Once upon a time there was a king who had three daughters. " * 4
    match variant:
        case "while generating" | "late audio":
            long = Reply(story, hold=hold)
        case "after response.done":
            long = Reply(story)
        case _:
            long = Reply(story, pace=0.5, delta_ms=[100])
    faults = Faults(late_deltas=5 if variant == "late audio" else 0)
    async with RealtimeEmulator(replies=[long, "All right."], detect_speech=False, faults=faults) as server:
        async with converse(server, audio_output=make_speaker()) as conversation:
            session = await server.connected()
            await conversation.agent.send_message("Tell me a story.")
            await conversation.speaker.wait_until_heard(700)
            if variant == "after response.done":
                await server.sent("response.done")
            heard_ms, spoke_at = conversation.speaker.heard_ms, loop.time()
            session.speech_started()
            cut = await server.received("conversation.item.truncate")
            assert loop.time() == spoke_at
            assert conversation.speaker.cleared_at == [spoke_at]
            assert abs(cut["audio_end_ms"] - heard_ms) <= 2
            await server.sent("conversation.item.truncated")
            await asyncio.sleep(0.5)
            assert conversation.speaker.heard_ms == heard_ms
            session.speech_stopped()
            await conversation.listener.wait_for("assistant_stopped_responding", 2)
            ended_at = loop.time()
            await conversation.speaker.wait_until_silent()
            assert loop.time() - ended_at < 0.001
            answer = [item for item in session.conversation if item.data.get("role") == "assistant"][-1]
            assert conversation.speaker.heard_pcm.endswith(bytes(answer.audio[0]))
            assert len(conversation.speaker.heard_pcm) == pytest.approx(heard_ms * 48 + len(answer.audio[0]), abs=2)
            hold.release()
        told = [name for name in conversation.listener.names if "transcript" not in name]
        assert told[3:8] == [
            "agent_interrupted", "user_started_speaking", "assistant_stopped_responding", "user_stopped_speaking",
            "assistant_started_responding",
        ]  # fmt: skip
        assert conversation.listener.all("agent_error") == []
        assert "response.cancel" not in session.types("received")
        turn = next(turn for turn in conversation.result.turns if turn.role == "assistant")
        assert turn.interrupted
        assert turn.played_ms == cut["audio_end_ms"]


async def test_real_speech_interrupts(converse: Any) -> None:
    story = Reply("Once upon a time there was a king who had three daughters. " * 6)
    replies = [story, "All right."]
    async with RealtimeEmulator(replies=replies, transcripts=["Tell me a story.", "Stop."]) as server:
        async with converse(server) as conversation:
            conversation.microphone.say(AUDIO / "hello.wav")
            await conversation.speaker.wait_until_heard(1_000)
            conversation.microphone.say(AUDIO / "stop.wav")
            await conversation.listener.wait_for("assistant_stopped_responding", 2)
        assert conversation.listener.names.count("agent_interrupted") == 1
        texts = [turn.text for turn in conversation.result.turns]
        assert texts[0] == "Tell me a story."
        assert texts[-2:] == ["Stop.", "All right."]


async def test_a_file_as_the_user(converse: Any) -> None:
    async with RealtimeEmulator(replies=["Hello."], transcripts=["Hi."]) as server:
        async with converse(server, audio_input=WavFileInput(AUDIO / "hello.wav")) as conversation:
            await conversation.listener.wait_for("assistant_stopped_responding")
        assert conversation.result.turns[-1].text == "Hello."


async def test_ten_turns_over_a_bad_line(converse: Any) -> None:
    """Frames are doubled and broken; whatever is lost, nothing hangs and the listener's guarantees hold."""
    faults = Faults(frames=[lambda: Duplicate(0.2, seed=1), lambda: Malform(0.05, seed=2)], late_deltas=2)
    replies = [Reply("Some words to be heard. " * (1 + n % 3)) for n in range(10)]
    async with RealtimeEmulator(replies=replies, detect_speech=False, faults=faults) as server:
        async with converse(server) as conversation:
            session = await server.connected()
            for number in range(10):
                session.speech_started()
                await asyncio.sleep(0.3)
                session.speech_stopped()
                await asyncio.sleep(1 if number % 2 else 8)
            await asyncio.sleep(30)
        kinds = [name for name in conversation.listener.names if name.endswith("_responding")]
        assert kinds == ["assistant_started_responding", "assistant_stopped_responding"] * (len(kinds) // 2)
        assert len(kinds) >= 10


async def test_the_assistant_writes(converse: Any) -> None:
    async with RealtimeEmulator(replies=["Hello there."], detect_speech=False) as server:
        async with converse(server, output_modalities=["text"]) as conversation:
            await conversation.agent.send_message("Hello.")
            await conversation.listener.wait_for("assistant_stopped_responding")
        told = conversation.listener.names
        assert "".join(conversation.listener.all("assistant_transcript_delta")) == "Hello there."
        assert told.index("assistant_started_responding") < told.index("assistant_transcript_delta")
        assert told.index("assistant_transcript") > told.index("assistant_transcript_delta")
        assert conversation.speaker.chunks == 0


async def test_text_and_audio_at_once(converse: Any) -> None:
    async with RealtimeEmulator(replies=["Hello there."], detect_speech=False) as server:
        async with converse(server, output_modalities=["text", "audio"]) as conversation:
            await conversation.agent.send_message("Hello.")
            await conversation.listener.wait_for("assistant_stopped_responding")
        assert "".join(conversation.listener.all("assistant_transcript_delta")) == "Hello there."
        assert conversation.listener.all("assistant_transcript") == ["Hello there."]
        assert conversation.speaker.heard_samples > 0


async def test_the_connection_is_lost_in_the_middle_of_an_answer(converse: Any) -> None:
    async with RealtimeEmulator(replies=[Reply("A long story. " * 30)], detect_speech=False) as server:
        async with converse(server, reconnect=None) as conversation:
            await conversation.agent.send_message("Tell me a story.")
            await conversation.speaker.wait_until_heard(500)
            server.current.drop()
            async with asyncio.timeout(10):
                await asyncio.wait([conversation.running])
        assert conversation.listener.all("agent_error")[-1].type == "connection_closed"
        assert conversation.listener.names[-1] == "agent_stopped"
        names = conversation.listener.names
        assert names.count("assistant_started_responding") == names.count("assistant_stopped_responding") == 1
        assert conversation.result.turns[0].text == "Tell me a story."


async def test_microphones_of_all_chunk_sizes(converse: Any) -> None:
    for chunk_ms in (1, 7, 200):
        async with (
            RealtimeEmulator(replies=["Yes."], transcripts=["Hello?"]) as server,
            converse(server, audio_input=VirtualMicrophone(chunk_ms=chunk_ms)) as conversation,
        ):
            conversation.microphone.say(AUDIO / "hello.wav")
            await conversation.listener.wait_for("assistant_stopped_responding")
