"""The event bus: how the parts of an agent talk to each other without knowing each other.

A part opens an `Inbox` for the types it hears and iterates it. Publishing is a plain call: it puts
the event into inboxes and returns, so no part ever waits for another. Nor does it run another's code, but
for sound: an idle part may take that at once, and spare it the way over the event loop.

Application code uses `EventBus.subscribe`, `EventBus.unsubscribe` and `EventBus.dispatch`.
"""

import asyncio
import contextvars
import inspect
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self, TypeVar

from rtvoice.cancellation import is_being_cancelled, run_apart

logger = logging.getLogger(__name__)

E = TypeVar("E")
Handler = Callable[[E], Awaitable[None] | None]

DEFAULT_INBOX_LIMIT: Final = 20_000
"""Events that may wait in one inbox. Hours of conversation fit; only a part that hangs ever gets there."""

_FAIR_SHARE: Final = 64
"""Events taken in a row before the event loop gets its turn, so that a flood starves nobody."""


class InboxClosed(Exception):  # noqa: N818 - a state, raised like StopAsyncIteration
    """The inbox was closed and everything in it has been taken."""


@dataclass(slots=True)
class _Backlog:
    """Audio of one type in an inbox, in bytes of PCM16, 24 kHz, mono."""

    limit: int
    waiting: int = 0
    dropped: int = 0


class Inbox:
    """A bounded queue of events for one part, which alone takes them out.

    Two lanes: events whose class says ``urgent`` are taken before all others, unless the inbox is
    kept ``in_order``. Full inboxes drop, oldest first, and count in `dropped`:

    * a type with a limit in ``limits_ms`` when its waiting audio is longer than that,
    * any type when ``limit`` events wait; the first time is logged as an error.

    Closing is an end of input: what already waits can still be taken, then iteration ends.

    For events that come by the dozen each second, a wake-up each is most of the cost. With ``at_once``, a type
    has a function that gets its events within `put`, but only while the part waits in `get` with nothing else
    to take: so nothing is overtaken. It returns whether the event is dealt with; if not, the event waits as
    usual. It must not wait for anything, nor raise, since it runs in the publisher's call.
    """

    def __init__(
        self,
        types: tuple[type, ...],
        *,
        in_order: bool = False,
        limit: int = DEFAULT_INBOX_LIMIT,
        limits_ms: Mapping[type, float] | None = None,
        at_once: Mapping[type, Callable[[Any], bool]] | None = None,
    ) -> None:
        self.types = types
        self.dropped: Counter[type] = Counter()
        self._overtaking = frozenset(() if in_order else (kind for kind in types if getattr(kind, "urgent", False)))
        self._limit = limit
        self._at_once = at_once or {}
        self._backlogs = {kind: _Backlog(round(limit * 48)) for kind, limit in (limits_ms or {}).items()}
        self._normal: deque[Any] = deque()
        self._urgent: deque[Any] = deque()
        self._waiter: asyncio.Future[bool] | None = None  # its result: whether the time is over
        self._closed = False
        self._taken_in_a_row = 0

    def __len__(self) -> int:
        return len(self._normal) + len(self._urgent)

    @property
    def closed(self) -> bool:
        """Whether no more events come in."""
        return self._closed

    def put(self, event: Any) -> None:
        """Add an event; ignored after `close`."""
        if self._closed:
            return
        kind = type(event)
        if kind in self._at_once and self._is_idle and self._at_once[kind](event):
            return
        if kind in self._overtaking:
            self._urgent.append(event)
        else:
            self._normal.append(event)
            if (backlog := self._backlogs.get(kind)) is not None:
                backlog.waiting += len(event.pcm)
                while backlog.waiting > backlog.limit:
                    self._drop_oldest(kind)
        if len(self._normal) + len(self._urgent) > self._limit:
            self._drop_oldest(type((self._normal or self._urgent)[0]), reason="full")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    @property
    def _is_idle(self) -> bool:
        """Whether the part waits, and has nothing to wake up for."""
        return self._waiter is not None and not (self._waiter.done() or self._normal or self._urgent)

    def put_first(self, event: Any) -> None:
        """Add an event that is taken before all that are not urgent; ignored after `close`."""
        if not self._closed:
            self._urgent.append(event)
            if self._waiter is not None:
                _finish(self._waiter, False)

    def queued_ms(self, kind: type) -> float:
        """Return how much audio of a limited type waits, in milliseconds."""
        backlog = self._backlogs.get(kind)
        return 0.0 if backlog is None else backlog.waiting / 48

    def take_dropped_ms(self, kind: type) -> float:
        """Return how much audio of a limited type was dropped since the last call, in milliseconds."""
        backlog = self._backlogs[kind]
        dropped, backlog.dropped = backlog.dropped, 0
        return dropped / 48

    def take(self) -> Any | None:
        """Return the next event without waiting, ``None`` if there is none."""
        if self._urgent:
            return self._urgent.popleft()
        if self._normal:
            event = self._normal.popleft()
            if (backlog := self._backlogs.get(type(event))) is not None:
                backlog.waiting -= len(event.pcm)
            return event
        return None

    def take_all(self) -> list[Any]:
        """Take everything that waits, without waiting."""
        events = [*self._urgent, *self._normal]
        self._urgent.clear()
        self._normal.clear()
        for backlog in self._backlogs.values():
            backlog.waiting = 0
        return events

    async def get(self, timeout: float | None = None) -> Any:
        """Wait for the next event.

        Args:
            timeout: Longest wait in seconds; ``None`` for no limit.

        Returns:
            The event, or ``None`` when the time is over.

        Raises:
            InboxClosed: The inbox is closed and empty.
        """
        if self._normal or self._urgent:
            self._taken_in_a_row += 1
            if self._taken_in_a_row > _FAIR_SHARE:
                self._taken_in_a_row = 0
                await asyncio.sleep(0)
            if (event := self.take()) is not None:
                return event
        self._taken_in_a_row = 0
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            if self._closed:
                raise InboxClosed
            waiter = self._waiter = loop.create_future()
            timer = None if deadline is None else loop.call_at(deadline, _finish, waiter, True)
            try:
                timed_out = await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
            if (event := self.take()) is not None:
                return event
            if timed_out:
                return None

    def close(self) -> None:
        """End the input: what waits can still be taken."""
        self._closed = True
        if self._waiter is not None:
            _finish(self._waiter, False)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.get()
        except InboxClosed:
            raise StopAsyncIteration from None

    def _drop_oldest(self, kind: type, reason: str = "") -> None:
        lane = self._normal if any(type(event) is kind for event in self._normal) else self._urgent
        index = next(i for i, event in enumerate(lane) if type(event) is kind)
        event = lane[index]
        del lane[index]
        if (backlog := self._backlogs.get(kind)) is not None:
            backlog.waiting -= len(event.pcm)
            backlog.dropped += len(event.pcm)
        if reason and not self.dropped[kind]:
            logger.error("An inbox is full (%d events wait): dropping the oldest, first a %s", len(self), kind.__name__)
        self.dropped[kind] += 1


