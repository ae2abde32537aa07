import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Run = Callable[..., int]


def problem(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on standard error."""
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_the_recording_is_a_wav_file(rtvoice: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert rtvoice("demo", "--out", "talk.mp3") == 2
    assert problem(capsys) == (
        "rtvoice demo: --out talk.mp3: the recording is a WAV file, so its name must end in .wav\n"
    )


def test_a_place_that_cannot_be_written(rtvoice: Run, empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty_folder / "file").touch()
    (empty_folder / "folder.wav").mkdir()
    assert rtvoice("demo", "--out", "folder.wav") == 2
    assert problem(capsys) == "rtvoice demo: --out folder.wav: cannot write there (Is a directory)\n"
    assert rtvoice("demo", "--out", "file/talk.wav") == 2
    assert "cannot write there" in problem(capsys)


def test_a_session_log_that_cannot_be_written(
    rtvoice: Run, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / "file").touch()
    assert rtvoice("demo", "--record", "file/talk.jsonl") == 2
    assert f"--record {Path('file/talk.jsonl')}: cannot write there" in problem(capsys)


def test_no_key_for_the_real_service(rtvoice: Run, empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rtvoice("demo", "--openai") == 2
    assert "OPENAI_API_KEY" in problem(capsys)
    assert list(empty_folder.iterdir()) == []


def test_a_recording_that_is_there_survives_a_run_that_cannot_begin(rtvoice: Run, empty_folder: Path) -> None:
    (empty_folder / "conversation.wav").write_bytes(b"old")
    assert rtvoice("demo", "--openai") == 2
    assert (empty_folder / "conversation.wav").read_bytes() == b"old"


def test_no_audio_extra_for_the_microphone(
    rtvoice: Run, empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert rtvoice("demo", "--mic") == 2
    said = capsys.readouterr()
    assert "pip install 'rtvoice[audio]'" in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(("arguments", "code"), [(["--mic"], 0), ([], 130)])
def test_ctrl_c_that_only_the_event_loop_sees(
    arguments: list[str], code: int, rtvoice: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(main: Coroutine[Any, Any, int]) -> int:
        main.close()
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "sounddevice", ModuleType("sounddevice"))
    monkeypatch.setattr("asyncio.run", interrupted)
    assert rtvoice("demo", *arguments) == code
