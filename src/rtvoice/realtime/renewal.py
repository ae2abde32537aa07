"""A new session takes over from one that still works: when, and how it is made ready."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from rtvoice.errors import ConnectionFailed
from rtvoice.events import RestoredConversation
from rtvoice.realtime.backend import SessionBackend
from rtvoice.realtime.connection import Connection, ConnectionLost, Dialler
from rtvoice.realtime.refusals import close_refusal
from rtvoice.realtime.successor import Successor
from rtvoice.settings import RotationPolicy

logger = logging.getLogger(__name__)

QUIET_S: Final = 2.0
"""How long nothing must have happened before a moment counts as quiet; the last words are written down by then."""
READY_LIMIT_S: Final = 10.0
"""How long a new session may take from its connection to the acceptance of its settings."""
RESTART_LIMIT_S: Final = 20.0
"""How long somebody who asks for a new session waits for it."""
RETRY_S: Final = 30.0
"""Pause after an attempt that failed, while there is time."""
LAST_RETRY_S: Final = 5.0
"""The same when the old session may end at any moment."""

_LOOK_S: Final = 0.5

Switch: TypeAlias = Callable[[Connection, Successor | None], Awaitable[RestoredConversation | None]]
"""Lets a connection take over: with a successor if that is still up to date and the moment quiet; without, in any case.

It returns how much the new session knows, ``None`` if it has not taken over.
"""


class RestartRequest:
    """Somebody's wish for a new session, and what becomes of it; several wishes at a time are one."""

    def __init__(self) -> None:
        self._outcome: asyncio.Future[RestoredConversation] | None = None
        self._made = asyncio.Event()

    @property
    def pending(self) -> bool:
        """Whether somebody waits."""
        return self._outcome is not None

    async def make(self) -> RestoredConversation:
        """Ask for a new session and wait for it.

        Raises:
            ConnectionFailed: There is none, or not in time.
        """
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
            self._outcome.add_done_callback(lambda outcome: outcome.cancelled() or outcome.exception())
        self._made.set()
        try:
            async with asyncio.timeout(RESTART_LIMIT_S):
                return await asyncio.shield(self._outcome)
        except TimeoutError:
            raise ConnectionFailed(
                f"There is no new session after {RESTART_LIMIT_S:.0f} s; it is still tried"
            ) from None

    async def wait(self, limit_s: float | None) -> None:
        """Wait until a request is made, at most so long; one that was made before counts only once."""
        loop = asyncio.get_running_loop()
        timer = None if limit_s is None else loop.call_later(limit_s, self._made.set)
        try:
            await self._made.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._made.clear()

    def grant(self, restored: RestoredConversation) -> None:
        """Tell who waits that there is a new session."""
        if (outcome := self._take()) is not None:
            outcome.set_result(restored)

    def refuse(self, error: Exception) -> None:
        """Tell who waits that there is none, and why."""
        if (outcome := self._take()) is not None:
            outcome.set_exception(error)

    def _take(self) -> asyncio.Future[RestoredConversation] | None:
        outcome, self._outcome = self._outcome, None
        self._made.clear()
        return outcome


class Renewal:
    """Sees to it that a session is left in time.

    Args:
        dialler: Opens connections.
        backend: The protocol.
        policy: When; ``None``: only on request.
        request: Somebody's wish.
        switch: Lets the new session take over.
    """

    def __init__(
        self,
        dialler: Dialler,
        backend: SessionBackend,
        policy: RotationPolicy | None,
        request: RestartRequest,
        switch: Switch,
    ) -> None:
        self._dialler = dialler
        self._backend = backend
        self._policy = policy
        self._request = request
        self._switch = switch

    async def run(self, opened_at: float) -> None:
        """Wait for the time to come, and try until a new session has taken over; the old one works on meanwhile.

        Args:
            opened_at: When the old one was opened, in loop time.
        """
        outdated = False  # the last attempt came to nothing because something happened meanwhile
        while True:
            forced = await self._until_due(opened_at)
            gently = self._backend.quiet and not (forced and outdated)
            try:
                outdated = not await self._renew(gently=gently)
            except Exception as error:  # noqa: BLE001 - also whatever a provider's token function raises
                logger.warning("There is no new session yet: %s", str(error) or type(error).__name__)
                self._request.refuse(error)
                await self._request.wait(self._pause(opened_at))
            else:
                if not outdated:
                    return

    async def _until_due(self, opened_at: float) -> bool:
        """Wait until a new session should take over; return whether that cannot wait for a quiet moment."""
        policy, now = self._policy, asyncio.get_running_loop().time
        quiet_since, revision = now(), self._backend.revision
        while not self._request.pending:
            if policy is None:
                await self._request.wait(None)
                continue
            if now() >= opened_at + policy.latest_s:
                return True
            if not self._backend.quiet or revision != self._backend.revision:
                quiet_since, revision = now(), self._backend.revision
            due_in = opened_at + policy.after_s - now()
            if due_in <= 0 and now() - quiet_since >= QUIET_S:
                return False
            await self._request.wait(max(_LOOK_S, due_in - QUIET_S))
        return True

    def _pause(self, opened_at: float) -> float:
        if self._policy is None:
            return RETRY_S
        left = opened_at + self._policy.latest_s - asyncio.get_running_loop().time()
        return max(LAST_RETRY_S, min(RETRY_S, left))

    async def _renew(self, *, gently: bool) -> bool:
        """Open a session, and let it take over; return whether it has.

        Args:
            gently: Whether it is told everything first, and takes over only if nothing happens meanwhile.
        """
        connection = await self._dialler.open()
        try:
            successor = self._backend.prepare_successor()
            await self._make_ready(connection, successor, gently=gently)
            return await self._switch(connection, successor if gently else None) is not None
        finally:
            if not connection.in_use:
                connection.abort()

    async def _make_ready(self, connection: Connection, successor: Successor, *, gently: bool) -> None:
        try:
            async with asyncio.timeout(READY_LIMIT_S):
                for frame in successor.frames if gently else ():
                    await connection.send(frame)
                while not (successor.ready if gently else successor.greeted):
                    successor.receive(await connection.receive())
                    if successor.failure is not None:
                        raise successor.failure
        except TimeoutError:
            raise ConnectionFailed(f"The server had not opened the session after {READY_LIMIT_S:.0f} s") from None
        except ConnectionLost as lost:
            raise close_refusal(None, lost.code, lost.reason) from lost
