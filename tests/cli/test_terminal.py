import io
import logging
import os
import sys

import pytest

from rtvoice.cli.terminal import Style, Terminal, TerminalLog

ERASE = "\r\x1b[2K"


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def on(screen: io.StringIO, *, has_color: bool = False) -> Terminal:
    return Terminal(screen, screen, is_live=True, has_color=has_color)


def test_the_live_line_is_replaced_and_stays_below_other_lines(screen: io.StringIO) -> None:
    terminal = on(screen)
    terminal.live("one")
    terminal.live("two")
    terminal.live("two")
    terminal.line("stays")
    terminal.live("")
    terminal.live("")
    assert screen.getvalue() == f"one{ERASE}two{ERASE}stays\ntwo{ERASE}"


@pytest.mark.parametrize("has_color", [False, True])
def test_the_words_of_others_give_the_terminal_no_orders(screen: io.StringIO, has_color: bool) -> None:
    terminal = on(screen, has_color=has_color)
    evil = "a\x1b]52;c;cm0=\x07b\x1b[2Jc\r\x9b2Jd\x08\x7f\x00"
    terminal.line(f"{terminal.paint('who', Style.RED)} {evil}\n\ttwo")
    terminal.error(evil)
    terminal.live(evil)
    name = "\x1b[31mwho\x1b[0m" if has_color else "who"
    harmless = "a]52;c;cm0=b[2Jc2Jd"
    assert screen.getvalue() == f"{name} {harmless}\n\ttwo\n{harmless}\n{harmless}"


def test_without_colours_nobody_else_brings_them(screen: io.StringIO) -> None:
    on(screen).line("\x1b[31mred\x1b[0m")
    assert screen.getvalue() == "red\n"


def test_without_a_screen_there_is_no_live_line(paper: io.StringIO, plain: Terminal) -> None:
    plain.live("partial")
    plain.line("whole")
    plain.line()
    assert paper.getvalue() == "whole\n\n"


def test_problems_go_to_the_error_stream_and_do_not_tear_the_live_line(screen: io.StringIO) -> None:
    err = io.StringIO()
    terminal = Terminal(screen, err, is_live=True, has_color=False)
    terminal.live("speaking")
    terminal.error("oh")
    assert err.getvalue() == "oh\n"
    assert screen.getvalue() == f"speaking{ERASE}speaking"


def test_colors(screen: io.StringIO) -> None:
    assert on(screen, has_color=True).paint("x", Style.BOLD, Style.RED) == "\x1b[1;31mx\x1b[0m"
    assert on(screen, has_color=True).paint("x") == "x"
    assert on(screen).paint("x", Style.RED) == "x"


def test_width_is_the_terminals_less_one_column(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert on(screen).width == 79
    monkeypatch.setenv("COLUMNS", "5")
    assert on(screen).width == 20


def test_running_text_is_broken_into_lines(screen: io.StringIO, plain: Terminal, paper: io.StringIO) -> None:
    plain.paragraph("word " * 40)
    assert plain.width > 1000
    assert max(map(len, paper.getvalue().splitlines())) <= 88


def test_a_reader_who_leaves_and_missing_streams_are_no_errors() -> None:
    terminal = Terminal(Closed(), None, is_live=False, has_color=False)
    terminal.line("one")
    terminal.line("two")
    terminal.error("three")


@pytest.mark.parametrize(
    ("environ", "platform", "is_live", "has_color"),
    [
        ({"TERM": "xterm"}, "linux", True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "linux", True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, "linux", True, True),
        ({"TERM": "dumb"}, "linux", False, False),
        ({}, "linux", False, False),
        ({}, "win32", False, False),
        ({"WT_SESSION": "id"}, "win32", True, True),
        ({"TERM": "xterm"}, "win32", True, True),
    ],
)
def test_what_the_environment_says(
    environ: dict[str, str],
    platform: str,
    is_live: bool,
    has_color: bool,
    screen: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "platform", platform)
    terminal = Terminal.of_process(environ)
    assert terminal.is_live is is_live
    assert (terminal.paint("x", Style.RED) != "x") is has_color
    assert Terminal.of_process(environ, color=False).paint("x", Style.RED) == "x"


@pytest.mark.parametrize("stdout", [None, io.StringIO()])
def test_a_file_or_nothing_is_no_screen(stdout: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stdout)
    assert not Terminal.of_process(os.environ).is_live


@pytest.mark.parametrize("tracebacks", [True, False])
def test_log_records_are_problems(paper: io.StringIO, plain: Terminal, tracebacks: bool) -> None:
    try:
        raise ValueError("inner")
    except ValueError as error:
        record = logging.LogRecord(
            "rtvoice.x", logging.WARNING, "x.py", 1, "%s", ("outer",), (ValueError, error, error.__traceback__)
        )
    TerminalLog(plain, tracebacks=tracebacks).handle(record)
    assert paper.getvalue().startswith("WARNING rtvoice.x: outer\n")
    assert ("Traceback" in paper.getvalue()) is tracebacks
    assert record.exc_info
