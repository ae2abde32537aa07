"""Cancellation that works, also for code that is not ours.

A tool, a callback or a device may swallow ``CancelledError``, by mistake or for good. Whoever awaits it directly, and
every task group around that, would then wait for ever.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

GRACE_S: Final = 0.3
"""How long cancelled code of others may take to clean up before nobody waits for it any more, in seconds."""


def is_being_cancelled() -> bool:
    """Whether the current task itself was cancelled, rather than something that it awaits."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def run_apart(
    name: str, function: Callable[..., Awaitable[T]], /, *args: Any, grace_s: float = GRACE_S, **kwargs: Any
) -> T:
    """Await code that is not ours, in a task of its own.

    When the waiting is cancelled, that task is, too. If it has not ended after the grace time it is left behind with a
    warning: it runs on by itself, and the event loop cannot be closed by `asyncio.run` before it ends.

    Args:
        name: What it is, for the log and for debuggers.
        function: Called in the new task; what it returns is awaited there.
        args: Positional arguments.
        grace_s: How long it may take to end when it is cancelled, in seconds.
        kwargs: Keyword arguments.

    Raises:
        asyncio.CancelledError: The waiting was cancelled, or the function raised this.
        BaseException: Whatever the function raises.
    """

    async def call() -> tuple[T | None, BaseException | None]:
        try:
            return await function(*args, **kwargs), None
        except (KeyboardInterrupt, SystemExit) as error:  # a task would also throw them at the event loop
            return None, error

    # Not in a task group: that would wait for it for ever.
    task = asyncio.get_running_loop().create_task(call(), name=name)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await _wait(task, grace_s)
        if not task.done():
            logger.warning("%s ignores that it was cancelled: it is left behind and runs on by itself", name)
        task.add_done_callback(_take_note)
        raise
    result, error = task.result()
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # without an error it is a T


async def _wait(task: asyncio.Task[Any], grace_s: float) -> None:
    """Wait for a task that was cancelled, for a limited time, even if this waiting is cancelled again."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_s
    while not task.done() and (left_s := deadline - loop.time()) > 0:
        with contextlib.suppress(asyncio.CancelledError):  # the caller raises it, when the task has had its time
            await asyncio.wait([task], timeout=left_s)


def _take_note(task: asyncio.Task[Any]) -> None:
    """Log what cancelled code raises: nobody else will."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("%s was cancelled and has failed: %s", task.get_name(), type(error).__name__)
        logger.debug("Traceback of %s", task.get_name(), exc_info=error)
