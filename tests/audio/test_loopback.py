"""The chirp: found, measured, missed; with devices that behave like a room, on the virtual clock."""

import asyncio
import math
from collections.abc import AsyncIterator

import numpy as np
import pytest

from rtvoice.audio import AudioInputDevice, AudioOutputDevice
from rtvoice.audio.loopback import LoopbackReport, measure_loopback
from rtvoice.errors import AudioDeviceError

pytestmark = pytest.mark.virtual_clock

BLOCK = 480


class Room(AudioInputDevice, AudioOutputDevice):
    """A loudspeaker, and a microphone that hears it."""

    def __init__(self, *, gain: float = 0.25, delay_ms: int = 80, noise: float = 0.0, length_s: float = 60.0) -> None:
        self.gain = gain
        self.delay_ms = delay_ms
        self.length_s = length_s
        self.air = np.zeros(24_000 * 10)
        if noise:
            self.air += np.random.default_rng(1).normal(0, noise, len(self.air))
        self.began = 0.0
        self.log: list[str] = []

    async def start(self) -> None:
        self.log.append("start")
        self.began = asyncio.get_running_loop().time()

    async def stop(self) -> None:
        self.log.append("stop")

    @property
    def is_active(self) -> bool:
        return True

    @property
    def is_playing(self) -> bool:
        return False

    async def clear_buffer(self) -> None: ...

    async def play_chunk(self, chunk: bytes) -> None:
        sound = np.frombuffer(chunk, "<i2") * self.gain
        at = round((asyncio.get_running_loop().time() - self.began) * 24_000) + self.delay_ms * 24
        self.air[at : at + len(sound)] += sound

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, round(self.length_s * 24_000), BLOCK):
            await asyncio.sleep(BLOCK / 24_000)
            yield np.clip(self.air[start : start + BLOCK], -32_768, 32_767).astype("<i2").tobytes()


async def measured(room: Room) -> LoopbackReport:
    return await measure_loopback(room, room)


@pytest.mark.parametrize("delay_ms", [0, 35, 80, 600])
@pytest.mark.parametrize("gain", [0.01, 0.25, 0.9])
async def test_delay_and_level(delay_ms: int, gain: float) -> None:
    room = Room(gain=gain, delay_ms=delay_ms, noise=20.0)
    report = await measured(room)
    assert report.heard
    assert report.latency_ms == pytest.approx(delay_ms, abs=1)
    assert report.echo_db == pytest.approx(20 * math.log10(gain), abs=0.5)
    assert report.noise_dbfs == pytest.approx(20 * math.log10(20 / 32_768), abs=0.5)
    assert report.clipped_share == 0
    assert 2200 <= report.captured_ms <= 2400
    assert room.log == ["start", "start", "stop", "stop"]


@pytest.mark.parametrize("noise", [0.0, 1.0, 300.0, 3000.0])
async def test_a_headset_is_not_heard(noise: float) -> None:
    report = await measured(Room(gain=0, noise=noise))
    assert (report.heard, report.latency_ms, report.echo_db) == (False, None, None)
    assert (report.noise_dbfs == -math.inf) is (noise == 0)


async def test_an_overdriven_microphone() -> None:
    report = await measured(Room(gain=20.0))
    assert report.heard
    assert report.clipped_share > 0.1


@pytest.mark.parametrize("length_s", [0.0, 0.3])
async def test_a_microphone_that_ends(length_s: float) -> None:
    report = await measured(Room(length_s=length_s))
    assert (report.captured_ms, report.heard) == (length_s * 1000, False)


async def test_a_microphone_that_gives_nothing() -> None:
    class Mute(Room):
        async def stream_chunks(self) -> AsyncIterator[bytes]:
            await asyncio.sleep(1000)
            yield b""

    report = await measured(Mute())
    assert report.captured_ms == 0
    assert asyncio.get_running_loop().time() < 5


async def test_a_plain_iterator_will_do() -> None:
    class Chunks:
        def __init__(self, room: Room) -> None:
            self._stream = Room.stream_chunks(room)

        def __aiter__(self) -> "Chunks":
            return self

        async def __anext__(self) -> bytes:
            return await anext(self._stream)

    class Plain(Room):
        def stream_chunks(self) -> AsyncIterator[bytes]:
            return Chunks(self)

    assert (await measured(Plain())).heard


@pytest.mark.parametrize("method", ["start", "play_chunk"])
async def test_failing_devices_are_closed(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    room, loudspeaker = Room(), Room()

    async def fail(*_: object) -> None:
        raise AudioDeviceError("broken")

    monkeypatch.setattr(room if method == "start" else loudspeaker, method, fail)
    with pytest.raises(AudioDeviceError, match="broken"):
        await measure_loopback(room, loudspeaker)
    assert loudspeaker.log == ["start", "stop"]
