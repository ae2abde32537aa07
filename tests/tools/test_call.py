import asyncio
import json
import logging
import threading
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from rtvoice.tools import ActionResult, Inject, ToolContext, ToolFeedbackError, ToolOutcome, Tools
from rtvoice.tools.results import MAX_OUTPUT_CHARACTERS


class AppState: ...


class Search(BaseModel):
    query: str
    limit: int = 5

    @field_validator("query")
    @classmethod
    def broken_for_bombs(cls, value: str) -> str:
        if value == "bomb":
            raise LookupError("secret")
        return value


@pytest.fixture
def tools() -> Tools:
    return Tools()


def failure(output: str, error_type: str) -> ToolOutcome:
    return ToolOutcome(output=output, success=False, respond=True, result_instruction=None, error_type=error_type)


async def test_success(tools: Tools) -> None:
    @tools.action("Echoes", result_instruction="Be brief")
    async def echo(city: str, days: int = 1) -> dict[str, Any]:
        return {"city": city, "days": days}

    assert await tools.call("echo", {"city": "Oslo", "days": "2"}) == ToolOutcome(
        output='{"city": "Oslo", "days": 2}', success=True, respond=True, result_instruction="Be brief", error_type=None
    )


async def test_none_is_ok(tools: Tools) -> None:
    @tools.action("Does nothing")
    def nothing() -> None: ...

    assert (await tools.call("nothing", {})).output == "OK"


async def test_null_stands_for_no_arguments(tools: Tools) -> None:
    @tools.action("Tells")
    def tell(city: str = "Oslo") -> str:
        return city

    assert (await tools.call("tell", None)).output == "Oslo"


async def test_silent_tools_and_action_results(tools: Tools) -> None:
    results: list[Any] = []

    @tools.action("Acts", respond=False, result_instruction="Tool's own")
    def act() -> Any:
        return results.pop()

    async def outcome(result: Any) -> tuple[str, bool, bool, str | None]:
        results.append(result)
        done = await tools.call("act", {})
        return done.output, done.success, done.respond, done.result_instruction

    assert await outcome("text") == ("text", True, False, "Tool's own")
    assert await outcome(ActionResult.success([1])) == ("[1]", True, False, "Tool's own")
    assert await outcome(ActionResult.success(respond=True, instruction="Mine")) == ("OK", True, True, "Mine")
    assert await outcome(ActionResult.fail("sold out", respond=False)) == ("Error: sold out", False, True, None)


