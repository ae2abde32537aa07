import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtvoice import __version__
from rtvoice.cli import demo, main
from rtvoice.errors import ConfigurationError, ConnectionFailed

Run = Callable[..., int]


@pytest.fixture
def demo_raises(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let ``rtvoice demo`` do nothing but raise."""

    def replace(error: BaseException) -> None:
        def run(*_: Any) -> int:
            logging.getLogger("rtvoice.inside").info("about to fail")
            raise error

        monkeypatch.setattr(demo, "run", run)

    return replace


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rtvoice {__version__}\n"


def test_alone_it_prints_help_and_that_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "demo" in capsys.readouterr().err


def test_the_arguments_of_the_process_are_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rtvoice", "--version"])
    assert main() == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["sing"], ["--loud"], ["demo", "--loud"], ["demo", "--out"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: rtvoice" in capsys.readouterr().err


def test_help_of_a_command_explains_its_arguments_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--help"]) == 0
    out = capsys.readouterr().out
    for word in ("--out", "--mic", "--openai", "--no-color", "--debug", "exit codes", "conversation.wav"):
        assert word in out


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConnectionFailed("no route to host"), 1, "rtvoice demo: no route to host\n"),
        (ConfigurationError("--out x: no"), 2, "rtvoice demo: --out x: no\n"),
        (OSError("disk full"), 1, "rtvoice demo: disk full\n"),
        (ZeroDivisionError("oops"), 1, "rtvoice demo: ZeroDivisionError: oops (this is a bug; --debug shows where)\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_becomes_one_line_and_a_code(
    error: BaseException,
    code: int,
    line: str,
    demo_raises: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    demo_raises(error)
    assert main(["demo"]) == code
    assert capsys.readouterr().err == line


def test_debug_shows_traceback_and_log(
    demo_raises: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    demo_raises(ConnectionFailed("no route to host"))
    assert main(["demo", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "INFO rtvoice.inside: about to fail" in err
    assert "Traceback" in err


def test_logging_is_afterwards_as_before(demo_raises: Callable[[BaseException], None]) -> None:
    log = logging.getLogger("rtvoice")
    before = (log.level, log.propagate, list(log.handlers))
    demo_raises(ConnectionFailed("no"))
    main(["demo"])
    assert (log.level, log.propagate, list(log.handlers)) == before


def test_what_the_encoding_lacks_is_replaced(
    monkeypatch: pytest.MonkeyPatch, demo_raises: Callable[[BaseException], None]
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    demo_raises(ConnectionFailed("müde"))
    assert main(["demo"]) == 1
    sys.stderr.flush()
    assert raw.getvalue() == b"rtvoice demo: m?de\n"


def test_without_standard_output(monkeypatch: pytest.MonkeyPatch, demo_raises: Callable[[BaseException], None]) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    demo_raises(ConnectionFailed("no"))
    assert main(["demo"]) == 1


def test_a_broken_pipe_is_let_go_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)

        def run(*_: Any) -> int:
            pipe.write("nobody reads this")
            return 0

        monkeypatch.setattr(demo, "run", run)
        assert main(["demo"]) == 0
        pipe.write("nor this, and nobody minds")
        pipe.flush()
