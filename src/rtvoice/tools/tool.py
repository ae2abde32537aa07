"""One tool: a function, what the model is told about it, and how it is called."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from rtvoice.errors import InjectionError, ToolArgumentsError, ToolDefinitionError
from rtvoice.tools.arguments import Arguments, model_arguments, raw_arguments, signature_arguments
from rtvoice.tools.feedback import explain
from rtvoice.tools.inject import ToolContext, UnresolvedInjection
from rtvoice.tools.results import VoidResult
from rtvoice.tools.schema import JsonSchema, RealtimeFunctionTool
from rtvoice.tools.signature import MISSING, Parameter, is_coroutine_function, read_parameters
from rtvoice.tools.status import Status, check_status, instance_of, render_status
from rtvoice.tools.threads import run_in_thread

ToolTimeout: TypeAlias = float | Literal["default"] | None
"""Seconds that a tool may take; None for no limit; ``"default"`` for whatever the caller uses for all tools."""


class Tool:
    """A registered tool. Two tools are equal if they have the same name.

    Everything that can be wrong with it is found here, at registration; a call only validates arguments.

    Args:
        name: 1 to 64 letters, digits, ``_`` or ``-``: what the Realtime API takes.
        description: Tells the model what the tool does and when to use it.
        function: Any callable. ``async def`` runs on the event loop; everything else in a thread of its own, and an
            awaitable that it returns is awaited on the event loop.
        param_model: A pydantic model whose fields are the parameters; the function gets an instance. Without it the
            function's annotations are the parameters.
        schema: A ready JSON schema of the parameters. If the function has a single parameter for the model, which is
            not annotated or annotated as a dict, it gets the raw arguments, unchecked.
        result_instruction: Tells the model how to present the result.
        holding_instruction: A phrase to speak while the tool runs.
        status: The same, made from the arguments; needs ``param_model`` and has precedence.
        respond: False for a tool after whose success the assistant stays silent.
        timeout: Seconds; see `ToolTimeout`.
        needs_approval: Whether a person has to agree before each call.
        kind: A free label of yours, handed to listeners.

    Raises:
        ToolDefinitionError: It can never work; the message names tool, parameter and cure.
    """

    def __init__(
        self,
        name: str,
        description: str,
        function: Callable[..., Any],
        param_model: type[BaseModel] | None = None,
        schema: Mapping[str, Any] | JsonSchema | None = None,
        result_instruction: str | None = None,
        holding_instruction: str | None = None,
        status: Status | None = None,
        *,
        respond: bool = True,
        timeout: ToolTimeout = "default",
        needs_approval: bool = False,
        kind: str | None = None,
    ) -> None:
        _check_texts(name, description, result_instruction, holding_instruction)
        _check_timeout(name, timeout)
        self.name = name
        self.description = description
        self.function = function
        self.param_model = param_model
        self.result_instruction = result_instruction
        self.holding_instruction = holding_instruction
        self.status = status
        self.respond = respond
        self.timeout = timeout
        self.needs_approval = needs_approval
        self.kind = kind
        self._parameters = read_parameters(function, name)
        self._arguments = _arguments(name, param_model, schema, self._parameters)
        self._is_async = is_coroutine_function(function)
        self.schema = JsonSchema.model_validate(self._arguments.schema)
        if status is not None:
            check_status(name, status, param_model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tool) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    def to_pydantic(self) -> RealtimeFunctionTool:
        """Return the entry of the Realtime API's ``session.tools``."""
        return RealtimeFunctionTool(name=self.name, description=self.description, parameters=self.schema)

    def format_status(self, args: BaseModel | Mapping[str, Any]) -> str | None:
        """Return the status phrase for a call; None without a status, or if it fails (which is logged).

        Args:
            args: An instance of ``param_model``, or its values as a dict. A template with a placeholder that a dict
                lacks is returned unchanged.
        """
        if self.status is None:
            return None
        if self.param_model is not None and isinstance(args, Mapping) and not isinstance(self.status, str):
            args = instance_of(self.param_model, args)
        return render_status(self.name, self.status, args)

    def phrase(self, validated: Any) -> str | None:
        """Return what to say while the tool runs with these arguments (from `validate`), or None."""
        phrase = self.holding_instruction if self.status is None else self.format_status(validated)
        return phrase or None

    def validate(self, arguments: Mapping[str, Any], *, from_json: bool = False) -> Any:
        """Return checked and converted arguments, for `invoke`.

        Args:
            arguments: Values by parameter name; unknown names are dropped.
            from_json: Whether the values were decoded from JSON rather than made in Python.

        Raises:
            ToolArgumentsError: They do not fit; the message is written for the model.
        """
        if not isinstance(arguments, Mapping):
            raise ToolArgumentsError(
                f"Error: {self.name!r} was not run because its arguments are no JSON object. Send an object."
            )
        try:
            return self._arguments.validate(arguments, from_json=from_json)
        except ValidationError as error:
            raise ToolArgumentsError(explain(self.name, error, self._arguments.schema)) from error
        except PydanticSerializationError as error:
            raise ToolArgumentsError(
                f"Error: {self.name!r} was not run because its arguments contain invalid Unicode. Send plain text."
            ) from error

    async def invoke(self, validated: Any, context: ToolContext | None = None) -> Any:
        """Call the function and return what it returned.

        A function that is not ``async`` runs in a daemon thread. When the waiting is cancelled or timed out the thread
        cannot be stopped: it runs on until the function returns, and its result is dropped.

        Args:
            validated: The arguments, from `validate`.
            context: Where ``Inject[...]`` parameters are filled from.

        Raises:
            InjectionError: A required ``Inject[...]`` parameter cannot be filled.
            Exception: Whatever the function raises.
        """
        positional, keywords = self._bind(validated, context or ToolContext())
        if self._is_async:
            return await self.function(*positional, **keywords)
        result = await run_in_thread(f"rtvoice-tool-{self.name}", self.function, *positional, **keywords)
        return await result if inspect.isawaitable(result) else result

    async def execute(self, arguments: Mapping[str, Any], context: ToolContext | None = None) -> Any:
        """Check the arguments, call the function and return its raw result, or a `VoidResult` for None.

        Args:
            arguments: Values by parameter name.
            context: Where ``Inject[...]`` parameters are filled from.

        Raises:
            ToolArgumentsError: The arguments do not fit the function's annotations; also a ``ValueError``.
            pydantic.ValidationError: They do not fit ``param_model``; also a ``ValueError``.
            InjectionError: A required ``Inject[...]`` parameter cannot be filled; also a ``ValueError``.
            Exception: Whatever the function raises.
        """
        try:
            validated = self.validate(arguments)
        except ToolArgumentsError as error:
            if self.param_model is not None and isinstance(error.__cause__, ValidationError):
                raise error.__cause__ from None
            raise
        result = await self.invoke(validated, context)
        return VoidResult() if result is None else result

    def unresolved_injections(self, context: ToolContext) -> list[UnresolvedInjection]:
        """Return the required ``Inject[...]`` parameters for which a context has nothing."""
        unresolved = []
        for parameter in self._parameters:
            if parameter.injected is not None and parameter.required:
                try:
                    context.resolve(parameter.injected)
                except InjectionError:
                    unresolved.append(UnresolvedInjection(self.name, parameter.name, parameter.injected))
        return unresolved

    def _bind(self, validated: Any, context: ToolContext) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and keyword arguments for the function."""
        keywords = self._arguments.keywords(validated)
        for parameter in self._parameters:
            if parameter.injected is None:
                continue
            try:
                keywords[parameter.name] = context.resolve(parameter.injected)
            except InjectionError as error:
                if parameter.required:
                    raise InjectionError(f"tool {self.name!r}, parameter {parameter.name!r}: {error}") from None
        positional = [
            keywords.pop(parameter.name, parameter.default)
            for parameter in self._parameters
            if parameter.positional_only
        ]
        return positional, keywords


def _arguments(
    tool: str,
    param_model: type[BaseModel] | None,
    schema: Mapping[str, Any] | JsonSchema | None,
    parameters: list[Parameter],
) -> Arguments:
    """Choose how the arguments are taken."""
    ready = _checked_schema(tool, schema)
    from_model = [parameter for parameter in parameters if parameter.injected is None]
    if ready is not None and param_model is None and len(from_model) == 1 and _takes_a_dict(from_model[0]):
        return raw_arguments(from_model[0], ready)
    if param_model is not None:
        arguments = model_arguments(tool, param_model, parameters)
    else:
        arguments = signature_arguments(tool, from_model)
    return arguments if ready is None else replace(arguments, schema=ready)


def _checked_schema(tool: str, schema: Mapping[str, Any] | JsonSchema | None) -> dict[str, Any] | None:
    """Return a ready schema as a dict, after making sure that it describes an object."""
    if schema is None:
        return None
    ready = schema if isinstance(schema, JsonSchema) else _as_schema(tool, schema)
    if ready.type != "object":
        raise ToolDefinitionError(f"tool {tool!r}: schema must describe an object: {{'type': 'object', ...}}")
    return ready.model_dump()


def _as_schema(tool: str, schema: Mapping[str, Any]) -> JsonSchema:
    """Return a dict as JSON schema."""
    try:
        return JsonSchema.model_validate(schema)
    except ValidationError as error:
        raise ToolDefinitionError(f"tool {tool!r}: schema is not a JSON schema: {error}") from error


def _takes_a_dict(parameter: Parameter) -> bool:
    """Return whether a parameter can take raw arguments, as far as its annotation tells."""
    annotation = getattr(parameter.annotation, "__origin__", parameter.annotation)
    return annotation in (MISSING, Any) or (isinstance(annotation, type) and issubclass(dict, annotation))


def _check_texts(name: object, description: object, *instructions: object) -> None:
    """Refuse names that the API would refuse, and anything but text where text is spoken or sent."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ToolDefinitionError(
            f"{name!r} is not a valid tool name: use 1 to 64 letters, digits, '_' or '-', for example with name=..."
        )
    if not isinstance(description, str):
        raise ToolDefinitionError(f"tool {name!r}: the description must be a string, not {description!r}")
    for instruction in instructions:
        if not isinstance(instruction, str | None):
            raise ToolDefinitionError(f"tool {name!r}: an instruction must be a string, not {instruction!r}")


def _check_timeout(name: str, timeout: object) -> None:
    """Refuse limits that are no positive, finite number of seconds."""
    if timeout is None or timeout == "default":
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ToolDefinitionError(
            f"tool {name!r}: timeout must be a positive number of seconds, or None for no limit, not {timeout!r}"
        )