class EventBus:
    """Delivers events by their exact type.

    Inside the agent, parts use `publish` and `open_inbox`. Application code, tools included, uses
    `subscribe` and `dispatch`; the agent never waits for what application handlers do.
    """

    def __init__(self) -> None:
        self._inboxes: dict[type, list[Inbox]] = {}
        self._handlers: dict[type, list[_Subscription]] = {}
        self._home: _Home | None = None

    # --- for the parts of the agent ---

    def open_inbox(
        self,
        *types: type,
        in_order: bool = False,
        limit: int = DEFAULT_INBOX_LIMIT,
        limits_ms: Mapping[type, float] | None = None,
        at_once: Mapping[type, Callable[[Any], bool]] | None = None,
    ) -> Inbox:
        """Return a new inbox that receives events of exactly these types; see `Inbox`."""
        inbox = Inbox(types, in_order=in_order, limit=limit, limits_ms=limits_ms, at_once=at_once)
        for kind in types:
            self._inboxes.setdefault(kind, []).append(inbox)
        return inbox

    def close_inbox(self, inbox: Inbox) -> None:
        """Take an inbox off the bus that is no longer needed while the conversation goes on."""
        inbox.close()
        for kind in inbox.types:
            if inbox in self._inboxes.get(kind, ()):
                self.ignore(inbox, kind)

    def ignore(self, inbox: Inbox, kind: type) -> None:
        """Deliver no more events of one of its types to an inbox."""
        inboxes = self._inboxes[kind]
        inboxes.remove(inbox)
        if not inboxes:
            del self._inboxes[kind]

    def publish(self, event: object) -> None:
        """Put the event into every inbox for its type and return at once."""
        kind = type(event)
        for inbox in self._inboxes.get(kind, ()):
            inbox.put(event)
        if self._handlers:
            for subscription in self._handlers.get(kind, ()):
                subscription.offer(event)

    def is_heard(self, event_type: type) -> bool:
        """Whether anybody hears events of this type; spares making events that nobody wants."""
        return event_type in self._inboxes or event_type in self._handlers

    def queued_ms(self, event_type: type) -> float:
        """Return the audio of this type that waits in the fullest inbox with a limit for it, in milliseconds."""
        return max((inbox.queued_ms(event_type) for inbox in self._inboxes.get(event_type, ())), default=0.0)

    @property
    def waiting(self) -> int:
        """Events that wait in all inboxes and in those of the application's handlers."""
        return sum(len(inbox) for inbox in self._all_inboxes())

    @property
    def dropped(self) -> int:
        """Events that full inboxes have dropped."""
        return sum(inbox.dropped.total() for inbox in self._all_inboxes())

    def _all_inboxes(self) -> set[Inbox]:
        own = {inbox for inboxes in self._inboxes.values() for inbox in inboxes}
        return own | {each.inbox for subscriptions in self._handlers.values() for each in subscriptions}

    def attach(self, group: asyncio.TaskGroup) -> None:
        """Run application handlers of published events as tasks of this group, until `detach`.

        They run in the context of the caller, wherever they were subscribed.
        """
        self._home = _Home(group, contextvars.copy_context())
        for subscriptions in self._handlers.values():
            for subscription in subscriptions:
                subscription.start(self._home)

    async def detach(self, timeout_s: float) -> None:
        """Take no more events for application handlers; wait a limited time until those queued are delivered."""
        self._home = None
        subscriptions = [each for subscriptions in self._handlers.values() for each in subscriptions]
        for subscription in subscriptions:
            subscription.close()
        tasks = [subscription.task for subscription in subscriptions if subscription.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                logger.warning("Gave up waiting for %s after %.1f s", task.get_name(), timeout_s)

    # --- for applications ---

    def subscribe(self, event_type: type[E], handler: Handler[E]) -> None:
        """Have ``handler(event)`` called for every event of exactly this type.

        The handler may be ``async`` or plain. It runs in a task of its own: it can be slow without
        holding up anybody, and receives its events one after the other.

        Args:
            event_type: The class of the events.
            handler: Called with each event. What it raises is logged and disturbs nobody.
        """
        subscription = _Subscription(event_type, handler)
        self._handlers.setdefault(event_type, []).append(subscription)
        if self._home is not None:
            subscription.start(self._home)

    def unsubscribe(self, event_type: type[E], handler: Handler[E]) -> None:
        """Take a handler away. Unknown types and handlers are ignored."""
        subscriptions = self._handlers.get(event_type, [])
        for subscription in subscriptions:
            if subscription.handler == handler:
                subscriptions.remove(subscription)
                subscription.close()
                if not subscriptions:
                    del self._handlers[event_type]
                return

    async def dispatch(self, event: E) -> E:
        """Deliver an event and wait for the application's handlers of it.

        All handlers start in the order they were subscribed and run concurrently; one that raises
        is logged and does not disturb the others. The agent's own parts receive the event too.

        Returns:
            The event it was given.
        """
        for inbox in self._inboxes.get(type(event), ()):
            inbox.put(event)
        subscriptions = list(self._handlers.get(type(event), ()))
        if len(subscriptions) == 1:
            await subscriptions[0].call(event)
        elif subscriptions:
            async with asyncio.TaskGroup() as group:
                for subscription in subscriptions:
                    group.create_task(subscription.call(event))
        return event


class _Home(NamedTuple):
    """Where the tasks of application handlers live."""

    group: asyncio.TaskGroup
    context: contextvars.Context


class _Subscription:
    """One application handler with its own queue."""

    def __init__(self, event_type: type, handler: Callable[[Any], Awaitable[None] | None]) -> None:
        self.handler = handler
        self.inbox = Inbox((event_type,), in_order=True, limit=1_000)
        self.task: asyncio.Task[None] | None = None

    def offer(self, event: object) -> None:
        self.inbox.put(event)

    def start(self, home: _Home) -> None:
        name = f"handler {_name(self.handler)}"
        self.task = home.group.create_task(run_apart(name, self._run), name=name, context=home.context.copy())

    def close(self) -> None:
        self.inbox.close()

    async def _run(self) -> None:
        async for event in self.inbox:
            await self.call(event)

    async def call(self, event: object) -> None:
        try:
            result = self.handler(event)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            logger.warning("Event handler %s awaited something that was cancelled", _name(self.handler))
        except Exception:
            logger.exception("Event handler %s failed on %s", _name(self.handler), type(event).__name__)


def _name(handler: Callable[..., object]) -> str:
    return getattr(handler, "__qualname__", None) or repr(handler)


def _finish(waiter: asyncio.Future[bool], timed_out: bool) -> None:
    if not waiter.done():
        waiter.set_result(timed_out)
