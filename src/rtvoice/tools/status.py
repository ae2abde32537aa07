"""``status=``: what the assistant says while a tool works, made from the call's validated arguments."""

import enum
import inspect
import logging
import re
import string
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

from rtvoice.errors import ToolDefinitionError
from rtvoice.tools.signature import is_coroutine_function

Status: TypeAlias = str | Callable[[Any], str]
"""A template with ``{field}`` placeholders, or a function from the validated model to the phrase."""

logger = logging.getLogger(__name__)

_PLACEHOLDERS: Mapping[Any, Any] = {str: "placeholder", int: 0, float: 0, bool: False}


def check_status(tool: str, status: Status, model: type[BaseModel] | None) -> None:
    """Make sure at registration that a status can be rendered.

    Raises:
        ToolDefinitionError: There is no ``param_model``; a template names unknown fields or is malformed; a function is
            async, cannot take the model, returns no string, or reads a field that the model does not have.
    """
    if model is None:
        raise ToolDefinitionError(f"tool {tool!r}: status needs param_model, whose fields it speaks about")
    if isinstance(status, str):
        _check_template(tool, status, model)
    elif callable(status):
        _check_function(tool, status, model)
    else:
        raise ToolDefinitionError(f"tool {tool!r}: status must be a string or a function, not {status!r}")


def render_status(tool: str, status: Status, arguments: BaseModel | Mapping[str, Any]) -> str | None:
    """Return the phrase for one call; None, and a log line, if it cannot be made.

    A template with a placeholder that ``arguments`` does not have is returned unchanged.
    """
    try:
        return _filled_in(status, arguments) if isinstance(status, str) else _returned_by(status, arguments)
    except Exception as error:
        logger.warning("the status of tool %r failed (%s); nothing is said", tool, type(error).__name__)
        logger.debug("traceback of the failed status", exc_info=True)
        return None


def instance_of(model: type[BaseModel], values: Mapping[str, Any]) -> BaseModel:
    """Return an instance with exactly these values by field name, unchecked; aliases play no role."""
    instance = model.__new__(model)
    object.__setattr__(instance, "__dict__", dict(values))
    for attribute, value in (("extra", None), ("private", None), ("fields_set", set(values))):
        object.__setattr__(instance, f"__pydantic_{attribute}__", value)
    return instance


def _filled_in(template: str, arguments: BaseModel | Mapping[str, Any]) -> str:
    """Return a template with the values of the arguments; enum members appear as their values."""
    values = dict(arguments)
    if not _fields_in(template) <= values.keys():
        return template
    return template.format(**{name: _spoken(value) for name, value in values.items()})


def _returned_by(function: Callable[[Any], str], arguments: BaseModel | Mapping[str, Any]) -> str:
    """Return what a status function says."""
    phrase = function(arguments)
    if not isinstance(phrase, str):
        if inspect.iscoroutine(phrase):
            phrase.close()  # it will not be awaited, on purpose
        raise TypeError(f"status returned {type(phrase).__name__}, not str")
    return phrase


def _spoken(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _check_template(tool: str, template: str, model: type[BaseModel]) -> None:
    """Refuse a template that is malformed or names fields that the model does not have."""
    try:
        unknown = sorted(_fields_in(template) - model.model_fields.keys())
    except ValueError as error:
        raise ToolDefinitionError(f"tool {tool!r}: status {template!r} is not a valid template: {error}") from error
    if unknown:
        raise ToolDefinitionError(
            f"tool {tool!r}: status names {', '.join(repr(name) for name in unknown)}, which {model.__name__} does not "
            f"have; available: {', '.join(model.model_fields) or 'none'}"
        )


def _fields_in(template: str) -> set[str]:
    """Return the names in a template's placeholders: ``{song.title!r:>{width}}`` has ``song`` and ``width``.

    Raises:
        ValueError: Its braces do not match.
    """
    names: set[str] = set()
    for _, field, format_spec, _ in string.Formatter().parse(template):
        if field is not None:
            names.add(re.split(r"[.\[]", field, maxsplit=1)[0])
            names |= _fields_in(format_spec or "")
    return names


def _takes_one_argument(function: Callable[..., Any]) -> bool:
    """Return whether a function can be called with one argument, or does not tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _check_function(tool: str, function: Callable[[Any], str], model: type[BaseModel]) -> None:
    """Try a status function with placeholder values."""
    if is_coroutine_function(function):
        raise ToolDefinitionError(f"tool {tool!r}: status must be a plain function, not an async one")
    placeholders = {name: _PLACEHOLDERS.get(field.annotation) for name, field in model.model_fields.items()}
    sample = instance_of(model, placeholders)
    if not _takes_one_argument(function):
        raise ToolDefinitionError(f"tool {tool!r}: status must take one argument, the {model.__name__}")
    try:
        phrase: object = function(sample)
    except AttributeError as error:
        if error.obj is sample:  # not a placeholder: a real date has attributes that None lacks
            raise ToolDefinitionError(
                f"tool {tool!r}: status reads {error.name!r}, which {model.__name__} does not have; "
                f"available: {', '.join(model.model_fields) or 'none'}"
            ) from error
    except Exception:  # placeholders need not make sense to it
        logger.debug("the status of tool %r fails with placeholder values", tool, exc_info=True)
    else:
        if not isinstance(phrase, str):
            if inspect.iscoroutine(phrase):
                phrase.close()
            raise ToolDefinitionError(f"tool {tool!r}: status must return a string, not {type(phrase).__name__}")
