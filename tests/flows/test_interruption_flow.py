"""Interruptions under a policy, end to end: what is heard, what the server is told, what the history says."""

import asyncio
import logging
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rtvoice import InterruptionPolicy, SemanticVAD, ServerVAD
from rtvoice.audio.room import Room
from rtvoice.testing import (
    Hold,
    PausableSpeaker,
    RealtimeEmulator,
    Reply,
    Transcript,
    VirtualMicrophone,
    VirtualSpeaker,
)
from rtvoice.testing.audio_formats import load_pcm

pytestmark = pytest.mark.virtual_clock

AUDIO = Path(__file__).parent.parent / "fixtures" / "audio"
CLIPS = Path(__file__).parents[2] / "src" / "rtvoice" / "cli" / "demo" / "clips"
STORY = "Once upon a time there was a king who had three daughters. " * 4
MS = 48
"""Bytes."""


def voice(milliseconds: int) -> bytes:
    """Somebody's voice: exactly so long, and loud from the first to the last moment."""
    spoken = load_pcm(AUDIO / "human_austen.wav")[400 * MS :]
    return (spoken * 2)[: milliseconds * MS]


class Talk:
    """An assistant that tells a story, and a user of whom the server hears what the test says."""

    def __init__(self, server: RealtimeEmulator, conversation: Any) -> None:
        self.server = server
        self.session = server.current
        self.microphone: VirtualMicrophone = conversation.microphone
        self.speaker: PausableSpeaker = conversation.speaker
        self.listener = conversation.listener
        self.agent = conversation.agent
        self.conversation = conversation
        self.first_story = b""

    async def tell_story(self, heard_ms: int = 1_000, generated: bool = True) -> None:
        await self.agent.send_message("Tell me a story.")
        await self.speaker.wait_until_heard(heard_ms)
        if generated:
            await self.server.sent("response.done")

    async def user_says(self, milliseconds: int, silence_ms: int = 500) -> None:
        """Speak, as a server with a delay of 100 ms notices it, and ends the turn after so much silence."""
        clip = self.microphone.say(voice(milliseconds))
        await asyncio.sleep(0.1)
        start_ms = self.session.audio_clock_ms - 100
        self.session.speech_started(start_ms - 300)
        await clip.done()
        await asyncio.sleep(silence_ms / 1000)
        self.session.speech_stopped(start_ms + milliseconds + silence_ms)

    def has_heard(self, pcm: bytes, at_the_end: bool = False) -> bool:
        """Whether the user has heard exactly this, or it and something before (a plain bool: a diff takes for ever)."""
        heard = self.speaker.heard_pcm
        return heard.endswith(pcm) if at_the_end else heard == pcm

    @property
    def answers(self) -> list[bytes]:
        """The audio that the server made, item by item."""
        items = [item for item in self.session.conversation if item.data.get("role") == "assistant"]
        return [bytes(item.audio[0]) for item in items]

    @property
    def wire(self) -> list[str]:
        """What the server was told, without the routine."""
        routine = ("input_audio_buffer.append", "session.update", "conversation.item.create")
        return [kind for kind in self.session.types("received") if kind not in routine]

    @property
    def dismissed(self) -> list[str]:
        return list(self.listener.all("interruption_dismissed"))


@pytest.fixture
def talk(converse: Any) -> Any:
    @asynccontextmanager
    async def begin(
        replies: Any = (STORY, "All right."), transcripts: Any = (), detect_speech: bool = False, **settings: Any
    ) -> AsyncIterator[Talk]:
        settings = {
            "interruption": InterruptionPolicy(),
            "turn_detection": ServerVAD(),
            "audio_output": PausableSpeaker(),
            **settings,
        }
        async with RealtimeEmulator(
            replies=list(replies), transcripts=list(transcripts), detect_speech=detect_speech
        ) as server:
            async with converse(server, **settings) as conversation:
                yield Talk(server, conversation)
            assert conversation.listener.all("agent_error") == []

    return begin


@pytest.mark.parametrize("policy", [None, InterruptionPolicy()], ids=["plain", "policy"])
async def test_the_server_only_reports_under_a_policy(policy: InterruptionPolicy | None, talk: Any) -> None:
    async with talk(interruption=policy) as t:
        detection = t.session.config["audio"]["input"]["turn_detection"]
        assert detection["interrupt_response"] is detection["create_response"] is (policy is None)


