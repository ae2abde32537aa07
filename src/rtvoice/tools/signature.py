"""The parameters of a function that is to become a tool, with their annotations resolved."""

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard, get_type_hints

from rtvoice.errors import ToolDefinitionError
from rtvoice.tools.inject import injectable_classes, injected_type

logger = logging.getLogger(__name__)

MISSING = inspect.Parameter.empty
"""Stands for "no annotation" and "no default"."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool's function.

    Attributes:
        name: Its name.
        annotation: The resolved annotation, or `MISSING`.
        default: The default, or `MISSING`.
        positional_only: Whether it can only be passed by position.
        injected: The ``T`` of ``Inject[T]``; None when the value comes from the model.
    """

    name: str
    annotation: Any
    default: Any
    positional_only: bool
    injected: Any | None

    @property
    def required(self) -> bool:
        """Whether the function cannot be called without it."""
        return self.default is MISSING


def read_parameters(function: Callable[..., Any], tool: str) -> list[Parameter]:
    """Return the parameters that a call has to fill, without ``*args``, ``**kwargs`` and bound ones.

    Annotations may be strings (``from __future__ import annotations``) that name classes of the module, of the
    closure or of a function around the definition that is still running.

    Args:
        function: Any callable: function, bound method, ``functools.partial``, object with ``__call__``.
        tool: The tool's name, for messages.

    Raises:
        ToolDefinitionError: It cannot be called as a tool, or an annotation cannot be resolved.
    """
    signature = _signature(function, tool)
    implementation = _implementation(function)
    global_names = getattr(implementation, "__globals__", {})
    local_names = _enclosing_names(implementation)
    bound = function.keywords if isinstance(function, functools.partial) else {}
    parameters = []
    for position, parameter in enumerate(signature.parameters.values()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in bound:
            continue
        if position == 0 and parameter.name in ("self", "cls") and parameter.annotation is MISSING:
            logger.warning(
                "tool %r is an unbound method and will fail when called; register the bound one: "
                "tools.action(...)(instance.%s)",
                tool,
                getattr(function, "__name__", tool),
            )
            continue
        where = f"tool {tool!r}, parameter {parameter.name!r}"
        annotation = _resolve(parameter.annotation, global_names, local_names, where)
        parameters.append(
            Parameter(
                name=parameter.name,
                annotation=annotation,
                default=parameter.default,
                positional_only=parameter.kind is parameter.POSITIONAL_ONLY,
                injected=_checked_injection(annotation, where),
            )
        )
    return parameters


def is_coroutine_function(function: Callable[..., Any]) -> TypeGuard[Callable[..., Any]]:
    """Return whether calling the function gives a coroutine at once, so that it needs no thread."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _signature(function: Callable[..., Any], tool: str) -> inspect.Signature:
    """Return the signature with annotations as they are written."""
    if isinstance(function, classmethod):
        raise ToolDefinitionError(
            f"tool {tool!r}: a classmethod can only be registered once its class exists: "
            "tools.action(...)(YourClass.method)"
        )
    if not callable(function):
        raise ToolDefinitionError(f"tool {tool!r}: {function!r} cannot be called, so it cannot be a tool")
    implementation = _implementation(function)
    if inspect.isgeneratorfunction(implementation) or inspect.isasyncgenfunction(implementation):
        raise ToolDefinitionError(f"tool {tool!r} yields values, but a tool has one result: return a list instead")
    try:
        if sys.version_info >= (3, 14):  # pragma: no cover - coverage is measured on the oldest Python
            import annotationlib

            return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
        return inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise ToolDefinitionError(
            f"tool {tool!r}: the signature of {function!r} cannot be read. Wrap it in a def with annotated parameters"
        ) from error


def _implementation(function: Any) -> Any:
    """Return the function in which the body and the annotations of a callable were written."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.isroutine(function):
            return function
        elif isinstance(function, type):
            function = function.__init__  # type: ignore[misc]  # of exactly this class
        else:
            function = type(function).__call__


def _enclosing_names(implementation: Any) -> dict[str, Any]:
    """Return the names that a string annotation may mean besides the module's own.

    These are the locals of the functions and class bodies around the definition, as far as they are still running,
    the closure, and type parameters; the innermost wins.
    """
    qualified_name = getattr(implementation, "__qualname__", "")
    global_names = getattr(implementation, "__globals__", None)
    scopes: list[dict[str, Any]] = []
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is global_names and qualified_name.startswith(f"{frame.f_code.co_qualname}."):
            scopes.append(frame.f_locals)
        frame = frame.f_back
    names: dict[str, Any] = {}
    for scope in reversed(scopes):
        names.update(scope)
    code = getattr(implementation, "__code__", None)
    cells = getattr(implementation, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars if code else (), cells, strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet, such as the name of the function that is being decorated
    names.update({parameter.__name__: parameter for parameter in getattr(implementation, "__type_params__", ())})
    return names


def _resolve(annotation: Any, global_names: dict[str, Any], local_names: dict[str, Any], where: str) -> Any:
    """Return what an annotation means: strings and forward references are evaluated."""
    if annotation is MISSING:
        return MISSING

    def holder() -> None:
        """Carry one annotation, so that one that nobody needs (the return type) cannot fail."""

    holder.__annotations__ = {"annotation": annotation}
    try:
        return get_type_hints(holder, global_names, local_names, include_extras=True)["annotation"]
    except Exception as error:
        raise ToolDefinitionError(
            f"{where}: the annotation {annotation!r} cannot be resolved ({error}). "
            "The names in it must exist at run time: import them outside of `if TYPE_CHECKING:`"
        ) from error


def _checked_injection(annotation: Any, where: str) -> Any | None:
    """Return the ``T`` of ``Inject[T]`` after making sure that objects can be matched with it."""
    wanted = injected_type(annotation)
    if wanted is not None:
        try:
            injectable_classes(wanted)
        except TypeError as error:
            raise ToolDefinitionError(
                f"{where}: {error}. Inject[...] takes a class, a union of classes or a @runtime_checkable protocol"
            ) from error
    return wanted
