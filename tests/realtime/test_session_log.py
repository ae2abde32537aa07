import asyncio
import errno
import io
import json
import logging
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rtvoice.realtime import session_log
from rtvoice.realtime.session_log import SessionLogWriter
from rtvoice.settings import SessionLog

KEY = "very-secret-key"


class Log:
    """A writer, and what it reported."""

    def __init__(self, path: Path, **settings: bool) -> None:
        self.path = path
        self.errors: list[Exception] = []
        self.writer = SessionLogWriter(
            SessionLog(path, **settings), header={"model": "some-model"}, on_error=self.errors.append
        )

    def text(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    def mode(self) -> int:
        return stat.S_IMODE(self.path.stat().st_mode)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "talk.jsonl"


@pytest.mark.virtual_clock
async def test_lines_in_order_with_their_times(path: Path) -> None:
    log = Log(path)
    log.writer.start()
    assert log.writer.open_connection("wss://host/v1/realtime?model=m&key=1") == 1
    await asyncio.sleep(1.5)
    log.writer.frame(1, "agent", '{"type": "session.created"}')
    log.writer.frame(1, "server", b'{"type": "response.create"}')
    log.writer.heard(2.0, b"\x01\x00")
    assert log.writer.open_connection("wss://host") == 2
    await log.writer.close()
    header, opened, created, create, heard, again = log.lines()
    assert header.pop("started").endswith("+00:00")
    assert header == {"rtvoice_session_log": 1, "model": "some-model", "redacted": []}
    assert opened == {"at": 0.0, "event": "opened", "connection": 1, "url": "wss://host/v1/realtime"}
    assert created == {"at": 1.5, "connection": 1, "to": "agent", "frame": {"type": "session.created"}}
    assert create == {"at": 1.5, "connection": 1, "to": "server", "frame": {"type": "response.create"}}
    assert heard == {"at": 1.5, "event": "heard", "starts_at": 2.0, "audio": "AQA="}
    assert again["connection"] == 2
    assert log.mode() == 0o600 or sys.platform == "win32"
    assert log.errors == []


async def test_an_old_file_is_replaced_and_closing_twice_is_harmless(path: Path) -> None:
    log = Log(path)
    for _ in range(2):
        log.writer.start()
        log.writer.note("old")
        await log.writer.close()
        log = Log(path)
    await log.writer.close()  # it was not started: nothing happens
    assert len(log.lines()) == 2
    log.writer.start()
    await log.writer.close()
    await log.writer.close()
    log.writer.note("too late")
    assert len(log.lines()) == 1


async def test_frames_that_are_no_json(path: Path) -> None:
    log = Log(path)
    log.writer.start()
    log.writer.frame(1, "agent", b'{"type": \xff')
    log.writer.frame(1, "agent", b"[1]")
    await log.writer.close()
    broken, number = log.lines()[1:]
    assert broken["text"] == '{"type": \N{REPLACEMENT CHARACTER}'
    assert number["frame"] == [1]


async def test_secrets_are_never_written(path: Path) -> None:
    log = Log(path)
    log.writer.start()
    log.writer.keep_secret([KEY, 'with "quotes"'])
    log.writer.frame(1, "agent", json.dumps({"type": "error", "error": {"message": f'no: {KEY} with "quotes"'}}))
    log.writer.frame(1, "server", json.dumps({"tools": [{"type": "mcp", "authorization": "token-123"}]}))
    log.writer.frame(1, "agent", f"not JSON: {KEY}")
    log.writer.note("error", message=f"{KEY} and sk-abcdefghijkl")
    await log.writer.close()
    text = log.text()
    assert text.count("[secret]") == 6
    for secret in (KEY, "quotes", "token-123", "sk-abc"):
        assert secret not in text


async def test_redaction(path: Path) -> None:
    log = Log(path, redact_audio=True, redact_text=True)
    log.writer.start()
    log.writer.frame(1, "server", b'{"type":"input_audio_buffer.append","audio":"AAAA"}')
    log.writer.heard(0.0, bytes(96))
    log.writer.note("error", kind="server_error", code="c", message="the words")
    log.writer.frame(1, "agent", b"broken words")
    await log.writer.close()
    header, append, heard, error, broken = log.lines()
    assert header["redacted"] == ["audio", "text"]
    assert header["model"] == "some-model"
    assert append["frame"] == {"type": "input_audio_buffer.append", "audio": "", "audio_bytes": 3}
    assert (heard["audio"], heard["audio_bytes"]) == ("", 96)
    assert (error["kind"], error["message"], broken["text"]) == ("server_error", "[redacted]", "[redacted]")


async def test_every_line_is_there_before_the_end(path: Path) -> None:
    """A process that dies now leaves a readable file."""
    log = Log(path)
    log.writer.start()
    log.writer.note("something")
    while log.text().count("\n") < 2:
        await asyncio.sleep(0.001)
    await log.writer.close()


async def test_a_place_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    log = Log(tmp_path / "file" / "talk.jsonl")
    log.writer.start()
    await log.writer.close()
    log.writer.note("ignored")
    assert len(log.errors) == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


class FullDisk(io.BytesIO):
    def flush(self) -> None:
        if self.getbuffer().nbytes > 500:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_full_disk_is_told_once_and_ends_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(SessionLogWriter, "_create", lambda _: FullDisk())
    log = Log(path)
    log.writer.start()
    for _ in range(50):
        log.writer.note("something", text="x" * 100)
        await asyncio.sleep(0.001)
    await log.writer.close()
    assert [error.args[0] for error in log.errors] == [errno.ENOSPC]
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk that takes nothing until the event is set."""
    released = threading.Event()

    class StuckDisk(io.BytesIO):
        def write(self, _: Any) -> int:
            released.wait(20)
            return 0

    monkeypatch.setattr(SessionLogWriter, "_create", lambda _: StuckDisk())
    return released


async def test_memory_is_bounded(path: Path, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_log, "MEMORY_LIMIT", 10_000)
    log = Log(path)
    log.writer.start()
    for _ in range(100):
        log.writer.frame(1, "server", b"x" * 1000)
    await asyncio.sleep(0)
    stuck.set()
    await log.writer.close()
    assert [error.args[0] for error in log.errors] == [errno.ENOBUFS]


async def test_a_disk_that_does_not_take_the_end(
    path: Path, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_log, "CLOSE_TIMEOUT_S", 0.01)
    log = Log(path)
    log.writer.start()
    await log.writer.close()
    assert [type(error) for error in log.errors] == [TimeoutError]
    stuck.set()


def test_an_error_after_the_loop_is_closed_is_only_logged(
    path: Path, stuck: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(path)

    async def start() -> None:
        log.writer.start()

    asyncio.run(start())
    stuck.set()
    log.writer._fail(OSError("gone"))
    log.writer._fail(OSError("the first one counts"))
    assert log.errors == []
    assert [record.message for record in caplog.records] == [f"The session log {path} ended: gone"]
