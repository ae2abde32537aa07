import os
import stat
from pathlib import Path

import pytest
import soundfile

from rtvoice.audio.compressed_writer import CompressedWriter

NOISE = bytes(range(256)) * 750  # 2 s of stereo


@pytest.mark.parametrize("container", ["FLAC", "OGG"])
def test_a_compressed_file(tmp_path: Path, container: str) -> None:
    path = tmp_path / "deep" / "a"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with CompressedWriter(path, container, channels=2) as writer:
        writer.write(NOISE)
        writer.write(NOISE[:4])
    info = soundfile.info(path)
    assert (info.format, info.channels, info.samplerate, info.frames) == (container, 2, 24_000, 48_001)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name != "posix"
    if container == "FLAC":
        assert soundfile.read(path, dtype="int16")[0].tobytes() == NOISE + NOISE[:4]


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="needs pwrite()")
def test_flac_is_readable_at_every_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    writer = CompressedWriter(path, "FLAC", channels=2)
    writer.checkpoint()
    for number in range(1, 6):
        writer.write(NOISE)
        writer.checkpoint()
        copy = tmp_path / "copy.flac"
        copy.write_bytes(path.read_bytes())  # what is there if the program dies now
        frames = soundfile.info(copy).frames
        assert 0 <= number * 48_000 - frames <= 4096
        assert soundfile.read(copy, dtype="int16")[0].tobytes() == (NOISE * number)[: frames * 4]
    writer.close()
    assert soundfile.info(path).frames == 240_000


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        CompressedWriter(tmp_path, "FLAC", channels=1)


def test_a_refusing_library_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(os, "close", closed.append)
    with pytest.raises(OSError, match="libsndfile cannot begin it"):  # a recording reports those
        CompressedWriter(tmp_path / "a", "FLAC", channels=99)
    monkeypatch.undo()
    (descriptor,) = closed
    os.close(descriptor)
