"""What the model is told about arguments that do not fit, in words that it can act on."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rtvoice.tools.schema import subschema_at

_MAX_REPORTED = 8
_MAX_VALUE_CHARACTERS = 80


def explain(tool: str, error: ValidationError, schema: Mapping[str, Any]) -> str:
    """Return what is wrong with a call's arguments: which field, what is wrong, what is expected.

    Args:
        tool: The tool's name.
        error: What pydantic found.
        schema: The JSON schema of the tool's parameters.
    """
    problems = error.errors(include_url=False, include_context=False)
    lines = [_problem(item["type"], item["loc"], item["msg"], item["input"], schema) for item in problems]
    if len(lines) > _MAX_REPORTED:
        lines[_MAX_REPORTED:] = [f"- and {len(lines) - _MAX_REPORTED} more"]
    return "\n".join(
        [f"Error: {tool!r} was not run because its arguments are invalid:", *lines, "Correct them and call it again."]
    )


def _problem(kind: str, location: tuple[int | str, ...], message: str, value: Any, schema: Mapping[str, Any]) -> str:
    """Return one line about one value."""
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")
    if kind == "missing":
        wanted = subschema_at(schema, location) or {}
        details = [_type_words(wanted), wanted.get("description", "")]
        return f"- {where}: missing, but required ({', '.join(detail for detail in details if detail)})"
    sent = json.dumps(value, ensure_ascii=False, default=str)
    if len(sent) > _MAX_VALUE_CHARACTERS:
        sent = f"{sent[:_MAX_VALUE_CHARACTERS]}…"
    return f"- {where or 'the whole object'}: {message} (you sent {sent})"


def _type_words(schema: Mapping[str, Any]) -> str:
    """Return the type that a schema asks for, such as ``string`` or ``one of "a", "b"``."""
    if "enum" in schema:
        return f"one of {', '.join(json.dumps(value, ensure_ascii=False) for value in schema['enum'])}"
    if "anyOf" in schema:
        return " or ".join(_type_words(option) for option in schema["anyOf"])
    return str(schema.get("type", "any value"))
