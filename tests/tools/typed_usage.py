"""How users write tools, checked by mypy in test_typing.py; each ignore stands for an error that must be found."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, assert_type, runtime_checkable

from pydantic import BaseModel

from rtvoice.tools import ActionResult, Inject, Tool, ToolContext, ToolOutcome, Tools, UnresolvedInjection


class AppState:
    name: str = ""


@runtime_checkable
class Clock(Protocol):
    def now(self) -> float: ...


class Search(BaseModel):
    query: str


tools = Tools()


@tools.action("Greets", respond=False, timeout=None, needs_approval=True, kind="query")
async def greet(
    city: str,
    state: Inject[AppState],
    perhaps: Inject[AppState | None],
    numbers: Inject[list[int]],
    clock: Inject[Clock],
    later: "Inject[Later]",
    default: Inject[int] = 3,
) -> str:
    assert_type(state, AppState)
    assert_type(perhaps, AppState | None)
    assert_type(numbers, list[int])
    assert_type(clock.now(), float)
    assert_type(later.value, int)
    assert_type(default, int)
    state.missing  # type: ignore[attr-defined]  # noqa: B018
    return state.name


class Later:
    value: int = 0


@tools.action("Searches", param_model=Search, status=lambda search: f"Searching {search.query}", timeout="default")
def search(search: Search) -> ActionResult:
    return ActionResult.success(search.query, respond=False, instruction="Briefly")


async def use() -> None:
    assert_type(search(Search(query="x")), ActionResult)
    assert_type(await greet("Oslo", AppState(), None, [], clock(), Later()), str)
    await greet("Oslo", 5, None, [], clock(), Later())  # type: ignore[arg-type]
    assert_type(await tools.call("greet", {"city": "Oslo"}, timeout=None), ToolOutcome)
    assert_type(await tools.prepare("greet", {}).run(default_timeout=60.0), ToolOutcome)
    assert_type(tools.prepare("greet", None).phrase, str | None)
    assert_type(tools.unresolved_injections(), list[UnresolvedInjection])
    assert_type(tools.realtime_schema(), list[dict[str, Any]])
    tools.set_context(ToolContext(AppState(), event_bus=None, context=0))
    tools.action(greet)  # type: ignore[arg-type]
    tools.action("d", timeout="soon")  # type: ignore[arg-type]
    tools.action("d", param_model=dict)  # type: ignore[arg-type]


async def raw(arguments: dict[str, Any]) -> str:
    return ""


def register(function: Callable[[dict[str, Any]], Awaitable[str]], schema: dict[str, Any]) -> Tool:
    return Tool("raw", "Raw", function, schema=schema)


def clock() -> Clock:
    raise NotImplementedError
