import asyncio
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path
from typing import Any

import pytest
import soundfile

from rtvoice.audio import recording, recording_file
from rtvoice.audio.recording import RecordingWriter
from rtvoice.audio.wav_writer import PcmWriter, WavWriter
from rtvoice.testing.clock import run

SECOND = 24_000
BLOCK = 480


def pcm(value: int, samples: int = BLOCK) -> bytes:
    return struct.pack("<h", value) * samples


def tracks(path: Path) -> tuple[list[int], list[int]]:
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (2, 2, SECOND)
        frames = struct.unpack(f"<{2 * file.getnframes()}h", file.readframes(file.getnframes()))
    return list(frames[::2]), list(frames[1::2])


def runs(values: list[int]) -> list[tuple[int, int, int]]:
    """Return (value, start, length) of each run that is not silent."""
    found: list[tuple[int, int, int]] = []
    for index, value in enumerate(values):
        if found and found[-1][0] == value and found[-1][1] + found[-1][2] == index:
            found[-1] = (value, found[-1][1], found[-1][2] + 1)
        elif value:
            found.append((value, index, 1))
    return found


def test_both_sides_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "talk.wav"

    async def conversation() -> None:
        recorder = RecordingWriter(path)
        await recorder.start(at=100.0)
        recorder.place("user", 101.0, pcm(1))
        recorder.place("user", 101.02, pcm(2))
        recorder.place("assistant", 102.0, pcm(7))
        recorder.place("user", 103.0, pcm(3))
        await recorder.close(at=105.0)
        assert recorder.error is None

    run(conversation())
    user, assistant = tracks(path)
    assert len(user) == 5 * SECOND
    assert runs(user) == [(1, SECOND, BLOCK), (2, SECOND + BLOCK, BLOCK), (3, 3 * SECOND, BLOCK)]
    assert runs(assistant) == [(7, 2 * SECOND, BLOCK)]


def test_it_is_written_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"

    async def conversation() -> None:
        loop = asyncio.get_running_loop()
        recorder = RecordingWriter(path)
        began = loop.time()
        await recorder.start(began)
        for number in range(500):  # ten seconds
            recorder.place("user", loop.time(), pcm(1 + number % 2))
            await asyncio.sleep(0.02)
        with loop.real_time():  # type: ignore[attr-defined]
            while path.stat().st_size < 80 + 4 * 8 * SECOND:
                await asyncio.sleep(0.01)
        assert len(tracks(path)[0]) >= 8 * SECOND
        await recorder.close(began + 10)

    run(conversation())
    assert len(tracks(path)[0]) == 10 * SECOND
    assert sum(length for _, _, length in runs(tracks(path)[0])) == 500 * BLOCK


def test_ten_minutes_stay_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    held: list[int] = []

    async def conversation() -> None:
        loop = asyncio.get_running_loop()
        recorder = RecordingWriter(path)
        began = loop.time()
        await recorder.start(began)
        for _ in range(600):
            recorder.place("user", loop.time(), pcm(1, SECOND))
            await asyncio.sleep(1)
            held.append(recorder._inbox_bytes + sum(side.held for side in recorder._tracks.values()))
            await asyncio.to_thread(lambda: None)  # the writer's thread gets its share of real time
        await recorder.close(began + 600)

    run(conversation())
    assert path.stat().st_size == 80 + 600 * SECOND * 4
    assert max(held) < recording.MEMORY_LIMIT / 2


