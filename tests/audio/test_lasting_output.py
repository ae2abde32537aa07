import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvoice.audio.lasting_output import LastingClock, LastingOutput, StalledError
from rtvoice.audio.pcm import samples_in
from rtvoice.errors import AudioDeviceError
from rtvoice.testing import PositionedSpeaker, VirtualSpeaker
from rtvoice.testing.clock import run

pytestmark = pytest.mark.virtual_clock

MS = 24


def speech(start_ms: float, stop_ms: float) -> bytes:
    """Audio whose every sample says where it belongs."""
    samples = range(round(start_ms * MS), round(stop_ms * MS))
    return struct.pack(f"<{len(samples)}H", *(sample % 65_536 for sample in samples))


class Cable:
    """Lets a loudspeaker be unplugged: what it has not played is gone, and it fails until it is started again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.listeners: list[Callable[[Exception], None]] = []

    async def unplug(self) -> None:
        await VirtualSpeaker.clear_buffer(self)  # type: ignore[arg-type]
        self.failure = AudioDeviceError("unplugged")

    async def start(self) -> None:
        self.failure = None
        self.calls.append("start")
        await super().start()  # type: ignore[misc]

    async def finish_response(self) -> None:
        self.calls.append("finish")

    async def pause(self) -> None:
        self.calls.append("pause")

    async def resume(self) -> None:
        self.calls.append("resume")


class Plain(Cable, VirtualSpeaker):
    pass


class Counting(Cable, PositionedSpeaker):
    pass


class Noticing(Counting):
    """Says so when it is lost."""

    async def unplug(self) -> None:
        await super().unplug()
        for call in self.listeners:
            call(AudioDeviceError("unplugged"))

    def when_lost(self, call: Callable[[Exception], None]) -> Callable[[], None]:
        self.listeners.append(call)
        return lambda: self.listeners.remove(call)


class Rig:
    """A device and its output; reopening takes ``takes_s``, and works ``times`` times."""

    def __init__(self, device: Cable, *, takes_s: float = 0.5, times: int = 100, **settings: object) -> None:
        self.device: Plain = device  # type: ignore[assignment]
        self.takes_s, self.times = takes_s, times
        self.losses: list[tuple[BaseException, bool]] = []
        self.output = LastingOutput(self.device, recover=self.recover, **settings)  # type: ignore[arg-type]

    async def recover(self, error: BaseException, has_worked: bool) -> bool:
        self.losses.append((error, has_worked))
        await asyncio.sleep(self.takes_s)
        if len(self.losses) > self.times:
            return False
        await self.device.start()
        return True

    async def play(self, start_ms: float, stop_ms: float) -> None:
        await self.output.ready()
        pcm = speech(start_ms, stop_ms)
        self.output.clock.accept(samples_in(pcm), asyncio.get_running_loop().time())
        await self.output.play(pcm)

    @property
    def heard_ms(self) -> float:
        return self.output.clock.heard(asyncio.get_running_loop().time()) / MS


@asynccontextmanager
async def open_rig(device: Cable, **settings: object) -> AsyncIterator[Rig]:
    rig = Rig(device, **settings)  # type: ignore[arg-type]
    await rig.device.start()
    rig.output.clock.restart()
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.output.run())
        await asyncio.sleep(0)
        yield rig
        rig.output.end()


every_device = pytest.mark.parametrize("make", [Plain, Counting, Noticing])


@every_device
async def test_what_was_not_heard_is_played_again(make: Callable[[], Cable]) -> None:
    async with open_rig(make()) as rig:
        await rig.play(0, 1_000)
        await asyncio.sleep(0.3)
        await rig.device.unplug()
        await rig.play(1_000, 1_100)  # at the latest this notices it
        assert rig.output.clock.heard(0.0) == 300 * MS
        await rig.play(1_100, 1_200)
        await rig.output.finish()
        await asyncio.sleep(2)
        assert rig.heard_ms == 1_200
        assert rig.device.heard_pcm == speech(0, 1_200)
        assert len(rig.losses) == 1
        assert rig.device.calls == ["start", "start", "finish"]


async def test_a_device_that_notices_its_loss_needs_no_audio_for_that() -> None:
    device = Noticing()
    async with open_rig(device) as rig:
        await rig.play(0, 1_000)
        await rig.output.finish()
        await asyncio.sleep(0.4)
        await device.unplug()
        assert rig.output.is_playing  # nothing says that it is over
        await asyncio.sleep(0.4)
        assert rig.heard_ms == 400
        assert rig.output.clock.when(500 * MS) > 0.8
        await asyncio.sleep(1)
        assert device.heard_pcm == speech(0, 1_000)
        assert device.calls == ["start", "finish", "start", "finish"]  # the jitter buffer of the new one knows too
    assert device.listeners == []


@every_device
async def test_an_interruption_while_there_is_no_device(make: Callable[[], Cable]) -> None:
    async with open_rig(make()) as rig, asyncio.TaskGroup() as group:
        await rig.play(0, 1_000)
        await asyncio.sleep(0.3)
        await rig.device.unplug()
        await asyncio.sleep(0)
        if not rig.losses:
            group.create_task(rig.play(1_000, 1_100))
        await asyncio.sleep(0.1)
        await rig.output.clear()
        now = asyncio.get_running_loop().time()
        assert rig.output.clock.clear(now) == 300 * MS
        rig.output.clock.settle(now)
        assert rig.output.clock.unheard(now) == 0
        await asyncio.sleep(1)
        await rig.play(5_000, 5_100)
        await asyncio.sleep(1)
        assert rig.device.heard_pcm == speech(0, 300) + speech(5_000, 5_100)
        assert rig.heard_ms == 400


async def test_an_interruption_while_the_rest_is_handed_over() -> None:
    device = Plain()
    device.buffer_ms = 0  # it waits until a chunk is over
    async with open_rig(device) as rig, asyncio.TaskGroup() as group:
        device.buffer_ms = None
        for start in range(0, 1_000, 100):
            await rig.play(start, start + 100)
        await asyncio.sleep(0.25)
        await device.unplug()
        device.buffer_ms = 0
        group.create_task(rig.play(1_000, 1_100))
        await asyncio.sleep(0.5 + 0.2)  # 0.2 s of the rest have been heard
        await rig.output.clear()
        rig.output.clock.clear(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        assert device.heard_pcm == speech(0, 450)
        assert rig.heard_ms == 450


async def test_a_device_that_fails_while_the_rest_is_handed_over() -> None:
    class Weak(Counting):
        chances = 1

        async def play_chunk(self, chunk: bytes) -> None:
            if self.calls.count("start") == 2 and self.chances:
                self.chances -= 1
                await self.unplug()
            await super().play_chunk(chunk)

    async with open_rig(Weak()) as rig:
        await rig.play(0, 500)
        await rig.play(500, 1_000)
        await asyncio.sleep(0.3)
        await rig.device.unplug()
        await rig.play(1_000, 1_100)
        await asyncio.sleep(2)
        assert len(rig.losses) == 2
        assert rig.device.heard_pcm == speech(0, 1_100)


async def test_a_device_that_does_not_know_its_position_any_more() -> None:
    class Forgetful(Counting):
        def position(self) -> object:  # type: ignore[override]
            if self.failure is not None:
                raise self.failure
            return super().position()

    async with open_rig(Forgetful()) as rig:
        await rig.play(0, 1_000)
        await asyncio.sleep(0.3)
        assert rig.heard_ms == 300  # the last that is known
        await asyncio.sleep(0.1)
        await rig.device.unplug()
        rig.output._lose(AudioDeviceError("unplugged"))
        assert rig.heard_ms == 300


async def test_a_lost_device_ends_it() -> None:
    async with open_rig(Counting(), times=0) as rig:
        await rig.play(0, 1_000)
        await asyncio.sleep(0.3)
        await rig.device.unplug()
        await rig.play(1_000, 1_100)
        await rig.play(1_100, 1_200)
        await rig.output.finish()
        await asyncio.sleep(5)
        assert not rig.output.is_playing
        assert rig.heard_ms == 300
        assert len(rig.losses) == 1


async def test_a_lost_device_may_be_done_without() -> None:
    async with open_rig(Counting(), times=0, silent_if_lost=True) as rig:
        await rig.play(0, 1_000)
        await asyncio.sleep(0.3)
        await rig.device.unplug()
        await rig.play(1_000, 1_100)  # takes the half second in which the device is given up
        assert rig.output.is_playing
        await asyncio.sleep(0.4)
        assert rig.heard_ms == 700
        await asyncio.sleep(0.5)
        assert rig.heard_ms == 1_100
        assert not rig.output.is_playing
        await rig.output.clear()


# --- standing still ----------------------------------------------------------------------------------


async def test_a_position_that_stands_still_is_a_loss() -> None:
    class Frozen(Counting):
        frozen = False

        @property
        def heard_samples(self) -> int:
            return 2_400 if self.frozen else super().heard_samples

    device = Frozen()
    async with open_rig(device, stall_s=2.0, takes_s=0.0) as rig:
        await asyncio.sleep(30)  # nothing to play is no fault
        await rig.play(0, 100)
        await asyncio.sleep(30)
        await rig.play(100, 9_000)
        device.frozen = True
        await asyncio.sleep(3)
        ((error, has_worked), *_) = rig.losses
        assert isinstance(error, StalledError)
        assert error.waited_s == pytest.approx(2.25, abs=0.26)
        assert has_worked
        await asyncio.sleep(3)
        assert rig.losses[1][1] is False  # since it was opened it has played nothing


async def test_a_pause_is_no_standstill() -> None:
    class Paused(Counting):
        @property
        def heard_samples(self) -> int:
            return 0

    async with open_rig(Paused(), stall_s=2.0) as rig:
        await rig.output.pause()
        await rig.play(0, 1_000)
        await asyncio.sleep(30)
        assert rig.losses == []
        await rig.output.resume()
        await asyncio.sleep(1)
        await rig.output.pause()
        assert rig.device.calls == ["start", "pause", "resume", "pause"]


async def test_a_paused_device_is_paused_again() -> None:
    async with open_rig(Noticing()) as rig:
        await rig.output.pause()
        await rig.device.unplug()
        await asyncio.sleep(1)
        assert rig.device.calls == ["start", "pause", "start", "pause"]
        await rig.output.resume()
        rig.output.clock.resume(asyncio.get_running_loop().time())


async def test_a_paused_device_that_cannot_count_is_paused_again() -> None:
    async with open_rig(Plain()) as rig:
        await rig.play(0, 500)
        await asyncio.sleep(0.3)
        await rig.output.pause()
        rig.output.clock.pause(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        assert rig.heard_ms == 300
        rig.device.failure = AudioDeviceError("unplugged")
        await rig.output.play(b"")
        await asyncio.sleep(1)
        assert rig.heard_ms == 300
        await rig.output.resume()
        rig.output.clock.resume(asyncio.get_running_loop().time())
        await asyncio.sleep(0.1)
        assert rig.heard_ms == 400
        rig.output.clock.settle(asyncio.get_running_loop().time())
        assert rig.heard_ms == 500


async def test_pausing_what_is_lost() -> None:
    device = Noticing()
    async with open_rig(device) as rig:
        await device.unplug()
        now = asyncio.get_running_loop().time()
        rig.output.clock.pause(now)
        rig.output.clock.resume(now)
        assert rig.output.is_playing


async def test_a_device_without_pause_just_goes_on() -> None:
    async with asyncio.timeout(1):
        output = LastingOutput(VirtualSpeaker(), recover=Rig(Plain()).recover)
        await output.pause()
        await output.resume()
        await output.finish()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_call_that_does_not_return_is_a_loss(waits: bool) -> None:
    class Hanging(Plain):
        async def play_chunk(self, chunk: bytes) -> None:
            if self.calls.count("start") == 1:
                await asyncio.sleep(3_600)
            await super().play_chunk(chunk)

    async with open_rig(Hanging(), stall_s=2.0 if waits else None) as rig, asyncio.TaskGroup() as group:
        playing = group.create_task(rig.play(0, 1_000))
        await asyncio.sleep(10)
        assert playing.done() is waits
        assert len(rig.losses) == waits
        if waits:  # a device that cannot count may have played the chunk: nobody knows
            await rig.play(1_000, 1_100)
            await asyncio.sleep(1)
            assert rig.device.heard_pcm == speech(1_000, 1_100)
        playing.cancel()


async def test_a_call_that_never_ends_is_not_held_against_the_device_that_was_opened_anew() -> None:
    class Deaf(Plain):
        """Its first call does not return, and takes no notice of being cancelled."""

        async def play_chunk(self, chunk: bytes) -> None:
            if self.calls.count("start") > 1:
                await super().play_chunk(chunk)
                return
            with suppress(asyncio.CancelledError):
                await over.wait()
            await over.wait()

    over = asyncio.Event()
    device = Deaf()
    async with open_rig(device, stall_s=2.0) as rig, asyncio.TaskGroup() as group:
        group.create_task(rig.play(0, 100))
        await asyncio.sleep(60)
        assert len(rig.losses) == 1
        await device.unplug()
        await rig.play(100, 200)
        await asyncio.sleep(2)
        assert len(rig.losses) == 2
        assert device.heard_pcm == speech(100, 200)
        over.set()


async def test_a_device_that_waits_while_it_plays_is_well() -> None:
    device = Plain()
    device.buffer_ms = 0
    async with open_rig(device, stall_s=1.0) as rig:
        for start in range(0, 30_000, 5_000):
            await rig.play(start, start + 5_000)
        assert rig.losses == []


async def test_after_the_end_nothing_is_mended() -> None:
    async with open_rig(Plain()) as rig:
        rig.output.end()
        await rig.device.unplug()
        await rig.output.play(speech(0, 100))
        await rig.output.clear()
        rig.output._lose(AudioDeviceError("unplugged"))
        assert rig.losses == []


@given(
    kind=st.sampled_from([Plain, Counting, Noticing]),
    steps=st.lists(st.tuples(st.sampled_from(["play", "wait", "unplug"]), st.integers(1, 400)), max_size=25),
)
@settings(max_examples=150)
def test_whatever_happens_all_is_heard_once_and_in_order(kind: type[Plain], steps: list[tuple[str, int]]) -> None:
    async def story() -> None:
        handed_over = 0
        async with open_rig(kind(), takes_s=0.2) as rig:
            for step, amount in steps:
                if step == "play":
                    await rig.play(handed_over, handed_over + amount)
                    handed_over += amount
                elif step == "wait":
                    await asyncio.sleep(amount / 1_000)
                elif rig.device.failure is None:
                    rig.heard_ms  # noqa: B018 - the model of a device that cannot count is as good as its last look
                    await rig.device.unplug()
                    if kind is not Noticing:
                        await rig.play(handed_over, handed_over + 20)
                        handed_over += 20
            await asyncio.sleep(20)
            assert rig.device.heard_pcm == speech(0, handed_over)
            assert rig.heard_ms == handed_over

    run(story())


async def test_the_clock_begins_anew_with_its_device() -> None:
    device = PositionedSpeaker()
    clock = LastingClock(device)
    await device.start()
    await device.play_chunk(speech(0, 100))
    await asyncio.sleep(1)
    clock.restart()
    assert clock.heard(1.0) == 0
    clock.accept(48, 1.0)
    assert clock.ends_at() == pytest.approx(1.002)