async def test_unknown_tool(tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    output = "Error: there is no tool named 'get_wether'. Available tools: none."
    assert await tools.call("get_wether", {"city": "Oslo"}) == failure(output, "UnknownToolError")
    tools.action("Weather")(test_silent_tools_and_action_results)
    tools.action("Weather", name="get_weather")(len)
    assert (await tools.call("get_wether", {})).output == (
        "Error: there is no tool named 'get_wether'. Available tools: "
        "test_silent_tools_and_action_results, get_weather."
    )
    assert "the model called the unknown tool 'get_wether'" in caplog.text
    assert "Oslo" not in caplog.text


@pytest.mark.parametrize("arguments", [[1], "text", 5, True])
async def test_arguments_that_are_no_object(tools: Tools, arguments: Any) -> None:
    @tools.action("Echoes")
    async def echo(city: str) -> str:
        return city

    output = "Error: 'echo' was not run because its arguments are no JSON object. Send an object."
    assert await tools.call("echo", arguments) == failure(output, "ToolArgumentsError")


async def test_invalid_arguments(tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    called = []

    @tools.action("Echoes")
    async def echo(city: str, days: int) -> None:
        called.append(city)

    outcome = await tools.call("echo", {"days": "secret"})
    assert outcome == failure(
        "Error: 'echo' was not run because its arguments are invalid:\n"
        "- city: missing, but required (string)\n"
        '- days: Input should be a valid integer, unable to parse string as an integer (you sent "secret")\n'
        "Correct them and call it again.",
        "ToolArgumentsError",
    )
    assert called == []
    assert "the model called tool 'echo' with invalid arguments" in caplog.text
    assert "secret" not in caplog.text


async def test_invalid_arguments_for_a_param_model(tools: Tools) -> None:
    tools.action("Searches", param_model=Search, name="search")(lambda search: search.query)
    assert "\n- query: missing, but required (string)\n" in (await tools.call("search", {})).output
    assert (await tools.call("search", {"query": "x"})).output == "x"


async def test_a_validator_that_breaks(tools: Tools) -> None:
    tools.action("Searches", param_model=Search, name="search")(lambda search: search.query)
    assert await tools.call("search", {"query": "bomb"}) == failure("Error: LookupError: secret", "LookupError")


async def test_invalid_unicode_from_the_model(tools: Tools) -> None:
    tools.action("Echoes", name="echo")(lambda city: city)
    outcome = await tools.call("echo", json.loads('{"city": "\\ud800"}'))
    assert outcome.error_type == "ToolArgumentsError"
    assert "invalid Unicode" in outcome.output


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize(
    ("error", "output"),
    [
        (ValueError("no such city"), "Error: ValueError: no such city"),
        (KeyError("city"), "Error: KeyError: 'city'"),
        (RuntimeError(), "Error: RuntimeError"),
        (TimeoutError("upstream"), "Error: TimeoutError: upstream"),
        (SystemExit(3), "Error: SystemExit: 3"),
        (asyncio.CancelledError("inner"), "Error: CancelledError: inner"),
        (ExceptionGroup("many", [ValueError("one")]), "Error: ValueError: one"),
    ],
    ids=repr,
)
async def test_exceptions(
    tools: Tools, error: BaseException, output: str, in_thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def plain() -> None:
        raise error

    async def asynchronous() -> None:
        raise error

    tools.action("Fails", name="fail", result_instruction="Be brief")(plain if in_thread else asynchronous)
    with caplog.at_level(logging.WARNING):
        assert await tools.call("fail", {}, timeout=60) == failure(output, type(error).__name__)
    assert [record.getMessage() for record in caplog.records] == [f"tool 'fail' failed: {type(error).__name__}"]


async def test_tracebacks_are_for_the_debug_log(tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    @tools.action("Fails")
    async def fail() -> None:
        raise ValueError("secret")

    with caplog.at_level(logging.DEBUG, logger="rtvoice"):
        outcome = await tools.call("fail", {})
    assert "Traceback" not in outcome.output
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [
        ("WARNING", False),
        ("DEBUG", True),
    ]


async def test_keyboard_interrupt_is_not_for_the_model(tools: Tools) -> None:
    @tools.action("Interrupts")
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await tools.call("interrupt", {})


async def test_feedback_is_exactly_the_message(tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    @tools.action("Books")
    async def book() -> None:
        raise ToolFeedbackError("Ask for the number of persons first.")

    with caplog.at_level(logging.INFO):
        assert await tools.call("book", {}) == failure("Ask for the number of persons first.", "ToolFeedbackError")
    assert [record.levelname for record in caplog.records] == ["INFO"]


async def test_a_result_that_cannot_be_written_is_a_failure(tools: Tools) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    tools.action("Breaks", name="broken")(lambda: Broken())
    outcome = await tools.call("broken", {})
    assert (outcome.success, outcome.error_type) == (False, "RuntimeError")


async def test_long_outputs_are_shortened(tools: Tools) -> None:
    tools.action("Long", name="long")(lambda: "x" * (2 * MAX_OUTPUT_CHARACTERS))

    @tools.action("Fails long")
    def fail() -> None:
        raise ValueError("x" * (2 * MAX_OUTPUT_CHARACTERS))

    for name in ("long", "fail"):
        output = (await tools.call(name, {})).output
        assert MAX_OUTPUT_CHARACTERS < len(output) < MAX_OUTPUT_CHARACTERS + 200
        assert "[Shortened: the last 20" in output


# Time


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("own", "default", "limit"),
    [("default", 0.01, "0.01"), (0.02, 60.0, "0.02"), (0.02, None, "0.02")],
)
async def test_timeouts(
    tools: Tools, own: Any, default: float | None, limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    tools.action("Hangs", timeout=own)(hang)
    prepared = tools.prepare("hang", {})
    assert prepared.timeout == own
    assert await prepared.run(default_timeout=default) == failure(
        f"Error: 'hang' gave no result within {limit} seconds. It may still take effect later.", "TimeoutError"
    )
    assert f"tool 'hang' gave no result within {limit} s" in caplog.text


async def test_call_may_set_the_limit(tools: Tools) -> None:
    tools.action("Hangs", timeout=60)(hang)
    assert "within 0.01 seconds" in (await tools.call("hang", {}, timeout=0.01)).output


async def test_no_limit(tools: Tools) -> None:
    @tools.action("Takes a moment", timeout=None)
    async def moment() -> str:
        await asyncio.sleep(0.02)
        return "done"

    assert (await tools.prepare("moment", {}).run(default_timeout=0.001)).output == "done"
    assert (await tools.call("moment", {}, timeout=None)).output == "done"
    assert (await tools.call("moment", {})).output == "done"


async def test_a_stuck_plain_function_is_answered_in_time(tools: Tools) -> None:
    release = threading.Event()

    @tools.action("Blocks")
    def block() -> None:
        release.wait()

    assert (await tools.call("block", {}, timeout=0.01)).error_type == "TimeoutError"
    release.set()
    for thread in threading.enumerate():
        if thread.name == "rtvoice-tool-block":
            await asyncio.to_thread(thread.join)


async def test_cancellation_from_outside_comes_through(tools: Tools) -> None:
    started = asyncio.Event()
    cleaned_up = []

    @tools.action("Hangs")
    async def hang_and_clean_up() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cleaned_up.append(True)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(tools.call("hang_and_clean_up", {}, timeout=60))
        await started.wait()
        task.cancel()
    assert task.cancelled()
    assert cleaned_up == [True]


async def test_cancellation_inside_the_tool_is_its_failure(tools: Tools) -> None:
    @tools.action("Awaits something cancelled")
    async def lost() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert await tools.call("lost", {}) == failure("Error: CancelledError", "CancelledError")


async def test_slow_tools_run_side_by_side(tools: Tools) -> None:
    barrier = threading.Barrier(3)
    met = asyncio.Barrier(2)

    @tools.action("Waits for the others")
    def plain() -> int:
        return barrier.wait() * 0

    @tools.action("Waits for the other")
    async def asynchronous() -> int:
        return (await met.wait()) * 0

    calls = ["plain", "plain", "plain", "asynchronous", "asynchronous"]
    outcomes = await asyncio.gather(*(tools.call(name, {}) for name in calls))
    assert [outcome.output for outcome in outcomes] == ["0"] * 5


# Preparation


def test_prepare_gives_the_phrase_before_anything_runs(tools: Tools) -> None:
    tools.action("S", param_model=Search, name="search", status="Searching {query}", needs_approval=True, timeout=3)(
        lambda search: 1 / 0
    )
    prepared = tools.prepare("search", {"query": "news"})
    assert (prepared.name, prepared.phrase, prepared.needs_approval, prepared.timeout) == (
        "search",
        "Searching news",
        True,
        3,
    )
    assert prepared.tool is tools.get("search")


@pytest.mark.parametrize(
    ("name", "arguments"), [("search", {}), ("search", [1]), ("search", {"query": "bomb"}), ("no", {})]
)
async def test_a_call_that_cannot_run_has_no_phrase_and_needs_no_approval(
    tools: Tools, name: str, arguments: Any
) -> None:
    tools.action("S", param_model=Search, name="search", holding_instruction="Hold on", needs_approval=True)(
        lambda search: None
    )
    prepared = tools.prepare(name, arguments)
    assert (prepared.phrase, prepared.needs_approval) == (None, False)
    assert not (await prepared.run(default_timeout=1)).success


async def test_arguments_are_validated_once(tools: Tools) -> None:
    validated = []

    class Params(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def count(cls, value: int) -> int:
            validated.append(value)
            return value

    tools.action("D", params=Params, name="double", status="Doubling {x}")(lambda params: params.x * 2)
    prepared = tools.prepare("double", {"x": 4})
    assert prepared.phrase == "Doubling 4"
    assert (await prepared.run()).output == "8"
    assert validated == [4]


async def test_injection_and_its_failure(tools: Tools) -> None:
    @tools.action("Greets")
    async def greet(state: Inject[AppState]) -> str:
        return type(state).__name__

    outcome = await tools.call("greet", {"state": "evil"})
    assert outcome.error_type == "InjectionError"
    assert "tool 'greet', parameter 'state': there is no AppState to inject" in outcome.output
    tools.set_context(ToolContext(context=AppState()))
    assert (await tools.call("greet", {"state": "evil"})).output == "AppState"
