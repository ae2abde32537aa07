"""The connection to one MCP server: opened, watched, and opened again when it was lost.

The session of the ``mcp`` package has to be closed in the task that opened it. So each session lives in a task of
its own, in a task group that `McpConnection.open` enters and `McpConnection.close` leaves. Calls may come from any
task.
"""

import asyncio
import importlib
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self, TextIO, cast
from urllib.parse import urlsplit, urlunsplit

import httpx2
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST, CallToolResult, Tool

from rtvoice.errors import McpServerError

# The mcp package loads this with the first result that has a schema: 0.8 s, in the middle of a conversation.
importlib.import_module("jsonschema.validators")

logger = logging.getLogger(__name__)

_PAGES_LIMIT = 100
"""Pages of its list of tools that a server may send; one that never ends shall not hang the start."""
_SEND_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 300.0  # tools have limits of their own

Streams = tuple[Any, Any]
OpenStreams = Callable[[Callable[[], None]], AbstractAsyncContextManager[Streams]]
"""Opens the way to a server: gets what to call when the server has hung up, and yields the streams of a session."""


def stdio_server(
    command: str, args: list[str], env: Mapping[str, str] | None, cwd: str | Path | None
) -> "McpConnection":
    """Return a connection to a server that is started as a process of its own and ended with the connection."""
    parameters = StdioServerParameters(command=command, args=args, env=dict(env) if env is not None else None, cwd=cwd)

    @asynccontextmanager
    async def open_streams(hung_up: Callable[[], None]) -> AsyncIterator[Streams]:
        # What the server writes to stderr shall be seen, also where sys.stderr is not a real file (notebooks).
        stderr = cast(TextIO, sys.__stderr__)  # without one, as under pythonw, it is None: the process inherits it
        async with stdio_client(parameters, errlog=stderr) as (reading, writing):
            yield _EndingStream(reading, hung_up), writing

    return McpConnection(command, open_streams)


def http_server(url: str, headers: Mapping[str, str] | None) -> "McpConnection":
    """Return a connection to a server that speaks streamable HTTP."""
    tls = httpx2.create_ssl_context()  # takes 100 ms, which is too long in the middle of a conversation

    @asynccontextmanager
    async def open_streams(_: Callable[[], None]) -> AsyncIterator[Streams]:
        options: dict[str, Any] = {
            "headers": headers,
            "verify": tls,
            "timeout": httpx2.Timeout(_SEND_TIMEOUT_S, read=_ANSWER_TIMEOUT_S),
            "event_hooks": {"response": [_check_credentials]},
        }
        async with (
            httpx2.AsyncClient(**options) as http,
            streamable_http_client(url, http_client=http) as streams,
        ):
            yield streams

    parts = urlsplit(url)
    without_secrets = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    # A server that was started anew does not know our session: it refuses the request and has not run anything.
    return McpConnection(without_secrets, open_streams, session_unknown=INVALID_REQUEST)


async def _check_credentials(response: httpx2.Response) -> None:
    """End the session with a clear error where the ``mcp`` package would only say that there was an error."""
    if response.status_code in (401, 403):
        raise McpServerError(f"it answered {response.status_code} {response.reason_phrase}: check headers=")


class _Session:
    """One session with the server, from beginning to end.

    Attributes:
        client: The session, as long as it can be used.
        failure: Why it could not be opened, or what ended it.
        settled: It can be used, or could not be opened.
        over: It is to end, or has ended.
    """

    def __init__(self) -> None:
        self.client: Client | None = None
        self.failure: BaseException | None = None
        self.settled = asyncio.Event()
        self.over = asyncio.Event()