async def test_a_turn_while_the_assistant_is_silent_is_answered_at_once(talk: Any) -> None:
    async with talk(["Hello."], ["Hi."]) as t:
        await t.user_says(100)  # also if it is short
        ended_at = asyncio.get_running_loop().time()
        await t.server.received("response.create")
        assert asyncio.get_running_loop().time() == ended_at
        await t.listener.wait_for("assistant_stopped_responding")
        assert t.dismissed == []
        assert t.speaker.paused_at == []


@pytest.mark.parametrize("generated", [True, False], ids=["generated", "generating"])
async def test_a_cough_leaves_no_trace(generated: bool, talk: Any) -> None:
    hold = Hold(after_ms=2_000)
    reply = Reply(STORY, hold=None if generated else hold)
    async with talk([reply], ["Thank you."]) as t:
        await t.tell_story(generated=generated)
        await t.user_says(120)
        await t.listener.wait_for("interruption_dismissed")
        (paused_at,), (resumed_at,) = t.speaker.paused_at, t.speaker.resumed_at
        assert 0.4 < resumed_at - paused_at <= 0.72
        hold.release()
        await t.listener.wait_for("assistant_stopped_responding")
        assert t.has_heard(t.answers[0])
        assert t.dismissed == ["too_short"]
        assert t.wire == ["response.create", "conversation.item.delete"]
        assert [item.data["role"] for item in t.session.conversation] == ["user", "assistant"]
    told = t.listener.names
    assert "user_started_speaking" not in told
    assert "user_stopped_speaking" not in told
    assert "user_transcript" not in told
    assert "agent_interrupted" not in told
    (turn,) = [turn for turn in t.conversation.result.turns if turn.role == "assistant"]
    assert not turn.interrupted
    assert [turn.text for turn in t.conversation.result.turns if turn.role == "user"] == ["Tell me a story."]


