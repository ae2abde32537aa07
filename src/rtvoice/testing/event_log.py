"""What went over the wire, for tests to look at and to wait for."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]


def brief(event: Mapping[str, Any]) -> JsonObject:
    """Return an event for the record: audio as its size, for example ``"<960 base64 characters>"``."""
    shown = dict(event)
    key = {"input_audio_buffer.append": "audio", "response.output_audio.delta": "delta"}.get(str(shown.get("type")))
    if key is not None and isinstance(shown.get(key), str):
        shown[key] = f"<{len(shown[key])} base64 characters>"
    return shown


class EventLog:
    """Events of one direction over all sessions of an emulator, in order.

    Args:
        who: Who sends them, for messages: ``"client"`` or ``"server"``.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._events: list[JsonObject] = []
        self._next: Counter[str] = Counter()
        self._waiters: list[asyncio.Future[None]] = []

    def add(self, event: JsonObject) -> None:
        """Append an event and wake those who wait for one."""
        self._events.append(event)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def next(
        self, event_type: str, where: Callable[[JsonObject], bool] | None = None, *, timeout: float
    ) -> JsonObject:
        """Return the next event of a type; each is returned once, also those that came before the call.

        Args:
            event_type: The wanted type.
            where: Further condition; events of the type that do not meet it are passed over for good.
            timeout: Seconds to wait.

        Raises:
            TimeoutError: None came; the message lists what did.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    while self._next[event_type] < len(self._events):
                        event = self._events[self._next[event_type]]
                        self._next[event_type] += 1
                        if event.get("type") == event_type and (where is None or where(event)):
                            return event
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            seen = ", ".join(f"{count} {kind}" for kind, count in Counter(e.get("type") for e in self._events).items())
            raise TimeoutError(
                f"no (further) {event_type!r} from the {self._who} within {timeout} s; "
                f"there were: {seen or 'no events'}"
            ) from None
