import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NewType, Optional, Protocol, TypedDict, TypeVar, runtime_checkable

import pytest
import typing_extensions

from rtvoice.errors import InjectionError
from rtvoice.tools.inject import Inject, ToolContext, injectable_classes, injected_type, type_name


class Bus: ...


class History: ...


@dataclass
class AppState:
    name: str = "app"


class PremiumState(AppState): ...


class Payload(TypedDict):
    key: str


class ExtendedPayload(typing_extensions.TypedDict):
    key: str


class Closable(Protocol):
    def close(self) -> None: ...


@runtime_checkable
class Named(Protocol):
    name: str


T = TypeVar("T")
Bound = TypeVar("Bound", bound=AppState)
Constrained = TypeVar("Constrained", int, str)
UserId = NewType("UserId", int)


class Box(Generic[T]): ...


def test_inject_is_annotated_at_run_time() -> None:
    injected = Inject[AppState]
    assert typing.get_origin(injected) is Annotated
    assert typing.get_args(injected)[0] is AppState
    assert repr(typing.get_args(injected)[1]) == "Inject"


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        (Inject[AppState], AppState),
        (Inject[list[int]], list[int]),
        (Inject[AppState | Bus], AppState | Bus),
        (Annotated[Inject[AppState], "more"], AppState),
        (Inject[Annotated[AppState, "text"]], AppState),
        (AppState, None),
        (AppState | None, None),
        (Annotated[AppState, "text"], None),
        (list[AppState], None),
    ],
)
def test_injected_type(annotation: Any, wanted: Any) -> None:
    assert injected_type(annotation) == wanted


def test_inject_in_a_union_with_none_is_found() -> None:
    annotation = Inject[AppState] | None
    assert injected_type(annotation) == annotation
    assert ToolContext(context=AppState()).resolve(annotation) == AppState()


@pytest.mark.parametrize(
    ("wanted", "classes"),
    [
        (AppState, (AppState,)),
        (Any, (object,)),
        (None, (type(None),)),
        (AppState | None, (AppState, type(None))),
        (Optional[Bus], (Bus, type(None))),  # noqa: UP045 - both spellings
        (AppState | Bus, (AppState, Bus)),
        (Annotated[AppState, 1], (AppState,)),
        (list[int], (list,)),
        (Box[int], (Box,)),
        (Callable[[], int], (Callable,)),
        (Bound, (AppState,)),
        (Constrained, (int, str)),
        (UserId, (int,)),
        (Payload, (dict,)),
        (ExtendedPayload, (dict,)),
        (Named, (Named,)),
        (typing_extensions.TypeAliasType("Alias", AppState | None), (AppState, type(None))),
    ],
)
def test_injectable_classes(wanted: Any, classes: tuple[Any, ...]) -> None:
    assert injectable_classes(wanted) == (
        classes if classes != (Callable,) else (typing.get_origin(Callable[[], int]),)
    )


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Literal["a"], r"Literal\['a'\] is not a class"),
        (5, "5 is not a class"),
        (T, r"~T does not say which type is wanted: write Inject\[YourType\]"),
        (Closable, "runtime_checkable"),
    ],
)
def test_types_that_cannot_be_matched(wanted: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        injectable_classes(wanted)


def test_order_of_precedence() -> None:
    class Everything(Bus, AppState, History): ...

    first, second, third, fourth = (Everything() for _ in range(4))
    context = ToolContext(fourth, event_bus=first, context=second, conversation_history=third)
    assert context.resolve(Everything) is first
    context.event_bus = None
    assert context.resolve(Everything) is second
    context.context = None
    assert context.resolve(Everything) is third
    context.conversation_history = None
    assert context.resolve(Everything) is fourth


def test_further_objects_are_searched_in_order_and_skip_none() -> None:
    one, two = AppState("one"), AppState("two")
    assert ToolContext(None, Bus(), one, two).resolve(AppState) is one


def test_subclasses_and_unions_match() -> None:
    state = PremiumState()
    context = ToolContext(context=state)
    assert context.resolve(AppState) is state
    assert context.resolve(Bus | AppState) is state
    assert context.resolve(Any) is state
    assert context.resolve(Named) is state


@pytest.mark.parametrize("falsy", [0, [], "", False])
def test_falsy_contexts_count(falsy: Any) -> None:
    assert ToolContext(context=falsy).resolve(type(falsy)) is falsy


def test_none_is_absent_and_optional_gives_none() -> None:
    assert ToolContext(context=None).resolve(AppState | None) is None
    with pytest.raises(InjectionError, match="there is no AppState to inject: pass one as context= or in tool_dep"):
        ToolContext(context=None).resolve(AppState)


def test_the_context_itself() -> None:
    context = ToolContext(context=AppState())
    assert context.resolve(ToolContext) is context
    assert context.resolve(ToolContext | None) is context


def test_an_empty_context_is_not_injected_as_object() -> None:
    with pytest.raises(InjectionError, match="no object to inject"):
        ToolContext().resolve(object)


def test_repr_names_types_only() -> None:
    assert repr(ToolContext(Bus(), context=AppState("secret"))) == "ToolContext(AppState, Bus)"


def test_type_name() -> None:
    class Local: ...

    assert type_name(Local) == "Local"
    assert type_name(list[int]) == "list[int]"
    assert type_name(Literal["a"]) == "Literal['a']"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in 3.12")
def test_type_statement() -> None:
    names: dict[str, Any] = {}
    exec("type Alias = int | None", names)  # noqa: S102 - not parsable before 3.12
    assert injectable_classes(names["Alias"]) == (int, type(None))
