"""MCP servers as the Realtime service would use them (protocol page, section 7.10). Nothing is contacted."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rtvoice.testing.conversation import Item
from rtvoice.testing.script import McpCall, Reply

if TYPE_CHECKING:
    from rtvoice.testing.session import EmulatedSession

McpServers = Mapping[str, Sequence[Mapping[str, Any]]]
"""The tools (``name``, ``description``, ``input_schema``) of each MCP server, by its label."""


class McpTools:
    """The MCP side of one session.

    Args:
        session: The session.
        servers: The servers that can be reached; importing tools of any other fails.
    """

    def __init__(self, session: "EmulatedSession", servers: McpServers) -> None:
        self._session = session
        self._servers = servers
        self._imported: set[str] = set()
        self._pending: dict[str, Reply] = {}

    def import_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """List the tools of the MCP servers that are new in a session's tools."""
        for tool in tools:
            if tool["type"] != "mcp" or tool["server_label"] in self._imported:
                continue
            self._imported.add(tool["server_label"])
            self._import(tool)

    def _import(self, tool: Mapping[str, Any]) -> None:
        label = tool["server_label"]
        item_id = self._session.new_id("item")
        item = Item({"id": item_id, "type": "mcp_list_tools", "server_label": label, "tools": []})
        self._session.emit("mcp_list_tools.in_progress", item_id=item_id)
        self._session.add_item(item)
        if label not in self._servers:
            self._session.emit("mcp_list_tools.failed", item_id=item_id)
            return
        wanted = tool.get("allowed_tools")
        if isinstance(wanted, Mapping):
            wanted = wanted.get("tool_names")
        item.data["tools"] = [
            dict(offered) for offered in self._servers[label] if wanted is None or offered["name"] in wanted
        ]
        self._session.emit_item_done(item)
        self._session.emit("mcp_list_tools.completed", item_id=item_id)

    def needs_approval(self, call: McpCall) -> bool:
        """Return whether the session's tools ask for approval of this call; the default is to ask."""
        for tool in self._session.config["tools"]:
            if tool["type"] == "mcp" and tool["server_label"] == call.server_label:
                rule = tool.get("require_approval")
                if isinstance(rule, Mapping):
                    return call.name not in (rule.get("never") or {}).get("tool_names", ())
                return bool(rule != "never")
        return True

    def ask(self, request_id: str, rest: Reply) -> None:
        """Remember what is to be done once the request is approved."""
        self._pending[request_id] = rest

    def answer(self, response_item: Mapping[str, Any]) -> Reply | None:
        """Return what is to be done after an ``mcp_approval_response``, if it approves a known request."""
        reply = self._pending.pop(response_item["approval_request_id"], None)
        return reply if response_item["approve"] else None
