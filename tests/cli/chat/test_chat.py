"""``rtvoice chat``: arguments, by voice and in writing."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any, Self

import pytest
from tests.local.conftest import Detector, Ear, Mouth

from rtvoice.cli.chat import conversation
from rtvoice.errors import AudioDeviceError
from rtvoice.testing import PositionedSpeaker, RealtimeEmulator, Reply, VirtualMicrophone

Run = Callable[..., int]


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_in_writing_tools_and_all(rtvoice: Run, types: Any, capsys: pytest.CaptureFixture[str]) -> None:
    types("Hello!\n\n  roll a 2 sided dice \nWhat time is it?\nWho are you?\n")
    assert rtvoice("chat", "--text") == 0
    out, err = capsys.readouterr()
    assert err == ""
    hint, *lines = out.splitlines()
    assert "Ctrl+D" in hint
    assert lines[:2] == ["assistant> Hello! What can I do for you?", "tool> roll_dice(sides=2)"]
    assert lines[2].removeprefix("tool> roll_dice returned: ") == lines[3].removeprefix("assistant> ")
    assert lines[4] == "tool> get_time()"
    assert lines[6].startswith("assistant> It is ")
    assert "Today's date and weekday" in lines[7]
    assert len(lines) == 8


def test_an_answer_that_fails_does_not_hang(
    rtvoice: Run, types: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(_self: object, _request: object) -> Any:
        raise LookupError("no rule for that")
        yield ""

    monkeypatch.setattr("rtvoice.local.rules.RuleReplies.reply", broken)
    types("Hello!\nHello?\n")
    assert rtvoice("chat", "--text") == 1
    assert capsys.readouterr().err.count("no rule for that") >= 2


def test_the_language_model_that_is_named(
    rtvoice: Run, types: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    class Model:
        def __init__(self, name: str, *, base_url: str) -> None:
            made.append((name, base_url))

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            made.append(("closed", ""))

        async def stream_with_tools(self, messages: list[Any], *_: object) -> Any:
            yield f"You said {messages[-1].content!r}"

    monkeypatch.setattr("rtvoice.llm.ChatOpenAI", Model)
    types("Hello!\n")
    assert rtvoice("chat", "--text", "--llm", "http://127.0.0.1:9/v1", "--llm-model", "tiny") == 0
    assert "assistant> You said 'Hello!'" in capsys.readouterr().out
    assert made == [("tiny", "http://127.0.0.1:9/v1"), ("closed", "")]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--llm", "http://127.0.0.1:9/v1"], "belong together"),
        (["--llm-model", "tiny"], "belong together"),
        (["--llm", "127.0.0.1:9", "--llm-model", "tiny"], "give an address such as http://"),
        (["--llm", "http://x/v1", "--llm-model", "tiny", "--server", "ws://x/v1"], "--llm is for the local server"),
        (["--openai"], "OPENAI_API_KEY"),
        (["--server", "nowhere"], "nowhere"),
        (["--openai", "--server", "ws://x/v1"], "not allowed with"),
    ],
)
def test_arguments_that_do_not_fit(
    arguments: list[str], problem: str, rtvoice: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rtvoice("chat", "--text", *arguments) == 2
    assert problem in capsys.readouterr().err


def test_there_is_no_standard_input(
    rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)  # as Python leaves it where the shell has closed it
    assert rtvoice("chat", "--text") == 2
    assert capsys.readouterr().err.startswith("rtvoice chat: --text reads what you write from standard input")


def test_a_server_that_is_not_there(rtvoice: Run, types: Any, capsys: pytest.CaptureFixture[str]) -> None:
    types("")
    assert rtvoice("chat", "--text", "--server", "ws://127.0.0.1:9/v1") == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


async def test_another_server_and_its_end(types: Any, plain: Any, paper: io.StringIO) -> None:
    types("Hello!\nHello?\n")
    async with RealtimeEmulator(["Good evening.", Reply("Bye.", delay_s=0.01)]) as server:
        assert await conversation.write(plain, server.provider, "Be brief.") == 0
    assert "assistant> Good evening.\nassistant> Bye.\n" in paper.getvalue()


@pytest.mark.usefixtures("no_sound")
def test_without_the_extra_it_says_what_else_to_do(
    rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "moonshine_voice", None)
    assert rtvoice("chat") == 2
    err = capsys.readouterr().err
    assert "pip install 'rtvoice[local]'" in err
    assert "rtvoice chat --text" in err
    assert err.count("\n") == 1


def test_no_audio_extra(rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert rtvoice("chat") == 2
    assert "pip install 'rtvoice[audio]'" in capsys.readouterr().err


@pytest.fixture
def no_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", ModuleType("sounddevice"))
    monkeypatch.setattr(conversation, "SpeakerOutput", PositionedSpeaker)
    monkeypatch.setattr(conversation, "MicrophoneInput", VirtualMicrophone)


@pytest.fixture
def fake_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtvoice.local.server.load_speech_to_text", lambda: Ear("warm-up", "Thanks."))
    monkeypatch.setattr("rtvoice.local.server.load_text_to_speech", Mouth)
    monkeypatch.setattr("rtvoice.local.server.load_voice_activity", lambda: Detector)


class Person(VirtualMicrophone):
    """Says something into the microphone, and presses Ctrl+C."""

    async def start(self) -> None:
        await super().start()
        self.pause(3000)
        self.say(b"\1" * 48 * 400)
        asyncio.get_running_loop().call_later(10, os.kill, os.getpid(), signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl+C does not reach the agent")
@pytest.mark.usefixtures("no_sound", "fake_engines")
def test_by_voice(rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(conversation, "MicrophoneInput", Person)
    assert rtvoice("chat") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "headphones" in out
    assert "assistant  Hello! What can I do for you?" in out
    assert "you        Thanks." in out
    assert "assistant  You are welcome." in out


class BrokenMicrophone(VirtualMicrophone):
    async def start(self) -> None:
        raise AudioDeviceError("the microphone is on fire")


@pytest.mark.usefixtures("no_sound", "fake_engines")
def test_an_error_is_told_once(
    rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conversation, "MicrophoneInput", BrokenMicrophone)
    assert rtvoice("chat") == 1
    assert capsys.readouterr().err == "error: the microphone is on fire\n"


@pytest.mark.usefixtures("no_sound")
def test_ctrl_c_that_only_the_event_loop_sees(rtvoice: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(main: Coroutine[Any, Any, int]) -> int:
        main.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncio.run", interrupted)
    assert rtvoice("chat") == 0


@pytest.mark.usefixtures("no_sound")
@pytest.mark.parametrize("arguments", [[], ["--text"]])
def test_an_error_that_nobody_has_told_is_raised(
    arguments: list[str], rtvoice: Run, types: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refuse(_self: object) -> None:
        raise AudioDeviceError("no devices today")

    types("")
    monkeypatch.setattr("rtvoice.RealtimeAgent.run", refuse)
    assert rtvoice("chat", "--server", "ws://127.0.0.1:9/v1", *arguments) == 1
    assert capsys.readouterr().err == "rtvoice chat: no devices today\n"
