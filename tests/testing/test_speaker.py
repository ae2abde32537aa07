"""The virtual loudspeaker: exact to the sample."""

import asyncio
from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvoice.audio.devices import AudioOutputDevice, PlaybackPosition, SupportsPosition
from rtvoice.errors import AudioDeviceError
from rtvoice.testing import PositionedSpeaker, VirtualSpeaker
from rtvoice.testing.clock import run

pytestmark = pytest.mark.virtual_clock


def ramp(milliseconds: int, start: int = 0) -> bytes:
    return array("h", [(start + n) % 30_000 for n in range(24 * milliseconds)]).tobytes()


def now() -> float:
    return asyncio.get_running_loop().time()


async def opened(device: Any) -> Any:
    await device.start()
    return device


async def test_what_was_heard_to_the_sample() -> None:
    speaker = await opened(VirtualSpeaker())
    assert isinstance(speaker, AudioOutputDevice)
    assert not isinstance(speaker, SupportsPosition)
    await speaker.play_chunk(ramp(100))
    await speaker.play_chunk(ramp(100, 2400))
    await asyncio.sleep(0.125)
    assert speaker.heard_samples == 3000
    assert speaker.heard_ms == 125.0
    assert speaker.heard_pcm == ramp(200)[:6000]
    assert speaker.is_playing
    assert speaker.chunks == 2
    await asyncio.sleep(0.075)
    assert speaker.heard_pcm == ramp(200)
    assert not speaker.is_playing
    assert speaker.underruns == 0


async def test_clearing_keeps_exactly_what_was_heard() -> None:
    speaker = await opened(VirtualSpeaker())
    await asyncio.sleep(1)
    for _ in range(10):
        await speaker.play_chunk(ramp(100))
    await asyncio.sleep(0.25)
    await speaker.clear_buffer()
    await asyncio.sleep(5)
    assert speaker.heard_samples == 6000
    assert speaker.heard_pcm == ramp(100) * 2 + ramp(100)[:2400]
    assert speaker.cleared_at == [1.25]
    (cleared,) = speaker.cleared
    assert (cleared.heard_samples, cleared.dropped_samples) == (6000, 18_000)
    assert speaker.discarded_samples == 18_000
    await speaker.play_chunk(ramp(100))
    await asyncio.sleep(0.05)
    assert speaker.heard_samples == 6000 + 1200
    assert [piece.started_at for piece in speaker.pieces if piece.pcm] == pytest.approx([1.0, 1.1, 1.2, 6.25])


async def test_a_gap_is_an_underrun() -> None:
    speaker = await opened(VirtualSpeaker())
    await speaker.play_chunk(ramp(100))
    await asyncio.sleep(0.1)
    await speaker.play_chunk(ramp(100))
    assert speaker.underruns == 0
    await asyncio.sleep(0.2)
    await speaker.play_chunk(ramp(100))
    assert speaker.underruns == 1


async def test_latency() -> None:
    speaker = await opened(VirtualSpeaker(latency_ms=40))
    await speaker.play_chunk(ramp(100))
    await asyncio.sleep(0.05)
    assert (speaker.rendered_samples, speaker.heard_samples) == (1200, 240)
    await speaker.clear_buffer()
    await asyncio.sleep(0.04)
    assert speaker.heard_samples == 1200
    assert not speaker.is_playing


@pytest.mark.parametrize(("buffer_ms", "waits"), [(None, [0, 0, 0]), (0, [0.1, 0.2, 0.3]), (150, [0, 0.05, 0.15])])
async def test_when_play_chunk_returns(buffer_ms: int | None, waits: list[float]) -> None:
    speaker = await opened(VirtualSpeaker(buffer_ms=buffer_ms))
    returned = []
    for _ in range(3):
        await speaker.play_chunk(ramp(100))
        returned.append(now())
    assert returned == pytest.approx(waits)


async def test_clearing_wakes_a_waiting_play_chunk() -> None:
    speaker = await opened(VirtualSpeaker(buffer_ms=0))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speaker.play_chunk(ramp(1000)))
        await asyncio.sleep(0.3)
        await speaker.clear_buffer()
    assert now() == pytest.approx(0.3)
    assert speaker.heard_samples == 7200


