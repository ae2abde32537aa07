import os
import stat
import struct
import sys
import wave
from pathlib import Path

import pytest
import soundfile

from rtvoice.audio import wav_writer
from rtvoice.audio.wav_writer import PcmWriter, WavWriter


def header(path: Path) -> bytes:
    return path.read_bytes()[:80]


def test_a_wav_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.wav"
    with WavWriter(path, channels=2) as writer:
        writer.write(b"\1\2\3\4" * 100)
        writer.write(b"\5\6\7\x08")
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (2, 2, 24_000, 101)
        assert file.readframes(200) == b"\1\2\3\4" * 100 + b"\5\6\7\x08"
    assert path.stat().st_size == 80 + 404


def test_it_is_readable_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    writer = WavWriter(path, sample_rate=8000)
    with wave.open(str(path)) as file:
        assert file.getnframes() == 0
    writer.write(bytes(200))
    writer.checkpoint()
    writer.write(b"\1\1" * 50)  # not covered by the header yet
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 100)
    writer.checkpoint()
    with wave.open(str(path)) as file:
        assert file.readframes(150) == bytes(200) + b"\1\1" * 50
    writer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs files with holes")
def test_more_than_four_gigabytes_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with WavWriter(path, channels=2) as writer:
        writer.write(b"\1\2\3\4" * 100)
        hole = 4 * 2**30
        writer._file.truncate(path.stat().st_size + hole)  # silence that takes no place on the disk
        writer._data_bytes += hole
        writer.checkpoint()
        writer.write(b"\5\6\7\x08" * 100)
    assert path.stat().st_blocks < 1000
    with soundfile.SoundFile(path) as file:
        assert (file.format, file.channels, file.frames) == ("RF64", 2, hole // 4 + 200)
        assert file.read(101, dtype="int16").tobytes() == b"\1\2\3\4" * 100 + bytes(4)
        file.seek(hole // 4 + 99)
        assert file.read(dtype="int16").tobytes() == bytes(4) + b"\5\6\7\x08" * 100


def test_beyond_four_gigabytes_it_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    monkeypatch.setattr(wav_writer, "RIFF_LIMIT", 1000)
    with WavWriter(path, channels=2) as writer:
        writer.write(bytes(1000 - 72))
        writer.checkpoint()
        assert header(path)[:4] == b"RIFF"
        assert struct.unpack_from("<I", header(path), 4) == (1000,)
        assert header(path)[12:16] == b"JUNK"
        writer.write(bytes(4))
    riff, size, form, ds64, length, riff_size, data_size, frames, table = struct.unpack_from(
        "<4sI4s4sIQQQI", header(path)
    )
    assert (riff, size, form, ds64, length) == (b"RF64", 0xFFFFFFFF, b"WAVE", b"ds64", 28)
    assert (riff_size, data_size, frames, table) == (path.stat().st_size - 8, 932, 233, 0)
    assert struct.unpack_from("<4sI", header(path), 72) == (b"data", 0xFFFFFFFF)
    assert header(path)[48:52] == b"fmt "


def test_raw_pcm_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    with PcmWriter(path) as writer:
        writer.write(b"abcd")
        writer.checkpoint()
    assert path.read_bytes() == b"abcd"


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_only_the_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old" * 1000)
    path.chmod(0o644)
    WavWriter(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 80


def test_without_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fchmod")
    WavWriter(tmp_path / "a.wav").close()


def test_an_unwritable_path(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        WavWriter(tmp_path)


def test_a_full_disk_leaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(wav_writer, "open_private", lambda path: os.open("/dev/full", os.O_WRONLY))
    real = os.fdopen

    def fdopen(*args: object, **kwargs: object) -> object:
        file = real(*args, **kwargs)
        closed.append(file)
        return file

    monkeypatch.setattr(wav_writer.os, "fdopen", fdopen)
    with pytest.raises(OSError, match="No space left"):
        WavWriter(Path("a.wav"))
    assert [file.closed for file in closed] == [True]