async def test_the_recording_has_the_pause(talk: Any, tmp_path: Path) -> None:
    """After a second: before, nobody could tell the user from the loudspeaker, and how long a disk takes is chance."""
    async with talk(["A story of two seconds and a half."], ["Thank you."], recording_path=tmp_path / "talk.wav") as t:
        await t.tell_story(heard_ms=1_000)
        await t.user_says(120)
        await t.listener.wait_for("assistant_stopped_responding")
        assert t.dismissed == ["too_short"]
        gap = round((t.speaker.resumed_at[0] - t.speaker.paused_at[0]) * 24_000)
        told = len(t.answers[0]) // 2
    with wave.open(str(tmp_path / "talk.wav")) as recording:
        frames = recording.readframes(recording.getnframes())
    assistant = b"".join(frames[at + 2 : at + 4] for at in range(0, len(frames), 4)).strip(b"\0")
    assert abs(len(assistant) // 2 - told - gap) < 1_440


@pytest.mark.parametrize("generated", [True, False], ids=["generated", "generating"])
async def test_a_real_interruption(generated: bool, talk: Any) -> None:
    hold = Hold(after_ms=2_000)
    reply = Reply(STORY, hold=None if generated else hold)
    async with talk([reply, "All right."], ["Stop that right now, please."]) as t:
        await t.tell_story(generated=generated)
        asked = asyncio.get_running_loop().time()
        await t.user_says(1_800)
        cut = await t.server.received("conversation.item.truncate")
        assert t.speaker.paused_at == [pytest.approx(asked + 0.1)]  # silent before it was certain
        assert cut["audio_end_ms"] == pytest.approx(t.speaker.heard_ms, abs=1)
        assert cut["audio_end_ms"] == pytest.approx(1_100, abs=25)
        hold.release()
        await t.listener.wait_for("assistant_stopped_responding", 2)
        assert t.has_heard(t.answers[1], at_the_end=True)
        cancel = [] if generated else ["response.cancel"]
        assert t.wire == ["response.create", *cancel, "conversation.item.truncate", "response.create"]
        assert t.dismissed == []
    told = [name for name in t.listener.names if name not in ("assistant_transcript", "user_transcript")]
    assert told[told.index("agent_interrupted") :][:5] == [
        "agent_interrupted", "user_started_speaking", "assistant_stopped_responding", "user_stopped_speaking",
        "assistant_started_responding",
    ]  # fmt: skip
    turn = next(turn for turn in t.conversation.result.turns if turn.role == "assistant")
    assert turn.interrupted
    assert turn.played_ms == cut["audio_end_ms"]


async def test_a_short_word_interrupts_when_it_is_written_down(talk: Any) -> None:
    async with talk(transcripts=[Transcript("Stop.", delay_s=0.4)]) as t:
        await t.tell_story()
        await t.user_says(350)
        assert t.speaker.resumed_at == []
        ended_at = asyncio.get_running_loop().time()
        cut = await t.server.received("conversation.item.truncate")
        assert asyncio.get_running_loop().time() == pytest.approx(ended_at + 0.4, abs=0.01)
        assert cut["audio_end_ms"] == pytest.approx(1_100, abs=25)
        await t.listener.wait_for("assistant_stopped_responding", 2)
        assert t.listener.all("user_transcript") == ["Stop."]


async def test_a_backchannel(talk: Any) -> None:
    async with talk(transcripts=["Mhm, yeah."]) as t:
        await t.tell_story()
        await t.user_says(600)
        await t.listener.wait_for("interruption_dismissed")
        await t.listener.wait_for("assistant_stopped_responding")
        assert t.has_heard(t.answers[0])
        assert t.dismissed == ["backchannel"]
        assert t.wire == ["response.create"]
    told = t.listener.names
    assert told.index("user_started_speaking") < told.index("user_stopped_speaking") < told.index("user_transcript")
    assert [turn.text for turn in t.conversation.result.turns if turn.role == "user"][-1] == "Mhm, yeah."


async def test_yes_at_the_end_of_a_question_is_an_answer(talk: Any) -> None:
    async with talk(["Shall I book that table for you now?", "Booked."], ["Yes."]) as t:
        await t.tell_story(heard_ms=1_500)
        await t.user_says(400)
        await t.listener.wait_for("assistant_stopped_responding", 2)
        assert t.dismissed == ["backchannel"]
        assert t.has_heard(b"".join(t.answers))
        assert t.wire == ["response.create", "response.create"]


async def test_a_rumble_without_words(talk: Any) -> None:
    async with talk(transcripts=["  "]) as t:
        await t.tell_story()
        await t.user_says(700)
        await t.listener.wait_for("assistant_stopped_responding")
        assert t.dismissed == ["nothing_said"]
        assert t.has_heard(t.answers[0])
        assert t.wire == ["response.create", "conversation.item.delete"]


@pytest.mark.parametrize("transcript", [Transcript("Mhm", delay_s=30), Transcript(error={"code": "x", "message": "y"})])
async def test_in_doubt_the_user_is_right(transcript: Transcript, talk: Any) -> None:
    async with talk(transcripts=[transcript]) as t:
        await t.tell_story()
        await t.user_says(700)
        await t.server.received("conversation.item.truncate")
        await t.listener.wait_for("assistant_stopped_responding", 2)
        assert t.has_heard(t.answers[1], at_the_end=True)


async def test_who_speaks_up_again_means_it(talk: Any) -> None:
    async with talk(transcripts=[Transcript("Mhm", delay_s=3), "Wait."]) as t:
        await t.tell_story()
        await t.user_says(500)
        assert "conversation.item.truncate" not in t.wire
        await t.user_says(500)
        assert t.wire.count("conversation.item.truncate") == 1
        await t.listener.wait_for("assistant_stopped_responding", 2)


async def test_a_server_that_waits_for_the_rest_of_the_sentence(talk: Any) -> None:
    """After a short sound playback goes on before the server has ended the turn."""
    async with talk(transcripts=["Thanks for watching."], turn_detection=SemanticVAD()) as t:
        await t.tell_story()
        await t.user_says(150, silence_ms=4_000)
        assert t.speaker.resumed_at[0] - t.speaker.paused_at[0] == pytest.approx(0.8, abs=0.2)
        await t.listener.wait_for("interruption_dismissed")
        await t.listener.wait_for("assistant_stopped_responding")
        assert t.dismissed == ["too_short"]
        assert t.has_heard(t.answers[0])


async def test_without_a_transcription_length_alone_counts(talk: Any) -> None:
    policy = InterruptionPolicy(ignore_backchannels=False)
    async with talk(interruption=policy, transcription_model=None) as t:
        await t.tell_story()
        await t.user_says(150)
        await t.listener.wait_for("interruption_dismissed")
        began = asyncio.get_running_loop().time()
        speaking = asyncio.gather(t.user_says(1_000), t.server.received("conversation.item.truncate"))
        await t.listener.wait_for("agent_interrupted")
        assert asyncio.get_running_loop().time() - began < 0.5
        await speaking


async def test_a_device_that_cannot_pause_plays_on(talk: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with talk(transcripts=["Hm.", "Stop it now."], audio_output=VirtualSpeaker()) as t:
            await t.tell_story()
            await t.user_says(300)
            await t.listener.wait_for("interruption_dismissed")
            assert t.speaker.cleared == []
            await t.user_says(1_500)
            cut = await t.server.received("conversation.item.truncate")
            assert cut["audio_end_ms"] == pytest.approx(t.speaker.heard_ms, abs=1)
            await t.listener.wait_for("assistant_stopped_responding", 2)
    assert "cannot pause" in caplog.text
    assert "no tap" in caplog.text


async def test_the_application_interrupts_while_it_is_undecided(talk: Any) -> None:
    async with talk(transcripts=[Transcript("Mhm", delay_s=1.9)]) as t:
        await t.tell_story()
        await t.user_says(500)
        await t.agent.interrupt()
        await t.listener.wait_for("user_started_speaking")
        await t.listener.wait_for("assistant_stopped_responding", 2)
        assert t.has_heard(t.answers[1], at_the_end=True)
        assert t.dismissed == []


async def test_the_connection_is_lost_while_it_is_undecided(talk: Any) -> None:
    async with talk([STORY, "Where were we?"], [Transcript("Mhm", delay_s=1.9)]) as t:
        await t.tell_story()
        await t.user_says(500)
        t.session.drop()
        await t.listener.wait_for("agent_reconnected")
        await t.listener.wait_for("assistant_stopped_responding", 2)
        await asyncio.sleep(5)
        assert t.server.current.types("received").count("response.create") == 1


# --- the assistant's own voice ---


class RoomMicrophone(VirtualMicrophone):
    """Hears the loudspeaker, too."""

    def __init__(self, speaker: PausableSpeaker, room: Room) -> None:
        super().__init__()
        self._speaker = speaker
        self._room = room

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        import numpy as np

        async for chunk in super().stream_chunks():
            samples = len(chunk) // 2
            begin = asyncio.get_running_loop().time() - samples / 24_000
            echo = np.frombuffer(self._room.echo(self._speaker.sound_between(begin, samples)), "<i2").astype(int)
            yield (np.frombuffer(chunk, "<i2") + echo).clip(-32768, 32767).astype("<i2").tobytes()


@asynccontextmanager
async def in_a_room(talk: Any, level_db: float, transcripts: Any = (), **settings: Any) -> AsyncIterator[Talk]:
    speaker = PausableSpeaker()
    microphone = RoomMicrophone(speaker, Room(level_db=level_db, delay_ms=60, rt60_s=0.3))
    replies = [Reply("A story about a lighthouse.", audio=CLIPS / "story.wav"), "All right.", "Hm?", "Hm?"]
    async with talk(
        replies, transcripts, detect_speech=True, audio_output=speaker, audio_input=microphone, **settings
    ) as t:
        yield t


async def test_the_assistant_interrupts_itself_without_a_policy(talk: Any) -> None:
    async with in_a_room(talk, -6, interruption=None) as t:
        await t.agent.send_message("Tell me a story.")
        await t.listener.wait_for("agent_interrupted")


@pytest.mark.parametrize("level_db", [-12, -3])
async def test_the_assistant_does_not_interrupt_itself(level_db: float, talk: Any) -> None:
    async with in_a_room(talk, level_db, ["a story about a light"] * 9) as t:
        await t.agent.send_message("Tell me a story.")
        await t.listener.wait_for("assistant_stopped_responding")
        assert t.has_heard(t.answers[0])
        await asyncio.sleep(3)  # the turn of the echo ends
        assert set(t.dismissed) == {"self_echo"}
        assert t.speaker.paused_at == []
        assert set(t.wire) == {"response.create", "conversation.item.delete"}
        assert [item.data["role"] for item in t.session.conversation] == ["user", "assistant"]
    assert [turn.role for turn in t.conversation.result.turns] == ["user", "assistant"]
    assert "user_transcript" not in t.listener.names


@pytest.mark.parametrize("level_db", [-12, -3])
async def test_a_user_speaks_over_the_echo(level_db: float, talk: Any) -> None:
    async with in_a_room(talk, level_db, ["Turn on the lights."] * 9) as t:
        await t.agent.send_message("Tell me a story.")
        await t.speaker.wait_until_heard(2_000)
        assert t.dismissed in ([], ["self_echo"])
        clip = t.microphone.say(AUDIO / "lights.wav")
        await t.listener.wait_for("agent_interrupted")
        assert clip.started_at is not None
        noticed_after = t.speaker.paused_at[0] - (clip.started_at + 0.32)  # where the speech begins
        assert 0 < noticed_after < 0.8
        await t.listener.wait_for("assistant_stopped_responding", 2)
        assert t.has_heard(t.answers[1], at_the_end=True)
