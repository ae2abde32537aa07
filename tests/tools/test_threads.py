import asyncio
import contextlib
import contextvars
import gc
import logging
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest

from rtvoice.testing.clock import run
from rtvoice.tools.threads import run_in_thread

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_result_arguments_and_thread() -> None:
    def function(a: int, *, name: str) -> tuple[int, str, threading.Thread]:
        return a, name, threading.current_thread()

    a, name, thread = await run_in_thread("worker", function, 1, name="x")
    assert (a, name, thread.name, thread.daemon) == (1, "x", "worker", True)
    assert thread is not threading.main_thread()


async def test_the_thread_has_ended_with_the_call() -> None:
    before = threading.active_count()
    for _ in range(50):
        thread = await run_in_thread("worker", threading.current_thread)
        assert not thread.is_alive()
    assert threading.active_count() == before


async def test_context_variables_are_carried_over_and_changes_stay_inside() -> None:
    variable.set("outside")

    def function() -> str:
        seen = variable.get()
        variable.set("inside")
        return seen

    assert await run_in_thread("worker", function) == "outside"
    assert variable.get() == "outside"


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_errors_are_raised_where_the_call_is_awaited(error: BaseException) -> None:
    def function() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await run_in_thread("worker", function)
    assert raised.value is error


async def test_stop_iteration_becomes_an_error() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await run_in_thread("worker", lambda: next(iter([])))


async def test_the_event_loop_goes_on_while_a_thread_blocks() -> None:
    release = threading.Event()
    async with asyncio.TaskGroup() as group:
        blocked = group.create_task(run_in_thread("worker", release.wait))
        others = [group.create_task(run_in_thread("worker", int, str(n))) for n in range(40)]
        assert [await other for other in others] == list(range(40))
        assert not blocked.done()
        release.set()


async def given_up(release: threading.Event, error: Exception | None = None) -> None:
    """Start a call that waits for an event, and cancel it."""

    def work() -> None:
        release.wait()
        if error is not None:
            raise error

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_in_thread("worker", work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


async def wait_for_threads(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            await asyncio.to_thread(thread.join)


async def test_a_call_that_was_given_up_may_end_later(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    await given_up(release)
    release.set()
    await wait_for_threads("worker")
    await asyncio.sleep(0)
    assert caplog.records == []


async def test_a_late_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    await given_up(release, ValueError("secret"))
    release.set()
    await wait_for_threads("worker")
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == ["worker was given up and has now failed: ValueError"]


def test_a_thread_that_outlives_its_loop(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    async def main() -> list[threading.Thread]:
        await given_up(release)
        return [thread for thread in threading.enumerate() if thread.name == "worker"]

    threads = asyncio.run(main())
    assert len(threads) == 1
    with caplog.at_level(logging.DEBUG, logger="rtvoice"):
        release.set()
        threads[0].join()
    assert [record.getMessage() for record in caplog.records] == ["worker ended after its event loop had been closed"]


def test_a_stuck_thread_keeps_neither_the_loop_nor_the_process() -> None:
    script = textwrap.dedent(
        """
        import asyncio, threading
        from rtvoice.tools.threads import run_in_thread

        async def main():
            try:
                async with asyncio.timeout(0.01):
                    await run_in_thread("worker", threading.Event().wait)
            except TimeoutError:
                print("answered")

        asyncio.run(main())
        print("returned")
        """
    )
    # With asyncio.to_thread this never ends.
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False)
    assert (finished.stdout.split(), finished.stderr, finished.returncode) == (["answered", "returned"], "", 0)


async def test_a_failure_leaves_no_reference_cycle() -> None:
    class Marked(Exception): ...  # noqa: N818 - a marker

    raised: list[weakref.ref[Marked]] = []

    def function() -> None:
        error = Marked()
        raised.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gc.disable()
    try:
        with contextlib.suppress(Marked):
            await run_in_thread("worker", function)
        await asyncio.sleep(0)  # until then the event loop's own callback holds it
        assert raised[0]() is None
    finally:
        gc.enable()


def test_a_virtual_clock_does_not_jump_while_a_tool_is_in_its_thread() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        release = threading.Event()
        loop.call_later(0.02, release.set)
        async with asyncio.timeout(30):
            await run_in_thread("worker", release.wait)
        assert loop.time() < 30

    run(main())
