"""Text for a person: lines that stay, one live line at the bottom, colours where they are wanted."""

import copy
import logging
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TextIO

_ERASE_LINE: Final = "\r\x1b[2K"
_NO_LIMIT: Final = 1_000_000
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROLS_BUT_STYLES: Final = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
_READABLE: Final = 88
"""Columns of running text."""


class Style(IntEnum):
    """ANSI codes ("select graphic rendition", ECMA-48 section 8.3.117)."""

    BOLD = 1
    DIM = 2
    RED = 31
    GREEN = 32
    YELLOW = 33
    MAGENTA = 35
    CYAN = 36


class Terminal:
    """Standard output and standard error of a command.

    What is printed may be the words of others, such as a model's or a recording's: control characters in it, which
    could make a terminal do nearly anything, are left out.

    Args:
        out: Where results go; ``None`` for nowhere (a process may be started without).
        err: Where problems go.
        is_live: Whether ``out`` shows a screen on which a line can be replaced; else live lines are left out.
        has_color: Whether it shows colours.
    """

    def __init__(self, out: TextIO | None, err: TextIO | None, *, is_live: bool, has_color: bool) -> None:
        self.is_live = is_live
        self._out = out
        self._err = err
        self._has_color = has_color
        self._live = ""
        self._gone: list[TextIO] = []

    @classmethod
    def of_process(cls, environ: Mapping[str, str] = os.environ, *, color: bool = True) -> "Terminal":
        """Return the terminal of this process.

        Args:
            environ: ``NO_COLOR`` (see no-color.org) and ``TERM=dumb`` switch colours off, the latter the live line too.
            color: False switches colours off.
        """
        is_live = sys.stdout is not None and sys.stdout.isatty() and _knows_ansi(environ, sys.platform)
        has_color = is_live and color and not environ.get("NO_COLOR")
        return cls(sys.stdout, sys.stderr, is_live=is_live, has_color=has_color)

    @property
    def width(self) -> int:
        """Columns that a line may fill; without a screen there is no limit."""
        if not self.is_live:
            return _NO_LIMIT
        # The last column stays free: some terminals break the line as soon as it is filled.
        return max(20, shutil.get_terminal_size().columns - 1)

    def paint(self, text: str, *styles: Style) -> str:
        """Return the text in colour, if there is colour."""
        if not self._has_color or not styles:
            return text
        return f"\x1b[{';'.join(str(int(style)) for style in styles)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """Print a line that stays; the live line moves below it."""
        self._write(self._out, f"{self._erased()}{self._harmless(text)}\n{self._live}")

    def paragraph(self, text: str) -> None:
        """Print running text, broken into lines."""
        for line in textwrap.wrap(text, min(self.width, _READABLE)):
            self.line(line)

    def live(self, text: str) -> None:
        """Show a line that the next call replaces; "" removes it.

        Args:
            text: No longer than ``width``, colours not counted.
        """
        text = self._harmless(text)
        if not self.is_live or text == self._live:
            return
        erased = self._erased()
        self._live = text
        self._write(self._out, f"{erased}{text}")

    def error(self, text: str) -> None:
        """Print a line about a problem."""
        self._write(self._out, self._erased())
        self._write(self._err, f"{self._harmless(text)}\n")
        self._write(self._out, self._live)

    def _harmless(self, text: str) -> str:
        return (_CONTROLS_BUT_STYLES if self._has_color else _CONTROLS).sub("", text)

    def _erased(self) -> str:
        return _ERASE_LINE if self._live else ""

    def _write(self, stream: TextIO | None, text: str) -> None:
        if stream is None or not text or stream in self._gone:
            return
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:  # "| head" has seen enough; the command itself goes on
            self._gone.append(stream)


class TerminalLog(logging.Handler):
    """Shows log records as problems, without tearing the live line apart.

    Args:
        terminal: Where to show them.
        tracebacks: Whether to show where an exception came from.
    """

    def __init__(self, terminal: Terminal, *, tracebacks: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self._tracebacks = tracebacks
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        if not self._tracebacks:
            record = copy.copy(record)
            record.exc_info = record.exc_text = None
        self._terminal.error(self.format(record))


def _knows_ansi(environ: Mapping[str, str], platform: str) -> bool:
    if platform == "win32":  # the old console shows the codes as they are; Windows Terminal and Git Bash obey them
        return "WT_SESSION" in environ or "TERM" in environ
    return environ.get("TERM", "dumb") != "dumb"
