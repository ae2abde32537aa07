"""Runs a speech engine beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

MOST_WAITING: Final = 64
"""Jobs that may wait for an engine; further ones are refused."""


class EngineBusyError(RuntimeError):
    """Too many jobs wait for an engine already."""


class Worker:
    """One thread that makes one call after the other: engines need not be thread-safe.

    Args:
        name: Name of the thread, and of the engine in messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"rtvoice-{name.replace(' ', '-')}")
        self._waiting = 0

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in the thread and return its result.

        A call that nobody waits for any more is not begun; one that runs cannot be stopped and runs to its end.

        Raises:
            EngineBusyError: ``MOST_WAITING`` calls are under way.
            Exception: Whatever the function raises.
        """
        if self._waiting >= MOST_WAITING:
            raise EngineBusyError(f"{self._name}: {self._waiting} jobs wait already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        finally:
            self._waiting -= 1

    async def stop(self) -> None:
        """Drop what waits, and end the thread after the call that it is at."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
