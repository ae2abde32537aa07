"""Watches that a connection is alive: for each of two watchdogs something mild is tried once, then it is cut."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from rtvoice.events import WatchdogFiredEvent
from rtvoice.realtime.connection import Connection, ConnectionLost
from rtvoice.settings import WatchdogPolicy

PING_INTERVAL_S: Final = 10.0
"""Pause between pings; networks forget connections that are silent for long, and we want to know of dead ones."""


class ConnectionWatch:
    """Pings the server, and sees to it that the network takes what is sent.

    Args:
        connection: The connection; it is cut when it is of no use.
        limits: How long it may stand still.
        emit: Takes the facts.

    Attributes:
        verdict: Why it was cut, if it was.
    """

    def __init__(
        self, connection: Connection, limits: WatchdogPolicy, emit: Callable[[WatchdogFiredEvent], None]
    ) -> None:
        self.verdict: str | None = None
        self._connection = connection
        self._limits = limits
        self._emit = emit

    def cut(self, reason: str) -> None:
        """Cut the connection, for whatever reason."""
        self.verdict = self.verdict or reason
        self._connection.abort()

    async def ping(self) -> None:
        """Ping the server until the connection is gone."""
        limit_s = self._limits.ping_s
        with contextlib.suppress(ConnectionLost):
            while True:
                await asyncio.sleep(PING_INTERVAL_S)
                if limit_s is None:
                    await self._connection.shows_life(None)
                elif not await self._connection.shows_life(limit_s):
                    self._emit(WatchdogFiredEvent(watchdog="ping", waited_s=limit_s, action="retry"))
                    if not await self._connection.shows_life(limit_s):
                        self._emit(WatchdogFiredEvent(watchdog="ping", waited_s=2 * limit_s, action="reconnect"))
                        self.cut(f"The connection is dead: no sign of life for {2 * limit_s:.0f} s.")

    async def send(self, frame: bytes) -> None:
        """Send a frame; if that takes long, wait on, then cut the connection.

        Raises:
            ConnectionLost: It cannot be sent any more.
        """
        limit_s = self._limits.write_s
        if limit_s is None or self._connection.can_send_now:
            await self._connection.send(frame)
            return
        loop = asyncio.get_running_loop()
        timers = [
            loop.call_later(limit_s, self._wait_on, limit_s),
            loop.call_later(2 * limit_s, self._wait_no_more, 2 * limit_s),
        ]
        try:
            await self._connection.send(frame)
        finally:
            for timer in timers:
                timer.cancel()

    def _wait_on(self, waited_s: float) -> None:
        self._emit(WatchdogFiredEvent(watchdog="write", waited_s=waited_s, action="retry"))

    def _wait_no_more(self, waited_s: float) -> None:
        self._emit(WatchdogFiredEvent(watchdog="write", waited_s=waited_s, action="reconnect"))
        self.cut(f"The network has taken nothing for {waited_s:.0f} s.")
