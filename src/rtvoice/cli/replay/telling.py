"""Tells a recorded session in lines of text."""

import textwrap
from typing import Final

from rtvoice.cli.terminal import Style, Terminal
from rtvoice.testing.session_summary import about, facts, notices
from rtvoice.testing.session_timeline import Incident, SessionTimeline, ToolUse, Utterance

_STYLES: Final = {
    "user": Style.CYAN,
    "assistant": Style.GREEN,
    "tool": Style.YELLOW,
    "interruption": Style.MAGENTA,
    "error": Style.RED,
}
_MARGIN: Final = 24
"""Columns of the clock and the name before the words."""


def tell(timeline: SessionTimeline, terminal: Terminal) -> None:
    """Print a session, a line for everything that was said or done.

    Args:
        timeline: The session.
        terminal: Where to.
    """
    terminal.line(terminal.paint(f"{timeline.recording.path.name}: {about(timeline)}", Style.BOLD))
    for notice in notices(timeline):
        terminal.line(notice)
    terminal.line()
    happened: list[tuple[float, str, str, str]] = [
        *((said.start, said.who, *_spoken(said)) for said in timeline.utterances),
        *((tool.start, "tool", *_used(tool)) for tool in timeline.tools),
        *(_incident(incident) for incident in timeline.incidents),
    ]
    for at, who, words, note in sorted(happened, key=lambda line: line[0]):
        _print(terminal, at, who, words, note)
    terminal.line()
    for name, value in facts(timeline):
        terminal.line(f"{terminal.paint(f'{name:<13}', Style.BOLD)} {value}")


def _spoken(said: Utterance) -> tuple[str, str]:
    """Return the words of somebody, and a note."""
    notes = ["in writing"] if said.written else []
    if said.latency_ms is not None:
        notes.append(f"first sound after {said.latency_ms:.0f} ms")
    words = said.text or "(no words known)"
    if said.played_ms is not None:
        words = f"{said.heard} --".strip()
        notes.append(f"interrupted, {said.played_ms / 1000:.2f} s were heard")
    return words, "; ".join(notes)


def _used(tool: ToolUse) -> tuple[str, str]:
    output = "" if tool.output is None else f" -> {tool.output}"
    took = "did not return" if tool.end is None else f"{(tool.end - tool.start) * 1000:.0f} ms"
    return f"{tool.name}({tool.arguments}){output}", f"failed; {took}" if tool.success is False else took


def _incident(incident: Incident) -> tuple[float, str, str, str]:
    return incident.at, incident.kind, incident.text, ""


def _print(terminal: Terminal, at: float, who: str, words: str, note: str) -> None:
    """Print a line, wrapped under its own beginning; a note that does not fit behind it goes below it."""
    room = max(10, terminal.width - _MARGIN)
    lines = textwrap.wrap(words, room) or [""]
    if note and len(lines[-1]) + len(note) + 4 <= room:
        lines[-1] += f"  {terminal.paint(f'[{note}]', Style.DIM)}"
    elif note:
        lines.append(terminal.paint(f"[{note}]", Style.DIM))
    clock = terminal.paint(f"{at // 60:3.0f}:{at % 60:04.1f}", Style.DIM)
    name = terminal.paint(f"{who:<13}", Style.BOLD, _STYLES.get(who, Style.DIM))
    terminal.line(f"{clock}  {name} " + f"\n{' ' * _MARGIN}".join(lines))
