import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rtvoice.audio import AudioInputDevice
from rtvoice.components.capture import Capture
from rtvoice.events import (
    AgentErrorEvent,
    AudioDeviceLostEvent,
    AudioDeviceRestoredEvent,
    EventBus,
    StopAgentCommand,
    UserAudioCapturedEvent,
    WatchdogFiredEvent,
)
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
    source = Source(bytes(96), error)
    events, _, (problem, stop) = await captured(source)
    assert source.calls == ["start", "stop", "start", "stop"]  # it got its second chance
    assert len(events) == 2
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


# --- devices that are lost ---------------------------------------------------------------------------


class Unplugged(Source):
    """Delivers 20 ms chunks; fails after each of these numbers of chunks, then goes on for ever."""

    def __init__(self, *fail_after: int, silently: bool = False) -> None:
        super().__init__()
        self.fail_after = list(fail_after)
        self.silently = silently

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        count = 0
        while not self.fail_after or count < self.fail_after[0]:
            await asyncio.sleep(0.02)
            yield bytes(960)
            count += 1
        self.fail_after.pop(0)
        if self.silently:
            await asyncio.sleep(3_600)
        raise OSError("unplugged")


class Bench:
    """A capture that runs beside the test, and what it said but audio."""

    def __init__(self, source: AudioInputDevice, **settings: Any) -> None:
        self.source = source
        self.bus = EventBus()
        self.audio = self.bus.open_inbox(UserAudioCapturedEvent)
        self.others = self.bus.open_inbox(*Capture.says[1:], in_order=True)
        self.capture = Capture(self.bus, source, **settings)

    async def run(self, seconds: float) -> list[Any]:
        await self.capture.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.capture.run())
            await asyncio.sleep(seconds)
            await self.capture.stop()
        return list(self.others.take_all())


async def test_a_lost_device_is_opened_again() -> None:
    bench = Bench(Unplugged(50, 700))
    said = await bench.run(20)
    lost = AudioDeviceLostEvent(direction="input", reason="unplugged")
    restored = AudioDeviceRestoredEvent(direction="input", device="", gap_ms=0)
    assert said == [lost, restored, lost, restored]
    assert bench.capture.stats.reopenings == 2
    assert bench.source.calls == ["start", "stop", "start", "stop", "start", "stop"]  # type: ignore[attr-defined]


async def test_a_device_that_is_lost_again_at_once_ends_the_conversation() -> None:
    said = await Bench(Unplugged(50, 400)).run(20)
    assert [type(event) for event in said[2:]] == [AudioDeviceLostEvent, AgentErrorEvent, StopAgentCommand]
    assert said[3].error.type == "audio_error"
    assert "unplugged; it was opened again only just now" in said[3].error.message
    assert said[4].reason == "the input device failed"


async def test_the_conversation_may_go_on_without_the_device(caplog: pytest.LogCaptureFixture) -> None:
    said = await Bench(Unplugged(50, 400), on_lost="continue").run(20)
    assert [type(event) for event in said[2:]] == [AudioDeviceLostEvent, AgentErrorEvent]
    assert "goes on without the input device" in caplog.text


async def test_a_device_that_stands_still_is_opened_again() -> None:
    bench = Bench(Unplugged(600, silently=True), stall_s=5.0)
    said = await bench.run(30)
    assert said[0] == WatchdogFiredEvent(watchdog="capture", waited_s=5.0, action="retry")
    assert said[1] == AudioDeviceLostEvent(direction="input", reason="it has delivered nothing for 5 s")
    assert type(said[2]) is AudioDeviceRestoredEvent
    assert len(said) == 3


@pytest.mark.parametrize("on_lost", ["end", "continue"])
async def test_a_device_that_stays_still_is_lost(on_lost: Any) -> None:
    said = await Bench(Unplugged(600, 0, silently=True), stall_s=20.0, on_lost=on_lost).run(60)
    ends = on_lost == "end"
    assert [event.action for event in said if type(event) is WatchdogFiredEvent] == ["retry", "stop"][: 1 + ends]
    assert [type(event) for event in said][-1 - ends] is AgentErrorEvent
    assert (type(said[-1]) is StopAgentCommand) is ends


async def test_a_device_that_delivers_when_somebody_speaks_may_be_silent() -> None:
    pauses = [step for _ in range(5) for step in (30.0, bytes(96))]
    assert await Bench(Source(*pauses, 100.0), stall_s=5.0).run(200) == []


async def test_a_file_that_waits_for_the_network_does_not_stand_still() -> None:
    bench = Bench(Source(*[0.5, bytes(24_000)] * 30, bytes(4_800 * 480), bytes(96)), stall_s=5.0)
    bench.bus.open_inbox(UserAudioCapturedEvent, limits_ms={UserAudioCapturedEvent: 5_000})
    assert await bench.run(100) == []


async def test_a_time_limit_of_the_device_itself_is_its_failure() -> None:
    said = await Bench(Source(bytes(96), TimeoutError("its own")), stall_s=5.0).run(1)
    assert said[0] == AudioDeviceLostEvent(direction="input", reason="its own")


async def test_a_device_that_awaits_something_cancelled_has_failed() -> None:
    class Cancelled(Source):
        async def stream_chunks(self) -> AsyncIterator[bytes]:
            yield bytes(96)
            raise asyncio.CancelledError

    said = await Bench(Cancelled()).run(1)
    assert said[0] == AudioDeviceLostEvent(direction="input", reason="CancelledError")


async def test_cancelling_capture_is_no_failure() -> None:
    bench = Bench(Source(60.0))
    await bench.capture.start()
    running = asyncio.ensure_future(bench.capture.run())
    await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert not len(bench.others)


async def test_stopping_while_the_device_is_opened_again() -> None:
    class Slow(Unplugged):
        async def start(self) -> None:
            await super().start()
            if self.calls.count("start") == 2:
                await asyncio.sleep(5)

    bench = Bench(Slow(50))
    said = await bench.run(3)
    assert [type(event) for event in said] == [AudioDeviceLostEvent]
    assert asyncio.get_running_loop().time() < 3.1
    assert bench.source.calls == ["start", "stop", "start", "stop"]  # type: ignore[attr-defined]


async def test_what_has_to_be_cleaned_is_published_as_it_comes_out() -> None:
    """In pieces that hold up nobody, with the time that belongs to what came out."""
    bus = EventBus()
    inbox = bus.open_inbox(UserAudioCapturedEvent)
    source = Source(0.5, bytes(range(240)) * 10, 0.1, b"\x01\x02")
    capture = Capture(bus, source)
    pieces: list[tuple[int, float]] = []

    def clean(pcm: bytes, captured_at: float) -> tuple[bytes, float]:
        pieces.append((len(pcm), captured_at))
        return pcm[:480] if len(pcm) > 2 else b"", captured_at - 0.01

    capture.clean = clean
    await capture.start()
    await capture.run()
    await capture.stop()
    times = [0.47, 0.49, 0.5, 0.6]
    assert pieces == list(zip([960, 960, 480, 2], map(pytest.approx, times), strict=True))
    events = list(inbox.take_all())
    assert [len(event.pcm) for event in events] == [480] * 3
    assert [event.captured_at for event in events] == pytest.approx([at - 0.01 for at in times[:3]])
