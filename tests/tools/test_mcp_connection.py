"""The connection to real MCP servers: processes of their own, over stdio and over HTTP on 127.0.0.1."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtvoice.errors import McpServerError, ToolFeedbackError
from rtvoice.tools import Tools
from rtvoice.tools.mcp_connection import stdio_server

SERVER = str(Path(__file__).with_name("mcp_server.py"))
ODD_SERVER = str(Path(__file__).with_name("odd_mcp_server.py"))
LOST = "was lost during this call of 'die', which may have taken effect."


async def text_of(tools: Tools, name: str, **arguments: object) -> str:
    outcome = await tools.call(name, arguments, timeout=20)
    assert outcome.success, outcome
    return outcome.output


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def losses(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "was lost (" in record.getMessage()]


# --- a server that is started ---


async def test_a_server_is_started_asked_and_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Tools.from_mcp(
        command=sys.executable, args=[SERVER, "an argument"], env={"COLOR": "red"}, cwd=tmp_path
    ) as tools:
        assert json.loads(await text_of(tools, "surroundings")) == {
            "cwd": str(tmp_path),
            "COLOR": "red",
            "argv": ["an argument"],
        }
        assert await text_of(tools, "weather", city="Oslo") == "18 degrees in Oslo"
        outcome = await tools.call("fail", {"why": "no such city"})
        assert (outcome.success, outcome.respond) == (False, True)
        assert outcome.output.startswith("Error: ")
        assert "no such city" in outcome.output
        assert "city" in (await tools.call("weather", {})).output
        pid = await text_of(tools, "pid")
    assert not is_running(pid)
    assert losses(caplog) == []
    outcome = await tools.call("weather", {"city": "Oslo"})
    assert "'weather-desk' is closed: its tools work inside its 'async with' only" in outcome.output


async def test_a_call_that_takes_too_long_is_answered_and_cancelled_at_the_server(tmp_path: Path) -> None:
    started = tmp_path / "started"
    async with Tools.from_mcp(command=sys.executable, args=[SERVER], timeout=0.5) as tools:
        outcome = await tools.call("wait_for_ever", {"started": str(started)})
        assert outcome.error_type == "TimeoutError"
        assert "no result within 0.5 seconds" in outcome.output
        await until(Path(f"{started}.cancelled").exists)
        assert await text_of(tools, "weather", city="Oslo") == "18 degrees in Oslo"


async def test_a_server_that_dies_is_reported_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    async with Tools.from_mcp(command=sys.executable, args=[SERVER]) as tools:
        first = await text_of(tools, "pid")
        outcome = await tools.call("die", {})
        assert (outcome.success, outcome.error_type) == (False, "McpServerError")
        assert outcome.output.endswith(LOST)
        await until(lambda: len(losses(caplog)) == 1)

        second = await text_of(tools, "pid")
        assert first != second
        os.kill(int(second), signal.SIGKILL)  # while nobody is calling
        await until(lambda: len(losses(caplog)) == 2)
        assert losses(caplog)[-1] == "The MCP server 'weather-desk' was lost (it hung up); the next call connects again"
        both = await asyncio.gather(text_of(tools, "pid"), text_of(tools, "pid"))
        assert len(set(both)) == 1, "calls at the same time share one new connection"
        assert both[0] != second


async def test_a_call_of_an_idempotent_tool_is_repeated_once(tmp_path: Path) -> None:
    async with Tools.from_mcp(command=sys.executable, args=[ODD_SERVER, "plain"]) as tools:
        marker = tmp_path / "died"
        assert await text_of(tools, "die_once", marker=str(marker)) == "alive again"
        assert marker.exists(), "the first call was cut off"
        marker.unlink()
        both = await asyncio.gather(*[text_of(tools, "die_once", marker=str(marker)) for _ in range(2)])
        assert both == ["alive again", "alive again"]
        outcome = await tools.call("die_once", {"marker": str(tmp_path / "no such directory" / "died")})
        assert "was lost during this call" in outcome.output, "it dies in the second call too"


async def test_a_server_that_cannot_be_started_again_is_reported(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.symlink_to(ODD_SERVER)
    async with Tools.from_mcp(command=sys.executable, args=[str(script), "plain"]) as tools:
        script.unlink()
        assert (await tools.call("die", {})).output.endswith(LOST)
        assert "'odd' cannot be reached: Connection closed" in (await tools.call("search", {})).output


@pytest.mark.parametrize(
    ("args", "why"),
    [(["-c", "pass"], "Connection closed"), ([ODD_SERVER, "silent"], "no answer in time")],
)
async def test_a_program_that_is_no_server_is_refused(args: list[str], why: str) -> None:
    with pytest.raises(McpServerError, match=f"cannot be reached: {why}") as refused:
        async with Tools.from_mcp(command=sys.executable, args=args, connect_timeout=1):
            raise AssertionError
    assert isinstance(refused.value, ConnectionError)


async def test_a_program_that_does_not_exist_is_refused() -> None:
    with pytest.raises(McpServerError, match="'no-such-program' cannot be reached: FileNotFoundError"):
        async with Tools.from_mcp(command="no-such-program"):
            raise AssertionError


async def test_a_server_that_does_not_list_its_tools_is_refused() -> None:
    with pytest.raises(McpServerError, match="'odd' does not list its tools: no tools/list"):
        async with Tools.from_mcp(command=sys.executable, args=[ODD_SERVER, "no-list"]):
            raise AssertionError


async def test_a_list_of_tools_that_never_ends_is_cut_off() -> None:
    async with Tools.from_mcp(command=sys.executable, args=[ODD_SERVER, "endless"]) as tools:
        assert len(tools.tools) == 100


async def test_a_call_that_the_server_does_not_take_is_reported() -> None:
    async with Tools.from_mcp(command=sys.executable, args=[ODD_SERVER, "plain"]) as tools:
        with pytest.raises(McpServerError, match="'odd' refused the call: no tools/call"):
            await tools.execute("delete", {})
        with pytest.raises(ToolFeedbackError, match="the tool does not say what went wrong"):
            await tools.execute("search", {})


# --- the end ---


async def test_an_exception_in_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Tools.from_mcp(command=sys.executable, args=[ODD_SERVER, "plain"]):
            _ = 1 / 0


async def test_a_cancelled_body_leaves_nothing_behind() -> None:
    async with asyncio.TaskGroup() as group:
        entered = asyncio.Event()

        async def body() -> None:
            async with Tools.from_mcp(command=sys.executable, args=[ODD_SERVER, "plain"]):
                entered.set()
                await asyncio.Event().wait()

        task = group.create_task(body())
        await entered.wait()
        task.cancel()
    assert task.cancelled()


async def test_a_call_under_way_ends_with_the_connection(tmp_path: Path) -> None:
    started = tmp_path / "started"
    async with asyncio.TaskGroup() as group, Tools.from_mcp(command=sys.executable, args=[SERVER]) as tools:
        call = group.create_task(tools.call("wait_for_ever", {"started": str(started)}))
        await until(started.exists)
    assert "was lost during this call" in call.result().output


async def test_connecting_again_ends_with_the_connection(tmp_path: Path) -> None:
    alive, silent = tmp_path / "alive", tmp_path / "silent"
    script = (
        "import pathlib, runpy, sys\n"
        f"if pathlib.Path({str(alive)!r}).exists():\n"
        f"    pathlib.Path({str(silent)!r}).touch(); sys.stdin.read()\n"
        f"pathlib.Path({str(alive)!r}).touch(); runpy.run_path({ODD_SERVER!r}, run_name='__main__')\n"
    )
    async with (
        asyncio.TaskGroup() as group,
        Tools.from_mcp(command=sys.executable, args=["-c", script, "plain"], connect_timeout=60) as tools,
    ):
        await tools.call("die", {})
        call = group.create_task(tools.call("search", {}))
        await until(silent.exists)
    assert "cannot be reached: it hung up" in call.result().output


async def test_closing_what_was_never_open_is_no_error() -> None:
    await stdio_server("no-such-program", [], None, None).close()


# --- a server that is reached ---


class HttpServer:
    """A server process that can be killed and started again at the same port."""

    def __init__(self, *args: str, token: str | None = None) -> None:
        self.args = args
        self.env = {**os.environ, **({"TOKEN": token} if token else {})}
        self.port = "0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, SERVER, self.port, *self.args], stdout=subprocess.PIPE, text=True, env=self.env
        )
        assert self.process.stdout is not None
        self.port = self.process.stdout.readline().strip()
        self.process.stdout.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


@pytest.fixture
def http_server(request: pytest.FixtureRequest) -> Iterator[HttpServer]:
    server = HttpServer(*getattr(request, "param", ()), token="secret")
    yield server
    server.kill()


HEADERS = {"Authorization": "Bearer secret"}


async def test_a_server_is_reached_lost_and_reached_again(
    http_server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Tools.from_mcp(url=http_server.url, headers=HEADERS) as tools:
        assert await text_of(tools, "weather", city="Oslo") == "18 degrees in Oslo"
        assert "no such city" in (await tools.call("fail", {"why": "no such city"})).output
        outcome = await tools.call("die", {})
        assert outcome.output.endswith(LOST)
        http_server.kill()
        outcome = await tools.call("weather", {"city": "Oslo"})
        assert "'weather-desk' cannot be reached: " in outcome.output
        assert len(losses(caplog)) == 1
        http_server.start()
        assert await text_of(tools, "weather", city="Oslo") == "18 degrees in Oslo"


@pytest.mark.parametrize("http_server", [("2025",)], indirect=True)
async def test_a_server_that_forgot_the_session_is_asked_again(
    http_server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Tools.from_mcp(url=http_server.url, headers=HEADERS) as tools:
        first = await text_of(tools, "pid")
        http_server.kill()
        http_server.start()
        assert await text_of(tools, "pid") != first
        await until(lambda: len(losses(caplog)) == 1)
        assert "Session not found" in losses(caplog)[0]


async def test_a_wrong_token_is_named(http_server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="rtvoice")
    url = http_server.url.replace("127.0.0.1", "user:password@127.0.0.1") + "?key=secret"
    with pytest.raises(
        McpServerError, match="cannot be reached: it answered 401 Unauthorized: check headers="
    ) as refused:
        async with Tools.from_mcp(url=url, headers={"Authorization": "Bearer wrong"}):
            raise AssertionError
    for secret in ("password", "key=", "wrong"):
        assert secret not in str(refused.value)
        assert secret not in caplog.text
