"""The function tools by which a realtime model deals with a supervisor."""

from collections.abc import Mapping
from typing import Any, Final

from rtvoice.supervisor.loop import Supervisor
from rtvoice.supervisor.text_agent import TextAgent

CANCEL_TOOL: Final = "cancel_supervisor"
UPDATE_TOOL: Final = "update_supervisor"

_CANCEL_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": CANCEL_TOOL,
    "description": "Give up the task that the supervisor is working on or asking about, because the user no longer "
    "wants it.",
    "parameters": {"type": "object", "properties": {}, "required": []},
}
_UPDATE_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": UPDATE_TOOL,
    "description": "Tell the working supervisor something new from the user: a change, a correction, a further wish.",
    "parameters": {
        "type": "object",
        "properties": {"message": {"type": "string", "description": "What the user has added or changed."}},
        "required": ["message"],
    },
}


def reserved_names(supervisor: Supervisor[Any]) -> frozenset[str]:
    """Return the names of all tools by which the realtime model deals with the supervisor."""
    return frozenset({supervisor.name, CANCEL_TOOL, UPDATE_TOOL} if _is_controllable(supervisor) else {supervisor.name})


def delegation_schema(supervisor: Supervisor[Any]) -> dict[str, Any]:
    """Return the function tool by which the realtime model delegates."""
    description = supervisor.description
    if supervisor.handoff_instructions:
        description += f"\n\nHow to hand over: {supervisor.handoff_instructions}"
    properties = {
        "task": {
            "type": "string",
            "description": "The whole task in your own words, with every detail the user has given.",
        },
    }
    if _is_controllable(supervisor):
        properties["clarification_answer"] = {
            "type": "string",
            "description": "The user's answer, only when the supervisor has asked for it; otherwise leave it out.",
        }
    return {
        "type": "function",
        "name": supervisor.name,
        "description": description,
        "parameters": {"type": "object", "properties": properties, "required": ["task"]},
    }


def control_schemas(supervisor: Supervisor[Any], *, cancel: bool, update: bool) -> list[Mapping[str, Any]]:
    """Return the function tools by which it cancels and updates a task; a `TextAgent` has none.

    Args:
        supervisor: The supervisor.
        cancel: Whether there is something to cancel.
        update: Whether there is something to update.
    """
    return [_CANCEL_SCHEMA] * cancel + [_UPDATE_SCHEMA] * update if _is_controllable(supervisor) else []


def _is_controllable(supervisor: Supervisor[Any]) -> bool:
    """Whether the model may answer, cancel and update; a `TextAgent` runs as an ordinary tool."""
    return not isinstance(supervisor, TextAgent)
