from collections.abc import AsyncIterator

import pytest

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice
from rtvoice.audio.session import AudioSession


class Microphone(AudioInputDevice):
    def __init__(self, calls: list[str], fail: str = "") -> None:
        self.calls, self.fail = calls, fail

    async def start(self) -> None:
        self.calls.append("input.start")
        if self.fail == "start":
            raise OSError("no microphone")

    async def stop(self) -> None:
        self.calls.append("input.stop")
        if self.fail == "stop":
            raise OSError("stuck")

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        yield b"ab"

    @property
    def is_active(self) -> bool:
        return True


class Speaker(AudioOutputDevice):
    def __init__(self, calls: list[str], fail: str = "") -> None:
        self.calls, self.fail = calls, fail

    async def start(self) -> None:
        self.calls.append("output.start")
        if self.fail == "start":
            raise OSError("no speaker")

    async def stop(self) -> None:
        self.calls.append("output.stop")

    async def play_chunk(self, chunk: bytes) -> None:
        self.calls.append(f"play {chunk!r}")

    async def clear_buffer(self) -> None:
        self.calls.append("clear")

    @property
    def is_playing(self) -> bool:
        return True


async def test_one_life_for_two_devices() -> None:
    calls: list[str] = []
    session = AudioSession(Microphone(calls), Speaker(calls))
    await session.stop()
    await session.start()
    await session.play_chunk(b"xy")
    await session.clear_output_buffer()
    assert session.is_playing
    assert [chunk async for chunk in session.stream_input_chunks()] == [b"ab"]
    await session.stop()
    await session.stop()
    assert calls == ["output.start", "input.start", "play b'xy'", "clear", "input.stop", "output.stop"]


@pytest.mark.parametrize(
    ("input_fails", "output_fails", "expected"),
    [
        ("start", "", ["output.start", "input.start", "input.stop", "output.stop"]),
        ("", "start", ["output.start", "output.stop"]),
    ],
)
async def test_if_one_cannot_start_both_are_closed(input_fails: str, output_fails: str, expected: list[str]) -> None:
    calls: list[str] = []
    session = AudioSession(Microphone(calls, input_fails), Speaker(calls, output_fails))
    with pytest.raises(OSError, match="no "):
        await session.start()
    assert calls == expected


async def test_an_input_that_does_not_stop_leaves_no_output_open() -> None:
    calls: list[str] = []
    session = AudioSession(Microphone(calls, "stop"), Speaker(calls))
    await session.start()
    with pytest.raises(OSError, match="stuck"):
        await session.stop()
    assert calls[-2:] == ["input.stop", "output.stop"]
