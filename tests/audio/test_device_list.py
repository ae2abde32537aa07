import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rtvoice.audio import device_list
from rtvoice.audio.input_stream import InputStream
from rtvoice.audio.microphone import MicrophoneInput
from rtvoice.audio.speaker import SpeakerOutput
from rtvoice.errors import AudioDeviceError


async def test_streams_step_aside_while_the_list_is_renewed(sounddevice: Any) -> None:
    microphone, speaker = MicrophoneInput(device="USB Mic"), SpeakerOutput(device="USB Speaker")
    await microphone.start()
    await speaker.start()
    before = list(sounddevice.streams)
    sounddevice.on_initialize = lambda: sounddevice.devices.reverse()  # other indices
    for index, device in enumerate(reversed(sounddevice.devices)):
        device["index"] = index
    assert await asyncio.to_thread(device_list.renew)  # _terminate() checks that all are closed
    assert sounddevice.initialized == 1
    assert [stream.calls for stream in before] == [["start", "abort", "close"]] * 2
    again = sounddevice.streams[2:]
    assert [stream.settings["device"] for stream in again] == [2, 1]  # found by name
    await asyncio.sleep(0)
    assert microphone.is_active
    chunks = microphone.stream_chunks()
    again[0].deliver(bytes(960))
    assert await anext(chunks) == bytes(960)
    await chunks.aclose()
    await microphone.stop()
    await speaker.stop()
    assert [stream.calls for stream in again] == [["start", "abort", "close"]] * 2
    assert device_list._streams == {}


async def test_the_default_is_found_anew(sounddevice: Any) -> None:
    microphone = MicrophoneInput()
    await microphone.start()
    sounddevice.default_index = 1
    assert await asyncio.to_thread(device_list.renew)
    assert sounddevice.stream.settings["device"] == 1
    await microphone.stop()


async def test_a_stream_of_the_application_is_left_alone(sounddevice: Any) -> None:
    microphone = MicrophoneInput()
    await microphone.start()
    theirs = sounddevice.RawOutputStream(samplerate=48_000, channels=2, device=2)
    assert not await asyncio.to_thread(device_list.renew)
    assert sounddevice.initialized == 0
    assert theirs.calls == []
    assert microphone.is_active
    theirs.close()
    assert await asyncio.to_thread(device_list.renew)
    await microphone.stop()


async def test_a_device_that_does_not_come_back_is_lost(sounddevice: Any) -> None:
    losses: list[AudioDeviceError] = []
    lost = asyncio.Event()

    def on_lost(error: AudioDeviceError) -> None:
        losses.append(error)
        lost.set()

    stream = InputStream(
        "USB Mic", sample_rate=24_000, block_ms=20, latency="low", on_lost=on_lost, on_block=lambda *_: None
    )
    await stream.open()
    sounddevice.on_initialize = lambda: sounddevice.devices.clear()
    await asyncio.to_thread(device_list.renew)
    await lost.wait()
    assert "did not come back when PortAudio had looked for devices: no input device matches" in str(losses[0])
    assert not stream.is_open
    await stream.close()


async def test_a_stream_that_is_closed_meanwhile_stays_closed(sounddevice: Any) -> None:
    microphone = MicrophoneInput()
    await microphone.start()
    closing: list[asyncio.Future[None]] = []

    def close() -> None:
        closing.append(asyncio.run_coroutine_threadsafe(microphone.stop(), sounddevice.loop))  # type: ignore[arg-type]
        stopped = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), sounddevice.loop)
        stopped.result(5)

    sounddevice.on_initialize = close
    await asyncio.to_thread(device_list.renew)
    await asyncio.wrap_future(closing[0])  # type: ignore[arg-type]
    assert all(stream.closed for stream in sounddevice.streams)
    assert not microphone.is_active
    assert device_list._streams == {}


async def test_the_format_may_change(sounddevice: Any) -> None:
    microphone = MicrophoneInput()
    await microphone.start()

    def other_format() -> None:
        sounddevice.refuse = lambda settings: (
            None if settings["samplerate"] == 48_000 else sounddevice.PortAudioError("rate", -9997)
        )

    sounddevice.on_initialize = other_format
    await asyncio.to_thread(device_list.renew)
    assert microphone.stats().device_rate == 48_000
    for _ in range(3):
        sounddevice.stream.deliver(bytes(1920))
    chunks = microphone.stream_chunks()
    assert await anext(chunks) + await anext(chunks) == bytes(1920)
    await chunks.aclose()
    await microphone.stop()


async def test_a_failure_to_initialise_portaudio_is_not_for_ever(sounddevice: Any) -> None:
    microphone = MicrophoneInput(device="USB Mic")
    await microphone.start()
    works = False

    def initialize() -> None:
        if not works:
            raise sounddevice.PortAudioError("unanticipated host error", -9999)

    def terminate() -> None:
        if not was_initialized:
            raise sounddevice.PortAudioError("not initialized", -10000)

    was_initialized = True
    sounddevice._terminate = terminate
    sounddevice.on_initialize = initialize
    query_devices, sounddevice.query_devices = sounddevice.query_devices, fail_with(sounddevice, "not initialized")
    with pytest.raises(AudioDeviceError, match=r"cannot look for devices: .*unanticipated"):
        await asyncio.to_thread(device_list.renew)
    await asyncio.sleep(0)
    assert not microphone.is_active
    was_initialized = False
    async with asyncio.TaskGroup() as group:
        group.create_task(microphone.reopen())
        await asyncio.sleep(0.02)
        works, sounddevice.query_devices = True, query_devices
    assert microphone.stats().device == "USB Microphone"
    await microphone.stop()


def fail_with(sounddevice: Any, message: str) -> Callable[[], Any]:
    def fail() -> Any:
        raise sounddevice.PortAudioError(message, -10000)

    return fail
