import asyncio
import logging

import pytest

from rtvoice.audio.taps import Taps


async def test_every_tap_gets_every_block_until_it_is_removed() -> None:
    taps = Taps()
    loop = asyncio.get_running_loop()
    first: list[tuple[bytes, float]] = []
    second: list[tuple[bytes, float]] = []
    remove = taps.add(lambda pcm, at: first.append((pcm, at)))
    taps.add(lambda pcm, at: second.append((pcm, at)))
    taps.send(b"ab", 1.5, loop)
    remove()
    remove()
    taps.send(b"cd", 2.5, loop)
    assert first == [(b"ab", 1.5)]
    assert second == [(b"ab", 1.5), (b"cd", 2.5)]


async def test_a_raising_tap_is_removed_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    taps = Taps()
    heard: list[bytes] = []
    calls = 0

    def broken(pcm: bytes, at: float) -> None:
        nonlocal calls
        calls += 1
        raise ValueError("no disk")

    taps.add(broken)
    taps.add(lambda pcm, at: heard.append(pcm))
    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.ERROR):
        await asyncio.to_thread(taps.send, b"ab", 0.0, loop)
        taps.send(b"cd", 0.0, loop)
        await asyncio.sleep(0)
    assert calls == 1
    assert heard == [b"ab", b"cd"]
    assert "no disk" in caplog.text


async def test_a_raising_tap_after_the_end_of_the_loop() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    taps = Taps()

    def broken(pcm: bytes, at: float) -> None:
        raise ValueError

    taps.add(broken)
    taps.send(b"ab", 0.0, loop)
