from pathlib import Path

import pytest

from rtvoice.audio import recording_file
from rtvoice.audio.compressed_writer import CompressedWriter
from rtvoice.audio.recording_file import Container, check_recording_path, container_of, create
from rtvoice.audio.wav_writer import PcmWriter, WavWriter


@pytest.mark.parametrize(
    ("name", "container", "writer"),
    [
        ("a.wav", "wav", WavWriter),
        ("a.WAVE", "wav", WavWriter),
        ("a.Flac", "flac", CompressedWriter),
        ("a.ogg", "ogg", CompressedWriter),
        ("a.pcm", "pcm", PcmWriter),
        ("a", "pcm", PcmWriter),
    ],
)
def test_the_name_decides(tmp_path: Path, name: str, container: Container, writer: type) -> None:
    path = tmp_path / name
    check_recording_path(path)
    assert container_of(path) == container
    with create(path, container, channels=2) as file:
        assert type(file) is writer


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; name a file in it"):
        check_recording_path(tmp_path)


def test_compressed_files_need_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_file, "can_compress", lambda: False)
    check_recording_path(tmp_path / "a.wav")
    with pytest.raises(ValueError, match=r"pip install 'rtvoice\[recording\]'"):
        check_recording_path(tmp_path / "a.ogg")