async def test_a_second_chunk_does_not_wake_the_first() -> None:
    speaker = await opened(VirtualSpeaker(buffer_ms=0))
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(speaker.play_chunk(ramp(100)))
        await asyncio.sleep(0.05)
        second = tasks.create_task(speaker.play_chunk(ramp(100)))
        await asyncio.sleep(0.04)
        assert not first.done()
        await asyncio.sleep(0.02)
        assert first.done()
        assert not second.done()
    assert now() == pytest.approx(0.2)


async def test_the_spare_byte_belongs_to_the_next_chunk() -> None:
    speaker = await opened(VirtualSpeaker(realtime=False))
    pcm = ramp(10)
    await speaker.play_chunk(pcm[:3])
    await speaker.play_chunk(pcm[3:100])
    await speaker.play_chunk(pcm[100:])
    assert speaker.heard_pcm == pcm
    await speaker.play_chunk(b"x")
    await speaker.clear_buffer()
    await speaker.play_chunk(b"\1\2")
    assert speaker.heard_pcm == pcm + b"\1\2"
    assert speaker.discarded_samples == 0
    assert not speaker.is_playing


async def test_waiting_for_what_is_heard_and_for_silence() -> None:
    speaker = await opened(VirtualSpeaker())
    await speaker.wait_until_silent()
    async with asyncio.TaskGroup() as tasks:
        hearing = tasks.create_task(speaker.wait_until_heard(150))
        await asyncio.sleep(1)
        await speaker.play_chunk(ramp(100))
        await asyncio.sleep(1)
        assert not hearing.done()
        await speaker.play_chunk(ramp(100))
        await hearing
        assert now() == pytest.approx(2.05)
        await speaker.wait_until_silent()
        assert now() == pytest.approx(2.1)


async def test_a_stuck_device_and_a_failing_one() -> None:
    speaker = VirtualSpeaker(stuck_playing=True)
    with pytest.raises(AudioDeviceError, match="call start"):
        await speaker.play_chunk(b"\0\0")
    await speaker.start()
    assert speaker.is_playing
    speaker.failure = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await speaker.play_chunk(b"\0\0")


async def test_stopping_drops_what_is_left() -> None:
    speaker = await opened(VirtualSpeaker())
    await speaker.play_chunk(ramp(100))
    await asyncio.sleep(0.03)
    await speaker.stop()
    await asyncio.sleep(1)
    assert speaker.heard_pcm == ramp(100)[: 48 * 30]
    with pytest.raises(AudioDeviceError):
        await speaker.play_chunk(b"\0\0")


async def test_a_position() -> None:
    speaker = await opened(PositionedSpeaker(latency_ms=20))
    assert isinstance(speaker, SupportsPosition)
    await speaker.play_chunk(ramp(100))
    await asyncio.sleep(0.05)
    assert speaker.position() == PlaybackPosition(accepted=2400, rendered=1200, heard=720, discarded=0)
    await speaker.clear_buffer()
    assert speaker.position() == PlaybackPosition(accepted=2400, rendered=1200, heard=720, discarded=1200)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("play"), st.integers(0, 3000)),
        st.tuples(st.just("sleep"), st.integers(0, 3000)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=25,
)


@given(ACTIONS, st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_every_sample_is_accounted_for(actions: list[tuple[str, int]], latency_ms: int) -> None:
    async def main() -> None:
        speaker = await opened(PositionedSpeaker(latency_ms=latency_ms))
        last = 0
        for action, amount in actions:
            if action == "play":
                await speaker.play_chunk(bytes(2 * amount))
            elif action == "sleep":
                await asyncio.sleep(amount / 24_000)
            else:
                await speaker.clear_buffer()
            at = speaker.position()
            assert last <= at.heard <= at.rendered <= at.accepted - at.discarded
            assert len(speaker.heard_pcm) == 2 * at.heard
            last = at.heard
        await asyncio.sleep(10)
        at = speaker.position()
        assert at.accepted == at.rendered + at.discarded == at.heard + at.discarded

    run(main())


async def test_what_follows_a_clear_is_heard_at_once() -> None:
    speaker = await opened(VirtualSpeaker())
    for _ in range(5):
        await speaker.play_chunk(ramp(100))
    await asyncio.sleep(0.05)
    await speaker.clear_buffer()
    await speaker.play_chunk(ramp(100))
    await asyncio.sleep(0.1)
    assert speaker.heard_ms == 150.0
    assert not speaker.is_playing
