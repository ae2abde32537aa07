"""The microphone of a scripted user."""

import asyncio

import pytest

from rtvoice.audio.vad import SpeechDetector
from rtvoice.errors import AudioDeviceError
from rtvoice.testing.user_voice import UserVoice, murmur

pytestmark = pytest.mark.virtual_clock

CLIP = b"\x01\x02" * 6_000  # 250 ms


class Listener:
    """Collects the chunks, with the times at which they came."""

    def __init__(self, voice: UserVoice) -> None:
        self.voice = voice
        self.chunks: list[bytes] = []
        self.times: list[float] = []

    async def listen(self) -> None:
        async for chunk in self.voice.stream_chunks():
            self.chunks.append(chunk)
            self.times.append(round(asyncio.get_running_loop().time(), 6))

    @property
    def sound(self) -> bytes:
        return b"".join(self.chunks)


async def test_silence_and_a_clip_at_the_very_moment() -> None:
    voice = UserVoice()
    listener = Listener(voice)
    await voice.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(listener.listen())
        await asyncio.sleep(0.13)
        voice.say(CLIP)
        await asyncio.sleep(0.5)
        await voice.stop()
    assert listener.sound == bytes(int(0.13 * 48_000)) + CLIP + bytes(int(0.25 * 48_000))
    assert listener.times == [0.1, 0.13, 0.23, 0.33, 0.38, 0.48, 0.58, 0.63]
    assert len(listener.sound) == 0.63 * 48_000


async def test_what_is_said_meanwhile_comes_afterwards() -> None:
    voice = UserVoice()
    listener = Listener(voice)
    await voice.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(listener.listen())
        voice.say(CLIP)
        await asyncio.sleep(0.11)
        voice.say(CLIP)
        await asyncio.sleep(0.39)
        await voice.stop()
    assert listener.sound == CLIP + CLIP


async def test_closing_ends_the_stream_in_mid_word() -> None:
    voice = UserVoice()
    listener = Listener(voice)
    await voice.start()
    assert voice.is_active
    async with asyncio.TaskGroup() as group:
        group.create_task(listener.listen())
        voice.say(CLIP)
        await asyncio.sleep(0.15)
        await voice.stop()
    assert not voice.is_active
    assert listener.sound == CLIP[:4_800]


async def test_closing_between_two_chunks_ends_the_stream() -> None:
    voice = UserVoice()
    await voice.start()
    voice.say(CLIP)
    chunks = []
    async for chunk in voice.stream_chunks():
        chunks.append(chunk)
        await voice.stop()
    assert chunks == [CLIP[:4_800]]


async def test_a_closed_microphone_hears_nothing() -> None:
    with pytest.raises(AudioDeviceError, match="call start"):
        await anext(aiter(UserVoice().stream_chunks()))


@pytest.mark.parametrize("words", ["", "I", "Stop.", "What is the weather in Berlin?", "word " * 100])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_a_murmur_is_speech(words: str, threshold: float) -> None:
    pcm = murmur(words)
    heard = SpeechDetector(threshold).feed(bytes(48_000) + pcm)
    assert not any(heard[:50])
    assert sum(heard[50:]) >= 0.75 * len(heard[50:])
    assert len(pcm) / 48_000 == pytest.approx(max(0.4, len(words) / 15), abs=0.2)
