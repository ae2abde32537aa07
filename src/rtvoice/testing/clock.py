"""An event loop whose time jumps: ten minutes of conversation pass in milliseconds.

As soon as no task can go on, the clock jumps to the next timer. Sockets work as ever: before each jump everything
that is on its way through the loopback interface is delivered. While work runs in a thread (``asyncio.to_thread``,
``run_in_executor``) or inside ``real_time()``, the clock runs like a real one.

One-off::

    from rtvoice.testing.clock import run

    run(main())

With pytest-asyncio 1.4 or newer, in ``conftest.py``::

    import asyncio
    from rtvoice.testing import VirtualClockLoop


    def pytest_configure(config):
        config.addinivalue_line("markers", "virtual_clock: run the test on a VirtualClockLoop")


    def pytest_asyncio_loop_factories(config, item):
        if item.get_closest_marker("virtual_clock"):
            return {"virtual": VirtualClockLoop}
        return {"real": asyncio.new_event_loop}

and then, on a test, class or module::

    @pytest.mark.virtual_clock
    async def test_ten_minutes_of_silence(): ...
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")

_POLLS_BEFORE_JUMP = 3
"""How often the sockets are asked in vain before the clock jumps.

Linux delivers loopback traffic within the send call; but under load it may leave that to a kernel thread, which the
pauses between the polls let run.
"""


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, which begins at 0 s and skips all waiting.

    Threads that talk to the loop by ``call_soon_threadsafe()`` alone are unknown to it: wrap what waits for them
    in ``real_time()``.
    """

    def __init__(self) -> None:
        self._now_ns = 0
        self._outside_work = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now_ns / 1e9

    @property
    def runs_in_real_time(self) -> bool:
        """Whether something outside the loop is waited for, so that the clock must not jump."""
        return self._outside_work > 0

    def advance(self, seconds: float) -> None:
        """Set the clock forward.

        Args:
            seconds: By how much; whole nanoseconds count, so that times do not gather rounding errors.

        Raises:
            ValueError: It is negative.
        """
        if seconds < 0:
            raise ValueError(f"time cannot run backwards: {seconds} s")
        self._now_ns += round(seconds * 1e9)

    @contextmanager
    def real_time(self) -> Iterator[None]:
        """Let the clock run like a real one inside the ``with``: for subprocesses, threads and the network."""
        self._outside_work += 1
        try:
            yield
        finally:
            self._outside_work -= 1

    def run_in_executor(self, executor: Any, func: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:  # type: ignore[override]
        """Run a function in a thread; until it is done, the clock runs like a real one."""
        future = super().run_in_executor(executor, func, *args)
        self._outside_work += 1
        future.add_done_callback(self._thread_is_done)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the threads of the default executor, in real time."""
        with self.real_time():
            await super().shutdown_default_executor(*args, **kwargs)

    def _thread_is_done(self, _future: asyncio.Future[Any]) -> None:
        self._outside_work -= 1


class _JumpingSelector(selectors.BaseSelector):
    """Asks the real selector, and sets the loop's clock forward instead of waiting."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self._loop = loop
        self._selector = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._selector.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop.runs_in_real_time:
            started = time.monotonic()
            ready = self._selector.select(timeout)
            elapsed = time.monotonic() - started
            self._loop.advance(elapsed if timeout is None else min(timeout, elapsed))
            return ready
        if timeout is None:
            return self._selector.select(None)
        for _ in range(_POLLS_BEFORE_JUMP):
            time.sleep(0)
            ready = self._selector.select(0)
            if ready:
                return ready
        self._loop.advance(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()

    def close(self) -> None:
        self._selector.close()


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on a ``VirtualClockLoop``, as ``asyncio.run()`` does on a real one."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
