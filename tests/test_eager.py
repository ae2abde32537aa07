import asyncio
from typing import Any

import pytest

from rtvoice import eager

needs_eager_tasks = pytest.mark.skipif(not eager.START_AT_ONCE, reason="before Python 3.12 a task begins a turn later")


async def answer() -> int:
    return 42


async def fail() -> None:
    raise ValueError("on purpose")


@needs_eager_tasks
async def test_what_does_not_wait_is_done_at_once() -> None:
    task = eager.start(answer())
    assert eager.has_succeeded(task)
    assert task.result() == 42


async def test_what_waits_goes_on_as_a_task() -> None:
    steps: list[str] = []

    async def wait() -> str:
        steps.append("begun")
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
        return "over"

    task = eager.start(wait())
    assert (steps == ["begun"]) is eager.START_AT_ONCE
    assert not eager.has_succeeded(task)
    assert await task == "over"
    assert eager.has_succeeded(task)


async def test_failures_and_cancellations_stay_within_the_task() -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    tasks: list[asyncio.Task[Any]] = [eager.start(fail()), eager.start(give_up()), eager.start(asyncio.sleep(60))]
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert not any(map(eager.has_succeeded, tasks))
    with pytest.raises(ValueError, match="on purpose"):
        tasks[0].result()
