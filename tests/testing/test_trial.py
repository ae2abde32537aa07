"""A program made of an agent: rehearsed by default, held for real with --openai."""

from typing import Any

import pytest

from rtvoice import AgentListener, RealtimeAgent
from rtvoice.testing import Rehearsal, ScriptedUser, VirtualClockLoop, rehearse_or_run, trial


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(**devices)


async def conversation(user: ScriptedUser) -> None:
    await user.says("Hello.")
    await user.hears("Good morning")


def test_it_rehearses_without_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    result = rehearse_or_run(make_agent, conversation, ["Good morning."], arguments=["--fast"])
    assert [turn.text for turn in result.turns] == ["Hello.", "Good morning."]
    assert capsys.readouterr().out == "user       Hello.\nassistant  Good morning.\n"


def test_it_rehearses_on_a_real_clock_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = []

    class Runner(trial.asyncio.Runner):  # type: ignore[name-defined, misc]
        def __init__(self, *, loop_factory: Any) -> None:
            loops.append(loop_factory)
            super().__init__(loop_factory=VirtualClockLoop)

    monkeypatch.setattr(trial.asyncio, "Runner", Runner)  # type: ignore[attr-defined]
    rehearse_or_run(make_agent, conversation, ["Good morning."], tell=None, arguments=[])
    assert loops == [None]


def test_it_can_be_silent(capsys: pytest.CaptureFixture[str]) -> None:
    rehearse_or_run(make_agent, conversation, ["Good morning."], tell=None, arguments=["--fast"])
    assert capsys.readouterr().out == ""


def test_a_rehearsal_that_goes_wrong_raises() -> None:
    with pytest.raises(AssertionError, match="did not hear 'Good morning'"):
        rehearse_or_run(make_agent, conversation, ["Good night."], tell=None, arguments=["--fast"])


def test_arguments_come_from_the_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["talk.py", "--slow"])
    with pytest.raises(SystemExit) as stopped:
        rehearse_or_run(make_agent, conversation, [])
    assert stopped.value.code == 2
    assert "unrecognized arguments: --slow" in capsys.readouterr().err


def test_help_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        rehearse_or_run(make_agent, conversation, [], arguments=["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "--openai" in shown
    assert "--fast" in shown


def test_without_a_key_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["talk.py"])
    with pytest.raises(SystemExit) as stopped:
        rehearse_or_run(make_agent, conversation, [], arguments=["--openai"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "talk.py: No OpenAI API key: set the environment variable OPENAI_API_KEY (or a .env file), or pass api_key=.\n"
    )


class Host(AgentListener):
    """Opens a server where the agent looks for the service, and ends the conversation after an answer."""

    def __init__(self, world: Rehearsal) -> None:
        self.server = world.server
        self.agent = RealtimeAgent[None](listener=self, **world.devices)

    async def on_agent_starting(self) -> None:
        await self.server.__aenter__()

    async def on_agent_session_connected(self) -> None:
        await self.agent.send_message("Hello.")

    async def on_assistant_stopped_responding(self) -> None:
        await self.agent.stop()

    async def on_agent_stopped(self) -> None:
        await self.server.__aexit__(None, None, None)


@pytest.mark.parametrize("tell", [True, False])
def test_for_real_it_runs_the_agent_as_it_is(tell: bool) -> None:
    told: list[str] = []
    made: list[dict[str, Any]] = []

    def make(**devices: Any) -> RealtimeAgent[None]:
        made.append(devices)
        return Host(Rehearsal(["Hi."])).agent

    result = rehearse_or_run(make, conversation, [], tell=told.append if tell else None, arguments=["--openai"])
    assert made == [{}]
    assert result.turns[-1].text == "Hi."
    assert told == (["Speak to the assistant. Ctrl+C ends the conversation.", "assistant  Hi."] if tell else [])
