"""Ctrl+C: the first ends the conversation politely, the second as usual."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def graceful_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop()`` on the first SIGINT, where the event loop can do that; afterwards all is as before.

    It can in the main thread on Unix. Elsewhere Ctrl+C cancels the running task, as always. Conversations
    that run at the same time are all stopped by it.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    watch = (_Watch.current or _begin_watch()) if in_main_thread else None
    if watch is None:
        yield
        return
    watch.stops.append(stop)
    try:
        yield
    finally:
        watch.stops.remove(stop)
        if not watch.stops:
            watch.end()


class _Watch:
    """The handler for SIGINT that all conversations of the main thread share.

    Args:
        loop: The event loop of the main thread.
        previous: The handler to put back at the end.
    """

    current: "_Watch | None" = None

    def __init__(self, loop: asyncio.AbstractEventLoop, previous: Any) -> None:
        self.stops: list[Callable[[], None]] = []
        self._loop = loop
        self._previous = previous

    def begin(self) -> None:
        self._loop.add_signal_handler(signal.SIGINT, self._interrupted)
        _Watch.current = self

    def end(self) -> None:
        if _Watch.current is self:
            _Watch.current = None
            self._loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, self._previous)

    def _interrupted(self) -> None:
        self.end()
        for stop in self.stops:
            stop()


def _begin_watch() -> _Watch | None:
    previous = signal.getsignal(signal.SIGINT)
    if previous is None:  # a handler of C code, which could not be put back
        return None
    watch = _Watch(asyncio.get_running_loop(), previous)
    try:
        watch.begin()
    except (NotImplementedError, ValueError, RuntimeError):
        return None
    return watch
