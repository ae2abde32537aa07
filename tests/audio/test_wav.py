import asyncio
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtvoice.audio import recording, recording_file
from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice, PlaybackPosition, SupportsPosition
from rtvoice.audio.wav import WavFileInput, WavFileOutput, read_wav
from rtvoice.audio.wav_writer import WavWriter
from rtvoice.errors import AudioDeviceError, ConfigurationError
from rtvoice.testing.clock import run

SECOND = 24_000


def save(path: Path, frames: bytes, *, rate: int = SECOND, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)
    return path


def load(path: Path) -> list[int]:
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (1, 2, SECOND)
        return list(struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes())))


def pcm(value: int, samples: int) -> bytes:
    return struct.pack("<h", value) * samples


async def collect(device: WavFileInput) -> list[bytes]:
    await device.start()
    try:
        return [chunk async for chunk in device.stream_chunks()]
    finally:
        await device.stop()


# --- reading -----------------------------------------------------------------------------------------------


def test_reads_what_needs_no_conversion(tmp_path: Path) -> None:
    audio = np.random.default_rng(1).integers(-9000, 9000, 60_000).astype("<i2").tobytes()
    pieces = list(read_wav(save(tmp_path / "a.wav", audio)))
    assert b"".join(pieces) == audio
    assert max(map(len, pieces)) <= 2 * SECOND


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_reads_other_rates_and_stereo(tmp_path: Path, rate: int) -> None:
    sine = (9000 * np.sin(2 * np.pi * 300 * np.arange(2 * rate) / rate)).astype("<i2")
    path = save(tmp_path / "a.wav", np.column_stack((sine, sine)).tobytes(), rate=rate, channels=2)
    out = np.frombuffer(b"".join(read_wav(path)), "<i2").astype(float)
    expected = 9000 * np.sin(2 * np.pi * 300 * np.arange(2 * SECOND) / SECOND)
    assert len(out) == 2 * SECOND
    assert np.abs(out - expected)[200:-200].max() < 5


@pytest.mark.parametrize(
    ("width", "frames"), [(1, b"\xff\x00"), (3, b"\0\0\x7f\0\0\x80"), (4, b"\0\0\0\x7f\0\0\0\x80")]
)
def test_reads_other_widths(tmp_path: Path, width: int, frames: bytes) -> None:
    assert b"".join(read_wav(save(tmp_path / "a.wav", frames, width=width))) == struct.pack("<2h", 0x7F00, -0x8000)


@pytest.mark.parametrize("content", [None, b"", b"not a wav file at all, just text"])
def test_what_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioDeviceError, match=r"cannot read .*a\.wav"):
        list(read_wav(path))


