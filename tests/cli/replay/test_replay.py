import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rtvoice.cli import main

Run = Callable[..., int]


@pytest.fixture
def talk(empty_folder: Path) -> Path:
    path = empty_folder / "talk.jsonl"
    lines = [
        {"rtvoice_session_log": 1, "model": "some-model", "started": "2026-11-22T15:00:00+00:00"},
        {"at": 0.1, "event": "opened", "connection": 1},
        {"at": 1.0, "event": "error", "message": "It broke."},
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_as_text(talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "talk.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "talk.jsonl: some-model" in out
    assert "It broke." in out
    assert "errors        1" in out


def test_as_a_page(talk: Path, empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "talk.jsonl", "--html", "new/talk.html"]) == 0
    assert (empty_folder / "new" / "talk.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().out.startswith(f"{Path('new/talk.html')} (0.0 MB): open it")
    assert sys.platform == "win32" or (empty_folder / "new" / "talk.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing.jsonl"], "nothing.jsonl: cannot be read (No such file or directory)"),
        (["other.txt"], "other.txt is not a session log"),
        (["newer.jsonl"], "newer.jsonl was written by a newer rtvoice"),
        (["talk.jsonl", "--html", "other.txt/talk.html"], f"--html {Path('other.txt/talk.html')}: cannot write there"),
    ],
)
def test_what_cannot_be_done(
    talk: Path, empty_folder: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / "other.txt").write_text("hello\n")
    (empty_folder / "newer.jsonl").write_text('{"rtvoice_session_log": 99}\n')
    assert main(["replay", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"rtvoice replay: {problem}")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--help"]) == 0
    out = capsys.readouterr().out
    for word in ("--html", "session_log", "exit codes", "FILE.jsonl"):
        assert word in out
