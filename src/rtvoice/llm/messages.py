"""What is said to a language model and what it says back.

The shapes are those of the Chat Completions API, role by role. Every class shows itself briefly: neither image data
nor long arguments end up in a log because somebody printed a history.
"""

import reprlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80
_brief.maxlist = 3


class _Brief(BaseModel):
    """A model whose ``repr()`` and ``str()`` stay short, whatever it carries."""

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        for name, value in self:
            if value != type(self).model_fields[name].get_default(call_default_factory=True):
                yield name, _Abridged(value)


class _Abridged:
    """Stands in for a value where pydantic asks for its ``repr()``."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return _brief.repr(self._value)


class ImageURL(_Brief):
    """Where an image is.

    Attributes:
        url: An ``https:`` URL, or the image itself as ``data:image/png;base64,...``.
        detail: How closely the model looks; more detail costs more tokens.
        media_type: The format. Unused for OpenAI, which takes it from the URL.
    """

    url: str
    detail: Literal["auto", "low", "high"] = "auto"
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"] = "image/png"

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Show of a data URL what it is, not what it contains."""
        for name, value in super().__repr_args__():
            if name == "url" and self.url.startswith("data:"):
                head = self.url.partition(",")[0][:40]
                yield name, f"{head},... ({len(self.url)} characters)"
            else:
                yield name, value


class ContentPartTextParam(_Brief):
    """A piece of text in a message that has several parts."""

    text: str
    type: Literal["text"] = "text"


class ContentPartImageParam(_Brief):
    """An image in a user message."""

    image_url: ImageURL
    type: Literal["image_url"] = "image_url"


class ContentPartRefusalParam(_Brief):
    """What the assistant said instead of complying."""

    refusal: str
    type: Literal["refusal"] = "refusal"


class Function(_Brief):
    """The function that the model wants called.

    Attributes:
        name: The name of the tool.
        arguments: JSON text as the model wrote it. It may be empty, may not be JSON and may not fit the tool.
    """

    name: str
    arguments: str


class ToolCall(_Brief):
    """One call inside an assistant message. It has to be answered by one ``ToolResultMessage`` with the same id."""

    id: str
    function: Function
    type: Literal["function"] = "function"


def _text_of(parts: Iterable[BaseModel]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, ContentPartTextParam):
            yield part.text
        elif isinstance(part, ContentPartRefusalParam):
            yield f"[Refusal] {part.refusal}"


class SystemMessage(_Brief):
    """Instructions for the model.

    Attributes:
        cache: Accepted for models that cache on request; OpenAI caches by itself.
    """

    role: Literal["system"] = "system"
    content: str | list[ContentPartTextParam]
    name: str | None = None
    cache: bool = False

    @property
    def text(self) -> str:
        """The text, parts joined by newlines."""
        return self.content if isinstance(self.content, str) else "\n".join(_text_of(self.content))


class UserMessage(_Brief):
    """What the user says and shows. ``cache`` as in ``SystemMessage``."""

    role: Literal["user"] = "user"
    content: str | list[ContentPartTextParam | ContentPartImageParam]
    name: str | None = None
    cache: bool = False

    @property
    def text(self) -> str:
        """The text, parts joined by newlines; images are left out."""
        return self.content if isinstance(self.content, str) else "\n".join(_text_of(self.content))


class AssistantMessage(_Brief):
    """What the model answered: text, tool calls, or both. ``cache`` as in ``SystemMessage``."""

    role: Literal["assistant"] = "assistant"
    content: str | list[ContentPartTextParam | ContentPartRefusalParam] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list)
    cache: bool = False

    @property
    def text(self) -> str:
        """The text, parts run together, a refusal part as ``[Refusal] ...``; empty without content."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "".join(_text_of(self.content))


class ToolResultMessage(_Brief):
    """The answer to one tool call. ``cache`` as in ``SystemMessage``."""

    role: Literal["tool"] = "tool"
    tool_call_id: str
    content: str
    cache: bool = False


Message: TypeAlias = SystemMessage | UserMessage | AssistantMessage | ToolResultMessage
"""Anything that may stand in a conversation with a language model."""
