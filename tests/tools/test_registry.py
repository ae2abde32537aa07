import functools
import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel

import rtvoice.tools
from rtvoice.errors import InjectionError, ToolArgumentsError, ToolDefinitionError, UnknownToolError
from rtvoice.tools import Inject, Tool, ToolContext, Tools, UnresolvedInjection, VoidResult


class AppState: ...


class Search(BaseModel):
    query: str


async def echo(city: str) -> str:
    return city


ECHO = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
def tools() -> Tools:
    tools = Tools()
    tools.action("Echoes")(echo)
    return tools


def test_action_returns_the_function_unchanged_and_registers_it() -> None:
    tools = Tools()
    assert tools.action("Echoes")(echo) is echo
    tool = tools.get("echo")
    assert tool is not None
    assert (tool.name, tool.description, tool.function) == ("echo", "Echoes", echo)
    assert tools.tools == {"echo": tool}


def test_action_hands_on_all_settings() -> None:
    tools = Tools()
    decorate = tools.action(
        "Searches",
        "find",
        Search,
        "Summarise",
        "Hold on",
        "Searching {query}",
        respond=False,
        timeout=3,
        needs_approval=True,
        kind="query",
    )
    decorate(lambda search: None)
    tool = tools.tools["find"]
    assert (tool.name, tool.param_model, tool.result_instruction) == ("find", Search, "Summarise")
    assert (tool.holding_instruction, tool.status, tool.respond) == ("Hold on", "Searching {query}", False)
    assert (tool.timeout, tool.needs_approval, tool.kind) == (3, True, "query")


def test_params_is_param_model() -> None:
    tools = Tools()
    tools.action("Searches", name="find", params=Search)(lambda search: None)
    assert tools.tools["find"].param_model is Search
    with pytest.raises(ToolDefinitionError, match="param_model and params are the same setting: give one of them"):
        tools.action("Searches", param_model=Search, params=Search)


def test_status_needs_param_model(tools: Tools) -> None:
    with pytest.raises(ValueError, match="tool 'f': status needs param_model"):
        tools.action("d", name="f", status="Working")(lambda: None)
    assert tools.get("f") is None


@pytest.mark.parametrize(
    "name", ["action", "get", "execute", "clone", "merge", "tools", "call", "prepare", "set_context", "eject_tool"]
)
async def test_functions_named_like_our_methods(name: str) -> None:
    def function(value: str) -> str:
        return f"{name} {value}"

    function.__name__ = name
    tools = Tools()
    tools.action("d")(function)
    assert await tools.execute(name, {"value": "x"}) == f"{name} x"
    assert [schema.name for schema in tools.get_tool_schema()] == [name]


async def test_partials_and_callable_objects_with_a_name() -> None:
    class Callable_:  # noqa: N801 - not to be confused with typing's
        def __call__(self, city: str) -> str:
            return f"object {city}"

    tools = Tools()
    tools.action("d", name="partial")(functools.partial(echo, city="Oslo"))
    tools.action("d", name="object")(Callable_())
    assert await tools.execute("partial", {}) == "Oslo"
    assert await tools.execute("object", {"city": "Oslo"}) == "object Oslo"


@pytest.mark.parametrize("function", [functools.partial(echo), lambda: None])
def test_a_function_without_name(function: Any) -> None:
    with pytest.raises(ToolDefinitionError, match=r"has no name of its own: write @tools.action\(..., name=...\)"):
        Tools().action("d")(function)


def test_a_taken_name(tools: Tools) -> None:
    with pytest.raises(ValueError, match="a tool named 'echo' is already registered: give this one another name="):
        tools.action("Again")(echo)


def test_an_impossible_name(tools: Tools) -> None:
    with pytest.raises(ValueError, match="'get weather' is not a valid tool name"):
        tools.action("d", name="get weather")(echo)


def test_the_decorator_without_parentheses() -> None:
    with pytest.raises(ToolDefinitionError, match=r"the decorator needs a description: write @tools.action\("):
        Tools().action(echo)  # type: ignore[arg-type]


