"""A misbehaving transport."""

import asyncio
from typing import Any

from rtvoice.testing.faulty_transport import FaultyTransport


class Wire(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.ended = False

    def __getattribute__(self, name: str) -> Any:
        if name in ("pause_reading", "resume_reading", "write_eof", "set_write_buffer_limits"):
            return lambda *args: self.calls.append((name, *args))
        return super().__getattribute__(name)

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def close(self) -> None:
        self.calls.append("close")
        self.ended = True

    def abort(self) -> None:
        self.calls.append("abort")
        self.ended = True

    def is_closing(self) -> bool:
        return self.ended

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 3

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return f"{name}!"


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_transport_passes_everything_on() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.write(b"abc")
    transport.pause_reading()
    transport.resume_reading()
    transport.set_write_buffer_limits(2, 1)
    transport.write_eof()
    assert wire.calls == [
        b"abc",
        ("pause_reading",),
        ("resume_reading",),
        ("set_write_buffer_limits", 2, 1),
        ("write_eof",),
    ]
    assert transport.can_write_eof()
    assert not transport.is_closing()
    assert transport.get_write_buffer_size() == 3
    assert transport.get_extra_info("peername") == "peername!"
    transport.close()
    assert transport.is_closing()


async def test_dribbling_keeps_the_order_and_closes_last() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.bytes_per_write = 2
    transport.write(b"abc")
    transport.write(b"de")
    transport.bytes_per_write = None
    transport.write(b"fgh")
    assert transport.get_write_buffer_size() == 3 + 8
    transport.close()
    assert wire.calls == []
    await settle()
    assert wire.calls == [b"ab", b"c", b"de", b"fgh", "close"]


async def test_dribbling_stops_with_the_connection() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.bytes_per_write = 1
    transport.write(b"abc")
    wire.ended = True
    await settle()
    assert wire.calls == []
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.bytes_per_write = 1
    transport.write(b"abc")
    transport.abort()
    await settle()
    assert wire.calls == ["abort"]


async def test_silence_swallows_everything_but_an_abort() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.silent = True
    transport.write(b"abc")
    transport.close()
    assert wire.calls == []
    transport.abort()
    assert wire.calls == ["abort"]


async def test_close_frames_are_swallowed() -> None:
    wire = Wire()
    transport = FaultyTransport(wire)
    transport.never_answer_close = True
    transport.write(b"\x88\x02\x03\xe8")
    transport.write(b"\x81\x01x")
    transport.write_eof()
    assert wire.calls == [b"\x81\x01x"]
