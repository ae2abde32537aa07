"""The tools of an MCP server as tools of ours: listing, schemas, results."""

import json
import math
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import mcp.types

from rtvoice.errors import ConfigurationError, ToolDefinitionError, ToolFeedbackError
from rtvoice.tools.mcp_connection import McpConnection, http_server, stdio_server
from rtvoice.tools.registry import Tools
from rtvoice.tools.schema import plain_schema
from rtvoice.tools.tool import Tool, ToolTimeout


def mcp_tools(
    *,
    command: str | None,
    args: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: str | Path | None,
    url: str | None,
    headers: Mapping[str, str] | None,
    only: Collection[str] | None,
    prefix: str,
    timeout: ToolTimeout,
    needs_approval: bool | Collection[str],
    connect_timeout: float,
) -> AbstractAsyncContextManager[Tools]:
    """Check the settings and return what connects; see `Tools.from_mcp`."""
    if (command is None) == (url is None):
        raise ConfigurationError("an MCP server is either started, with command=, or reached, with url=: give one")
    if url is not None and (args or env is not None or cwd is not None):
        raise ConfigurationError("args=, env= and cwd= are for a server that is started with command=, not for url=")
    if command is not None and headers is not None:
        raise ConfigurationError("headers= is for a server that is reached with url=, not for command=")
    if url is not None and not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"url={url!r} must begin with https:// or http://")
    for name, value in (("args", args), ("only", only), ("needs_approval", needs_approval)):
        if isinstance(value, str):
            raise ConfigurationError(f"{name}= must be a list of strings, not the string {value!r}")
    if not 0 < connect_timeout < math.inf:
        raise ConfigurationError(f"connect_timeout must be a positive number of seconds, not {connect_timeout!r}")
    connection = http_server(url, headers) if url is not None else stdio_server(command or "", list(args), env, cwd)
    return _connected(connection, only, prefix, timeout, needs_approval, connect_timeout)


@asynccontextmanager
async def _connected(
    connection: McpConnection,
    only: Collection[str] | None,
    prefix: str,
    timeout: ToolTimeout,
    needs_approval: bool | Collection[str],
    connect_timeout: float,
) -> AsyncIterator[Tools]:
    """Connect to a server and yield its tools."""
    await connection.open(connect_timeout)
    try:
        offered = await connection.list_tools()
        wanted = _choose(connection.name, offered, only)
        to_approve = {tool.name for tool in _choose(connection.name, wanted, _names(needs_approval))}
        tools = Tools()
        for tool in wanted:
            ours = _as_tool(connection, tool, prefix, timeout, needs_approval is True or tool.name in to_approve)
            if tools.is_registered(ours):
                raise ToolDefinitionError(
                    f"two tools of the MCP server {connection.name!r} would be called {ours.name!r}: choose with only="
                )
            tools.inject_tool(ours)
        yield tools
    finally:
        await connection.close()


def _names(needs_approval: bool | Collection[str]) -> Collection[str]:
    return () if isinstance(needs_approval, bool) else needs_approval


def _choose(server: str, offered: list[mcp.types.Tool], names: Collection[str] | None) -> list[mcp.types.Tool]:
    """Return the tools with these names; all if there are none given.

    Raises:
        ConfigurationError: The server has no tool of one of the names.
    """
    if names is None:
        return offered
    known = [tool.name for tool in offered]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigurationError(
            f"the MCP server {server!r} has no tool {unknown[0]!r}; it has: {', '.join(known) or 'none'}"
        )
    return [tool for tool in offered if tool.name in names]


def _as_tool(
    connection: McpConnection, tool: mcp.types.Tool, prefix: str, timeout: ToolTimeout, needs_approval: bool
) -> Tool:
    """Return one tool of a server as a tool of ours."""
    hints = tool.annotations
    repeatable = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
    return Tool(
        re.sub(r"[^A-Za-z0-9_-]", "_", f"{prefix}{tool.name}")[:64],  # MCP also knows dots, slashes and longer names
        tool.description or tool.title or tool.name,
        _caller(connection, tool.name, repeatable=repeatable),
        schema={"type": "object", "properties": {}, **plain_schema(tool.input_schema)},
        timeout=timeout,
        needs_approval=needs_approval,
    )


def _caller(connection: McpConnection, name: str, *, repeatable: bool) -> Callable[..., Any]:
    """Return the function of a tool."""

    async def call(arguments: dict[str, Any]) -> str | None:
        result = await connection.call(name, arguments, repeatable=repeatable)
        text = result_text(result)
        if result.is_error:
            raise ToolFeedbackError(f"Error: {text or 'the tool does not say what went wrong.'}")
        return text

    return call


def result_text(result: mcp.types.CallToolResult) -> str | None:
    """Return what the model gets to read of a result; None if there is nothing to read.

    Structured content counts where there is no text: a server that sends it shall send it as text too
    (MCP specification 2025-06-18, "Tools", structured content).
    """
    parts = [_block_text(block) for block in result.content]
    if result.structured_content is not None and not any(block.type == "text" for block in result.content):
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(parts) or None


def _block_text(block: mcp.types.ContentBlock) -> str:
    """Return one part of a result as text; what cannot be read is described."""
    match block:
        case mcp.types.TextContent():
            return block.text
        case mcp.types.ImageContent():
            return f"[An image, {block.mime_type}, {_size(block.data)}, which cannot be shown here]"
        case mcp.types.AudioContent():
            return f"[A sound, {block.mime_type}, {_size(block.data)}, which cannot be played here]"
        case mcp.types.ResourceLink():
            about = f": {block.description}" if block.description else ""
            return f"[The resource {block.title or block.name}{about}, to be found at {block.uri}]"
    resource = block.resource
    if isinstance(resource, mcp.types.TextResourceContents):
        return resource.text
    return f"[The resource {resource.uri}, {resource.mime_type}, {_size(resource.blob)}, which cannot be read here]"


def _size(data: str) -> str:
    """Return the size of base64 data in words."""
    return f"{len(data) * 3 / 4000:.1f} kB"
