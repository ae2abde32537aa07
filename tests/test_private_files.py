"""Nobody else can read what was written, whatever was there before."""

import os
import stat
import sys
from pathlib import Path

import pytest

from rtvoice.private_files import open_private
from rtvoice.realtime.session_log import SessionLogWriter
from rtvoice.settings import SessionLog

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    os.close(open_private(path))
    assert mode(path) == 0o600


def test_an_old_file_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    descriptor = open_private(path)
    assert path.read_text() == ""
    os.close(descriptor)
    assert mode(path) == 0o600


def test_what_is_no_file_keeps_its_mode(tmp_path: Path) -> None:
    """The whole system needs /dev/null."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    path.chmod(0o622)
    os.close(open_private(path))
    assert mode(path) == 0o622


async def test_a_session_log_in_place_of_an_old_file(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.touch()
    path.chmod(0o644)
    log = SessionLogWriter(SessionLog(path), header={}, on_error=print)
    log.start()
    await log.close()
    assert mode(path) == 0o600
