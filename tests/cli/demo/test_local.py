"""``rtvoice demo --local``, with engines that are told what to hear."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.local.conftest import Ear, Mouth

from rtvoice.cli.demo import clips
from rtvoice.cli.demo.conversation import USER_LINES
from rtvoice.testing.input_audio import energy_detector

Run = Callable[..., int]


class Voice(Mouth):
    """Slow enough to be interrupted."""

    def synthesize(self, text: str, speed: float) -> bytes:
        return super().synthesize(text, speed) * 6


def test_the_server_understands_and_answers_by_rules(
    rtvoice: Run, empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ear = Ear("warm-up", *(line.clip.text for line in USER_LINES))
    monkeypatch.setattr("rtvoice.local.server.load_speech_to_text", lambda: ear)
    monkeypatch.setattr("rtvoice.local.server.load_text_to_speech", Voice)
    monkeypatch.setattr("rtvoice.local.server.load_voice_activity", lambda: energy_detector)
    assert rtvoice("demo", "--local") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "It understands speech and speaks, offline; what it answers" in " ".join(out.split())
    told = re.sub(r" +\d:\d\d\.\d  ", "", out)
    for line in (
        f"user       {clips.WHO_ARE_YOU.text}",
        "assistant  I am the rule engine of rtvoice",
        "tool       get_weather(city='Berlin') ...",
        "assistant  18 degrees, partly cloudy.",
        "assistant  I do not know what to do with",
        "interrupt  ",
        "assistant  All right.",
    ):
        assert f"\n{line}" in told
    assert (empty_folder / "conversation.wav").exists()


def test_without_the_extra(rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "moonshine_voice", None)
    assert rtvoice("demo", "--local") == 2
    assert "pip install 'rtvoice[local]'" in capsys.readouterr().err
