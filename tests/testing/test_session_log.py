import json
from pathlib import Path
from typing import Any

import pytest

from rtvoice.errors import ConfigurationError
from rtvoice.testing.session_log import SessionRecording

HEADER = {"rtvoice_session_log": 1, "rtvoice": "0.1.0", "model": "m", "started": "2026-11-22", "redacted": ["audio"]}
FRAME = {"at": 1, "connection": 1, "to": "agent", "frame": {"type": "session.created"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talk.jsonl"


def write(path: Path, *lines: Any) -> None:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))


def test_it_is_read(path: Path) -> None:
    write(
        path,
        HEADER,
        FRAME,
        {"at": 2.5, "event": "end"},
        {"at": 3, "connection": 1, "to": "agent", "text": "no JSON"},
        {"at": 3, "connection": 1, "to": "agent", "frame": [1]},
    )
    recording = SessionRecording.read(str(path))
    assert (recording.path, recording.model, recording.started, recording.made_by) == (path, "m", "2026-11-22", "0.1.0")
    assert recording.redacted == {"audio"}
    assert not recording.truncated
    assert recording.duration_s == 3.0
    frame, end, text, odd = recording.lines
    assert (frame.number, frame.at, frame.connection, frame.to, frame.type) == (2, 1.0, 1, "agent", "session.created")
    assert (end.event, end.type, end.connection) == ("end", "", 0)
    assert (text.text, text.frame) == ("no JSON", {})
    assert (odd.text, odd.type) == ("[1]", "")


def test_a_header_alone_is_an_empty_recording(path: Path) -> None:
    write(path, {"rtvoice_session_log": 1, "redacted": "nonsense"})
    recording = SessionRecording.read(path)
    assert (recording.lines, recording.duration_s, recording.redacted) == ((), 0.0, frozenset())


def test_what_a_crash_leaves_can_be_read(path: Path) -> None:
    write(path, HEADER, FRAME)
    with path.open("a") as file:
        file.write('{"at": 2, "to": "ag')
    recording = SessionRecording.read(path)
    assert recording.truncated
    assert len(recording.lines) == 1


def test_there_is_no_such_file(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"talk.jsonl: cannot be read \(No such file or directory\)"):
        SessionRecording.read(path)


@pytest.mark.parametrize(
    "content", ["", "hello\n", "[]\n", '{"some": "JSON"}\n', '{"rtvoice_session_log": "1"}\n', "\0\n"]
)
def test_it_is_no_session_log(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(
        ConfigurationError, match=r"is not a session log: those are written by RealtimeAgent\(session_log"
    ):
        SessionRecording.read(path)


def test_a_newer_version(path: Path) -> None:
    write(path, {"rtvoice_session_log": 2, "rtvoice": "9.0"})
    with pytest.raises(ConfigurationError, match=r"written by a newer rtvoice \(9.0; format 2\): .*update it"):
        SessionRecording.read(path)


@pytest.mark.parametrize("line", ["{", "[]", '{"event": "end"}', '{"at": "1"}'])
def test_a_damaged_line_in_the_middle(path: Path, line: str) -> None:
    write(path, HEADER, FRAME, line, FRAME)
    with pytest.raises(ConfigurationError, match="is damaged: line 3 is no line of a session log"):
        SessionRecording.read(path)
