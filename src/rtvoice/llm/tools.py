"""Tools for direct use of a ``ChatModel``: a function or a schema, written as the Chat Completions API wants it.

Not to be confused with ``rtvoice.tools``, the registry of an agent's or a supervisor's tools.
"""

import copy
import inspect
import json
from collections.abc import Callable
from typing import Any, Protocol, overload, runtime_checkable

from rtvoice.tools import Tools


@runtime_checkable
class Tool(Protocol):
    """What ``invoke(tools=[...])`` accepts besides plain dicts."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    def to_openai_schema(self) -> dict[str, Any]:
        """``{"type": "function", "function": {"name": ..., "description": ..., "parameters": <JSON Schema>}}``."""
        ...

    def parse_arguments(self, arguments: str) -> Any:
        """Decode the ``arguments`` of a tool call."""
        ...


class FunctionTool:
    """A function that can be offered to a model. Calling the tool calls the function.

    Args:
        fn: Any function; its annotations become the schema, by the rules of ``rtvoice.tools``.
        name: Default: the function's name.
        description: Default: the function's docstring.

    Raises:
        ToolDefinitionError: No schema can be made of the function, or the name is not one that models accept.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, description: str | None = None) -> None:
        self.fn = fn
        documented = inspect.isroutine(fn)  # the docstring of a partial is that of functools.partial
        self.description = description if description is not None else (documented and inspect.getdoc(fn)) or ""
        registry = Tools()
        registry.action(self.description, name=name)(fn)
        (self.name,) = registry.tools
        (self._schema,) = registry.get_json_tool_schema()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; the result of an ``async def`` has to be awaited, as without the tool."""
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"FunctionTool({self.name!r})"

    def to_openai_schema(self) -> dict[str, Any]:
        """The tool as the Chat Completions API wants it."""
        return copy.deepcopy(self._schema)

    def parse_arguments(self, arguments: str) -> Any:
        """Decode the JSON that the model wrote.

        Raises:
            json.JSONDecodeError: It is not JSON.
        """
        return json.loads(arguments)


class RawSchemaTool:
    """A tool whose parameter schema is given, for functions that live elsewhere.

    Args:
        name: What the model calls it.
        schema: JSON Schema of the parameters, an ``object``.
        description: What it is good for, written for the model.
    """

    def __init__(self, name: str, schema: dict[str, Any], description: str = "") -> None:
        self.name = name
        self.schema = schema
        self.description = description

    def __repr__(self) -> str:
        return f"RawSchemaTool({self.name!r})"

    def to_openai_schema(self) -> dict[str, Any]:
        """The tool as the Chat Completions API wants it."""
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}

    def parse_arguments(self, arguments: str) -> Any:
        """Decode the JSON that the model wrote.

        Raises:
            json.JSONDecodeError: It is not JSON.
        """
        return json.loads(arguments)


@overload
def tool(fn: Callable[..., Any]) -> FunctionTool: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None
) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    fn: Callable[..., Any] | None = None, *, name: str | None = None, description: str | None = None
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Turn a function into a ``FunctionTool``, as ``@tool`` or ``@tool(name=..., description=...)``."""
    if fn is not None:
        return FunctionTool(fn, name=name, description=description)
    return lambda decorated: FunctionTool(decorated, name=name, description=description)
