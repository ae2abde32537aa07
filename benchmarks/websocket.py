"""The server side of a WebSocket on a bare asyncio protocol: several times cheaper than a library's.

The benchmarks need it so that the server does not become what is measured. It knows what their clients need: text
and binary messages, fragments, ping and close; no extensions.
"""

import asyncio
import base64
import hashlib
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING = 0, 1, 2, 8, 9
_PONG: Final = 10
_FINAL: Final = 0x80


class WebSocket(asyncio.Protocol):
    """One connection; subclasses say what happens on `opened`, `message` and `closed`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._is_open = False
        self._fragments = bytearray()

    def opened(self) -> None:
        """Called when messages may be sent."""

    def message(self, payload: bytes) -> None:
        """Called with every text or binary message."""

    def closed(self) -> None:
        """Called once at the end."""

    def send(self, payload: bytes) -> None:
        """Send a text message."""
        self._write(_TEXT, payload)

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the subclass."""
        self._transport = None
        self.closed()

    def data_received(self, data: bytes) -> None:
        """Take in what the client wrote."""
        self._buffer += data
        if not self._is_open:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._answer_upgrade(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        while (frame := self._take_frame()) is not None:
            self._on_frame(*frame)

    # --- the protocol ---

    def _answer_upgrade(self, request: bytes) -> None:
        key = next(
            line.split(b":", 1)[1].strip()
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key:")
        )
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self._raw_write(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self._is_open = True
        self.opened()

    def _take_frame(self) -> tuple[int, bytes] | None:
        """Return first byte and payload of the next whole frame."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        end = start + 4 + length
        if len(buffer) < end:
            return None
        mask, payload = bytes(buffer[start : start + 4]), bytes(buffer[start + 4 : end])
        first = buffer[0]
        del buffer[:end]
        return first, _unmask(payload, mask)

    def _on_frame(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode in (_TEXT, _BINARY) and first & _FINAL:
            self.message(payload)
        elif opcode in (_TEXT, _BINARY, _CONTINUATION):
            self._fragments += payload
            if first & _FINAL:
                whole = bytes(self._fragments)
                self._fragments.clear()
                self.message(whole)
        elif opcode == _PING:
            self._write(_PONG, payload)
        elif opcode == _CLOSE and self._transport is not None:
            self._write(_CLOSE, payload[:2])
            self._transport.close()

    def _write(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = bytes((_FINAL | opcode, length))
        elif length < 65_536:
            head = bytes((_FINAL | opcode, 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((_FINAL | opcode, 127)) + length.to_bytes(8, "big")
        self._raw_write(head + payload)

    def _raw_write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _unmask(payload: bytes, mask: bytes) -> bytes:
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
