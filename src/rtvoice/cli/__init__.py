"""The command ``rtvoice``.

Each subcommand is a module (or package) of this package with the name of the command and two functions:

    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(options: argparse.Namespace, terminal: Terminal) -> int: ...

It is imported only when it is called. ``run`` returns the exit code; what it raises becomes one line and a code here.
"""

import argparse
import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from rtvoice import __version__
from rtvoice.cli.exit_codes import INTERRUPTED, USAGE, exit_code
from rtvoice.cli.terminal import Terminal, TerminalLog
from rtvoice.errors import RtvoiceError

COMMANDS: Final = {
    "chat": "talk to an assistant, by voice or in writing: offline, or with the service",
    "demo": "hold a whole spoken conversation: offline, without key or sound card",
    "serve": "run a Realtime server on this machine that understands and speaks",
    "devices": "list microphones and loudspeakers",
    "doctor": "check this machine, its sound and the way to the service, and say what to do",
    "replay": "show a recorded session: as text, or as a page with sound",
}
"""The subcommands and what they do; each has a module of its name here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; ``None`` for those of the process.

    Returns:
        The exit code: 0 done, 1 it failed, 2 wrong arguments or something missing to begin with, 130 Ctrl+C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a transcript may hold what the terminal's encoding lacks
    parser = _parser(arguments)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has printed help, the version, or what is wrong
        return int(stop.code or 0)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        return _run(options)
    finally:
        _let_go_of_broken_pipe()


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtvoice",
        description="Real-time voice agents over the OpenAI Realtime API.",
        epilog="'rtvoice COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"rtvoice {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in arguments:
            module = importlib.import_module(f"rtvoice.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
        command.add_argument("--no-color", action="store_true", help="no colours; NO_COLOR=1 does the same")
        command.add_argument("--debug", action="store_true", help="print tracebacks and the library's debug log")
    return parser


def _run(options: argparse.Namespace) -> int:
    terminal = Terminal.of_process(color=not options.no_color)
    log, handler = logging.getLogger("rtvoice"), TerminalLog(terminal, tracebacks=options.debug)
    level, propagates = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if options.debug else logging.WARNING)
    log.propagate = False
    try:
        code: int = options.run(options, terminal)
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: one readable line
        terminal.live("")
        terminal.error(traceback.format_exc() if options.debug else f"rtvoice {options.command}: {_sentence(error)}")
        return exit_code(error)
    finally:
        terminal.live("")
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates


def _sentence(error: Exception) -> str:
    if isinstance(error, RtvoiceError | OSError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (this is a bug; --debug shows where)"


def _let_go_of_broken_pipe() -> None:
    """Keep Python from complaining at exit that nobody reads standard output any more."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
