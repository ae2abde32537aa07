import asyncio

import pytest

from rtvoice.audio.devices import SupportsPause, SupportsPosition, SupportsTap
from rtvoice.testing import PausableSpeaker

pytestmark = pytest.mark.virtual_clock

MS = 48


def pcm(milliseconds: int) -> bytes:
    return bytes([1, 2]) * (24 * milliseconds)


async def test_it_stands_still_and_goes_on_from_the_same_sample() -> None:
    speaker = PausableSpeaker()
    assert isinstance(speaker, SupportsPause)
    assert isinstance(speaker, SupportsPosition)
    assert isinstance(speaker, SupportsTap)
    await speaker.start()
    await speaker.play_chunk(pcm(100))
    await speaker.play_chunk(pcm(100))
    await asyncio.sleep(0.03)
    await speaker.pause()
    await speaker.pause()
    await asyncio.sleep(1)
    assert speaker.heard_ms == pytest.approx(30)
    assert speaker.is_playing
    await speaker.play_chunk(pcm(100))
    await asyncio.sleep(1)
    assert speaker.heard_ms == pytest.approx(30)
    await speaker.resume()
    await speaker.resume()
    assert len(speaker.paused_at) == len(speaker.resumed_at) == 1
    await speaker.wait_until_silent()
    assert speaker.heard_pcm == pcm(300)
    assert asyncio.get_running_loop().time() == pytest.approx(2.3)
    await speaker.stop()


async def test_clearing_while_paused() -> None:
    speaker = PausableSpeaker()
    await speaker.start()
    await speaker.play_chunk(pcm(100))
    await asyncio.sleep(0.04)
    await speaker.pause()
    await speaker.clear_buffer()
    await speaker.resume()
    await asyncio.sleep(1)
    assert speaker.heard_ms == pytest.approx(40)
    position = speaker.position()
    assert position.accepted == position.rendered + position.discarded
    assert not speaker.is_playing
    await speaker.stop()


@pytest.mark.parametrize("end", ["resume", "clear_buffer"])
async def test_a_device_that_waits_waits_while_paused(end: str) -> None:
    speaker = PausableSpeaker(buffer_ms=0)
    await speaker.start()
    await speaker.pause()
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(speaker.play_chunk(pcm(100)))
        await asyncio.sleep(1)
        assert not playing.done()
        await getattr(speaker, end)()
        if end == "clear_buffer":
            await asyncio.sleep(0.01)
            await speaker.resume()
    assert speaker.heard_ms == pytest.approx(100)
    await speaker.stop()


async def test_the_tap_shows_what_is_rendered_and_when() -> None:
    speaker = PausableSpeaker(latency_ms=15)
    blocks: list[tuple[bytes, float]] = []
    await speaker.start()
    remove = speaker.add_tap(lambda block, at: blocks.append((block, at)))
    await asyncio.sleep(0.03)
    await speaker.play_chunk(pcm(25))
    await asyncio.sleep(0.071)
    await speaker.stop()
    remove()
    line = b"".join(block for block, _ in blocks)
    assert line == bytes(30 * MS) + pcm(25) + bytes(45 * MS)
    assert [at for _, at in blocks] == pytest.approx([0.015, 0.035, 0.055, 0.075, 0.095])


async def test_stopping_what_was_never_started() -> None:
    await PausableSpeaker().stop()