class McpConnection:
    """A server and, as long as it works, the session with it.

    Args:
        name: What the server is called in messages, until it has said its name.
        open_streams: Opens the way to it.
        session_unknown: The error code by which it says that it does not know the session, if it can forget one.

    Attributes:
        name: What the server is called in messages.
    """

    def __init__(self, name: str, open_streams: OpenStreams, *, session_unknown: int | None = None) -> None:
        self.name = name
        self._open_streams = open_streams
        self._session_unknown = session_unknown
        self._connect_timeout_s = 0.0
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self._session: _Session | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, connect_timeout_s: float) -> None:
        """Connect.

        Args:
            connect_timeout_s: How long connecting may take, in seconds, now and after a loss.

        Raises:
            McpServerError: The server cannot be started or reached, or does not speak MCP.
        """
        self._connect_timeout_s = connect_timeout_s
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        try:
            await self._client()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect; a server that was started is ended. Takes some seconds if it does not want to."""
        self._group = None
        if self._session is not None and self._task is not None:
            self._session.over.set()
            if not self._session.settled.is_set():
                self._task.cancel()
        await self._stack.aclose()

    async def list_tools(self) -> list[Tool]:
        """Return all tools of the server.

        Raises:
            McpServerError: It does not tell.
        """
        client = await self._client()
        tools: list[Tool] = []
        cursor: str | None = None
        try:
            for _ in range(_PAGES_LIMIT):
                page = await client.list_tools(cursor=cursor)
                tools += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    break
        except MCPError as error:
            raise McpServerError(f"The MCP server {self.name!r} does not list its tools: {error}") from error
        return tools

    async def call(self, tool: str, arguments: dict[str, Any], *, repeatable: bool) -> CallToolResult:
        """Call a tool, after connecting again if the connection was lost.

        Args:
            tool: Its name at the server.
            arguments: Its arguments.
            repeatable: Whether it does no harm if the call runs twice. Only then is a call repeated that was under way
                when the connection was lost; one that certainly did not run is always repeated. Either once.

        Raises:
            McpServerError: The server refused the call, cannot be reached, or was lost on the way.
        """
        client = await self._client()
        try:
            return await client.call_tool(tool, arguments)
        except MCPError as error:
            if error.code not in (CONNECTION_CLOSED, self._session_unknown):
                raise self._failed(tool, error) from error
            self._give_up(client, error)
            if error.code == CONNECTION_CLOSED and not repeatable:
                raise self._failed(tool, error) from error
        client = await self._client()
        try:
            return await client.call_tool(tool, arguments)
        except MCPError as error:
            raise self._failed(tool, error) from error

    async def _client(self) -> Client:
        """Return the session that works, after opening one if there is none."""
        if self._group is None:
            raise McpServerError(
                f"The connection to the MCP server {self.name!r} is closed: its tools work inside its 'async with' only"
            )
        if self._session is None or self._session.over.is_set():
            self._session = _Session()
            self._task = self._group.create_task(self._live(self._session), name=f"MCP server {self.name}")
        session = self._session
        await session.settled.wait()
        if session.client is None:
            why = _reason(session.failure)
            raise McpServerError(f"The MCP server {self.name!r} cannot be reached: {why}") from session.failure
        return session.client

    def _give_up(self, client: Client, error: MCPError) -> None:
        """End a session that does not work any more, unless that has happened."""
        if self._session is not None and self._session.client is client:
            self._session.failure = error
            self._session.over.set()

    async def _live(self, session: _Session) -> None:
        """Open a session, keep it until it is over, and close it."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._connect_timeout_s):
                    streams = self._open_streams(session.over.set)
                    client = await stack.enter_async_context(Client(streams))
                self.name = client.server_info.name if client.server_info is not None else self.name
                session.client = client
                session.settled.set()
                await session.over.wait()
        except Exception as error:  # noqa: BLE001 - whoever waits for the session raises it
            session.failure = error
        finally:
            if session.client is not None and self._group is not None:
                why = _reason(session.failure)
                logger.warning("The MCP server %r was lost (%s); the next call connects again", self.name, why)
            session.client = None
            session.over.set()
            session.settled.set()

    def _failed(self, tool: str, error: MCPError) -> McpServerError:
        """Return the exception for a call that failed; the model reads its message."""
        if error.code == CONNECTION_CLOSED:
            return McpServerError(
                f"The MCP server {self.name!r} was lost during this call of {tool!r}, which may have taken effect."
            )
        return McpServerError(f"The MCP server {self.name!r} refused the call: {error}")


class _EndingStream:
    """What a session reads from; tells when the server has hung up."""

    def __init__(self, stream: Any, hung_up: Callable[[], None]) -> None:
        self._stream = stream
        self._hung_up = hung_up

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._stream)
        except StopAsyncIteration:
            self._hung_up()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()


def _reason(failure: BaseException | None) -> str:
    """Return in a few words what went wrong: the cause, without the groups around it."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if failure is None:
        return "it hung up"
    if isinstance(failure, McpServerError | MCPError):
        return str(failure)
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
