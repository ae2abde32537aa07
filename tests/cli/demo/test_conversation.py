import asyncio
import io
import os
import re
import signal
import sys
import wave
from array import array
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from rtvoice import OpenAIProvider
from rtvoice.cli.demo import clips, conversation
from rtvoice.cli.terminal import Terminal
from rtvoice.errors import AudioDeviceError
from rtvoice.testing import (
    PositionedSpeaker,
    RealtimeEmulator,
    Reply,
    ReplyRequest,
    ToolCall,
    VirtualMicrophone,
    clock,
)

Run = Callable[..., int]
PATIENCE = "the assistant has not answered for 25 s"


def loud_seconds(path: Path, channel: int) -> float:
    """Return for how long there is sound in a channel of a WAV file, counted in tenths of a second."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 24_000)
        samples = array("h", file.readframes(file.getnframes()))[channel::2]
    return sum(max(map(abs, samples[start : start + 2400])) > 500 for start in range(0, len(samples), 2400)) / 10


def test_the_whole_story(rtvoice: Run, empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rtvoice("demo") == 0
    out, err = capsys.readouterr()
    assert err == ""
    story = re.sub(r" +\d:\d\d\.\d  ", "", out).replace("  [first sound after 0 ms]", "").replace("after 5 ms", "")
    expected = [
        f"user       {clips.WHO_ARE_YOU.text}",
        f"assistant  {clips.INTRODUCTION.text}",
        f"user       {clips.WEATHER.text}",
        "tool       get_weather(city='Berlin') ...",
        f"assistant  {clips.ONE_MOMENT.text}",
        "tool       ... get_weather returned after 2.5 s: 18 degrees, partly cloudy",
        f"assistant  {clips.WEATHER_ANSWER.text}",
        f"user       {clips.STORY.text}",
        "assistant  Gladly. There once was",
        "interrupt  2.",
        "user       Stop.",
        f"assistant  {clips.STOPPED.text}",
    ]
    told = [line for line in story.splitlines() if re.match(r"(user|assistant|tool|interrupt) ", line)]
    assert [line[: len(wanted)] for line, wanted in zip(told, expected, strict=True)] == expected
    assert "understands no speech" in out.replace("\n", " ")
    assert "4 of the user; tool calls: 1" in out
    assert "Next steps" in out

    recording = empty_folder / "conversation.wav"
    assert re.search(r"conversation\.wav \(2\d\.\d s\)", out)
    assert 5.0 < loud_seconds(recording, 0) < 9.0  # the user's four lines, on the left
    assert 11.0 < loud_seconds(recording, 1) < 17.0  # the assistant's answers, on the right


def test_the_session_log_can_be_shown(rtvoice: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert rtvoice("demo", "--record", "talk.jsonl") == 0
    assert "rtvoice replay talk.jsonl --html talk.html" in capsys.readouterr().out
    assert rtvoice("replay", "talk.jsonl") == 0
    out = capsys.readouterr().out
    assert "Tell me a long story about a lighthouse." in out
    assert "interruptions 1" in out
    assert "errors        0" in out


def test_nobody_answers(rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(conversation, "offline_answer", lambda _: Reply("Too late.", delay_s=50))
    assert rtvoice("demo") == 1
    assert capsys.readouterr().err == f"rtvoice demo: {PATIENCE}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl+C does not reach the agent")
def test_ctrl_c_ends_it_politely(
    rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: ReplyRequest) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        return Reply("Hello!")

    monkeypatch.setattr(conversation, "offline_answer", interrupted)
    assert rtvoice("demo") == 130
    out, err = capsys.readouterr()
    assert err == "rtvoice demo: stopped before the end\n"
    assert "conversation.wav" in out
    assert "Next steps" not in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_recording_that_fails_is_a_failure(
    rtvoice: Run, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / "full.wav").symlink_to("/dev/full")
    assert rtvoice("demo", "--out", "full.wav") == 1
    out, err = capsys.readouterr()
    assert "No space left" in err
    assert "Traceback" not in err
    assert clips.STOPPED.text in out  # the conversation went on


# --- a person at the microphone ---


class Person(VirtualMicrophone):
    """Says two lines into the microphone, listens for some time, and presses Ctrl+C."""

    async def start(self) -> None:
        await super().start()
        self.pause(500)
        self.say(clips.STOP.path)
        self.pause(8000)
        self.say(clips.WEATHER.path)
        asyncio.get_running_loop().call_later(20, os.kill, os.getpid(), signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl+C does not reach the agent")
def test_microphone_and_loudspeaker(
    rtvoice: Run, empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conversation, "MicrophoneInput", Person)
    monkeypatch.setattr(conversation, "SpeakerOutput", PositionedSpeaker)
    monkeypatch.setitem(sys.modules, "sounddevice", ModuleType("sounddevice"))
    assert rtvoice("demo", "--mic", "--out", "deep/talk.wav") == 0
    assert [path.name for path in empty_folder.rglob("*.wav")] == ["talk.wav"]
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("s of speech)") == 2
    assert "you        (" in out
    assert "headphones" in out
    assert clips.INTRODUCTION.text in out
    assert clips.WEATHER_ANSWER.text in out


class BrokenMicrophone(VirtualMicrophone):
    async def start(self) -> None:
        raise AudioDeviceError("the microphone is on fire")


def test_an_error_is_told_once(
    rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conversation, "MicrophoneInput", BrokenMicrophone)
    monkeypatch.setattr(conversation, "SpeakerOutput", PositionedSpeaker)
    monkeypatch.setitem(sys.modules, "sounddevice", ModuleType("sounddevice"))
    assert rtvoice("demo", "--mic") == 1
    assert capsys.readouterr().err == "error: the microphone is on fire\n"


# --- the real service, played by the emulator ---


def with_service(
    server: RealtimeEmulator, terminal: Terminal, folder: Path, monkeypatch: pytest.MonkeyPatch, key: str = "key"
) -> int:
    """Run the demo with ``--openai`` against an emulator that stands for the service."""

    async def run() -> int:
        async with server:
            provider = OpenAIProvider(api_key=key, base_url=server.base_url)
            monkeypatch.setattr(conversation, "OpenAIProvider", lambda: provider)
            return await conversation.hold(terminal, out=folder / "talk.wav", microphone=False, openai=True)

    return clock.run(run())


def test_the_real_service(
    plain: Terminal, paper: io.StringIO, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RealtimeEmulator(
        [
            "Hello!",
            Reply(calls=[ToolCall("get_weather", {"city": "Oslo"})]),
            "Wait.",
            "Unknown.",
            "Once ..." * 9,
            "Ok.",
        ],
        ["Hi, who are you?", "Weather?", "Story!", "Stop!"],
    )
    assert with_service(server, plain, empty_folder, monkeypatch) == 0
    text = paper.getvalue()
    assert "Hi, who are you?" in text
    assert "unknown; this demo has only Berlin, London, Tokyo" in text
    assert "are what the server understood" in text.replace("\n", " ")
    assert re.search(r"cost +0\.\d{4} US dollars", text)


def test_a_refused_key_is_told_once(
    plain: Terminal, paper: io.StringIO, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RealtimeEmulator(api_key="the right one")
    assert with_service(server, plain, empty_folder, monkeypatch, key="the wrong one") == 1
    assert paper.getvalue().count("error: ") == 1


def test_an_error_that_nobody_has_told_is_raised(
    plain: Terminal, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told_nothing(*_: object) -> None: ...

    monkeypatch.setattr(conversation.Narrator, "on_agent_error", told_nothing)
    monkeypatch.setattr(conversation, "MicrophoneInput", BrokenMicrophone)
    monkeypatch.setattr(conversation, "SpeakerOutput", PositionedSpeaker)
    talk = empty_folder / "talk.wav"
    with pytest.raises(AudioDeviceError, match="on fire"):
        clock.run(conversation.hold(plain, out=talk, microphone=True, openai=False))
