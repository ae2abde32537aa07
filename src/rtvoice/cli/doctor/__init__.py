"""``rtvoice doctor``: does everything work here, and if not, what to do?"""

import argparse
import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rtvoice.cli.exit_codes import DONE, FAILED
from rtvoice.cli.terminal import Style, Terminal

if TYPE_CHECKING:
    from rtvoice.cli.doctor.findings import Finding

_DESCRIPTION = """\
Check what a voice agent needs on this machine: Python, packages, PortAudio,
microphone and loudspeaker, the API key, and the way to the service. It plays a
short chirp and listens for it, so it can tell a dead, muted or wrong
microphone, how late sound arrives, and how loud the loudspeaker comes back.
It connects to the service and leaves again; that costs nothing. For every
problem it says what to do.
"""

_EPILOG = """\
exit codes:
  0  everything that was checked works; there may be warnings
  1  something does not work
  2  wrong arguments
"""

_MARKS: Final = {"ok": Style.GREEN, "warning": Style.YELLOW, "problem": Style.RED, "skipped": Style.DIM}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("--input", metavar="DEVICE", type=_device, help="microphone: index or a part of the name")
    parser.add_argument("--output", metavar="DEVICE", type=_device, help="loudspeaker: index or a part of the name")
    parser.add_argument(
        "--no-sound", action="store_true", help="open no sound device, and do not mind if there is none"
    )
    parser.add_argument("--offline", action="store_true", help="do not connect to the service")
    parser.add_argument("--base-url", metavar="URL", help="another Realtime server than OpenAI's")
    parser.add_argument("--model", help="the model to ask for")
    parser.add_argument("--json", action="store_true", help="print a JSON list, for programs")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Check, and tell what was found."""
    from rtvoice.cli.doctor.findings import Finding  # with the checks comes nearly all of rtvoice
    from rtvoice.cli.doctor.network import check_service
    from rtvoice.cli.doctor.setup import check_setup
    from rtvoice.cli.doctor.sound import check_sound

    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not options.json:
            _show(finding, terminal)

    async def check() -> None:
        for finding in check_setup():
            unneeded = options.no_sound and finding.status == "problem"  # a server needs no sound card
            tell(replace(finding, status="warning") if unneeded else finding)
        if options.no_sound:
            tell(Finding("sound", "skipped", "Not checked: --no-sound."))
        elif findings[-1].status == "problem":
            tell(Finding("sound", "skipped", "Not checked: there is nothing to check it with."))
        else:
            async for finding in check_sound(options.input, options.output):
                tell(finding)
        if options.offline:
            tell(Finding("service", "skipped", "Not checked: --offline."))
        else:
            tell(await check_service(options.base_url, options.model))

    asyncio.run(check())
    if options.json:
        terminal.line(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        _sum_up(findings, terminal.line)
    return FAILED if any(finding.status == "problem" for finding in findings) else DONE


def _show(finding: "Finding", terminal: Terminal) -> None:
    mark = terminal.paint(f"{finding.status:<8}", _MARKS[finding.status])
    terminal.line(f"{mark} {finding.check:<11} {finding.message}")
    if finding.remedy:
        terminal.line(f"{'':<20} -> {finding.remedy}")


def _sum_up(findings: "list[Finding]", line: Callable[[str], None]) -> None:
    problems = sum(finding.status == "problem" for finding in findings)
    warnings = sum(finding.status == "warning" for finding in findings)
    line("")
    if problems:
        line(f"{problems} problem{'s' if problems > 1 else ''} to solve; '->' says how.")
    elif warnings:
        line(f"It works, with {warnings} thing{'s' if warnings > 1 else ''} to know about.")
    else:
        line("Everything that was checked works.")


def _device(text: str) -> int | str:
    return int(text) if text.isdigit() else text
