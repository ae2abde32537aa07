"""What becomes of the tools of MCP servers: names, schemas, settings, results."""

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import types

from rtvoice.errors import ConfigurationError, McpExtraMissingError, ToolDefinitionError
from rtvoice.tools import Tools
from rtvoice.tools.mcp_tools import result_text

SERVER = str(Path(__file__).with_name("mcp_server.py"))
ODD_SERVER = str(Path(__file__).with_name("odd_mcp_server.py"))
PLAIN: dict[str, Any] = {"command": sys.executable, "args": [ODD_SERVER, "plain"]}


async def test_tools_of_a_real_server_are_offered_in_the_form_of_the_realtime_api() -> None:
    async with Tools.from_mcp(
        command=sys.executable, args=[SERVER], only=["weather", "report.full", "picture"]
    ) as tools:
        weather, report, picture = tools.realtime_schema()
        assert weather == {
            "type": "function",
            "name": "weather",
            "description": "Current weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
        assert (report["name"], report["description"]) == ("report_full", "report.full")
        assert "$" not in str(report), "references are written out"
        assert report["parameters"]["properties"]["place"]["properties"]["city"] == {"type": "string"}

        outcome = await tools.call(report["name"], {"place": {"city": "Oslo"}})
        assert '"degrees": 18.5' in outcome.output
        outcome = await tools.call(picture["name"], {})
        assert outcome.output == "Here it is:\n[An image, image/png, 1.5 kB, which cannot be shown here]"


async def test_tools_are_chosen_renamed_and_set_up() -> None:
    async with Tools.from_mcp(
        **PLAIN, only={"search", "delete"}, prefix="shop_", timeout=3, needs_approval=["delete"]
    ) as tools:
        assert list(tools.tools) == ["shop_search", "shop_delete"]
        search, delete = tools.tools.values()
        assert (search.description, delete.description) == ("Finds things", "Deletes things")
        assert (search.needs_approval, delete.needs_approval) == (False, True)
        assert search.timeout == 3
        agent_tools = tools.clone()
        assert not (await agent_tools.call("shop_search", {})).success, "the tool at the server is called 'search'"


async def test_all_tools_may_need_approval_and_long_names_are_cut() -> None:
    async with Tools.from_mcp(**PLAIN, needs_approval=True) as tools:
        assert all(tool.needs_approval for tool in tools.tools.values())
        assert "x" * 64 in tools.tools
        assert tools.tools["search"].timeout == "default"


@pytest.mark.parametrize("setting", ["only", "needs_approval"])
async def test_a_name_that_the_server_does_not_know_is_an_error(setting: str) -> None:
    settings: dict[str, Any] = {**PLAIN, setting: ["serch"]}
    with pytest.raises(ConfigurationError, match="'odd' has no tool 'serch'; it has: search, delete, x"):
        async with Tools.from_mcp(**settings):
            raise AssertionError


async def test_two_tools_of_one_name_are_an_error() -> None:
    with pytest.raises(ToolDefinitionError, match=r"two tools of the MCP server 'odd' would be called 'a_b'"):
        async with Tools.from_mcp(command=sys.executable, args=[ODD_SERVER, "twins"]):
            raise AssertionError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give one"),
        ({"command": "x", "url": "https://example.com"}, "give one"),
        ({"url": "https://example.com", "args": ["x"]}, "not for url="),
        ({"url": "https://example.com", "env": {}}, "not for url="),
        ({"url": "https://example.com", "cwd": "."}, "not for url="),
        ({"command": "x", "headers": {}}, "not for command="),
        ({"url": "example.com/mcp"}, "must begin with https://"),
        ({"command": "x", "args": "-y"}, "args= must be a list"),
        ({"command": "x", "only": "search"}, "only= must be a list"),
        ({"command": "x", "needs_approval": "search"}, "needs_approval= must be a list"),
        ({"command": "x", "connect_timeout": 0}, "connect_timeout must be a positive number"),
        ({"command": "x", "connect_timeout": math.inf}, "connect_timeout must be a positive number"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_happens(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Tools.from_mcp(**settings)


@pytest.mark.parametrize("missing", ["mcp", "httpx2"])
def test_a_missing_package_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rtvoice.tools.mcp_tools", "rtvoice.tools.mcp_connection"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(McpExtraMissingError, match=r"pip install 'rtvoice\[mcp\]'") as error:
        Tools.from_mcp(command="x")
    assert isinstance(error.value, ImportError)


def text(content: str) -> types.TextContent:
    return types.TextContent(type="text", text=content)


@pytest.mark.parametrize(
    ("content", "structured", "expected"),
    [
        ([], None, None),
        ([text("")], None, None),
        ([text("18 degrees")], None, "18 degrees"),
        ([text("one"), text("two")], None, "one\ntwo"),
        ([text("18 degrees")], {"degrees": 18}, "18 degrees"),
        ([], {"degrees": 18, "place": "Tromsø"}, '{"degrees": 18, "place": "Tromsø"}'),
        (
            [types.ImageContent(type="image", data="AAAA" * 1000, mime_type="image/png")],
            {"width": 3},
            '[An image, image/png, 3.0 kB, which cannot be shown here]\n{"width": 3}',
        ),
        (
            [types.AudioContent(type="audio", data="AAAA" * 100, mime_type="audio/wav")],
            None,
            "[A sound, audio/wav, 0.3 kB, which cannot be played here]",
        ),
        (
            [types.ResourceLink(type="resource_link", name="a.txt", uri="file:///a.txt", description="A file")],
            None,
            "[The resource a.txt: A file, to be found at file:///a.txt]",
        ),
        (
            [types.ResourceLink(type="resource_link", name="a.txt", title="Letter", uri="file:///a.txt")],
            None,
            "[The resource Letter, to be found at file:///a.txt]",
        ),
        (
            [
                types.EmbeddedResource(
                    type="resource", resource=types.TextResourceContents(uri="file:///a.txt", text="Dear all")
                )
            ],
            None,
            "Dear all",
        ),
        (
            [
                types.EmbeddedResource(
                    type="resource",
                    resource=types.BlobResourceContents(uri="file:///a", blob="AAAA", mime_type="application/pdf"),
                )
            ],
            None,
            "[The resource file:///a, application/pdf, 0.0 kB, which cannot be read here]",
        ),
    ],
)
def test_results_become_text(content: list[Any], structured: Any, expected: str | None) -> None:
    assert result_text(types.CallToolResult(content=content, structured_content=structured)) == expected
