"""Calls that may hang for ever: drivers, network drives."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def run_detached(call: Callable[[], T], *, timeout_s: float, undo: Callable[[T], None] | None = None) -> T:
    """Run a call that may block, or hang for ever, in a thread of its own.

    Not ``asyncio.to_thread``: a driver that hangs would hold one of the pool's threads, and the end of the
    program would wait for it. This thread is left behind and, should the call return after all, ``undo`` gets
    its result there.

    Args:
        call: What to run.
        timeout_s: Seconds to wait for it.
        undo: What to do with a result that came too late, or after a cancellation.

    Raises:
        TimeoutError: The call did not return in time.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from now on a cancellation of the waiter leaves it alone
    threading.Thread(target=_fulfil, args=(future, call), name="rtvoice-detached", daemon=True).start()
    loop = asyncio.get_running_loop()
    try:
        # A virtual clock must not jump while a thread works.
        with getattr(loop, "real_time", contextlib.nullcontext)():
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(future)
    except BaseException:
        if undo is not None:
            future.add_done_callback(lambda late: undo(late.result()) if late.exception() is None else None)
        raise


def _fulfil(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - passed on to whoever waits, whatever it is
        future.set_exception(error)
