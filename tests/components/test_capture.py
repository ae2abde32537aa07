import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rtvoice.audio import AudioInputDevice
from rtvoice.components.capture import Capture
from rtvoice.events import AgentErrorEvent, EventBus, StopAgentCommand, UserAudioCapturedEvent
from rtvoice.testing import VirtualMicrophone

pytestmark = pytest.mark.virtual_clock


class Source(AudioInputDevice):
    """Gives prepared chunks; an exception among them is raised, a number is a pause in seconds."""

    def __init__(self, *script: Any) -> None:
        self.script = script
        self.calls: list[str] = []
        self.closed = False

    async def start(self) -> None:
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    @property
    def is_active(self) -> bool:
        return True

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed = True


async def captured(source: AudioInputDevice) -> tuple[list[UserAudioCapturedEvent], EventBus, list[object]]:
    bus = EventBus()
    inbox = bus.open_inbox(UserAudioCapturedEvent)
    others = bus.open_inbox(AgentErrorEvent, StopAgentCommand, in_order=True)
    capture = Capture(bus, source)
    await capture.start()
    await capture.run()
    await capture.stop()
    return list(inbox.take_all()), bus, list(others.take_all())


async def test_chunks_of_any_size_are_published_in_whole_samples() -> None:
    source = Source(b"\x01", b"\x02\x03\x04\x05", b"", b"\x06\x07", bytearray(b"\x08"))
    events, _, others = await captured(source)
    assert [event.pcm for event in events] == [b"\x01\x02\x03\x04", b"\x05\x06", b"\x07\x08"]
    assert all(type(event.pcm) is bytes for event in events)
    assert others == []
    assert source.calls == ["start", "stop"]


async def test_chunks_are_stamped_with_their_time() -> None:
    events, _, _ = await captured(Source(0.5, bytes(96), 0.25, bytes(96)))
    assert [event.captured_at for event in events] == [0.5, 0.75]


async def test_minutes_in_one_chunk_are_published_in_pieces() -> None:
    pcm = bytes(range(250)) * 1_920  # 10 s
    events, _, _ = await captured(Source(pcm))
    assert b"".join(event.pcm for event in events) == pcm
    assert max(len(event.pcm) for event in events) <= 4_800


async def test_a_buffer_that_the_device_uses_again_is_copied() -> None:
    buffer = bytearray(b"\x01\x02")

    class Reusing(Source):
        async def stream_chunks(self) -> AsyncIterator[bytes]:
            yield buffer  # type: ignore[misc]
            buffer[:] = b"\x03\x04"
            yield buffer  # type: ignore[misc]

    events, _, _ = await captured(Reusing())
    assert [event.pcm for event in events] == [b"\x01\x02", b"\x03\x04"]


@pytest.mark.parametrize("error", [OSError("unplugged"), ValueError()])
async def test_a_device_that_fails_ends_the_conversation(error: Exception) -> None:
    events, _, (problem, stop) = await captured(Source(bytes(96), error))
    assert len(events) == 1
    assert problem.error.type == "audio_error"
    assert (str(error) or "ValueError") in problem.error.message
    assert stop.exception is None


async def test_a_device_that_fails_because_it_is_stopped_is_no_error() -> None:
    bus = EventBus()
    others = bus.open_inbox(AgentErrorEvent, StopAgentCommand)
    capture = Capture(bus, Source(bytes(96), 1.0, OSError("closed")))
    await capture.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(capture.run())
        await asyncio.sleep(0.5)
        await capture.stop()
    assert list(others.take_all()) == []


async def test_a_device_that_goes_on_after_its_stop_is_left() -> None:
    bus = EventBus()
    source = Source(*[bytes(960), 0.02] * 1_000)
    capture = Capture(bus, source)
    await capture.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(capture.run())
        await asyncio.sleep(1)
        await capture.stop()
    assert asyncio.get_running_loop().time() < 1.1
    assert source.closed


async def test_an_iterator_that_is_no_generator_is_fine() -> None:
    class Once(Source):
        def stream_chunks(self) -> AsyncIterator[bytes]:
            return self

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            if self.closed:
                raise StopAsyncIteration
            self.closed = True
            return bytes(4)

    events, _, others = await captured(Once())
    assert [event.pcm for event in events] == [bytes(4)]
    assert others == []


async def test_a_device_is_stopped_only_if_it_was_started() -> None:
    source = Source()
    await Capture(EventBus(), source).stop()
    assert source.calls == []


async def test_a_device_that_cannot_start_says_so_and_is_stopped_once() -> None:
    class Absent(Source):
        async def start(self) -> None:
            await super().start()
            raise OSError("absent")

    source = Absent()
    capture = Capture(EventBus(), source)
    with pytest.raises(OSError, match="absent"):
        await capture.start()
    await capture.stop()
    await capture.stop()
    assert source.calls == ["start", "stop"]


async def test_a_file_waits_for_the_network_and_loses_nothing() -> None:
    loop = asyncio.get_running_loop()
    bus = EventBus()
    inbox = bus.open_inbox(UserAudioCapturedEvent, limits_ms={UserAudioCapturedEvent: 5_000})
    capture = Capture(bus, Source(*[bytes(4_800 * 48)] * 10))
    await capture.start()
    pcm = b""

    async def network() -> None:
        nonlocal pcm
        while len(pcm) < 48_000 * 48:
            await asyncio.sleep(0.001)
            if (event := inbox.take()) is not None:
                pcm += event.pcm

    async with asyncio.TaskGroup() as group:
        group.create_task(capture.run())
        group.create_task(network())
    assert not inbox.dropped
    assert loop.time() < 24  # much faster than real time


async def test_a_microphone_never_waits_for_the_network() -> None:
    """What cannot be sent in time is dropped by the session, the oldest first."""
    bus = EventBus()
    inbox = bus.open_inbox(UserAudioCapturedEvent, limits_ms={UserAudioCapturedEvent: 5_000})
    microphone = VirtualMicrophone()
    capture = Capture(bus, microphone)
    await capture.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(capture.run())
        await asyncio.sleep(12)
        await capture.stop()
    assert microphone.streamed_samples == pytest.approx(12 * 24_000, abs=480)
    assert inbox.take_dropped_ms(UserAudioCapturedEvent) == pytest.approx(7_000, abs=40)


async def test_a_device_that_never_waits_lets_the_others_live() -> None:
    bus = EventBus()
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while not source.closed:
            turns += 1
            await asyncio.sleep(0)

    source = Source(*[bytes(2)] * 1_000)
    capture = Capture(bus, source)
    async with asyncio.TaskGroup() as group:
        group.create_task(bystander())
        group.create_task(capture.run())
    assert turns > 100


async def test_a_device_whose_stream_ends_with_its_stop() -> None:
    bus = EventBus()
    inbox = bus.open_inbox(UserAudioCapturedEvent)
    microphone = VirtualMicrophone()
    capture = Capture(bus, microphone)
    await capture.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(capture.run())
        await asyncio.sleep(0.05)
        await capture.stop()
    assert len(inbox) == 2


async def test_stopping_does_not_wait_for_the_network() -> None:
    bus = EventBus()
    bus.open_inbox(UserAudioCapturedEvent, limits_ms={UserAudioCapturedEvent: 5_000})
    capture = Capture(bus, Source(bytes(60_000 * 48)))
    await capture.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(capture.run())
        await asyncio.sleep(1)
        await capture.stop()
    assert asyncio.get_running_loop().time() < 1.1
