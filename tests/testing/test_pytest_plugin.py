"""The pytest plugin, as a user's tests meet it: pytest in a process of its own, with and without other plugins."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONVERSATION = """
import asyncio
import os
import pytest
from rtvoice import RealtimeAgent, ServerVAD, Tools
from rtvoice.testing import Reply, ToolCall, VirtualClockLoop

tools = Tools()

@tools.action("Current weather of a city")
async def get_weather(city: str) -> str:
    return "18 degrees"

@tools.action("Set a timer")
async def set_timer(minutes: int) -> None: ...

@pytest.mark.voice
async def test_weather_and_timer(rehearse):
    stage = rehearse([
        Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]),
        "It is 18 degrees in Berlin, and it stays dry all day long.",
        Reply(calls=[ToolCall("set_timer", {"minutes": 5})]),
        "The timer is set.",
    ])
    async with stage.run(RealtimeAgent(tools=tools, **stage.devices)) as user:
        await user.says("How is the weather in Berlin?")
        await user.interrupts("Thanks. Set a timer.", after_ms=1500)
        await user.hears("timer is set")
    stage.tool_called("get_weather", city="Berlin")
    stage.tool_called("set_timer", minutes=5)
    assert 1500 <= stage.interrupted_at_ms <= 1700
"""


@pytest.fixture
def user_project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in list(os.environ):
        if name.startswith(("PYTEST_", "COV_", "COVERAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "a key that must not be used")
    return pytester


def outcome(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    warnings = ("-W", "error", "-W", "ignore::pytest.PytestDeprecationWarning")  # pytest-asyncio wants a setting
    return project.runpytest_subprocess(*warnings, "-p", "no:cacheprovider", *arguments, timeout=60)


@pytest.mark.parametrize(
    "others",
    [
        (),
        ("-o", "asyncio_mode=auto"),
        ("-p", "no:asyncio"),
        ("-n", "2"),
    ],
    ids=["asyncio strict", "asyncio auto", "no asyncio plugin", "in parallel"],
)
def test_a_conversation_with_two_tools_and_an_interruption(
    user_project: pytest.Pytester, others: tuple[str, ...]
) -> None:
    user_project.makepyfile(
        CONVERSATION
        + """
@pytest.mark.parametrize("number", range(3))
@pytest.mark.voice
async def test_there_is_no_key_and_time_flies(number, tmp_path):
    assert "OPENAI_API_KEY" not in os.environ
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(3600)
    assert asyncio.get_running_loop().time() - began == 3600

@pytest.mark.voice
class TestMethods:
    async def test_as_well(self, rehearse):
        await asyncio.sleep(3600)

    @pytest.mark.voice(clock="real")
    async def test_the_clock_on_the_wall(self):
        assert not isinstance(asyncio.get_running_loop(), VirtualClockLoop)

def test_others_are_left_alone():
    assert os.environ["OPENAI_API_KEY"] == "a key that must not be used"
"""
    )
    outcome(user_project, *others).assert_outcomes(passed=7)


def test_a_key_in_a_file_is_out_of_reach_too(user_project: pytest.Pytester) -> None:
    user_project.path.joinpath(".env").write_text("OPENAI_API_KEY=a key that must not be used either\n")
    user_project.makepyfile(
        """
        import pytest
        from rtvoice import OpenAIProvider
        from rtvoice.environment import read_variable
        from rtvoice.errors import ConfigurationError

        @pytest.mark.voice
        async def test_of_a_conversation():
            with pytest.raises(ConfigurationError, match="key"):
                OpenAIProvider()

        def test_another(monkeypatch):
            monkeypatch.delenv("OPENAI_API_KEY")
            assert read_variable("OPENAI_API_KEY") == "a key that must not be used either"
        """
    )
    outcome(user_project).assert_outcomes(passed=2)


def test_reports_and_whole_modules(user_project: pytest.Pytester) -> None:
    user_project.makepyfile(
        test_failures="""
        import pytest
        from rtvoice import RealtimeAgent
        from websockets.asyncio.client import connect

        pytestmark = pytest.mark.voice

        async def test_wrong_words(rehearse):
            rehearse()
            stage = rehearse(["Good morning!"])
            async with stage.run(RealtimeAgent(**stage.devices)) as user:
                await user.says("Hello!")
                await user.hears("morning")
            assert stage.tool_calls == ["one"]

        async def test_wrong_events(realtime_server):
            async with realtime_server(["Good morning!"]) as server:
                async with connect(server.url + "?model=m", additional_headers={"Authorization": "Bearer x"}) as socket:
                    await socket.send('{"type": "response.create"}')
                    await server.sent("response.done")
                assert False, "as it should"
        """,
        test_module="""
        import asyncio
        import pytest

        pytestmark = pytest.mark.voice

        async def test_time_flies():
            await asyncio.sleep(3600)

        def test_plain_functions_too():
            pass

        async def helper():
            raise AssertionError
        """,
    )
    result = outcome(user_project)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*- The conversation -*", "*user       Hello!", "*assistant  Good morning!"])
    result.stdout.fnmatch_lines(
        ["*- Realtime events -*", "<- *session.created*", "-> *response.create*", "<- *response.done*"]
    )


def test_a_wrong_marker_is_refused(user_project: pytest.Pytester) -> None:
    wrong = ["'real'", "speed=2", "clock='sun dial'"]
    tests = {
        f"test_{number}": f"""
        import pytest

        @pytest.mark.voice({arguments})
        async def test_one():
            pass
        """
        for number, arguments in enumerate(wrong)
    }
    user_project.makepyfile(**tests)
    result = outcome(user_project)
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(3 * ["*takes clock='virtual' (default) or clock='real', nothing else*"])


def test_the_plugin_costs_those_nothing_who_do_not_use_it(user_project: pytest.Pytester) -> None:
    user_project.makepyfile(
        """
        import sys

        def test_nothing_is_loaded():
            heavy = {"websockets", "pydantic", "numpy", "openai", "rtvoice.agent", "rtvoice.testing.emulator"}
            assert not heavy & sys.modules.keys()
        """
    )
    outcome(user_project, "-p", "no:hypothesispytest", "-p", "no:anyio").assert_outcomes(passed=1)


def test_the_tutorial_says_what_is_true(user_project: pytest.Pytester) -> None:
    tutorial = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in tutorial.split("```python\n")[1:]]
    names = [block.split("\n")[0].removeprefix("# ").strip() for block in blocks]
    assert len(blocks) >= 4
    for name, block in zip(names, blocks, strict=True):
        with (user_project.path / name).open("a", encoding="utf-8") as file:
            file.write(block)
    tests = sum(block.count("def test_") for block in blocks)
    outcome(user_project).assert_outcomes(passed=tests)
