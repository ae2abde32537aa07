"""A transport that misbehaves: it dribbles, goes silent, or refuses to close."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

_CLOSE_FRAME: Final = 0x88


class FaultyTransport(asyncio.Transport):
    """A transport in front of the real one that can dribble, go silent, and refuse to close.

    Attributes:
        bytes_per_write: Largest piece written at once, or ``None``.
        silent: Nothing that is written reaches the network.
        never_answer_close: Close frames are swallowed, and so is closing the transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._waiting: deque[bytes] = deque()
        self._ending: Callable[[], None] | None = None
        self.bytes_per_write: int | None = None
        self.silent = False
        self.never_answer_close = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or do what the faults say."""
        data = bytes(data)
        if self.silent or (self.never_answer_close and data[:1] == bytes([_CLOSE_FRAME])):
            return
        if self.bytes_per_write is None and not self._waiting:
            self._transport.write(data)
            return
        size = self.bytes_per_write or len(data)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write_piece)
        self._waiting.extend(data[start : start + size] for start in range(0, len(data), size))

    def _write_piece(self) -> None:
        if self._transport.is_closing():
            self._waiting.clear()
        else:
            self._transport.write(self._waiting.popleft())
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._write_piece)
        elif self._ending is not None:
            self._ending()

    def _end(self, ending: Callable[[], None]) -> None:
        if self.never_answer_close or self.silent:
            return
        if self._waiting:
            self._ending = ending
        else:
            ending()

    def can_write_eof(self) -> bool:
        """Whether the real transport can close one direction."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """End the outgoing direction once everything is written."""
        self._end(self._transport.write_eof)

    def close(self) -> None:
        """Close once everything is written."""
        self._end(self._transport.close)

    def abort(self) -> None:
        """Cut the connection now."""
        self._waiting.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the real transport is closing."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the real transport knows."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Stop the incoming direction."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on with the incoming direction."""
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of the real transport."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are not sent yet."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._waiting))
