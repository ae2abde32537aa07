"""The event loop whose time jumps."""

import asyncio
import selectors
import socket
import threading
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from rtvoice.testing import RealtimeEmulator, Reply, VirtualClockLoop
from rtvoice.testing.clock import run


async def test_other_tests_have_a_real_loop() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualClockLoop)


@pytest.mark.virtual_clock
async def test_the_recipe_gives_a_virtual_loop() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    before = loop.time()
    await asyncio.sleep(600)
    assert loop.time() - before == 600.0


def test_sleeping_ten_minutes_takes_no_time() -> None:
    async def main() -> float:
        for _ in range(600):
            await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    started = time.monotonic()
    assert run(main()) == 600.0
    assert time.monotonic() - started < 10


def test_timers_fire_in_order_at_their_times() -> None:
    async def main() -> list[tuple[str, float]]:
        loop, fired = asyncio.get_running_loop(), []
        for name, delay in (("b", 0.2), ("c", 3600.0), ("a", 0.1)):
            loop.call_later(delay, lambda name=name: fired.append((name, loop.time())))
        await asyncio.sleep(5000)
        return fired

    assert run(main()) == [("a", 0.1), ("b", 0.2), ("c", 3600.0)]


def test_timeouts_work() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1000)
        return asyncio.get_running_loop().time()

    assert run(main()) == 1000.0


def test_traffic_is_delivered_before_time_jumps() -> None:
    """Two minutes of a chunk every 20 ms, echoed: no answer is late by a tick."""

    async def main() -> set[float]:
        loop, delays = asyncio.get_running_loop(), set()

        async def echo(ws: Any) -> None:
            async for message in ws:
                await ws.send(message)

        async with serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", compression=None) as ws:
                for _ in range(3000):
                    await asyncio.sleep(0.02)
                    sent = loop.time()
                    await ws.send("x" * 960)
                    await ws.recv()
                    delays.add(loop.time() - sent)
        assert loop.time() == pytest.approx(60)
        return delays

    assert run(main()) == {0.0}


@pytest.mark.virtual_clock
async def test_ten_minutes_of_conversation(dial: Any) -> None:
    loop = asyncio.get_running_loop()
    reply = Reply("x" * 300, pace=1.0, delta_ms=[500])
    async with RealtimeEmulator([reply] * 30) as server, dial(server) as client:
        for _ in range(30):
            await client.send("response.create")
            await client.until("response.done")
            await asyncio.sleep(0.5)
        assert loop.time() == pytest.approx(30 * (19.5 + 0.5), abs=1)


def test_a_thread_is_waited_for_and_real_time_passes_meanwhile() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(0.001))
            await asyncio.to_thread(time.sleep, 0.05)
        return loop.time()

    assert 0.04 < run(main()) < 30


def test_a_timeout_on_a_thread_fires() -> None:
    async def main() -> None:
        release = threading.Event()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(release.wait, 10), 0.02)
        release.set()

    run(main())


def test_real_time_on_request() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        woken = asyncio.Event()
        thread = threading.Timer(0.05, lambda: loop.call_soon_threadsafe(woken.set))
        thread.start()
        with loop.real_time():
            await woken.wait()
        thread.join()
        first = loop.time()
        await asyncio.sleep(100)
        return first, loop.time()

    first, second = run(main())
    assert 0.04 < first < 30
    assert second == pytest.approx(first + 100)


def test_without_timers_the_loop_waits_for_the_world() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        thread = threading.Timer(0.02, lambda: loop.call_soon_threadsafe(woken.set))
        thread.start()
        await woken.wait()
        thread.join()
        return loop.time()

    assert run(main()) == 0.0


def test_time_does_not_run_backwards() -> None:
    loop = VirtualClockLoop()
    try:
        loop.advance(5)
        assert loop.time() == 5.0
        with pytest.raises(ValueError, match="cannot run backwards"):
            loop.advance(-1)
    finally:
        loop.close()


def test_what_arrives_at_the_last_moment_is_delivered_before_the_jump() -> None:
    class Late(selectors.DefaultSelector):
        """Reports what is there only when asked for the third time, as a busy kernel would."""

        asked = 0

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            self.asked += 1
            return super().select(timeout) if self.asked > 2 else []

    loop = VirtualClockLoop()
    ours, theirs = socket.socketpair()
    try:
        jumping = loop._selector  # type: ignore[attr-defined]
        late = Late()
        late.register(ours, selectors.EVENT_READ)
        jumping._selector, real = late, jumping._selector
        theirs.send(b"x")
        assert len(jumping.select(60)) == 1
        assert loop.time() == 0.0
        ours.recv(1)
        assert jumping.select(60) == []
        assert loop.time() == 60.0
        jumping._selector = real
        late.close()
    finally:
        ours.close()
        theirs.close()
        loop.close()


def test_the_selector_is_a_whole_one() -> None:
    """asyncio uses modify() when a socket is read and written; the others are part of the interface."""
    loop = VirtualClockLoop()
    ours, theirs = socket.socketpair()
    try:
        read: list[bytes] = []
        loop.add_reader(ours, lambda: read.append(ours.recv(1)))
        loop.add_writer(ours, lambda: loop.remove_writer(ours))
        selector = loop._selector  # type: ignore[attr-defined]
        assert selector.get_key(ours).fd == ours.fileno()
        assert len(selector.get_map()) == 2
        theirs.send(b"x")
        loop.run_until_complete(asyncio.sleep(1))
        assert read == [b"x"]
        loop.remove_reader(ours)
    finally:
        ours.close()
        theirs.close()
        loop.close()
