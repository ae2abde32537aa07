import asyncio
import functools
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from rtvoice.errors import InjectionError, ToolArgumentsError, ToolDefinitionError
from rtvoice.tools import Inject, JsonSchema, Tool, ToolContext, VoidResult


class AppState:
    def __init__(self, name: str = "app") -> None:
        self.name = name


class Search(BaseModel):
    query: str
    limit: int = 5


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


async def echo(city: str, days: int = 1) -> dict[str, Any]:
    return {"city": city, "days": days}


def test_attributes() -> None:
    def status(search: Search) -> str:
        return search.query

    async def function(search: Search) -> None: ...

    tool = Tool("search", "Searches", function, Search, None, "Summarise", "Hold on", status, kind="query")
    assert (tool.name, tool.description, tool.function, tool.param_model) == ("search", "Searches", function, Search)
    assert (tool.result_instruction, tool.holding_instruction, tool.status) == ("Summarise", "Hold on", status)
    assert (tool.respond, tool.timeout, tool.needs_approval, tool.kind) == (True, "default", False, "query")
    assert repr(tool) == "Tool('search')"


def test_equality_and_hash_by_name() -> None:
    one, same, other = Tool("a", "1", echo), Tool("a", "2", echo), Tool("b", "1", echo)
    assert one == same
    assert one != other
    assert one != "a"
    assert {one, same, other} == {one, other}


def test_to_pydantic() -> None:
    assert Tool("echo", "Echoes", echo).to_pydantic().model_dump() == {
        "type": "function",
        "name": "echo",
        "description": "Echoes",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
            "required": ["city"],
        },
    }


@pytest.mark.parametrize("name", ["", "a b", "é", "a" * 65, "a.b", "<lambda>", "a\n", None])
def test_names_that_the_api_refuses(name: Any) -> None:
    with pytest.raises(ToolDefinitionError, match=r"is not a valid tool name: use 1 to 64 letters"):
        Tool(name, "d", echo)


@pytest.mark.parametrize("name", ["a", "get_weather-2", "a" * 64])
def test_names_that_the_api_takes(name: str) -> None:
    assert Tool(name, "d", echo).name == name


def test_description_and_instructions_must_be_text() -> None:
    with pytest.raises(ToolDefinitionError, match="tool 'a': the description must be a string, not None"):
        Tool("a", None, echo)  # type: ignore[arg-type]
    with pytest.raises(ToolDefinitionError, match="tool 'a': an instruction must be a string, not 5"):
        Tool("a", "d", echo, holding_instruction=5)  # type: ignore[arg-type]
    with pytest.raises(ToolDefinitionError, match="tool 'a': an instruction must be a string, not 6"):
        Tool("a", "d", echo, result_instruction=6)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), True, "5"])
def test_timeouts_that_are_no_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(ToolDefinitionError, match="tool 'a': timeout must be a positive number of seconds, or None"):
        Tool("a", "d", echo, timeout=timeout)


@pytest.mark.parametrize("timeout", [None, "default", 1, 0.5])
def test_timeouts(timeout: Any) -> None:
    assert Tool("a", "d", echo, timeout=timeout).timeout == timeout


# Execution


async def test_async_functions_run_on_the_event_loop() -> None:
    async def function() -> object:
        return threading.current_thread(), asyncio.get_running_loop()

    assert await Tool("a", "d", function).execute({}) == (threading.current_thread(), asyncio.get_running_loop())


async def test_plain_functions_run_in_a_thread_of_their_own() -> None:
    def function() -> threading.Thread:
        return threading.current_thread()

    thread = await Tool("a", "d", function).execute({})
    assert thread is not threading.current_thread()
    assert (thread.name, thread.daemon, thread.is_alive()) == ("rtvoice-tool-a", True, False)


class Service:
    def __init__(self) -> None:
        self.prefix = "s:"

    async def method(self, city: str) -> str:
        return self.prefix + city

    def plain(self, city: str) -> str:
        return self.prefix + city

    @classmethod
    def of_class(cls, city: str) -> str:
        return f"{cls.__name__}:{city}"

    @staticmethod
    def static(city: str) -> str:
        return f"static:{city}"

    def __call__(self, city: str) -> str:
        return f"call:{city}"


class AsyncService:
    async def __call__(self, city: str) -> str:
        return f"async call:{city}"


async def coroutine(city: str, unit: str = "C") -> str:
    return f"{city} in {unit}"


def returns_coroutine(city: str) -> Any:
    return coroutine(city)


