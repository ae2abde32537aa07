"""``rtvoice replay``: a recorded session for a person."""

import argparse
import os
from pathlib import Path

from rtvoice.cli.exit_codes import DONE
from rtvoice.cli.terminal import Terminal
from rtvoice.errors import ConfigurationError
from rtvoice.private_files import open_private

_DESCRIPTION = """\
Show a session that was recorded with RealtimeAgent(session_log="talk.jsonl")
or 'rtvoice demo --record talk.jsonl': who said what when, tool calls,
interruptions, how long the user waited, and errors.

With --html it becomes one page to look at and listen to in a browser: both
voices on a time line, with everything else beside it. The page needs nothing
but itself; it holds the sound, so give it only to people who may hear it.
"""

_EPILOG = """\
exit codes:
  0    shown
  2    no such file, not a session log, made by a newer rtvoice, or the page
       cannot be written
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("file", type=Path, metavar="FILE.jsonl", help="the session log")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write a page instead; an old file is replaced")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Show the session.

    Raises:
        ConfigurationError: The file is no session log that can be read, or the page cannot be written.
    """
    # Here, and not above: --help can do without.
    from rtvoice.cli.replay.telling import tell
    from rtvoice.testing.replay_page import render
    from rtvoice.testing.session_log import SessionRecording
    from rtvoice.testing.session_timeline import SessionTimeline

    timeline = SessionTimeline(SessionRecording.read(options.file))
    if options.html is None:
        tell(timeline, terminal)
        return DONE
    page = render(timeline)
    try:
        with os.fdopen(open_private(options.html), "w", encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        raise ConfigurationError(f"--html {options.html}: cannot write there ({error.strerror})") from error
    terminal.line(f"{options.html} ({len(page.encode()) / 1e6:.1f} MB): open it in a browser")
    return DONE
