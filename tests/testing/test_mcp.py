"""MCP servers: import of tools, calls, approval. The sequences 16 to 18 show the order of events."""

from typing import Any

import pytest

from rtvoice.testing import Hold, McpCall, RealtimeEmulator, Reply

SEARCH = {"name": "search", "input_schema": {"type": "object"}}
DELETE = {"name": "delete", "input_schema": {"type": "object"}}
SERVERS = {"notes": [SEARCH, DELETE]}


def tool(**more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": "notes", "server_url": "https://mcp.example.com", **more}


@pytest.mark.parametrize(
    ("allowed", "listed"),
    [(None, ["search", "delete"]), (["search"], ["search"]), ({"tool_names": ["delete"]}, ["delete"])],
)
async def test_allowed_tools(dial: Any, allowed: Any, listed: list[str]) -> None:
    async with RealtimeEmulator(mcp_servers=SERVERS) as server, dial(server) as client:
        await client.update(tools=[tool(allowed_tools=allowed)])
        done = await client.until("conversation.item.done")
        assert [offered["name"] for offered in done["item"]["tools"]] == listed
        await client.until("mcp_list_tools.completed")


async def test_tools_are_imported_once(dial: Any) -> None:
    async with RealtimeEmulator(mcp_servers=SERVERS) as server, dial(server) as client:
        for _ in range(2):
            await client.update(tools=[tool()])
            await client.until("session.updated")
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        assert client.types().count("mcp_list_tools.in_progress") == 1


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ("never", False),
        ("always", True),
        (None, True),
        ({"never": {"tool_names": ["search"]}}, False),
        ({"never": {"tool_names": ["delete"]}}, True),
        ({"always": {"tool_names": ["search"]}}, True),
    ],
)
async def test_when_approval_is_asked(dial: Any, rule: Any, asked: bool) -> None:
    call = McpCall("notes", "search", output="tea")
    async with RealtimeEmulator([Reply("Tea.", calls=[call])], mcp_servers=SERVERS) as server, dial(server) as client:
        extra = {"type": "function", "name": "f"}
        await client.update(tools=[extra, tool() if rule is None else tool(require_approval=rule)])
        await client.send("response.create")
        done = await client.until("response.done")
        kinds = [item["type"] for item in done["response"]["output"]]
        assert kinds == (["mcp_approval_request"] if asked else ["mcp_call", "message"])


async def test_a_server_that_is_not_in_the_tools_needs_approval(dial: Any) -> None:
    async with RealtimeEmulator([Reply(calls=[McpCall("notes", "search")])]) as server, dial(server) as client:
        await client.send("response.create")
        done = await client.until("response.done")
        assert done["response"]["output"][0]["type"] == "mcp_approval_request"


async def test_a_refused_call_is_not_made_and_an_approved_one_waits_for_its_turn(dial: Any) -> None:
    hold = Hold(100)
    calls = Reply("Found.", calls=[McpCall("notes", "search", output="tea")])
    replies = [calls, calls, Reply("Meanwhile.", hold=hold)]
    async with RealtimeEmulator(replies, mcp_servers=SERVERS) as server, dial(server) as client:
        await client.update(tools=[tool()])
        requests = []
        for _ in range(2):
            await client.send("response.create")
            requests.append((await client.until("response.done"))["response"]["output"][0]["id"])
        answer = {"type": "mcp_approval_response"}
        item = {**answer, "approval_request_id": requests[0], "approve": False}
        await client.send("conversation.item.create", item=item)
        await client.send("response.create")
        await hold.reached()
        client.clear()
        item = {**answer, "approval_request_id": requests[1], "approve": True}
        await client.send("conversation.item.create", item=item)
        await server.received("conversation.item.create", lambda event: event["item"]["approve"])
        hold.release()
        await client.until("response.done")
        done = (await client.until("response.done"))["response"]
        call, message = done["output"]
        assert (call["approval_request_id"], call["output"]) == (requests[1], "tea")
        assert message["content"][0]["transcript"] == "Found."
        assert server.current.active_response is None


async def test_an_mcp_call_can_be_cancelled(dial: Any) -> None:
    call = McpCall("notes", "search", {"q": "x" * 3000})
    async with RealtimeEmulator([Reply(calls=[call])], mcp_servers=SERVERS) as server, dial(server) as client:
        await client.update(tools=[tool(require_approval="never")])
        await client.send("response.create")
        await server.sent("response.mcp_call_arguments.delta")
        server.current.speech_started()
        done = (await client.until("response.done"))["response"]
        assert (done["status"], done["output"][0]["output"]) == ("cancelled", None)
