import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from rtvoice.audio.devices import SupportsPosition, SupportsTap
from rtvoice.testing import EchoingRoom, VirtualMicrophone, VirtualSpeaker

pytestmark = pytest.mark.virtual_clock

SOUND = (np.random.default_rng(1).standard_normal(12_000) * 3_000).astype("<i2").tobytes()


async def collect(chunks: AsyncIterator[bytes], milliseconds: int) -> np.ndarray:
    heard = b""
    async for chunk in chunks:
        heard += chunk
        if len(heard) >= milliseconds * 48:
            break
    return np.frombuffer(heard, "<i2").astype(float)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


async def test_the_microphone_hears_the_loudspeaker_and_the_user() -> None:
    room = EchoingRoom(delay_ms=40, level_db=-12, rt60_s=0.1)
    await room.speaker.start()
    await room.microphone.start()
    chunks = room.microphone.stream_chunks()
    await room.speaker.play_chunk(SOUND)
    echo = await collect(chunks, 800)
    assert not echo[: 40 * 24].any()
    played = np.frombuffer(SOUND, "<i2").astype(float)
    level = np.sqrt((echo**2).sum() / (played**2).sum())
    assert 20 * np.log10(level) == pytest.approx(-12, abs=0.5)
    room.microphone.say(SOUND)
    user = await collect(chunks, 500)
    assert correlation(user, played) > 0.95
    room.echoes = False
    await room.speaker.play_chunk(SOUND)
    assert not (await collect(chunks, 400)).any()


async def test_the_loudspeaker_shows_what_it_renders() -> None:
    room = EchoingRoom()
    assert isinstance(room.speaker, SupportsTap)
    assert isinstance(room.speaker, SupportsPosition)
    shown: list[tuple[bytes, float]] = []
    remove = room.speaker.add_tap(lambda pcm, at: shown.append((pcm, at)))
    await room.speaker.start()
    await room.microphone.start()
    chunks = room.microphone.stream_chunks()
    begin = asyncio.get_running_loop().time()
    await room.speaker.play_chunk(SOUND)
    await collect(chunks, 200)
    await room.speaker.clear_buffer()
    await collect(chunks, 100)
    remove()
    await collect(chunks, 100)
    assert [at for _, at in shown] == pytest.approx([begin + 0.02 * block for block in range(15)])
    assert b"".join(pcm for pcm, _ in shown) == SOUND[: 200 * 48] + bytes(100 * 48)


async def test_sound_between_two_times() -> None:
    speaker = VirtualSpeaker()
    await speaker.start()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await speaker.play_chunk(b"\x01\x00" * 240)
    await speaker.play_chunk(b"\x02\x00" * 240)
    await asyncio.sleep(0.05)
    await speaker.play_chunk(b"\x03\x00" * 240)

    def sounds(offset_ms: int, milliseconds: int) -> list[int]:
        return [*speaker.sound_between(begin + offset_ms / 1000, milliseconds * 24)[::48]]

    assert sounds(0, 70) == [1] * 10 + [2] * 10 + [0] * 30 + [3] * 10 + [0] * 10
    assert sounds(-5, 8) == [0] * 5 + [1] * 3
    assert sounds(15, 2) == [2, 2]
    assert sounds(100, 2) == [0, 0]


async def test_surroundings_of_a_microphone() -> None:
    microphone = VirtualMicrophone(chunk_ms=10)
    asked: list[tuple[float, int]] = []

    def hum(starts_at: float, samples: int) -> bytes:
        asked.append((starts_at, samples))
        return b"\x05\x00" * samples

    microphone.surroundings = hum
    await microphone.start()
    begin = asyncio.get_running_loop().time()
    microphone.say(b"\x02\x00" * 120)
    heard = await collect(microphone.stream_chunks(), 20)
    assert heard.tolist() == [7.0] * 120 + [5.0] * 360
    assert asked == [(pytest.approx(begin), 240), (pytest.approx(begin + 0.01), 240)]