@functools.wraps(coroutine)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return coroutine(*args, **kwargs)


def positional(city: str, days: int = 3, /, unit: str = "C") -> str:
    return f"{city} {days} {unit}"


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (coroutine, "Oslo in C"),
        (returns_coroutine, "Oslo in C"),
        (wrapped, "Oslo in C"),
        (Service().method, "s:Oslo"),
        (Service().plain, "s:Oslo"),
        (Service.of_class, "Service:Oslo"),
        (Service().of_class, "Service:Oslo"),
        (Service.static, "static:Oslo"),
        (staticmethod(Service.static), "static:Oslo"),
        (Service(), "call:Oslo"),
        (AsyncService(), "async call:Oslo"),
        (functools.partial(coroutine, unit="F"), "Oslo in F"),
        (functools.partial(Service.plain, Service()), "s:Oslo"),
        (functools.partial(functools.partial(returns_coroutine)), "Oslo in C"),
        (lambda city: city.upper(), "OSLO"),
        (positional, "Oslo 3 C"),
    ],
)
async def test_everything_that_can_be_called(function: Any, result: str) -> None:
    assert await Tool("a", "d", function).execute({"city": "Oslo"}) == result


async def test_bound_keywords_of_a_partial_are_out_of_reach() -> None:
    tool = Tool("a", "d", functools.partial(coroutine, unit="F"))
    assert await tool.execute({"city": "Oslo", "unit": "K"}) == "Oslo in F"


async def test_an_unbound_method_fails_with_pythons_own_words() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'self'"):
        await Tool("a", "d", Service.plain).execute({"city": "Oslo"})


async def test_none_becomes_a_void_result() -> None:
    async def nothing() -> None: ...

    assert await Tool("a", "d", nothing).execute({}) == VoidResult()
    assert str(VoidResult()) == "OK"


async def test_raw_results_and_errors_come_through() -> None:
    async def fail() -> None:
        raise LookupError("not here")

    result = await Tool("a", "d", echo).execute({"city": "Oslo", "days": "2"})
    assert result == {"city": "Oslo", "days": 2}
    with pytest.raises(LookupError, match="not here"):
        await Tool("a", "d", fail).execute({})


async def test_invalid_arguments() -> None:
    with pytest.raises(ToolArgumentsError, match=r"'echo' was not run .*\n- city: missing, but required \(string\)"):
        await Tool("echo", "d", echo).execute({})
    with pytest.raises(ToolArgumentsError, match="its arguments are no JSON object"):
        await Tool("echo", "d", echo).execute([])  # type: ignore[arg-type]


async def test_invalid_data_for_a_param_model() -> None:
    tool = Tool("search", "d", lambda search: search, Search)
    assert await tool.execute({"query": "x", "limit": "7", "extra": 1}) == Search(query="x", limit=7)
    with pytest.raises(ValidationError, match="query") as refused:
        await tool.execute({})
    assert refused.value.title == "Search"
    with pytest.raises(ToolArgumentsError, match="its arguments are no JSON object"):
        await tool.execute("query")  # type: ignore[arg-type]


def test_text_that_is_no_unicode_is_refused_when_it_comes_from_json() -> None:
    with pytest.raises(ToolArgumentsError, match="its arguments contain invalid Unicode"):
        Tool("echo", "d", echo).validate({"city": "\ud800"}, from_json=True)


# Injection


async def test_injected_parameters_never_come_from_the_model() -> None:
    async def function(city: str, state: Inject[AppState], other: Inject[str] = "default") -> tuple[str, str, str]:
        return city, state.name, other

    tool = Tool("a", "d", function)
    assert tool.schema.required == ["city"]
    context = ToolContext(context=AppState())
    assert await tool.execute({"city": "Oslo", "state": {"name": "evil"}, "other": "evil"}, context) == (
        "Oslo",
        "app",
        "default",
    )
    with pytest.raises(InjectionError, match="tool 'a', parameter 'state': there is no AppState to inject"):
        await tool.execute({"city": "Oslo", "state": AppState("evil")})


async def test_a_param_model_cannot_override_an_injected_parameter() -> None:
    class Params(BaseModel):
        model_config = {"extra": "allow"}
        state: str = ""

    async def function(params: Params, state: Inject[AppState]) -> str:
        return state.name

    context = ToolContext(context=AppState())
    assert await Tool("a", "d", function, Params).execute({"state": "evil"}, context) == "app"


