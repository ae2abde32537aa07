"""The tools of one agent."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from rtvoice.errors import McpExtraMissingError, ToolDefinitionError, UnknownToolError
from rtvoice.tools.call import PreparedCall, ToolOutcome, prepare_call
from rtvoice.tools.inject import ToolContext, UnresolvedInjection
from rtvoice.tools.schema import RealtimeFunctionTool
from rtvoice.tools.status import Status
from rtvoice.tools.tool import Tool, ToolTimeout

Function = TypeVar("Function", bound=Callable[..., Any])


class Tools:
    """A set of tools, in order of registration.

    Register functions with the `action` decorator and hand the object to an agent, which works on a copy::

        tools = Tools()


        @tools.action("Current weather of a city")
        async def get_weather(city: str) -> str: ...

    Attributes:
        tools: The tools by name.
    """

    def __init__(self) -> None:
        self.tools: dict[str, Tool] = {}
        self._server_tools: dict[str, dict[str, Any]] = {}
        self._context = ToolContext()

    @staticmethod
    def from_mcp(
        *,
        command: str | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        only: Collection[str] | None = None,
        prefix: str = "",
        timeout: ToolTimeout = "default",
        needs_approval: bool | Collection[str] = False,
        connect_timeout: float = 30.0,
    ) -> AbstractAsyncContextManager["Tools"]:
        """Connect to an MCP server and offer its tools; needs ``rtvoice[mcp]``.

        The connection lives as long as the ``async with``, which also ends a server that it started::

            async with Tools.from_mcp(command="uvx", args=["mcp-server-time"]) as tools:
                await RealtimeAgent(tools=tools).run()

        Merge several servers, or your own tools, with `merge`. A tool can be changed before the agent is made:
        ``tools.tools["search"].holding_instruction = "One moment."``.

        When the connection is lost, which is logged, the next call connects again. The call that was under way fails
        and the model is told that it may have taken effect; where the server marks the tool as read-only or idempotent,
        it is repeated once instead.

        Args:
            command: A program that is started and spoken to by its stdin and stdout.
            args: Its arguments.
            env: Environment variables for it; besides, it only gets the usual harmless ones (``PATH``, ``HOME``).
            cwd: The directory that it runs in.
            url: Instead of a program: the address of a server that speaks streamable HTTP.
            headers: HTTP headers for it, such as ``{"Authorization": "Bearer ..."}``.
            only: The names of the tools to offer, as the server calls them; all by default.
            prefix: Put before the names of the tools, so that two servers can have tools of the same name.
            timeout: Seconds that a call may take; None for no limit; by default the agent's limit.
            needs_approval: Whether a person has to agree before each call, for all tools or for those named.
            connect_timeout: Seconds that connecting may take.

        Raises:
            ConfigurationError: The settings cannot work, or the server has no tool of a given name.
            McpExtraMissingError: The ``mcp`` package is not installed; also an ``ImportError``.
            McpServerError: On entering: the server cannot be started or reached; also a ``ConnectionError``.
            ToolDefinitionError: On entering: two of its tools would have the same name, or one is no valid tool.
        """
        try:
            from rtvoice.tools.mcp_tools import mcp_tools  # loaded when used: it takes a second
        except ImportError as error:
            raise McpExtraMissingError("MCP servers need the mcp package: pip install 'rtvoice[mcp]'") from error
        return mcp_tools(
            command=command,
            args=args,
            env=env,
            cwd=cwd,
            url=url,
            headers=headers,
            only=only,
            prefix=prefix,
            timeout=timeout,
            needs_approval=needs_approval,
            connect_timeout=connect_timeout,
        )

    def action(
        self,
        description: str,
        name: str | None = None,
        param_model: type[BaseModel] | None = None,
        result_instruction: str | None = None,
        holding_instruction: str | None = None,
        status: Status | None = None,
        *,
        params: type[BaseModel] | None = None,
        respond: bool = True,
        timeout: ToolTimeout = "default",
        needs_approval: bool = False,
        kind: str | None = None,
    ) -> Callable[[Function], Function]:
        """Return a decorator that registers a function and gives it back unchanged.

        Args:
            description: Tells the model what the tool does and when to use it.
            name: The tool's name; the function's own by default. 1 to 64 letters, digits, ``_`` or ``-``.
            param_model: A pydantic model whose fields are the parameters; the function gets an instance.
            result_instruction: Tells the model how to present the result.
            holding_instruction: A phrase to speak while the tool runs.
            status: The same with ``{field}`` placeholders of ``param_model``, or a function from the model's
                instance to the phrase. Has precedence over ``holding_instruction``.
            params: Another name for ``param_model``.
            respond: False for a tool after whose success the assistant stays silent; failures are always spoken about.
            timeout: Seconds that a call may take; None for no limit; by default the agent's limit. A function that is
                not ``async`` runs in a thread, which cannot be stopped: the call is answered in time, and the
                thread runs on until the function returns.
            needs_approval: Whether a person has to agree before each call.
            kind: A free label of yours, handed to listeners.

        Raises:
            ToolDefinitionError: It can never work, or the name is taken; also a ``ValueError``. Raised by this method
                or by the decorator that it returns.
        """
        if not isinstance(description, str):
            raise ToolDefinitionError('the decorator needs a description: write @tools.action("What the tool does")')
        if param_model is not None and params is not None:
            raise ToolDefinitionError("param_model and params are the same setting: give one of them")

        def register(function: Function) -> Function:
            self._add(
                Tool(
                    _name_of(function) if name is None else name,
                    description,
                    function,
                    param_model=params if param_model is None else param_model,
                    result_instruction=result_instruction,
                    holding_instruction=holding_instruction,
                    status=status,
                    respond=respond,
                    timeout=timeout,
                    needs_approval=needs_approval,
                    kind=kind,
                )
            )
            return function

        return register

    def get(self, name: str) -> Tool | None:
        """Return the tool of that name, or None."""
        return self.tools.get(name)

    def get_tool_schema(self) -> list[RealtimeFunctionTool]:
        """Return the tools as entries of the Realtime API's ``session.tools``."""
        return [tool.to_pydantic() for tool in self.tools.values()]

    def realtime_schema(self) -> list[dict[str, Any]]:
        """Return the same as plain dicts, ready to be sent, and after them those of `add_server_tool`."""
        return [tool.model_dump() for tool in self.get_tool_schema()] + copy.deepcopy(list(self._server_tools.values()))

    def get_json_tool_schema(self) -> list[dict[str, Any]]:
        """Return the tools as the Chat Completions API takes them: ``{"type": "function", "function": {...}}``."""
        return [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.schema.model_dump(),
                },
            }
            for tool in self.tools.values()
        ]

    def set_context(self, context: ToolContext) -> None:
        """Say where ``Inject[...]`` parameters are filled from."""
        self._context = context

    def unresolved_injections(self) -> list[UnresolvedInjection]:
        """Return the required ``Inject[...]`` parameters, of all tools, for which the context has nothing."""
        return [missing for tool in self.tools.values() for missing in tool.unresolved_injections(self._context)]

    def prepare(self, name: str, arguments: Mapping[str, Any] | None) -> PreparedCall:
        """Check a call by the model and make the phrase to speak while it runs.

        Never raises for what the model did wrong: such a call runs into an outcome that tells it so.

        Args:
            name: The name that the model called.
            arguments: Its arguments, decoded from JSON; None stands for none.
        """
        return prepare_call(name, arguments, self.get(name), self._context, known=self.tools)

    async def call(
        self, name: str, arguments: Mapping[str, Any] | None, *, timeout: ToolTimeout = "default"
    ) -> ToolOutcome:
        """Run a call by the model, from its arguments to the string that it gets back.

        Never raises for anything that the model or the tool did wrong.

        Args:
            name: The name that the model called.
            arguments: Its arguments, decoded from JSON; None stands for none.
            timeout: Seconds, None for no limit; ``"default"`` for the tool's own limit, or none if it has none.

        Raises:
            asyncio.CancelledError: The call was cancelled from outside.
        """
        prepared = self.prepare(name, arguments)
        if timeout != "default":
            prepared.timeout = timeout
        return await prepared.run()

    async def execute(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call a tool from Python: errors propagate and the result is what the function returned.

        Args:
            name: The tool's name.
            arguments: Values by parameter name.

        Returns:
            The function's result, or a `VoidResult` if it returned None.

        Raises:
            UnknownToolError: There is no such tool; also a ``KeyError``.
            ToolArgumentsError: A required argument is missing or one does not fit; also a ``ValueError``.
            pydantic.ValidationError: The arguments do not fit ``param_model``; also a ``ValueError``.
            InjectionError: A required ``Inject[...]`` parameter cannot be filled; also a ``ValueError``.
            Exception: Whatever the function raises.
        """
        tool = self.get(name)
        if tool is None:
            raise UnknownToolError(f"there is no tool named {name!r}; registered: {', '.join(self.tools) or 'none'}")
        return await tool.execute(arguments, self._context)

    def clone(self) -> "Tools":
        """Return a registry of its own with the same `Tool` objects and without a context."""
        twin = Tools()
        twin.merge(self)
        return twin

    def merge(self, other: "Tools") -> None:
        """Add the tools of another registry; where a name is in both, the other's tool wins."""
        self.tools.update(other.tools)
        self._server_tools.update(other._server_tools)

    def inject_tool(self, tool: Tool) -> None:
        """Add a tool, or replace the one of the same name."""
        self.tools[tool.name] = tool

    def eject_tool(self, name: str) -> None:
        """Remove a tool; an unknown name is no error."""
        self.tools.pop(name, None)

    def add_server_tool(self, entry: Mapping[str, Any]) -> None:
        """Offer tools that the Realtime server calls by itself: an MCP server that it can reach.

        rtvoice sends the entry as it is and takes no part in the calls, so nobody can be asked for approval::

            tools.add_server_tool(
                {
                    "type": "mcp",
                    "server_label": "docs",
                    "server_url": "https://example.com/mcp",
                    "require_approval": "never",
                }
            )

        Args:
            entry: An entry of the Realtime API's ``session.tools`` (``RealtimeMcpTool`` in the ``openai`` package).

        Raises:
            ToolDefinitionError: It cannot work, or there is one with the same ``server_label``; also a ``ValueError``.
        """
        label = entry.get("server_label")
        if entry.get("type") != "mcp" or not isinstance(label, str) or not label:
            raise ToolDefinitionError(
                'a server-side tool is {"type": "mcp", "server_label": ..., "server_url": ...}; '
                "for a function of yours use @tools.action"
            )
        if not any(isinstance(entry.get(place), str) for place in ("server_url", "connector_id", "tunnel_id")):
            raise ToolDefinitionError(f"server-side tool {label!r}: say where the server is, with server_url")
        if entry.get("require_approval", "always") == "always":
            raise ToolDefinitionError(
                f'server-side tool {label!r}: it needs "require_approval": "never"; '
                "to ask a person before its calls, use Tools.from_mcp(url=..., needs_approval=True)"
            )
        if label in self._server_tools:
            raise ToolDefinitionError(f"there is already a server-side tool with the server_label {label!r}")
        self._server_tools[label] = copy.deepcopy(dict(entry))

    def is_registered(self, tool: Tool) -> bool:
        """Return whether there is a tool of the same name."""
        return tool.name in self.tools

    def _add(self, tool: Tool) -> None:
        """Add a tool under a name that must be free."""
        if self.is_registered(tool):
            raise ToolDefinitionError(f"a tool named {tool.name!r} is already registered: give this one another name=")
        self.inject_tool(tool)


def _name_of(function: Callable[..., Any]) -> str:
    """Return a function's name."""
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise ToolDefinitionError(f"{function!r} has no name of its own: write @tools.action(..., name=...)")
    return name