def test_scheduled_audio_is_cut_at_the_interruption(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"

    async def conversation() -> None:
        loop = asyncio.get_running_loop()
        recorder = RecordingWriter(path)
        began = loop.time()
        await recorder.start(began)
        for second in range(60):
            recorder.schedule(began + 1 + second, pcm(5, SECOND))
        await asyncio.sleep(4)
        recorder.cut(began + 3.5)
        recorder.schedule(began + 5, pcm(6, SECOND))
        await asyncio.sleep(2)
        await recorder.close(began + 5.5)

    run(conversation())
    _, assistant = tracks(path)
    assert runs(assistant) == [(5, SECOND, 5 * SECOND // 2), (6, 5 * SECOND, SECOND // 2)]


def test_a_cut_drops_an_odd_byte_too(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"

    async def conversation() -> None:
        recorder = RecordingWriter(path)
        await recorder.start(at=0.0)
        recorder.schedule(0.0, pcm(5, 100) + b"\x07")
        recorder.cut(0.0)
        recorder.schedule(0.0, pcm(6, 480))
        await recorder.close(at=0.02)

    run(conversation())
    assert runs(tracks(path)[1]) == [(6, 0, 480)]


def test_after_a_stall_of_the_loop_nothing_is_torn_apart(tmp_path: Path) -> None:
    """The tick finds itself late and waits for what the stall held back."""
    path = tmp_path / "talk.wav"

    async def conversation() -> None:
        loop = asyncio.get_running_loop()
        recorder = RecordingWriter(path)
        began = loop.time()
        await recorder.start(began)
        for number in range(100):
            recorder.place("user", began + number * 0.02, pcm(1 + number))
            await asyncio.sleep(0.02)
        loop.advance(5.0)  # type: ignore[attr-defined]  # the stall
        await asyncio.sleep(0)  # the late tick comes first
        while recorder._news:  # had it told the writer, that would write silence now
            await asyncio.to_thread(time.sleep, 0.001)
        now = loop.time()
        for number in range(100, 350):
            recorder.place("user", now - 0.02, pcm(1 + number))
        await asyncio.sleep(3)
        await recorder.close(began + 8)

    run(conversation())
    user, _ = tracks(path)
    assert [value for value, _, _ in runs(user)] == list(range(1, 351))
    assert runs(user)[-1][1] + BLOCK == runs(user)[0][1] + 350 * BLOCK


def test_an_odd_byte_belongs_to_the_next_block(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"

    async def conversation() -> None:
        recorder = RecordingWriter(path)
        await recorder.start(at=0.0)
        audio = pcm(1) + pcm(2)
        recorder.place("user", 0.0, audio[:333])
        recorder.place("user", 0.01, audio[333:])
        await recorder.close(at=0.05)

    run(conversation())
    assert runs(tracks(path)[0]) == [(1, 0, BLOCK), (2, BLOCK, BLOCK)]


@pytest.mark.parametrize("name", ["talk.pcm", "talk", "talk.mp3"])
def test_other_names_get_mixed_raw_pcm(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    async def conversation() -> None:
        recorder = RecordingWriter(path)
        await recorder.start(at=0.0)
        recorder.place("user", 0.0, pcm(30_000))
        recorder.place("assistant", 0.0, pcm(30_000) + pcm(-5))
        await recorder.close(at=0.06)

    run(conversation())
    assert path.read_bytes() == pcm(32_767) + pcm(-5) + pcm(0)


@pytest.mark.parametrize(("name", "channels"), [("a.WAV", 2), ("a.wave", 2)])
def test_names_of_wav_files(tmp_path: Path, name: str, channels: int) -> None:
    async def conversation() -> None:
        recorder = RecordingWriter(tmp_path / name)
        await recorder.start()
        await recorder.close()

    run(conversation())
    with wave.open(str(tmp_path / name)) as file:
        assert file.getnchannels() == channels


@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_compressed_recordings(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"talk{suffix}"

    async def conversation() -> None:
        recorder = RecordingWriter(path)
        await recorder.start(at=0.0)
        recorder.place("user", 0.5, pcm(3_000, SECOND))
        await recorder.close(at=2.0)

    run(conversation())
    samples, rate = soundfile.read(path, dtype="int16")
    assert (rate, samples.shape) == (SECOND, (2 * SECOND, 2))
    assert abs(samples[:, 0]).max() > 2_000 > 200 > abs(samples[:, 1]).max()
    if suffix == ".flac":
        assert runs(samples[:, 0].tolist()) == [(3_000, SECOND // 2, SECOND)]


async def test_a_compressed_recording_without_soundfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError):
        await RecordingWriter(tmp_path / "talk.flac").start()


def test_container_and_layout_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"

    async def conversation() -> None:
        recorder = RecordingWriter(path, container="wav", stereo=False)
        await recorder.start(at=0.0)
        recorder.place("assistant", 0.0, pcm(3))
        await recorder.close(at=0.02)

    run(conversation())
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.readframes(BLOCK)) == (1, pcm(3))


def test_a_silent_conversation_is_recorded_too(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"

    async def conversation() -> None:
        recorder = RecordingWriter(path)
        await recorder.start(at=0.0)
        await recorder.close(at=25.0)
        await recorder.close(at=99.0)
        recorder.place("user", 26.0, pcm(1))
        recorder.schedule(26.0, pcm(1))
        recorder.cut(26.0)

    run(conversation())
    assert len(tracks(path)[0]) == 25 * SECOND


async def test_closing_what_never_started(tmp_path: Path) -> None:
    recorder = RecordingWriter(tmp_path / "talk.wav")
    recorder.place("user", 0.0, pcm(1))
    await recorder.close()
    assert not (tmp_path / "talk.wav").exists()


async def test_taps_place_from_another_thread(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    recorder = RecordingWriter(path)
    began = asyncio.get_running_loop().time()
    await recorder.start(began)
    for number in range(50):
        await asyncio.to_thread(recorder.place, "assistant", began + number * 0.02, pcm(9))
    await recorder.close(began + 1)
    assert runs(tracks(path)[1]) == [(9, 0, SECOND)]


async def test_an_unwritable_path_is_told_at_the_start(tmp_path: Path) -> None:
    errors: list[Exception] = []
    (tmp_path / "file").touch()
    recorder = RecordingWriter(tmp_path / "file" / "talk.wav", on_error=errors.append)
    with pytest.raises(OSError, match="file"):
        await recorder.start()
    recorder.place("user", 0.0, pcm(1))
    await recorder.close()
    assert errors == []


class FullDisk(WavWriter):
    """A disk that is full after the header."""

    def write(self, data: bytes) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("told", [True, False])
async def test_a_full_disk_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: bool
) -> None:
    monkeypatch.setattr(recording_file, "WavWriter", FullDisk)
    errors: list[Exception] = []
    recorder = RecordingWriter(tmp_path / "talk.wav", on_error=errors.append if told else None)
    await recorder.start(at=0.0)
    recorder.place("user", 0.0, pcm(1))
    await recorder.close(at=1.0)
    recorder.place("user", 1.0, pcm(1))
    await recorder.close(at=2.0)
    assert "No space left" in str(recorder.error)
    assert errors == ([recorder.error] if told else [])
    assert caplog.text.count("No space left") == 1


async def test_a_full_disk_is_told_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_file, "WavWriter", FullDisk)
    monkeypatch.setattr(recording, "TICK_S", 0.001)
    monkeypatch.setattr(recording, "HORIZON", 0)
    told: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    recorder = RecordingWriter(tmp_path / "talk.wav", on_error=told.set_result)
    await recorder.start()
    assert "No space left" in str(await told)
    recorder.place("user", 0.0, pcm(1))
    assert recorder._inbox == []
    await recorder.close()


async def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MEMORY_LIMIT", 10_000)
    errors: list[Exception] = []
    recorder = RecordingWriter(tmp_path / "talk.wav", on_error=errors.append)
    await recorder.start(asyncio.get_running_loop().time())
    for _ in range(20):
        recorder.schedule(0.0, pcm(1))
    assert recorder._thread is not None
    await asyncio.to_thread(recorder._thread.join)  # it ends by itself
    await recorder.close()
    (error,) = errors
    assert "more audio is waiting" in str(error)


async def test_what_is_scheduled_ahead_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MEMORY_LIMIT", 10_000)
    monkeypatch.setattr(recording, "TICK_S", 0.001)
    recorder = RecordingWriter(tmp_path / "talk.wav")
    await recorder.start()
    recorder.schedule(asyncio.get_running_loop().time() + 100, pcm(1, 4_000))
    while recorder._inbox:  # until the writer has it
        await asyncio.sleep(0.001)
    assert recorder.error is None
    recorder.schedule(0.0, pcm(1, 4_000))
    assert recorder._thread is not None
    await asyncio.to_thread(recorder._thread.join)
    await recorder.close()
    assert "more audio is waiting" in str(recorder.error)


async def test_a_disk_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: Any
) -> None:
    class HangingDisk(WavWriter):
        def write(self, data: bytes) -> None:
            hang()

    monkeypatch.setattr(recording_file, "WavWriter", HangingDisk)
    monkeypatch.setattr(recording, "CLOSE_TIMEOUT_S", 0.01)
    errors: list[Exception] = []
    recorder = RecordingWriter(tmp_path / "talk.wav", on_error=errors.append)
    await recorder.start(at=0.0)
    await recorder.close(at=1.0)
    assert isinstance(errors[0], TimeoutError)
    assert isinstance(errors[0], OSError)


async def test_a_cancelled_start_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    class SlowDisk(PcmWriter):
        def __init__(self, path: Path) -> None:
            go_on.wait(10)
            super().__init__(path)

    monkeypatch.setattr(recording_file, "PcmWriter", SlowDisk)
    recorder = RecordingWriter(tmp_path / "talk.pcm")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(recorder.start())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
    await recorder.close()
    assert recorder._thread is not None
    assert not recorder._thread.is_alive()
    assert (tmp_path / "talk.pcm").read_bytes() == b""


async def test_a_disk_that_hangs_does_not_hold_up_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    class SlowDisk(PcmWriter):
        def __init__(self, path: Path) -> None:
            go_on.wait(10)
            super().__init__(path)

    monkeypatch.setattr(recording_file, "PcmWriter", SlowDisk)
    monkeypatch.setattr(recording, "OPEN_TIMEOUT_S", 0.01)
    recorder = RecordingWriter(tmp_path / "talk.pcm")
    with pytest.raises(TimeoutError, match="the disk does not answer"):
        await recorder.start()
    go_on.set()
    await recorder.close()
    assert recorder._thread is not None
    assert not recorder._thread.is_alive()


def test_an_error_after_the_end_of_the_loop_is_harmless(tmp_path: Path) -> None:
    errors: list[Exception] = []
    recorder = RecordingWriter(tmp_path / "talk.pcm", on_error=errors.append)
    recorder._loop = asyncio.new_event_loop()
    recorder._loop.close()
    recorder._fail(OSError("late"))
    recorder._fail(OSError("later"))
    assert str(recorder.error) == "late"
    assert errors == []


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX matter")
@pytest.mark.parametrize(
    ("suffix", "grown", "kept_s"),
    [(".wav", 80 + 8 * SECOND * 4, 8), (".flac", 8 * SECOND * 2, 7.5), (".ogg", 60_000, 5)],
)
def test_a_killed_process_leaves_what_was_said(tmp_path: Path, suffix: str, grown: int, kept_s: float) -> None:
    path = tmp_path / f"talk{suffix}"
    program = """
import asyncio, random, sys
from rtvoice.audio.recording import RecordingWriter

async def main():
    loop = asyncio.get_running_loop()
    recorder = RecordingWriter(sys.argv[1])
    noise = random.Random(1)
    begun = loop.time() - 10
    await recorder.start(at=begun)
    for number in range(500):
        recorder.place("user", begun + number * 0.02, noise.randbytes(960))
    while True:
        await asyncio.sleep(0.1)
        print("alive", flush=True)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in process.stdout:
            if path.stat().st_size > grown:
                break
        process.send_signal(signal.SIGKILL)
    samples, rate = soundfile.read(path, dtype="int16")
    assert (rate, samples.shape[1]) == (SECOND, 2)
    assert len(samples) >= kept_s * SECOND
    user, assistant = samples.T.tolist()
    if suffix == ".ogg":  # not lossless
        assert max(user[:SECOND]) > 10_000 > 300 > max(assistant)
    else:
        assert user[:BLOCK] == list(struct.unpack(f"<{BLOCK}h", random.Random(1).randbytes(960)))
        assert not any(assistant)
    if suffix == ".wav":
        assert tracks(path)[0] == user
