"""What the framework puts into a tool's parameters, so that the model never sees them.

A parameter annotated ``Inject[AppState]`` is filled with the first object of a `ToolContext` that is an
``AppState``. To a type checker ``Inject[T]`` is ``T``; at run time it is ``Annotated[T, marker]``.
"""

import types
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar, Union, get_args, get_origin

from rtvoice.errors import InjectionError

T = TypeVar("T")

_UNIONS = (Union, types.UnionType)


class _Injected:
    """The marker inside ``Annotated[T, marker]``."""

    def __repr__(self) -> str:
        return "Inject"


Inject: TypeAlias = Annotated[T, _Injected()]
"""``Inject[T]`` marks a parameter that the framework fills with an instance of ``T``, never the model.

``T`` may be a class, a union, a generic (``list[Order]`` looks for a ``list``), a runtime-checkable
protocol or a forward reference. With ``Inject[T | None]`` the parameter is None when there is no ``T``.
"""


class UnresolvedInjection(NamedTuple):
    """A required ``Inject[...]`` parameter for which the context holds nothing."""

    tool: str
    parameter: str
    type: Any


class ToolContext:
    """The objects that ``Inject[...]`` parameters are filled from.

    The objects may be of any type; only None counts as absent, so ``0`` and ``[]`` are found.

    Attributes:
        event_bus: The agent's event bus.
        context: The application object given as ``RealtimeAgent(context=...)``.
        conversation_history: The agent's conversation history.
        objects: Further dependencies, searched in order after the three above.
    """

    def __init__(
        self, *objects: Any, event_bus: Any = None, context: Any = None, conversation_history: Any = None
    ) -> None:
        self.event_bus = event_bus
        self.context = context
        self.conversation_history = conversation_history
        self.objects = objects

    def __repr__(self) -> str:
        return f"ToolContext({', '.join(type(candidate).__name__ for candidate in self._candidates())})"

    def resolve(self, wanted: Any) -> Any:
        """Return the first object that is an instance of a type.

        Args:
            wanted: A class, union, generic or whatever else may stand in ``Inject[...]``. A `ToolContext` class
                gives this context itself; a union with None gives None when nothing else fits.

        Raises:
            InjectionError: There is no such object; it is also a ``ValueError``.
            TypeError: The type cannot be checked at run time, such as a protocol without ``@runtime_checkable``.
        """
        classes = injectable_classes(wanted)
        if any(issubclass(one, ToolContext) for one in classes):
            return self
        for candidate in self._candidates():
            if isinstance(candidate, classes):
                return candidate
        if types.NoneType in classes:
            return None
        raise InjectionError(
            f"there is no {type_name(wanted)} to inject: pass one as context= or in tool_dependencies= of the agent"
        )

    def _candidates(self) -> Iterator[Any]:
        """Yield what may be injected, in the order of precedence."""
        for candidate in (self.event_bus, self.context, self.conversation_history, *self.objects):
            if candidate is not None:
                yield candidate


def injected_type(annotation: Any) -> Any | None:
    """Return the ``T`` of ``Inject[T]``, also inside ``Inject[T] | None``; None if nothing is to be injected."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return inner if any(isinstance(item, _Injected) for item in metadata) else injected_type(inner)
    if get_origin(annotation) in _UNIONS:
        members = get_args(annotation)
        if any(injected_type(member) is not None for member in members):
            return annotation
    return None


def injectable_classes(wanted: Any) -> tuple[type, ...]:
    """Return the classes to hand to ``isinstance`` for a type that may stand in ``Inject[...]``.

    Raises:
        TypeError: The type cannot be checked at run time.
    """
    origin = get_origin(wanted)
    if wanted is Any:
        return (object,)
    if wanted is None:
        return (types.NoneType,)
    if origin is Annotated:
        return injectable_classes(get_args(wanted)[0])
    if origin in _UNIONS:
        return tuple(one for member in get_args(wanted) for one in injectable_classes(member))
    if isinstance(wanted, TypeVar):
        return _classes_of_type_variable(wanted)
    if hasattr(wanted, "__value__"):  # type Alias = ... (Python 3.12)
        return injectable_classes(wanted.__value__)
    if hasattr(wanted, "__supertype__"):  # NewType
        return injectable_classes(wanted.__supertype__)
    if hasattr(wanted, "__required_keys__"):  # TypedDict, also that of typing_extensions
        return (dict,)
    found = origin or wanted
    if not isinstance(found, type):
        raise TypeError(f"{type_name(wanted)} is not a class that an object can be an instance of")
    isinstance(None, found)  # raises TypeError for a protocol that is not runtime-checkable
    return (found,)


def _classes_of_type_variable(variable: TypeVar) -> tuple[type, ...]:
    """Return the classes that a type variable stands for: its constraints or its bound."""
    if variable.__constraints__:
        return tuple(one for member in variable.__constraints__ for one in injectable_classes(member))
    if variable.__bound__ is None:
        raise TypeError(f"{variable} does not say which type is wanted: write Inject[YourType]")
    return injectable_classes(variable.__bound__)


def type_name(annotation: Any) -> str:
    """Return a short name of a type for messages."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__qualname__.rpartition("<locals>.")[2]
    return str(annotation).replace("typing.", "")