def test_schemas(tools: Tools) -> None:
    (schema,) = tools.get_tool_schema()
    assert (schema.type, schema.name, schema.description, schema.parameters.type) == (
        "function",
        "echo",
        "Echoes",
        "object",
    )
    expected = {"type": "function", "name": "echo", "description": "Echoes", "parameters": ECHO}
    assert schema.model_dump() == expected
    assert tools.realtime_schema() == [expected]
    assert tools.get_json_tool_schema() == [
        {"type": "function", "function": {"name": "echo", "description": "Echoes", "parameters": ECHO}}
    ]


def test_schemas_are_json_and_independent_of_each_other(tools: Tools) -> None:
    tools.realtime_schema()[0]["parameters"]["properties"].clear()
    assert json.loads(json.dumps(tools.realtime_schema()))[0]["parameters"] == ECHO


async def test_execute(tools: Tools) -> None:
    assert await tools.execute("echo", {"city": "Oslo"}) == "Oslo"
    tools.action("d", name="nothing")(lambda: None)
    assert await tools.execute("nothing", {}) == VoidResult()


async def test_execute_raises(tools: Tools) -> None:
    @tools.action("Fails")
    async def fail(state: Inject[AppState]) -> None:
        raise LookupError("mine")

    with pytest.raises(KeyError) as unknown:
        await tools.execute("nope", {})
    assert str(unknown.value) == "there is no tool named 'nope'; registered: echo, fail"
    assert isinstance(unknown.value, UnknownToolError)
    with pytest.raises(UnknownToolError, match="registered: none"):
        await Tools().execute("nope", {})
    with pytest.raises(ValueError, match="city") as invalid:
        await tools.execute("echo", {})
    assert isinstance(invalid.value, ToolArgumentsError)
    with pytest.raises(ValueError, match="'state'") as missing:
        await tools.execute("fail", {})
    assert isinstance(missing.value, InjectionError)
    tools.set_context(ToolContext(context=AppState()))
    with pytest.raises(LookupError, match="mine"):
        await tools.execute("fail", {})


async def test_clone_shares_tools_but_neither_registry_nor_context(tools: Tools) -> None:
    tools.action("d", name="state")(lambda state: 1)

    @tools.action("d")
    async def greet(state: Inject[AppState]) -> str:
        return "hello"

    tools.set_context(ToolContext(context=AppState()))
    twin = tools.clone()
    assert list(twin.tools) == list(tools.tools)
    assert twin.get("echo") is tools.get("echo")
    with pytest.raises(InjectionError):
        await twin.execute("greet", {})
    twin.eject_tool("echo")
    twin.inject_tool(Tool("more", "d", echo))
    assert tools.get("echo") is not None
    assert tools.get("more") is None
    tools.eject_tool("greet")
    assert twin.get("greet") is not None


def test_merge_takes_the_others_tools(tools: Tools) -> None:
    other = Tools()
    mine, theirs = tools.get("echo"), Tool("echo", "Theirs", echo)
    other.inject_tool(theirs)
    other.inject_tool(Tool("more", "d", echo))
    tools.merge(other)
    assert (tools.get("echo") is theirs, mine is theirs, list(tools.tools)) == (True, False, ["echo", "more"])
    assert list(other.tools) == ["echo", "more"]


def test_inject_eject_and_is_registered(tools: Tools) -> None:
    replacement = Tool("echo", "Replaced", echo)
    assert tools.is_registered(replacement)
    tools.inject_tool(replacement)
    assert tools.get("echo") is replacement
    tools.eject_tool("echo")
    tools.eject_tool("echo")
    assert not tools.is_registered(replacement)
    assert tools.get("echo") is None


def test_unresolved_injections(tools: Tools) -> None:
    @tools.action("d")
    def first(state: Inject[AppState], number: Inject[int] = 1) -> None: ...

    @tools.action("d")
    def second(number: Inject[int], context: Inject[ToolContext]) -> None: ...

    assert tools.unresolved_injections() == [
        UnresolvedInjection("first", "state", AppState),
        UnresolvedInjection("second", "number", int),
    ]
    tools.set_context(ToolContext(context=AppState()))
    assert tools.unresolved_injections() == [UnresolvedInjection("second", "number", int)]


