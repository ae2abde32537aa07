import asyncio
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rtvoice.components.recorder import Recorder
from rtvoice.events import (
    AgentErrorEvent,
    AssistantAudioPlayedEvent,
    AssistantInterruptedEvent,
    EventBus,
    UserAudioCapturedEvent,
)

pytestmark = pytest.mark.virtual_clock

MS = 24


def tone(value: int, milliseconds: int) -> bytes:
    return value.to_bytes(2, "little") * (milliseconds * MS)


@asynccontextmanager
async def recording(path: Path, output: object = None) -> AsyncIterator[tuple[EventBus, Recorder]]:
    bus = EventBus()
    recorder = Recorder(bus, path, output)
    async with asyncio.TaskGroup() as group:
        await recorder.start()
        group.create_task(recorder.run())
        yield bus, recorder
        await recorder.stop()


def sides(path: Path) -> tuple[bytes, bytes]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 24_000, 2)
        frames = file.readframes(file.getnframes())
    left = b"".join(frames[i : i + 2] for i in range(0, len(frames), 4))
    right = b"".join(frames[i + 2 : i + 4] for i in range(0, len(frames), 4))
    return left, right


def same_but_for_silence(recorded: bytes, expected: bytes, least_ms: int) -> bool:
    """Opening the file takes real time, which the line goes on: it ends with more silence than the test waited."""
    rest = recorded.removeprefix(expected)
    return recorded.startswith(expected) and len(recorded) >= least_ms * 48 and not any(rest)


async def test_both_sides_stand_where_they_were_heard(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "session.wav"
    async with recording(path) as (bus, recorder):
        await asyncio.sleep(0.4)
        bus.publish(UserAudioCapturedEvent(pcm=tone(1, 100), captured_at=0.5))
        bus.publish(AssistantAudioPlayedEvent(pcm=tone(2, 200), starts_at=0.6))
        bus.publish(AssistantAudioPlayedEvent(pcm=tone(2, 400), starts_at=0.8))
        await asyncio.sleep(0.5)
        bus.publish(AssistantInterruptedEvent("a", 300, cut_at=0.9))
        bus.publish(AssistantInterruptedEvent())
        await asyncio.sleep(0.6)
    user, assistant = sides(path)
    assert same_but_for_silence(user, tone(0, 400) + tone(1, 100), 1_500)
    assert same_but_for_silence(assistant, tone(0, 600) + tone(2, 300), 1_500)
    assert recorder.path == path


async def test_blocks_follow_each_other_and_a_pause_stays_a_pause(tmp_path: Path) -> None:
    path = tmp_path / "session.wav"
    async with recording(path) as (bus, _):
        for number, late_s in enumerate((0.0, 0.004, 0.001, 0.3, 0.304)):
            at = 0.1 + number * 0.02 + late_s
            bus.publish(UserAudioCapturedEvent(pcm=tone(number + 1, 20), captured_at=at + 0.02))
        await asyncio.sleep(2.5)
    user, _ = sides(path)
    before = tone(0, 100) + tone(1, 20) + tone(2, 20) + tone(3, 20)
    assert same_but_for_silence(user, before + tone(0, 300) + tone(4, 20) + tone(5, 20), 2_500)


async def test_a_device_with_a_tap_is_believed(tmp_path: Path) -> None:
    class Tapped:
        def __init__(self) -> None:
            self.taps: list[Callable[[bytes, float], None]] = []

        def add_tap(self, tap: Callable[[bytes, float], None]) -> Callable[[], None]:
            self.taps.append(tap)
            return lambda: self.taps.remove(tap)

    device = Tapped()
    async with recording(tmp_path / "session.wav", device) as (bus, _):
        (tap,) = device.taps
        tap(tone(3, 100), 0.25)
        bus.publish(AssistantAudioPlayedEvent(pcm=tone(2, 200), starts_at=0.1))
        bus.publish(AssistantInterruptedEvent("a", 0, cut_at=0.3))
        await asyncio.sleep(0.5)
    assert device.taps == []
    assert same_but_for_silence(sides(tmp_path / "session.wav")[1], tone(0, 250) + tone(3, 100), 500)


async def test_a_device_that_has_forgotten_its_taps(tmp_path: Path) -> None:
    class Forgetful:
        def __init__(self) -> None:
            self.taps: list[Callable[[bytes, float], None]] = []

        def add_tap(self, tap: Callable[[bytes, float], None]) -> Callable[[], None]:
            self.taps.append(tap)
            return lambda: self.taps.remove(tap)

    device = Forgetful()
    async with recording(tmp_path / "session.wav", device) as (_, recorder):
        device.taps[0](tone(3, 100), 0.0)
        await asyncio.sleep(0.2)
        device.taps.clear()  # it has been stopped, which is before the end of the recording
    assert same_but_for_silence(sides(tmp_path / "session.wav")[1], tone(3, 100), 200)
    assert recorder.path is not None


async def test_a_recording_without_a_word(tmp_path: Path) -> None:
    async with recording(tmp_path / "session.pcm"):
        await asyncio.sleep(0.25)
    assert same_but_for_silence((tmp_path / "session.pcm").read_bytes(), b"", 250)


async def test_a_file_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bus = EventBus()
    errors = bus.open_inbox(AgentErrorEvent)
    recorder = Recorder(bus, tmp_path / "file" / "session.wav", None)
    await recorder.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        bus.publish(UserAudioCapturedEvent(pcm=tone(1, 100), captured_at=0.5))
        await recorder.stop()
    (event,) = errors.take_all()
    assert event.error.type == "recording_error"
    assert "session.wav" in event.error.message
    assert recorder.path is None


async def test_a_disk_that_fails_later_is_reported_once(tmp_path: Path) -> None:
    async with recording(tmp_path / "session.wav") as (bus, recorder):
        errors = bus.open_inbox(AgentErrorEvent)
        recorder._report(OSError("disk full"))
        recorder._writer._error = OSError("disk full")
        (event,) = errors.take_all()
        assert "disk full" in event.error.message
    assert recorder.path is None
