"""The command line in a test: in an empty folder, without keys, and with a clock that skips all waiting."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from rtvoice.cli import main
from rtvoice.cli.terminal import Terminal
from rtvoice.testing import clock


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("OPENAI_API_KEY", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return folder


@pytest.fixture
def rtvoice(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run ``rtvoice ...`` in virtual time; the exit code comes back."""
    monkeypatch.setattr("asyncio.run", clock.run)
    return lambda *arguments: main([*map(str, arguments)])


class Screen(io.StringIO):
    """A terminal that remembers everything written to it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def paper() -> io.StringIO:
    """What is not a terminal."""
    return io.StringIO()


@pytest.fixture
def plain(paper: io.StringIO) -> Terminal:
    """A terminal object that prints to ``paper``, problems too."""
    return Terminal(paper, paper, is_live=False, has_color=False)
