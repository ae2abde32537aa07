"""Ctrl+C: the first ends the conversation politely, the second as usual."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def graceful_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop()`` on the first SIGINT, where the event loop can do that; afterwards all is as before.

    It can in the main thread on Unix. Elsewhere Ctrl+C cancels the running task, as always.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous = signal.getsignal(signal.SIGINT)
    installed = True

    def restore() -> None:
        nonlocal installed
        if installed:
            installed = False
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, previous)

    def on_interrupt() -> None:
        restore()
        stop()

    try:
        loop.add_signal_handler(signal.SIGINT, on_interrupt)
    except (NotImplementedError, ValueError, RuntimeError):
        installed = False
    try:
        yield
    finally:
        restore()