# --- input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"path": []}, {"path": "a.wav", "pause_s": -1.0}])
def test_input_settings_that_cannot_work(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        WavFileInput(**settings)


async def test_input_without_pace(tmp_path: Path) -> None:
    first, second = save(tmp_path / "1.wav", pcm(1, 1000)), save(tmp_path / "2.wav", pcm(2, 500))
    device = WavFileInput(
        [first, str(second)], realtime=False, leading_silence_s=0.01, pause_s=0.02, trailing_silence_s=0.03
    )
    assert isinstance(device, AudioInputDevice)
    chunks = await collect(device)
    assert b"".join(chunks) == pcm(0, 240) + pcm(1, 1000) + pcm(0, 480) + pcm(2, 500) + pcm(0, 720)
    assert {len(chunk) for chunk in chunks[:-1]} == {960}
    assert len(chunks[-1]) <= 960


async def test_input_of_whole_chunks(tmp_path: Path) -> None:
    chunks = await collect(WavFileInput(save(tmp_path / "1.wav", pcm(1, 960)), realtime=False, trailing_silence_s=0))
    assert chunks == [pcm(1, 480)] * 2


def test_input_at_the_pace_of_speech(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", pcm(1, 10 * SECOND))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        device = WavFileInput(path, trailing_silence_s=2.0)
        await device.start()
        began = loop.time()
        received = 0
        async for chunk in device.stream_chunks():
            received += len(chunk) // 2
            assert loop.time() - began >= received / SECOND - 1e-6
        assert received == 12 * SECOND
        assert 12.0 <= loop.time() - began < 14.0
        await device.stop()

    run(main())


async def test_input_may_go_on_for_ever(tmp_path: Path) -> None:
    device = WavFileInput(save(tmp_path / "a.wav", pcm(1, 480)), realtime=False, trailing_silence_s=0.02, loop=True)
    await device.start()
    chunks = device.stream_chunks()
    assert [await anext(chunks) for _ in range(6)] == [pcm(1, 480), pcm(0, 480)] * 3
    await device.stop()
    assert [chunk async for chunk in chunks] == []


async def test_input_stop_ends_a_waiting_reader(tmp_path: Path) -> None:
    device = WavFileInput(save(tmp_path / "a.wav", pcm(1, 100 * SECOND)))
    await device.stop()
    await device.start()
    assert device.is_active
    waiting = asyncio.Event()

    async def read() -> None:
        async for _ in device.stream_chunks():
            waiting.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await waiting.wait()
        await device.stop()
        await device.stop()
    assert not device.is_active


async def test_input_states(tmp_path: Path) -> None:
    device = WavFileInput(save(tmp_path / "a.wav", pcm(1, 480)), realtime=False, trailing_silence_s=0)
    assert not device.is_active
    with pytest.raises(AudioDeviceError, match="not started"):
        await anext(device.stream_chunks())
    await device.start()
    with pytest.raises(AudioDeviceError, match="already started"):
        await device.start()
    await device.stop()
    assert await collect(device) == [pcm(1, 480)]  # from the beginning


async def test_input_finds_bad_files_at_the_start(tmp_path: Path) -> None:
    device = WavFileInput([save(tmp_path / "a.wav", pcm(1, 480)), tmp_path / "missing.wav"])
    with pytest.raises(AudioDeviceError, match=r"missing\.wav"):
        await device.start()
    assert not device.is_active


# --- output ------------------------------------------------------------------------------------------------


def test_output_writes_what_is_heard_when_it_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "out" / "heard.wav"
    began = ended = 0.0

    async def main() -> None:
        nonlocal began, ended
        loop = asyncio.get_running_loop()
        device = WavFileOutput(path)
        assert isinstance(device, AudioOutputDevice)
        assert isinstance(device, SupportsPosition)
        await device.start()
        await asyncio.sleep(1)
        began = loop.time()
        for _ in range(10):
            await device.play_chunk(pcm(1, SECOND))  # ten seconds at once
        assert device.is_playing
        await asyncio.sleep(2.5)
        assert device.position() == PlaybackPosition(10 * SECOND, 60_000, 60_000, 0)
        await device.clear_buffer()
        assert device.position() == PlaybackPosition(10 * SECOND, 60_000, 60_000, 180_000)
        assert not device.is_playing
        await asyncio.sleep(1)
        await device.play_chunk(pcm(2, SECOND))
        await asyncio.sleep(0.5)
        ended = loop.time()
        await device.stop()
        assert not device.is_playing
        await device.stop()

    run(main())
    heard = load(path)
    offset = next(index for index, value in enumerate(heard) if value)
    assert offset == pytest.approx(SECOND, abs=5000)  # the opening took a moment of real time
    assert heard[offset:][:60_000] == [1] * 60_000
    assert heard[offset + 60_000 : offset + 84_000] == [0] * 24_000
    assert heard[offset + 84_000 :][:12_000] == [2] * 12_000
    assert len(heard) == pytest.approx(offset + (ended - began) * SECOND, abs=2)


def test_output_carries_odd_bytes(tmp_path: Path) -> None:
    async def main() -> None:
        device = WavFileOutput(tmp_path / "a.wav")
        await device.start()
        audio = pcm(258, 480)
        await device.play_chunk(audio[:333])
        await device.play_chunk(audio[333:])
        assert device.position().accepted == 480
        await device.play_chunk(b"\x01")
        await device.clear_buffer()
        await device.play_chunk(audio)
        assert device.position().accepted == 960
        await device.stop()

    run(main())


async def test_output_states(tmp_path: Path) -> None:
    device = WavFileOutput(tmp_path / "a.wav")
    assert device.position() == PlaybackPosition(0, 0, 0, 0)
    assert not device.is_playing
    await device.stop()
    await device.clear_buffer()
    with pytest.raises(AudioDeviceError, match="not started"):
        await device.play_chunk(b"ab")
    await device.start()
    with pytest.raises(AudioDeviceError, match="already started"):
        await device.start()
    await device.stop()
    await device.start()
    await device.stop()


async def test_output_that_cannot_be_created(tmp_path: Path) -> None:
    device = WavFileOutput(tmp_path)
    with pytest.raises(AudioDeviceError, match="cannot write"):
        await device.start()
    await device.stop()


async def test_output_tells_that_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    class FullDisk(WavWriter):
        def write(self, data: bytes) -> None:
            loop.call_soon_threadsafe(failed.set)
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(recording_file, "WavWriter", FullDisk)
    monkeypatch.setattr(recording, "HORIZON", 0)
    device = WavFileOutput(tmp_path / "a.wav")
    await device.start()
    await failed.wait()
    writer = device._writer
    assert writer is not None
    while writer.error is None:
        await asyncio.sleep(0)
    with pytest.raises(AudioDeviceError, match="No space left"):
        await device.play_chunk(b"ab")
    with pytest.raises(AudioDeviceError, match="No space left"):
        await device.stop()
