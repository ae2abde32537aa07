"""An MCP server over stdio that is written by hand, and behaves as its argument says.

``silent`` never answers, ``no-list`` refuses to list its tools, ``endless`` has always one more page of them, ``twins``
has two tools with almost the same name, ``plain`` is well-behaved.
"""

import json
import sys
from pathlib import Path
from typing import Any

BEHAVIOUR = sys.argv[1]


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


TOOLS = {
    "twins": [tool("a.b"), tool("a/b")],
    "plain": [
        tool("search", title="Finds things"),
        tool("delete", description="Deletes things", annotations={"destructiveHint": True}),
        tool("x" * 70),
        tool("die"),
        tool("die_once", annotations={"idempotentHint": True}),
    ],
}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        return {
            "result": {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "odd", "version": "1"},
            }
        }
    if method == "tools/list" and BEHAVIOUR == "endless":
        number = int(params.get("cursor", "0"))
        return {"result": {"tools": [tool(f"tool_{number}")], "nextCursor": str(number + 1)}}
    if method == "tools/list" and BEHAVIOUR in TOOLS:
        return {"result": {"tools": TOOLS[BEHAVIOUR]}}
    if method == "tools/call" and params["name"] == "die":
        sys.exit()
    if method == "tools/call" and params["name"] == "die_once":
        marker = Path(params["arguments"]["marker"])
        if not marker.exists():
            marker.touch()
            sys.exit()
        return {"result": {"content": [{"type": "text", "text": "alive again"}]}}
    if method == "tools/call" and params["name"] == "search":
        return {"result": {"content": [], "isError": True}}
    return {"error": {"code": -32601, "message": f"no {method}"}}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and BEHAVIOUR != "silent":
        reply = {"jsonrpc": "2.0", "id": message["id"], **answer(message["method"], message.get("params", {}))}
        print(json.dumps(reply), flush=True)
