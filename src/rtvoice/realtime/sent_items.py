"""Items that we put into the conversation: which of them has the server acknowledged?

The server takes our events in order, so one number tells it all: everything up to the last
acknowledged item is in the conversation (or was refused).
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

REMEMBERED: Final = 1_000
"""Unacknowledged items that are remembered; the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class _Item:
    number: int
    event_id: str
    call_id: str | None


class SentItems:
    """Numbers the items we send, from 1, and finds them again when the server acknowledges them."""

    def __init__(self) -> None:
        self._count = 0
        self._open: deque[_Item] = deque(maxlen=REMEMBERED)

    def add(self, event_id: str, call_id: str | None = None) -> int:
        """Note that an item was sent, with the ``call_id`` of a tool output or none for a user message.

        Returns:
            Its number.
        """
        self._count += 1
        self._open.append(_Item(self._count, event_id, call_id))
        return self._count

    def acknowledge(self, call_id: str | None = None) -> int:
        """Note that the server reports the output of a call, or a user message.

        Messages carry nothing by which to know them: the oldest one is meant.

        Returns:
            The item's number, 0 if it is not known.
        """
        number = next((item.number for item in self._open if item.call_id == call_id), 0)
        while self._open and self._open[0].number <= number:
            self._open.popleft()
        return number

    def refuse(self, event_id: str) -> int:
        """Note that the server refused the event that was to add an item; return its number, 0 if it is not known."""
        for item in self._open:
            if item.event_id == event_id:
                self._open.remove(item)
                return item.number
        return 0

    def forget(self) -> int:
        """Note that the connection is gone, and no acknowledgement comes any more; return the last number."""
        self._open.clear()
        return self._count
