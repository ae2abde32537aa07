"""Tasks that run up to their first wait before their creator goes on.

What never has to wait then costs no turn of the event loop, and still can.
"""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

START_AT_ONCE: Final = sys.version_info >= (3, 12)
"""Whether `start` does that; before Python 3.12, a task begins with the next turn of the event loop."""


def start(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin a task, at once if Python can; it may be done on return."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return loop.create_task(coroutine)


def has_succeeded(task: asyncio.Task[Any]) -> bool:
    """Whether a task is done, and nothing went wrong."""
    return task.done() and not task.cancelled() and task.exception() is None
