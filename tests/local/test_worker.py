"""Engines in a thread of their own."""

import asyncio
import threading

import pytest

from rtvoice.local.worker import MOST_WAITING, EngineBusyError, Worker


async def test_one_call_at_a_time_in_a_thread_of_its_own() -> None:
    worker = Worker("an engine")
    names = await asyncio.gather(*(worker.run(lambda: threading.current_thread().name) for _ in range(5)))
    assert names == ["rtvoice-an-engine_0"] * 5
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 / 0)
    await worker.stop()


async def test_nobody_waits_for_ever_in_a_queue_without_end() -> None:
    worker, go_on = Worker("an engine"), threading.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(MOST_WAITING):
            group.create_task(worker.run(go_on.wait))
        await asyncio.sleep(0)
        with pytest.raises(EngineBusyError, match=f"an engine: {MOST_WAITING} jobs wait already"):
            await worker.run(go_on.wait)
        go_on.set()
    assert await worker.run(lambda: 7) == 7
    await worker.stop()


async def test_what_nobody_waits_for_is_not_begun() -> None:
    worker, go_on, called = Worker("an engine"), threading.Event(), []
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run(go_on.wait))
        waiting = group.create_task(worker.run(called.append, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        go_on.set()
        assert await running
    await worker.stop()
    assert called == []


async def test_the_end_drops_what_waits() -> None:
    worker, go_on, called = Worker("an engine"), threading.Event(), []
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run(go_on.wait))
        dropped = group.create_task(worker.run(called.append, 1))
        await asyncio.sleep(0)
        stopping = group.create_task(worker.stop())
        await asyncio.wait([dropped])
        go_on.set()
        await stopping
        assert await running
    assert dropped.cancelled()
    assert called == []