async def test_injected_positional_parameters_and_falsy_contexts() -> None:
    def function(count: Inject[int], city: str, /, *, names: Inject[list[str] | None]) -> Any:
        return count, city, names

    tool = Tool("a", "d", function)
    assert await tool.execute({"city": "Oslo"}, ToolContext(context=0)) == (0, "Oslo", None)
    assert await tool.execute({"city": "Oslo"}, ToolContext([], context=0)) == (0, "Oslo", [])


async def test_the_context_itself_can_be_injected() -> None:
    async def function(context: Inject[ToolContext]) -> Any:
        return context

    context = ToolContext()
    assert await Tool("a", "d", function).execute({}, context) is context


def test_unresolved_injections() -> None:
    def function(a: Inject[AppState], b: Inject[int] = 1, c: Inject[str | None] = "", d: str = "") -> None: ...  # type: ignore[assignment]

    tool = Tool("a", "d", function)
    (missing,) = tool.unresolved_injections(ToolContext(context=5))
    assert missing == ("a", "a", AppState)
    assert (missing.tool, missing.parameter, missing.type) == ("a", "a", AppState)
    assert tool.unresolved_injections(ToolContext(context=AppState())) == []


# Ready schemas


@pytest.mark.parametrize("annotation", [None, Any, dict, dict[str, Any], Mapping[str, Any], object])
async def test_a_ready_schema_gives_raw_arguments(annotation: Any) -> None:
    async def function(arguments, state: Inject[AppState]) -> Any:  # type: ignore[no-untyped-def]
        return arguments, state.name

    if annotation is not None:
        function.__annotations__["arguments"] = annotation
    tool = Tool("a", "d", function, schema=SCHEMA)
    assert tool.schema.model_dump() == SCHEMA
    sent = {"city": 5, "more": [None]}
    assert await tool.execute(sent, ToolContext(context=AppState())) == (sent, "app")


async def test_a_ready_schema_for_ordinary_parameters_only_replaces_what_the_model_sees() -> None:
    tool = Tool("a", "d", echo, schema=JsonSchema.model_validate(SCHEMA))
    assert tool.schema.model_dump() == SCHEMA
    assert await tool.execute({"city": "Oslo", "days": "2"}) == {"city": "Oslo", "days": 2}
    search = Tool("a", "d", lambda search: search, Search, SCHEMA)
    assert search.schema.model_dump() == SCHEMA
    assert await search.execute({"query": "x"}) == Search(query="x")


@pytest.mark.parametrize("schema", [{"type": "array"}, {}, {"properties": {}}])
def test_a_ready_schema_must_describe_an_object(schema: dict[str, Any]) -> None:
    with pytest.raises(ToolDefinitionError, match="tool 'a': schema must describe an object"):
        Tool("a", "d", echo, schema=schema)


@pytest.mark.parametrize("schema", [{"type": "object", "required": True}, "object"])
def test_a_ready_schema_must_be_a_schema(schema: Any) -> None:
    with pytest.raises(ToolDefinitionError, match="tool 'a': schema is not a JSON schema: "):
        Tool("a", "d", echo, schema=schema)


# Phrases


class Song(BaseModel):
    title: str = Field(alias="songTitle")


def play(song: Song) -> None: ...


def test_format_status() -> None:
    template = Tool("play", "d", play, Song, status="Playing {title}")
    function = Tool("play", "d", play, Song, status=lambda song: f"Now {song.title}")
    song = Song(songTitle="Roxanne")
    assert template.format_status(song) == template.format_status({"title": "Roxanne"}) == "Playing Roxanne"
    assert function.format_status(song) == function.format_status({"title": "Roxanne"}) == "Now Roxanne"
    assert template.format_status({"other": 1}) == "Playing {title}"
    assert function.format_status({"other": 1}) is None
    assert Tool("play", "d", play, Song).format_status(song) is None


def test_status_has_precedence_over_the_holding_instruction() -> None:
    song = Song(songTitle="Roxanne")
    both = Tool("play", "d", play, Song, holding_instruction="Hold on", status="Playing {title}")
    assert both.phrase(song) == "Playing Roxanne"
    assert Tool("play", "d", play, Song, holding_instruction="Hold on").phrase(song) == "Hold on"
    assert Tool("play", "d", play, Song).phrase(song) is None
    assert Tool("play", "d", play, Song, holding_instruction="").phrase(song) is None
    failing = Tool("play", "d", play, Song, holding_instruction="Hold on", status="{title.nothing}")
    assert failing.phrase(song) is None
