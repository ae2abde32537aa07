"""The microphone hears the loudspeaker: what the assistant and its user get of that."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rtvoice import RealtimeAgent, ServerVAD
from rtvoice.errors import ConfigurationError
from rtvoice.testing import EchoingRoom, RealtimeEmulator, Reply, VirtualSpeaker

pytestmark = pytest.mark.virtual_clock

AUDIO = Path(__file__).parent.parent / "fixtures" / "audio"
VAD = ServerVAD(threshold=0.5, prefix_padding_ms=300, silence_duration_ms=500)


def story() -> Reply:
    """Twelve seconds of speech."""
    clips = ("long", "name")
    pcm = b"".join((AUDIO / f"{clip}.wav").read_bytes()[44:] for clip in clips)
    return Reply("Once upon a time.", audio=pcm)


def test_a_canceller_needs_a_tap() -> None:
    """It is refused when the agent is made, not in the conversation."""
    with pytest.raises(ConfigurationError, match="VirtualSpeaker does not"):
        RealtimeAgent(echo="builtin", audio_output=VirtualSpeaker(), api_key="sk-test")


async def tell(conversation: Any) -> None:
    """Let the assistant speak until it is done or interrupted."""
    await conversation.agent.send_message("Tell me a story.")
    await conversation.listener.wait_for("assistant_stopped_responding")


async def test_without_a_canceller_the_assistant_interrupts_itself(converse: Any) -> None:
    room = EchoingRoom(level_db=-6)
    async with (
        RealtimeEmulator(replies=[story(), "All right."]) as server,
        converse(
            server, audio_input=room.microphone, audio_output=room.speaker, echo="off", turn_detection=VAD
        ) as conversation,
    ):
        await tell(conversation)
        assert conversation.listener.names.count("agent_interrupted") == 1
        assert room.speaker.heard_ms < 1_500


@pytest.mark.parametrize("echo", ["builtin", "half_duplex", "webrtc"])
async def test_with_one_it_does_not(echo: str, converse: Any) -> None:
    if echo == "webrtc":
        pytest.importorskip("pywebrtc_audio")
    room = EchoingRoom(level_db=-6)
    async with (
        RealtimeEmulator(replies=[story()]) as server,
        converse(
            server, audio_input=room.microphone, audio_output=room.speaker, echo=echo, turn_detection=VAD
        ) as conversation,
    ):
        await tell(conversation)
        await asyncio.sleep(1)
        assert "user_started_speaking" not in conversation.listener.names
        assert room.speaker.heard_ms == pytest.approx(len(story().audio or b"") / 48, abs=1)
        assert conversation.listener.all("agent_error") == []


@pytest.mark.parametrize("echo", ["builtin", "webrtc"])
async def test_a_user_still_interrupts(echo: str, converse: Any) -> None:
    if echo == "webrtc":
        pytest.importorskip("pywebrtc_audio")
    room = EchoingRoom(level_db=-6)
    async with (
        RealtimeEmulator(replies=[story(), "All right."], transcripts=["Turn on the lights."]) as server,
        converse(
            server, audio_input=room.microphone, audio_output=room.speaker, echo=echo, turn_detection=VAD
        ) as conversation,
    ):
        await conversation.agent.send_message("Tell me a story.")
        await room.speaker.wait_until_heard(5_000)
        spoken = room.microphone.say(AUDIO / "lights.wav")
        await conversation.listener.wait_for("user_started_speaking")
        assert spoken.started_at is not None
        assert asyncio.get_running_loop().time() - spoken.started_at < 0.9  # 0.32 s of the clip are silence
        await conversation.listener.wait_for("user_transcript")
        assert conversation.listener.names.count("agent_interrupted") == 1
        assert conversation.listener.all("user_transcript") == ["Turn on the lights."]


@pytest.mark.parametrize("tapped", [True, False])
async def test_half_duplex_hears_the_user_only_in_silence(tapped: bool, converse: Any) -> None:
    room = EchoingRoom()
    speaker = room.speaker if tapped else VirtualSpeaker()
    reply = Reply("Once upon a time.", audio=(AUDIO / "name.wav").read_bytes()[44:])
    async with (
        RealtimeEmulator(replies=[reply, story(), "Bye."], transcripts=["What is the weather?"]) as server,
        converse(
            server, audio_input=room.microphone, audio_output=speaker, echo="half_duplex", turn_detection=VAD
        ) as conversation,
    ):
        await conversation.agent.send_message("Tell me a story.")
        await speaker.wait_until_heard(1_000)
        room.microphone.say(AUDIO / "stop.wav")
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert "user_started_speaking" not in conversation.listener.names
        await asyncio.sleep(1)
        room.microphone.say(AUDIO / "weather.wav")
        await conversation.listener.wait_for("user_transcript")
        await conversation.listener.wait_for("assistant_started_responding", 2)
        await speaker.wait_until_heard(5_000)
        await conversation.agent.interrupt()
        await conversation.listener.wait_for("agent_interrupted")
        await asyncio.sleep(0.6)
        room.microphone.say(AUDIO / "weather.wav")
        await conversation.listener.wait_for("user_started_speaking", 2)


async def test_the_recording_has_what_the_service_hears(converse: Any, tmp_path: Path) -> None:
    """The microphone's track is the one without the echo, in its place in time."""
    np = pytest.importorskip("numpy")
    room = EchoingRoom(level_db=-6)
    path = tmp_path / "conversation.wav"
    async with (
        RealtimeEmulator(replies=[story()]) as server,
        converse(
            server,
            audio_input=room.microphone,
            audio_output=room.speaker,
            echo="builtin",
            turn_detection=VAD,
            recording_path=path,
        ) as conversation,
    ):
        await tell(conversation)
        await asyncio.sleep(0.5)
        room.microphone.say(AUDIO / "weather.wav")
        await conversation.listener.wait_for("user_stopped_speaking")
        received = bytes(server.current.user_audio)
        assert len(received) % 480 == 0
    samples = np.frombuffer(path.read_bytes()[80:], "<i2").reshape(-1, 2).astype(float)
    user, assistant = samples[:, 0], samples[:, 1]
    loud = np.abs(assistant) > 1_000
    assert np.sqrt(np.mean(user[loud] ** 2)) < 0.02 * np.sqrt(np.mean(assistant[loud] ** 2))
    question = np.frombuffer((AUDIO / "weather.wav").read_bytes()[44:], "<i2").astype(float)
    after = user[np.flatnonzero(loud)[-1] :]
    size = 1 << (len(after) + len(question)).bit_length()
    match = np.fft.irfft(np.fft.rfft(after, size) * np.conj(np.fft.rfft(question, size)), size)[: len(after)]
    found = int(np.argmax(match))
    heard = after[found : found + len(question)]
    assert heard @ question[: len(heard)] > 0.98 * np.linalg.norm(heard) * np.linalg.norm(question[: len(heard)])
