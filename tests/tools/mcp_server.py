"""A small MCP server for the tests, over stdio or, with a port as argument, over streamable HTTP on 127.0.0.1.

Over HTTP it prints its port when it listens. With a second argument ``2025`` it only speaks the protocol of that year,
with sessions that a new process does not know. The environment variable TOKEN, if set, is the bearer token to send.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel

server = MCPServer("weather-desk", log_level="ERROR")


class Place(BaseModel):
    """Where."""

    city: str
    inside: "Place | None" = None


class Report(BaseModel):
    city: str
    degrees: float


@server.tool(description="Current weather of a city", annotations=ToolAnnotations(read_only_hint=True))
async def weather(city: str) -> str:
    return f"18 degrees in {city}"


@server.tool(name="report.full")
async def report(place: Place) -> Report:
    return Report(city=place.city, degrees=18.5)


@server.tool()
async def fail(why: str) -> str:
    raise ToolError(why)


@server.tool()
async def wait_for_ever(started: str) -> str:
    """Write a file, then wait until the call is cancelled, and write another one."""
    await anyio.Path(started).write_text("started")
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(f"{started}.cancelled").touch()
    return "never"


@server.tool()
async def die() -> str:
    """End the process in the middle of the call."""
    os._exit(3)


@server.tool()
async def pid() -> str:
    return str(os.getpid())


@server.tool()
async def surroundings() -> str:
    return json.dumps({"cwd": str(Path.cwd()), "COLOR": os.environ.get("COLOR"), "argv": sys.argv[1:]})


@server.tool(structured_output=False)
async def picture() -> list[Any]:
    return ["Here it is:", Image(data=b"x" * 1500, format="png")]


@server.tool()
async def nothing() -> None:
    return None


async def listen(port: int, *, with_sessions: bool) -> None:
    import uvicorn

    app: Any = server.streamable_http_app()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(_guarded(app, with_sessions=with_sessions), log_level="error", lifespan="on")
    await uvicorn.Server(config).serve(sockets=[listener])


def _guarded(app: Any, *, with_sessions: bool) -> Any:
    """Refuse requests without the token, and those that only newer servers understand."""
    wanted = f"Bearer {os.environ['TOKEN']}".encode() if "TOKEN" in os.environ else None

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        message = await receive()
        if wanted and dict(scope["headers"]).get(b"authorization") != wanted:
            await _refuse(send, 401)
        elif with_sessions and b'"server/discover"' in message.get("body", b""):
            await _refuse(send, 400)
        else:
            messages = [message]
            await app(scope, lambda: _first(messages, receive), send)

    return guard


async def _first(messages: list[Any], receive: Any) -> Any:
    return messages.pop() if messages else await receive()


async def _refuse(send: Any, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].isdecimal():
        asyncio.run(listen(int(sys.argv[1]), with_sessions="2025" in sys.argv))
    else:
        server.run("stdio")
