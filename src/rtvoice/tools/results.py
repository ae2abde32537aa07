"""What a tool gave back, and the string that the model gets to read."""

import json
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

MAX_OUTPUT_CHARACTERS = 20_000
"""Longest tool output in characters, about 5,000 tokens. The model re-reads it in every later response of the session,
and a session holds 32,000 tokens; see ``truncation`` of the Realtime API."""


@dataclass(frozen=True, slots=True)
class VoidResult:
    """The result of a tool that returned None."""

    message: str = "OK"

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class ActionResult:
    """A result that also says how the conversation goes on; make one with `success` or `fail`.

    Attributes:
        value: What the model gets, rendered like any other result.
        error: What went wrong; None for a success.
        respond: Whether the assistant speaks about it; None leaves it to the tool's ``respond=``.
        instruction: How the model shall present it, instead of the tool's ``result_instruction``.
    """

    value: Any = None
    error: str | None = None
    respond: bool | None = None
    instruction: str | None = None

    @classmethod
    def success(cls, value: Any = None, *, respond: bool | None = None, instruction: str | None = None) -> Self:
        """Return a success.

        Args:
            value: Any result, as a tool would return it by itself.
            respond: False lets the assistant stay silent, True makes it speak, None is the tool's setting.
            instruction: Tells the model how to present this result.
        """
        return cls(value=value, respond=respond, instruction=instruction)

    @classmethod
    def fail(cls, error: str | Exception, *, respond: bool | None = None) -> Self:
        """Return a failure.

        Args:
            error: What the model shall know about it.
            respond: Accepted for symmetry; a failure is always spoken about, so that nobody waits in vain.
        """
        return cls(error=error if isinstance(error, str) else error_text(error), respond=respond)


def result_text(result: Any) -> str:
    """Return a result as the string for the model, at most `MAX_OUTPUT_CHARACTERS` and a note long.

    None becomes ``OK``, a string stays, a pydantic model becomes its JSON without None fields, everything else JSON;
    what JSON cannot express becomes ``str()``.
    """
    if result is None:
        result = VoidResult()
    if isinstance(result, str | VoidResult):
        return readable(str(result))
    if isinstance(result, BaseModel):
        return readable(result.model_dump_json(exclude_none=True))
    return readable(_json_text(result))


def error_text(error: BaseException) -> str:
    """Return type and message of an exception, without traceback; those inside an exception group one by one."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(error_text(inner) for inner in error.exceptions)
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a foreign __str__ must not hide the error itself
        message = ""
    return f"{name}: {message}" if message else name


def readable(text: str) -> str:
    """Return a text that can be sent: valid Unicode, and cut to `MAX_OUTPUT_CHARACTERS` with a note if it is longer."""
    missing = len(text) - MAX_OUTPUT_CHARACTERS
    if missing > 0:
        text = (
            f"{text[:MAX_OUTPUT_CHARACTERS]}\n"
            f"[Shortened: the last {missing} of {len(text)} characters are missing. Ask for less to see them.]"
        )
    return text.encode(errors="replace").decode()  # half surrogate pairs, as in undecodable file names


def _json_text(result: Any) -> str:
    """Return a value as JSON; dataclasses, dates, nested models and so on the way pydantic writes them."""
    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return json.dumps(to_jsonable_python(result, exclude_none=True, fallback=str), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(result)
