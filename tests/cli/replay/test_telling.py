import io
from pathlib import Path

import pytest

from rtvoice.cli.replay.telling import tell
from rtvoice.cli.terminal import Terminal
from rtvoice.testing.session_log import SessionRecording
from rtvoice.testing.session_timeline import Incident, SessionTimeline, ToolUse, Utterance


@pytest.fixture
def timeline() -> SessionTimeline:
    timeline = SessionTimeline(
        SessionRecording(
            path=Path("talk.jsonl"),
            model="m",
            started="2026-11-22T15:00:00+00:00",
            made_by="",
            redacted=frozenset(),
            lines=(),
            truncated=True,
        )
    )
    timeline.utterances = [
        Utterance(who="user", start=0.5, end=1.0, text="Hello?"),
        Utterance(
            who="assistant", start=2.0, end=3.0, text="One two three", heard="One two", played_ms=900, latency_ms=250
        ),
        Utterance(who="user", start=70.0, end=70.0, written=True),
        Utterance(who="assistant", start=71.0, end=72.0, text="Never heard", heard="", played_ms=0),
    ]
    timeline.tools = [
        ToolUse(name="look_up", arguments='{"x": 1}', start=1.0, end=1.5, output="found", success=True),
        ToolUse(name="fail", arguments="{}", start=1.1, end=1.2, output="Error", success=False),
        ToolUse(name="wait", arguments="{}", start=1.2),
    ]
    timeline.incidents = [Incident(at=2.5, kind="interruption", text="the assistant was interrupted after 0.90 s")]
    return timeline


def test_a_line_for_everything(timeline: SessionTimeline, plain: Terminal, paper: io.StringIO) -> None:
    tell(timeline, plain)
    assert paper.getvalue() == (
        "talk.jsonl: m \N{MIDDLE DOT} 2026-11-22 15:00:00 UTC \N{MIDDLE DOT} 0.0 s\n"
        "The recording breaks off: its last line is incomplete.\n"
        "\n"
        "  0:00.5  user          Hello?\n"
        '  0:01.0  tool          look_up({"x": 1}) -> found  [500 ms]\n'
        "  0:01.1  tool          fail({}) -> Error  [failed; 100 ms]\n"
        "  0:01.2  tool          wait({})  [did not return]\n"
        "  0:02.0  assistant     One two --  [first sound after 250 ms; interrupted, 0.90 s were heard]\n"
        "  0:02.5  interruption  the assistant was interrupted after 0.90 s\n"
        "  1:10.0  user          (no words known)  [in writing]\n"
        "  1:11.0  assistant     --  [interrupted, 0.00 s were heard]\n"
        "\n"
        "user turns    2\n"
        "answers       2\n"
        "tool calls    3\n"
        "interruptions 1\n"
        "errors        0\n"
        "median wait   250 ms\n"
        "longest wait  250 ms\n"
    )


def test_on_a_narrow_screen(timeline: SessionTimeline, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    timeline.utterances[0].text = "Hello, can anybody hear me out there?"
    tell(timeline, Terminal(screen, screen, is_live=True, has_color=True))
    text = screen.getvalue()
    assert f"Hello, can anybody\n{' ' * 24}hear me out there?" in text
    assert "\x1b[2m[500 ms]\x1b[0m" in text
    assert "\x1b[1;36muser" in text
