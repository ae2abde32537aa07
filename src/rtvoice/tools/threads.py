"""Plain functions in worker threads that nobody has to wait for.

Every call gets a daemon thread of its own instead of a place in the event loop's default executor, because a tool may
block for ever and a thread cannot be stopped from outside:

* ``asyncio.run`` joins the default executor before it returns, and the interpreter joins every executor thread at exit.
  One stuck tool would keep the program alive. A daemon thread is not waited for.
* The default executor has few threads (CPUs + 4), which name resolution and the user's own ``asyncio.to_thread`` need
  too. A handful of stuck tools would block both.

Starting a thread costs about 0.1 ms, nothing next to the round trip to the model.
"""

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

_EXIT_SECONDS = 0.1


async def run_in_thread(name: str, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call a function in a new daemon thread and return its result; context variables are carried over.

    When the call has ended its thread has ended too. When the waiting is cancelled instead, the thread runs on until
    the function returns by itself: Python cannot stop it. Its late result is dropped, a late error logged.

    Args:
        name: Name of the thread, for debuggers.
        function: What to call.
        args: Positional arguments.
        kwargs: Keyword arguments.

    Raises:
        BaseException: Whatever the function raises.
    """
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if not finished.done():
            finished.set_result((result, error))
        elif error is not None:
            logger.warning("%s was given up and has now failed: %s", name, type(error).__name__)

    def work() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = context.run(function, *args, **kwargs)
        except BaseException as raised:  # noqa: BLE001 - it is raised again where the call is awaited
            error = raised
        try:
            loop.call_soon_threadsafe(deliver, result, error)
        except RuntimeError:
            logger.debug("%s ended after its event loop had been closed", name)
        result = error = None  # this frame is part of the traceback of the error, which would keep both alive

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    with getattr(loop, "real_time", contextlib.nullcontext)():  # a virtual clock must not jump while a thread works
        value, failure = await finished
    # The thread has nothing left to do but end, so this takes microseconds; the limit is for a thread-local
    # object of the user with a slow destructor.
    thread.join(_EXIT_SECONDS)
    if failure is not None:
        try:
            raise failure
        finally:
            del failure, finished  # as above
    return value  # type: ignore[return-value]  # without a failure it is a T
