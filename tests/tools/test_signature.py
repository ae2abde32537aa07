"""Annotations are strings in this module, as they are for users with postponed evaluation."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from unittest.mock import AsyncMock

import pytest
from pydantic import BaseModel

from rtvoice.errors import ToolDefinitionError
from rtvoice.tools import Inject, ToolContext, Tools
from rtvoice.tools.signature import MISSING, is_coroutine_function, read_parameters

if TYPE_CHECKING:
    from somewhere import Nowhere


class AppState: ...


def names(function: Callable[..., Any]) -> list[str]:
    return [parameter.name for parameter in read_parameters(function, "tool")]


def annotations(function: Callable[..., Any]) -> list[Any]:
    return [parameter.annotation for parameter in read_parameters(function, "tool")]


def test_parameters_of_a_function() -> None:
    def function(
        position: int, /, plain, default: str = "x", *rest: int, state: Inject[AppState], only: bool, **more: int
    ):  # type: ignore[no-untyped-def]
        ...

    position, plain, default, state, only = read_parameters(function, "tool")
    assert (position.name, position.annotation, position.positional_only, position.required) == (
        "position",
        int,
        True,
        True,
    )
    assert (plain.name, plain.annotation, plain.default) == ("plain", MISSING, MISSING)
    assert (default.name, default.default, default.required) == ("default", "x", False)
    assert (state.name, state.injected, state.positional_only) == ("state", AppState, False)
    assert (only.name, only.annotation, only.injected) == ("only", bool, None)


def test_local_classes() -> None:
    class Local(BaseModel):
        x: int

    def function(value: Local, many: list[Local] | None, state: Inject[Local]) -> Local: ...

    assert annotations(function)[:2] == [Local, list[Local] | None]
    assert read_parameters(function, "tool")[2].injected is Local


def test_local_classes_of_outer_functions_and_class_bodies() -> None:
    @dataclass
    class Outer: ...

    def inner() -> list[Any]:
        class Inner: ...

        class Holder:
            class Nested: ...

            def method(self, nested: Nested) -> None: ...

            found = annotations(method)

        def function(outer: Outer, inner: Inner) -> None: ...

        return [*annotations(function), *Holder.found, Inner, Holder.Nested]

    outer, inner_found, nested_found, inner_class, nested_class = inner()
    assert (outer, inner_found, nested_found) == (Outer, inner_class, nested_class)


def test_a_local_class_hides_one_of_the_module() -> None:
    module_class = AppState

    def register() -> tuple[Any, Any]:
        class AppState: ...

        def function(state: AppState) -> None: ...

        return annotations(function)[0], AppState

    found, local = register()
    assert found is local is not module_class


def test_the_innermost_class_of_a_name_counts() -> None:
    class Local: ...

    outer = Local

    def register() -> tuple[Any, Any]:
        class Local: ...

        def function(value: Local) -> None: ...

        return annotations(function)[0], Local

    found, inner = register()
    assert found is inner is not outer


def factory() -> Callable[..., Any]:
    class Enclosed: ...

    def function(value: Enclosed) -> Any:
        return Enclosed  # keeps it in the closure after factory() has returned

    return function


def test_closure_of_a_function_whose_maker_has_returned() -> None:
    function = factory()
    assert annotations(function) == [function(None)]


def test_a_function_that_refers_to_itself() -> None:
    class Local: ...

    tools = Tools()

    @tools.action("Counts down")
    def recurse(value: Local | None) -> Any:
        return recurse(None) if value else Local

    assert recurse(None) is Local


def test_names_that_exist_for_type_checkers_only() -> None:
    def function(good: int, bad: Nowhere) -> None: ...

    with pytest.raises(
        ToolDefinitionError, match=r"tool 'tool', parameter 'bad': .*'Nowhere' is not defined.*run time"
    ):
        read_parameters(function, "tool")


def test_the_return_annotation_does_not_matter() -> None:
    def function(good: int) -> Nowhere: ...

    assert annotations(function) == [int]


def test_an_annotation_that_is_no_python() -> None:
    def function(value) -> None: ...  # type: ignore[no-untyped-def]

    function.__annotations__["value"] = "not python"
    with pytest.raises(ToolDefinitionError, match="parameter 'value': the annotation 'not python' cannot be resolved"):
        read_parameters(function, "tool")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are new in 3.12")
def test_type_parameters() -> None:
    scope: dict[str, Any] = {}
    exec(  # noqa: S102 - not parsable before 3.12
        "from __future__ import annotations\ndef function[T: int](value: T): ...", scope
    )
    assert annotations(scope["function"]) == [scope["function"].__type_params__[0]]


class Service:
    async def method(self, key: str, state: Inject[AppState]) -> str:
        return key

    @classmethod
    def of_class(cls, key: str) -> str:
        return key

    @staticmethod
    def static(key: str) -> str:
        return key

    def __call__(self, key: str) -> str:
        return key


class AsyncService:
    async def __call__(self, key: str) -> str:
        return key


@pytest.mark.parametrize("function", [Service.of_class, Service.static, Service(), staticmethod(Service.static)])
def test_methods_and_callable_objects(function: Callable[..., Any]) -> None:
    assert names(function) == ["key"]
    assert annotations(function) == [str]


def test_bound_method() -> None:
    assert names(Service().method) == ["key", "state"]


def test_a_class_is_called_with_its_constructors_parameters() -> None:
    @dataclass
    class Point:
        x: int
        y: int = 0

    assert [(parameter.name, parameter.annotation) for parameter in read_parameters(Point, "tool")] == [
        ("x", int),
        ("y", int),
    ]


def test_an_unbound_method_is_left_without_self_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert names(Service.method) == ["key", "state"]
    assert "tool 'tool' is an unbound method" in caplog.text
    assert "tools.action(...)(instance.method)" in caplog.text


def test_self_with_an_annotation_is_an_ordinary_parameter() -> None:
    def function(self: int) -> None: ...

    assert names(function) == ["self"]


def test_partials_hide_what_they_bind() -> None:
    def function(unit: str, city: str, *, days: int, api_key: str) -> None: ...

    assert names(functools.partial(function, "C", api_key="secret")) == ["city", "days"]
    assert names(functools.partial(Service().method, "k")) == ["state"]
    assert annotations(functools.partial(function, "C", api_key="secret")) == [str, int]


def test_wrapped_functions_keep_their_parameters() -> None:
    class Local: ...

    def inner(value: Local) -> None: ...

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> None: ...

    assert annotations(outer) == [Local]


def test_a_classmethod_object() -> None:
    with pytest.raises(
        ToolDefinitionError, match=r"tool 'tool': a classmethod .*tools.action\(...\)\(YourClass.method"
    ):
        read_parameters(Service.__dict__["of_class"], "tool")


def test_something_that_cannot_be_called() -> None:
    with pytest.raises(ToolDefinitionError, match="tool 'tool': 5 cannot be called"):
        read_parameters(5, "tool")  # type: ignore[arg-type]


def test_a_callable_without_signature() -> None:
    class Opaque:
        __signature__ = "none"

        def __call__(self) -> None: ...

    with pytest.raises(ToolDefinitionError, match=r"tool 'tool': the signature of .*Wrap it in a def"):
        read_parameters(Opaque(), "tool")


def test_a_builtin_with_signature() -> None:
    assert names(sorted) == ["iterable", "key", "reverse"]


def test_generators_are_refused() -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    for function in (generator, async_generator, functools.partial(generator)):
        with pytest.raises(ToolDefinitionError, match="yields values, but a tool has one result: return a list"):
            read_parameters(function, "tool")


def test_injections_that_cannot_work() -> None:
    def bare(value: Inject) -> None: ...  # type: ignore[type-arg]

    def literal(value: Inject[Literal["a"]]) -> None: ...

    for function, reason in ((bare, "does not say which type is wanted"), (literal, "is not a class")):
        with pytest.raises(ToolDefinitionError, match=f"parameter 'value': .*{reason}.*@runtime_checkable protocol"):
            read_parameters(function, "tool")


def test_inject_of_a_forward_reference() -> None:
    def function(state: Inject["AppState"], more: Inject["AppState | ToolContext"]) -> None: ...  # noqa: UP037

    assert [parameter.injected for parameter in read_parameters(function, "tool")] == [
        AppState,
        AppState | ToolContext,
    ]


def test_is_coroutine_function() -> None:
    service = Service()
    assert is_coroutine_function(service.method)
    assert is_coroutine_function(functools.partial(service.method, "k"))
    assert is_coroutine_function(AsyncService())
    assert is_coroutine_function(AsyncMock())
    assert not is_coroutine_function(service)
    assert not is_coroutine_function(service.static)
    assert not is_coroutine_function(Service)


def test_annotated_survives() -> None:
    def function(value: Annotated[int, "text"]) -> None: ...

    assert annotations(function) == [Annotated[int, "text"]]
    assert inspect.signature(function).parameters["value"].annotation == "Annotated[int, 'text']"
