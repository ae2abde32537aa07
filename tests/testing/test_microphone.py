"""The virtual microphone."""

import asyncio
import wave
from array import array
from pathlib import Path
from typing import Any

import pytest

from rtvoice.audio.devices import AudioInputDevice
from rtvoice.errors import AudioDeviceError
from rtvoice.testing import VirtualMicrophone

pytestmark = pytest.mark.virtual_clock
HELLO = Path(__file__).parents[1] / "fixtures" / "audio" / "hello.wav"


def ramp(milliseconds: int, start: int = 0) -> bytes:
    return array("h", [(start + n) % 30_000 for n in range(24 * milliseconds)]).tobytes()


def now() -> float:
    return asyncio.get_running_loop().time()


async def opened(device: Any) -> Any:
    await device.start()
    return device


async def chunks(microphone: VirtualMicrophone, count: int) -> list[bytes]:
    taken = []
    stream = microphone.stream_chunks()
    async for chunk in stream:
        taken.append(chunk)
        if len(taken) == count:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return taken


async def test_a_silent_room_at_the_pace_of_the_clock() -> None:
    microphone = await opened(VirtualMicrophone())
    assert isinstance(microphone, AudioInputDevice)
    started = now()
    assert await chunks(microphone, 50) == [bytes(960)] * 50
    assert now() - started == pytest.approx(1.0)
    assert microphone.streamed_samples == 24_000


async def test_a_clip_between_silence() -> None:
    microphone = await opened(VirtualMicrophone(chunk_ms=10))
    started = now()
    first, second = microphone.say(ramp(25, 1)), microphone.say(ramp(10, 5000))
    heard = b"".join(await chunks(microphone, 5))
    assert heard == ramp(25, 1) + ramp(10, 5000) + bytes(48 * 15)
    await first.done()
    await second.done()
    assert first.started_at == pytest.approx(started)
    assert second.started_at == pytest.approx(started + 0.025)


async def test_a_clip_that_comes_later() -> None:
    microphone = await opened(VirtualMicrophone())
    async with asyncio.TaskGroup() as tasks:
        streaming = tasks.create_task(chunks(microphone, 10))
        await asyncio.sleep(0.05)
        clip = microphone.say(HELLO)
        await asyncio.sleep(0.01)
    heard = b"".join(streaming.result())
    assert clip.started_at == pytest.approx(0.04)
    assert heard == bytes(960 * 2) + clip.pcm[: 960 * 8]


async def test_pauses_are_exact() -> None:
    microphone = await opened(VirtualMicrophone())
    microphone.say(ramp(20, 1))
    microphone.pause(30)
    microphone.say(ramp(10, 1))
    assert b"".join(await chunks(microphone, 3)) == ramp(20, 1) + bytes(48 * 30) + ramp(10, 1)


async def test_as_fast_as_possible_and_to_the_end() -> None:
    microphone = await opened(VirtualMicrophone(realtime=False))
    microphone.say(HELLO)
    microphone.say(ramp(7))
    microphone.end()
    with wave.open(str(HELLO)) as file:
        expected = file.readframes(file.getnframes()) + ramp(7)
    assert b"".join([chunk async for chunk in microphone.stream_chunks()]) == expected
    assert now() == 0.0


async def test_unpaced_it_waits_for_something_to_say() -> None:
    microphone = await opened(VirtualMicrophone(realtime=False))
    async with asyncio.TaskGroup() as tasks:
        streaming = tasks.create_task(chunks(microphone, 1))
        await asyncio.sleep(5)
        assert not streaming.done()
        microphone.say(ramp(20))
    assert streaming.result() == [ramp(20)]


async def test_a_realtime_stream_ends_after_the_last_clip() -> None:
    microphone = await opened(VirtualMicrophone())
    microphone.say(ramp(30))
    microphone.end()
    assert len([chunk async for chunk in microphone.stream_chunks()]) == 2


@pytest.mark.parametrize("realtime", [True, False])
async def test_stopping_and_failing(realtime: bool) -> None:
    microphone = VirtualMicrophone(realtime=realtime)
    with pytest.raises(AudioDeviceError, match="call start"):
        await anext(microphone.stream_chunks())
    await microphone.start()
    assert microphone.is_active
    async with asyncio.TaskGroup() as tasks:
        streaming = tasks.create_task(chunks(microphone, 10**6))
        await asyncio.sleep(0.1)
        await microphone.stop()
    assert len(streaming.result()) == (5 if realtime else 0)
    assert not microphone.is_active
    await microphone.start()
    microphone.fail(OSError("unplugged"))
    with pytest.raises(OSError, match="unplugged"):
        await anext(microphone.stream_chunks())


async def test_a_slow_consumer_catches_up() -> None:
    microphone = await opened(VirtualMicrophone())
    stream = microphone.stream_chunks()
    await anext(stream)
    await asyncio.sleep(0.1)
    started = now()
    for _ in range(5):
        await anext(stream)
    assert now() == started
    await anext(stream)
    assert now() == pytest.approx(started + 0.02)
    await stream.aclose()


def test_impossible_chunks() -> None:
    with pytest.raises(ValueError, match="chunk_ms"):
        VirtualMicrophone(chunk_ms=0)
