import asyncio
import threading
from collections.abc import Callable

import pytest

from rtvoice.audio.detached import run_detached


async def test_returns_the_result_from_another_thread() -> None:
    assert await run_detached(threading.get_ident, timeout_s=5) != threading.get_ident()


async def test_passes_errors_on() -> None:
    with pytest.raises(ZeroDivisionError):
        await run_detached(lambda: 1 // 0, timeout_s=5, undo=lambda _: None)


async def test_gives_up_and_undoes_a_late_result() -> None:
    go_on, undone = threading.Event(), threading.Event()
    results: list[str] = []

    def slow() -> str:
        go_on.wait(10)
        return "late"

    def undo(result: str) -> None:
        results.append(result)
        undone.set()

    with pytest.raises(TimeoutError):
        await run_detached(slow, timeout_s=0.01, undo=undo)
    assert results == []
    go_on.set()
    await asyncio.to_thread(undone.wait, 10)
    assert results == ["late"]


async def test_a_late_error_needs_no_undo(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()
    undone: list[object] = []
    threads = set(threading.enumerate())

    def slow() -> None:
        go_on.wait(10)
        raise ValueError("late")

    with pytest.raises(TimeoutError):
        await run_detached(slow, timeout_s=0.01, undo=undone.append)
    (thread,) = set(threading.enumerate()) - threads
    go_on.set()
    thread.join(10)
    assert undone == []
    assert caplog.records == []


async def test_cancellation_undoes_too() -> None:
    go_on, undone = threading.Event(), threading.Event()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_detached(go_on.wait, timeout_s=10, undo=lambda _: undone.set()))
        await asyncio.sleep(0)
        task.cancel()
    go_on.set()
    assert await asyncio.to_thread(undone.wait, 10)


async def test_does_not_wait_for_a_call_that_hangs(hang: Callable[[], object]) -> None:
    with pytest.raises(TimeoutError):
        await run_detached(hang, timeout_s=0.01)
