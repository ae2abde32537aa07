import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rtvoice.audio import device_stream
from rtvoice.audio.devices import AudioInputDevice, ReportsStats, SupportsTap
from rtvoice.audio.microphone import MicrophoneInput
from rtvoice.errors import AudioDeviceError, AudioExtraMissingError, ConfigurationError


def block(number: int, samples: int = 480) -> bytes:
    return bytes([number]) * 2 * samples


@pytest.fixture
async def mic(sounddevice: Any) -> AsyncIterator[MicrophoneInput]:
    microphone = MicrophoneInput()
    await microphone.start()
    yield microphone
    await microphone.stop()


async def collect(microphone: MicrophoneInput) -> list[bytes]:
    return [chunk async for chunk in microphone.stream_chunks()]


def test_offers_what_it_can() -> None:
    microphone = MicrophoneInput()
    assert isinstance(microphone, AudioInputDevice)
    assert isinstance(microphone, SupportsTap)
    assert isinstance(microphone, ReportsStats)
    assert not microphone.is_active


@pytest.mark.parametrize(
    "settings",
    [
        {"device_index": 1, "device": "usb"},
        {"sample_rate": 0},
        {"chunk_size": 0},
        {"buffer_s": 0},
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MicrophoneInput(**settings)


async def test_without_sounddevice_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    microphone = MicrophoneInput()
    with pytest.raises(AudioExtraMissingError):
        await microphone.start()
    assert not microphone.is_active
    await microphone.stop()


async def test_opens_the_device_that_is_meant(sounddevice: Any) -> None:
    microphone = MicrophoneInput(1, 16_000, latency=0.1)
    await microphone.start()
    assert microphone.is_active
    settings = sounddevice.stream.settings
    assert (settings["device"], settings["samplerate"], settings["blocksize"]) == (1, 16_000, 320)
    assert (settings["channels"], settings["latency"]) == (1, 0.1)
    assert microphone.stats().device == "USB Microphone"
    await microphone.stop()
    assert not microphone.is_active


async def test_chunks_come_as_they_are_captured(mic: MicrophoneInput, sounddevice: Any) -> None:
    chunks = mic.stream_chunks()
    for number in range(3):
        await asyncio.to_thread(sounddevice.stream.deliver, block(number))
        assert await anext(chunks) == block(number)
    await mic.stop()
    assert [chunk async for chunk in chunks] == []


async def test_a_reader_waits_again_after_each_block(mic: MicrophoneInput, sounddevice: Any) -> None:
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(collect(mic))
        for number in range(3):
            sounddevice.stream.deliver(block(number))
            for _ in range(5):
                await asyncio.sleep(0)
        await mic.stop()
    assert reader.result() == [block(number) for number in range(3)]


async def test_a_stalled_loop_loses_nothing(mic: MicrophoneInput, sounddevice: Any) -> None:
    for number in range(50):
        sounddevice.stream.deliver(block(number))
    await mic.stop()
    assert await collect(mic) == [block(number) for number in range(50)]


@pytest.mark.parametrize(("chunk_size", "sizes"), [(1200, [1200, 1200]), (480, [480] * 5), (1000, [1000, 1000, 400])])
async def test_chunk_size_is_honoured(sounddevice: Any, chunk_size: int, sizes: list[int]) -> None:
    microphone = MicrophoneInput(chunk_size=chunk_size)
    await microphone.start()
    for number in range(5):
        sounddevice.stream.deliver(block(number))
    await microphone.stop()
    chunks = await collect(microphone)
    assert [len(chunk) // 2 for chunk in chunks] == sizes
    assert b"".join(chunks) == b"".join(block(number) for number in range(5))


async def test_stop_ends_a_waiting_reader(mic: MicrophoneInput) -> None:
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(collect(mic))
        await asyncio.sleep(0)
        await mic.stop()
    assert reader.result() == []
    assert await collect(mic) == []  # and every later one


async def test_a_cancelled_reader_leaves_the_microphone_usable(mic: MicrophoneInput, sounddevice: Any) -> None:
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(collect(mic))
        await asyncio.sleep(0)
        reader.cancel()
    sounddevice.stream.deliver(block(1))
    assert await anext(mic.stream_chunks()) == block(1)


async def test_reading_before_start(sounddevice: Any) -> None:
    with pytest.raises(AudioDeviceError, match="not started"):
        await collect(MicrophoneInput())


async def test_start_and_stop_in_any_order(sounddevice: Any) -> None:
    microphone = MicrophoneInput()
    await microphone.stop()
    await microphone.start()
    with pytest.raises(AudioDeviceError, match="already started"):
        await microphone.start()
    sounddevice.stream.deliver(block(1))
    await microphone.stop()
    await microphone.stop()
    await microphone.start()
    first, second = sounddevice.streams
    assert first.calls == ["start", "abort", "close"]
    first.deliver(block(2))  # a late call of the old stream is nobody's audio
    second.deliver(block(3))
    await microphone.stop()
    assert await collect(microphone) == [block(3)]


async def test_a_failed_start_can_be_repeated(sounddevice: Any) -> None:
    microphone = MicrophoneInput()
    sounddevice.refuse = lambda settings: sounddevice.PortAudioError("busy", -9985)
    with pytest.raises(AudioDeviceError):
        await microphone.start()
    await microphone.stop()
    sounddevice.refuse = lambda settings: None
    await microphone.start()
    assert microphone.is_active
    await microphone.stop()


async def test_stop_while_it_opens_closes_it(sounddevice: Any) -> None:
    opening = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = threading.Event()

    def slow() -> None:
        loop.call_soon_threadsafe(opening.set)
        go_on.wait(10)

    sounddevice.on_start = slow
    microphone = MicrophoneInput()
    async with asyncio.TaskGroup() as group:
        group.create_task(microphone.start())
        await opening.wait()
        await microphone.stop()
        go_on.set()
    assert not microphone.is_active
    assert sounddevice.stream.calls == ["start", "abort", "close"]


async def test_an_error_in_the_callback_reaches_the_reader(mic: MicrophoneInput, sounddevice: Any) -> None:
    sounddevice.stream.deliver(block(1))
    sounddevice.stream.call(None, 480, inputBufferAdcTime=0.0)
    chunks = mic.stream_chunks()
    assert await anext(chunks) == block(1)
    with pytest.raises(AudioDeviceError, match="failed in its callback"):
        await anext(chunks)
    assert not mic.is_active


async def test_a_lost_device_reaches_the_reader(mic: MicrophoneInput, sounddevice: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(sounddevice.stream.die))
        with pytest.raises(AudioDeviceError, match="ended by itself"):
            await collect(mic)
    assert not mic.is_active
    await mic.stop()
    with pytest.raises(AudioDeviceError, match="ended by itself"):
        await collect(mic)


async def test_a_silent_device_reaches_the_reader(sounddevice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stream, "WATCH_INTERVAL_S", 0.001)
    microphone = MicrophoneInput()
    await microphone.start()
    with pytest.raises(AudioDeviceError, match="has been dead"):
        await collect(microphone)
    await microphone.stop()


async def test_unfetched_audio_is_dropped_oldest_first_and_reported(
    sounddevice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    microphone = MicrophoneInput(buffer_s=0.1)
    await microphone.start()
    for number in range(8):
        sounddevice.stream.deliver(block(number))
    assert microphone.stats().dropped_ms == 60
    chunks = microphone.stream_chunks()
    assert await anext(chunks) == block(3)
    assert "60 ms were not fetched in time" in caplog.text
    await microphone.stop()
    assert microphone.stats().dropped_ms == 60


async def test_overflows_are_counted_and_the_log_is_not_flooded(
    mic: MicrophoneInput, sounddevice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    chunks = mic.stream_chunks()
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            sounddevice.stream.deliver(block(1), overflow=True)
            await anext(chunks)
        assert mic.stats().overflows == 20
        assert len(caplog.records) == 1
        await mic.stop()
    assert [record.message.rsplit("overflowed ")[1] for record in caplog.records] == ["1 times.", "19 times."]


async def test_a_tap_sees_every_block_with_its_time(mic: MicrophoneInput, sounddevice: Any) -> None:
    seen: list[tuple[bytes, float]] = []
    remove = mic.add_tap(lambda pcm, at: seen.append((pcm, at)))
    now = asyncio.get_running_loop().time()
    sounddevice.stream.deliver(block(1), captured=now - 0.05)
    remove()
    sounddevice.stream.deliver(block(2))
    ((pcm, at),) = seen
    assert pcm == block(1)
    assert at == pytest.approx(now - 0.05, abs=0.001)


async def test_a_callback_after_the_end_of_the_loop(sounddevice: Any) -> None:
    microphone = MicrophoneInput()
    other = asyncio.new_event_loop()
    sounddevice.loop = other
    await asyncio.to_thread(other.run_until_complete, microphone.start())
    callback = sounddevice.stream
    await asyncio.to_thread(other.run_until_complete, microphone.stop())
    other.close()
    callback.deliver(block(1))


def test_stats_before_start() -> None:
    stats = MicrophoneInput().stats()
    assert (stats.device, stats.overflows, stats.dropped_ms) == ("", 0, 0)


async def test_it_is_opened_again_and_goes_on_counting(sounddevice: Any) -> None:
    microphone = MicrophoneInput(device="USB Mic")
    await microphone.start()
    sounddevice.stream.deliver(bytes(960), overflow=True)
    chunks = microphone.stream_chunks()
    assert await anext(chunks) == bytes(960)
    sounddevice.stream.die()
    with pytest.raises(AudioDeviceError, match="ended by itself"):
        await anext(chunks)
    await microphone.reopen()
    assert microphone.is_active
    assert microphone.stats().device == "USB Microphone"
    sounddevice.stream.deliver(bytes(960), overflow=True)
    assert await anext(microphone.stream_chunks()) == bytes(960)
    assert microphone.stats().overflows == 2
    await microphone.stop()
    await microphone.start()
    assert microphone.stats().overflows == 0
    await microphone.stop()


async def test_another_microphone_takes_its_place(sounddevice: Any) -> None:
    microphone = MicrophoneInput(device="USB Mic")
    await microphone.start()
    sounddevice.on_initialize = lambda: sounddevice.devices.__delitem__(slice(1, None))
    sounddevice.stream.die()
    sounddevice.refuse = lambda settings: (
        sounddevice.PortAudioError("unplugged", -9999) if settings["device"] == 1 else None
    )
    await microphone.reopen()
    assert microphone.stats().device == "Built-in Audio"
    await microphone.stop()


async def test_reopening_what_was_never_opened(sounddevice: Any) -> None:
    microphone = MicrophoneInput()
    await microphone.reopen()
    assert microphone.is_active
    await microphone.stop()
