"""Small checks of which the emulator's rules for client events are put together.

A check is a function ``check(value, path)``. It returns nothing, or raises ``RequestRefused`` with the
code, the wording and the ``param`` path that the Realtime service uses (protocol page, section 8.2).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Check: TypeAlias = Callable[[Any, str], None]


class RequestRefused(Exception):  # noqa: N818 - it travels as an ``error`` event, not as a Python error
    """The service would answer the client's event with an ``error`` event.

    Attributes:
        code: The error code, or ``None``.
        message: What the service says.
        param: Path of the wrong parameter, or ``None``.
        error_type: The error's ``type`` field.
        names_event: Whether the error carries the client's ``event_id``; some errors of the service do not.
    """

    def __init__(
        self,
        code: str | None,
        message: str,
        param: str | None = None,
        *,
        error_type: str = "invalid_request_error",
        names_event: bool = True,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.error_type = error_type
        self.names_event = names_event


def quoted(values: Iterable[object]) -> str:
    """Return ``'a', 'b', and 'c'``, as the service lists allowed values."""
    words = [f"'{value}'" for value in values]
    if len(words) < 3:
        return " and ".join(words)
    return ", ".join(words[:-1]) + ", and " + words[-1]


def invalid_value(value: object, allowed: Iterable[object], path: str) -> RequestRefused:
    """Return the refusal of a value that is not one of the allowed ones."""
    return RequestRefused("invalid_value", f"Invalid value: '{value}'. Supported values are: {quoted(allowed)}.", path)


def wrong_type(value: object, wanted: str, path: str) -> RequestRefused:
    """Return the refusal of a value of the wrong JSON type (code as in OpenAI's REST API)."""
    return RequestRefused(
        "invalid_type", f"Invalid type for '{path}': expected {wanted}, but got {_json_kind(value)} instead.", path
    )


def _json_kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a decimal number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def string(*, longest: int | None = None, pattern: str | None = None) -> Check:
    """Return a check for strings, of at most ``longest`` characters, wholly matching ``pattern``."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise wrong_type(value, "a string", path)
        if longest is not None and len(value) > longest:
            raise RequestRefused(
                "string_above_max_length",
                f"Invalid '{path}': string too long. Expected a string with maximum length {longest}, "
                f"but got a string with length {len(value)} instead.",
                path,
            )
        if pattern is not None and not re.fullmatch(pattern, value):
            raise RequestRefused(
                "invalid_value", f"Invalid '{path}': string does not match pattern. Expected '{pattern}'.", path
            )

    return check


def boolean(value: Any, path: str) -> None:
    """Check for ``true`` or ``false``."""
    if not isinstance(value, bool):
        raise wrong_type(value, "a boolean", path)


def integer(low: int, high: int | None = None) -> Check:
    """Return a check for integers from ``low`` to ``high``, both included."""

    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(value, "an integer", path)
        _in_range(value, low, high, path)

    return check


def number(low: float, high: float) -> Check:
    """Return a check for numbers from ``low`` to ``high``, both included."""

    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, "a decimal number", path)
        _in_range(value, low, high, path)

    return check


def _in_range(value: float, low: float, high: float | None, path: str) -> None:
    if value < low:
        raise RequestRefused("invalid_value", f"Invalid '{path}': expected a value >= {low}, but got {value}.", path)
    if high is not None and value > high:
        raise RequestRefused("invalid_value", f"Invalid '{path}': expected a value <= {high}, but got {value}.", path)


def one_of(*allowed: str) -> Check:
    """Return a check for one of these strings."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise invalid_value(value, allowed, path)

    return check


def nullable(check: Check) -> Check:
    """Return a check that also lets ``null`` pass."""

    def check_or_null(value: Any, path: str) -> None:
        if value is not None:
            check(value, path)

    return check_or_null


def list_of(check: Check) -> Check:
    """Return a check for arrays whose elements all pass ``check``."""

    def check_all(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise wrong_type(value, "an array", path)
        for index, element in enumerate(value):
            check(element, f"{path}[{index}]")

    return check_all


def map_of(check: Check, *, longest_key: int, most: int) -> Check:
    """Return a check for objects of at most ``most`` free keys whose values all pass ``check``."""

    def check_all(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise wrong_type(value, "an object", path)
        if len(value) > most:
            raise RequestRefused("invalid_value", f"Invalid '{path}': too many properties, at most {most}.", path)
        for key, element in value.items():
            string(longest=longest_key)(key, _join(path, key))
            check(element, _join(path, key))

    return check_all


def obj(fields: Mapping[str, Check], *, required: Iterable[str] = ()) -> Check:
    """Return a check for objects with these fields and no others."""
    needed = tuple(required)

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise wrong_type(value, "an object", path)
        for key in needed:
            require(value, key, path)
        for key, element in value.items():
            if key not in fields:
                name = _join(path, key)
                raise RequestRefused("unknown_parameter", f"Unknown parameter: '{name}'.", name)
            fields[key](element, _join(path, key))

    return check


def any_object(value: Any, path: str) -> None:
    """Check for an object, whatever is in it."""
    if not isinstance(value, dict):
        raise wrong_type(value, "an object", path)


def require(value: Mapping[str, Any], key: str, path: str) -> None:
    """Refuse an object that lacks ``key``."""
    if key not in value:
        name = _join(path, key)
        raise RequestRefused("missing_required_parameter", f"Missing required parameter: '{name}'.", name)


def tagged(tag: str, variants: Mapping[str, Check]) -> Check:
    """Return a check for objects whose field ``tag`` says which of the variants they are."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise wrong_type(value, "an object", path)
        require(value, tag, path)
        if not isinstance(value[tag], str) or value[tag] not in variants:
            raise invalid_value(value[tag], variants, _join(path, tag))
        variants[value[tag]](value, path)

    return check
