import asyncio
import logging

import pytest

from rtvoice.cancellation import is_being_cancelled, run_apart

pytestmark = pytest.mark.virtual_clock


class Stubborn:
    """Swallows cancellations until it is told to end."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.swallowed = 0

    async def __call__(self) -> None:
        while not self.over.is_set():
            try:
                await self.over.wait()
            except asyncio.CancelledError:
                self.swallowed += 1


async def test_the_result_is_returned() -> None:
    async def double(number: int, *, plus: int) -> int:
        await asyncio.sleep(1)
        return 2 * number + plus

    assert await run_apart("double", double, 3, plus=1) == 7


async def test_what_it_raises_is_raised() -> None:
    async def fail() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        await run_apart("fail", fail)


async def test_a_cancellation_of_its_own_is_told_from_ours() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_apart("cancelled", cancelled)
    assert not is_being_cancelled()


async def test_when_we_are_cancelled_it_is_and_has_time_to_clean_up() -> None:
    loop = asyncio.get_running_loop()
    cleaned_up_at: list[float] = []

    async def careful() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.2)
            cleaned_up_at.append(loop.time())

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_apart("careful", careful))
        await asyncio.sleep(1)
        task.cancel()
    assert cleaned_up_at == [pytest.approx(loop.time())]
    assert task.cancelled()


@pytest.mark.parametrize("cancellations", [1, 5])
async def test_what_does_not_end_is_left_behind_by_name(cancellations: int, caplog: pytest.LogCaptureFixture) -> None:
    loop, stubborn = asyncio.get_running_loop(), Stubborn()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_apart("the stubborn tool", stubborn, grace_s=0.5))
        await asyncio.sleep(1)
        for _ in range(cancellations):
            task.cancel()
            await asyncio.sleep(0.01)
    assert task.cancelled()
    assert loop.time() == pytest.approx(1.5, abs=0.001)
    assert "the stubborn tool ignores that it was cancelled" in caplog.text
    assert stubborn.swallowed == 1
    stubborn.over.set()


async def test_what_fails_after_its_cancellation_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            raise LookupError("secret")

    caplog.set_level(logging.WARNING)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_apart("clumsy", clumsy))
        await asyncio.sleep(1)
        task.cancel()
    assert "clumsy was cancelled and has failed: LookupError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_waiter_that_is_cancelled_knows_it() -> None:
    known: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            known.append(is_being_cancelled())
            raise

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await asyncio.sleep(1)
        task.cancel()
    assert known == [True]