def test_star_import_and_all() -> None:
    names: dict[str, Any] = {}
    exec("from rtvoice.tools import *", names)  # noqa: S102 - the only way to write it in a function
    assert set(rtvoice.tools.__all__) <= names.keys()


def test_importing_is_light() -> None:
    script = (
        "import sys, rtvoice.tools;"
        "print({'openai', 'numpy', 'sounddevice', 'websockets', 'mcp', 'httpx2', 'jsonschema'} & sys.modules.keys())"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True)
    assert finished.stdout == "set()\n"


async def test_the_examples_of_the_readme() -> None:
    tools = Tools()

    @tools.action("Get the current weather for a given city")
    async def get_weather(city: str) -> str:
        return f"It's 18°C and partly cloudy in {city}."

    @tools.action("Greet the user by name", holding_instruction="One moment.")
    async def greet(state: Inject[AppState]) -> str:
        return "Hello"

    @tools.action("Search", param_model=Search, status=lambda params: f"Looking for {params.query}.")
    async def search(params: Search) -> str:
        return params.query

    tools.set_context(ToolContext(context=AppState()))
    assert (await tools.call("get_weather", {"city": "Oslo"})).output == "It's 18°C and partly cloudy in Oslo."
    assert tools.prepare("greet", {}).phrase == "One moment."
    assert (await tools.call("greet", {})).output == "Hello"
    assert tools.prepare("search", {"query": "cats"}).phrase == "Looking for cats."


DOCS = {"type": "mcp", "server_label": "docs", "server_url": "https://example.com/mcp", "require_approval": "never"}


def test_server_side_tools_are_passed_on_as_they_are(tools: Tools) -> None:
    entry = {**DOCS, "allowed_tools": ["search"]}
    tools.add_server_tool(entry)
    entry["allowed_tools"] = []
    function, server_side = tools.realtime_schema()
    assert function["name"] == "echo"
    assert server_side == {**DOCS, "allowed_tools": ["search"]}
    assert [tool["function"]["name"] for tool in tools.get_json_tool_schema()] == ["echo"]
    server_side["allowed_tools"].append("delete")
    assert tools.realtime_schema()[1]["allowed_tools"] == ["search"], "a caller cannot change what is registered"


def test_server_side_tools_are_cloned_and_merged(tools: Tools) -> None:
    tools.add_server_tool(DOCS)
    twin = tools.clone()
    twin.add_server_tool({**DOCS, "server_label": "more"})
    assert len(tools.realtime_schema()) == 2
    assert [entry.get("server_label") for entry in twin.realtime_schema()] == [None, "docs", "more"]
    tools.merge(twin)
    assert tools.realtime_schema() == twin.realtime_schema()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "function"}, "use @tools.action"),
        ({"type": None}, "use @tools.action"),
        ({"server_label": ""}, "use @tools.action"),
        ({"server_label": 3}, "use @tools.action"),
        ({"server_url": None}, "say where the server is"),
        ({"require_approval": "always"}, '"require_approval": "never"'),
    ],
)
def test_server_side_tools_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolDefinitionError, match=message):
        Tools().add_server_tool({**DOCS, **changes})


def test_a_server_side_tool_that_would_ask_for_approval_is_refused() -> None:
    entry = {name: value for name, value in DOCS.items() if name != "require_approval"}
    with pytest.raises(ToolDefinitionError, match=r"Tools\.from_mcp"):
        Tools().add_server_tool(entry)


def test_server_side_tools_with_the_same_label_are_refused() -> None:
    tools = Tools()
    tools.add_server_tool(DOCS)
    with pytest.raises(ToolDefinitionError, match="already a server-side tool with the server_label 'docs'"):
        tools.add_server_tool(DOCS)
