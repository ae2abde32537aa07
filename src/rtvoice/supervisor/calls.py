"""What a supervisor has to know about the tool calls of its language model; pure functions."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from rtvoice.errors import ToolArgumentsError
from rtvoice.llm import AssistantMessage, Message, ToolCall, ToolResultMessage


def _ending_tool(name: str, description: str, parameter: str, meaning: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {parameter: {"type": "string", "description": meaning}},
        "required": [parameter],
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


ENDING_TOOLS = {
    "done": _ending_tool(
        "done",
        "Finish the task. Call it once everything is done, or when it turns out to be impossible.",
        "result",
        "What was achieved, with all facts that the user should hear. It will be read out: plain sentences.",
    ),
    "clarify": _ending_tool(
        "clarify",
        "Ask the user something without which you cannot go on. The work pauses until the answer is here.",
        "question",
        "One short question, as it should be spoken.",
    ),
}
"""The tools by which the model ends a turn of work, as Chat Completions tools, by name."""


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What came of one call. For ``done`` and ``clarify`` the text is theirs, else it is the result for the model."""

    text: str
    success: bool = True
    ends_with: str | None = None


def with_unique_ids(calls: list[ToolCall]) -> list[ToolCall]:
    """Give an id to calls that have none or somebody else's, as some servers send them."""
    unique: dict[str, ToolCall] = {}
    for call in calls:
        call_id = call.id if call.id and call.id not in unique else f"call_{uuid.uuid4().hex}"
        unique[call_id] = call.model_copy(update={"id": call_id})
    return [*unique.values()]


def decode_arguments(call: ToolCall) -> dict[str, Any]:
    """Return the arguments of a call; none at all and ``null`` count as an empty object.

    Raises:
        ToolArgumentsError: They are not a JSON object; the message is written for the model.
    """
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise ToolArgumentsError(
            f"The arguments of {call.function.name} are not valid JSON ({error}). Call it again with a JSON object, or "
            "go on without it."
        ) from error
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise ToolArgumentsError(
            f"The arguments of {call.function.name} have to be a JSON object. Call it again, or go on without it."
        )
    return arguments


def ending_text(name: str, arguments: dict[str, Any]) -> str:
    """Return what ``done`` or ``clarify`` was called with.

    Raises:
        ToolArgumentsError: Nothing was; the message is written for the model.
    """
    (parameter,) = ENDING_TOOLS[name]["function"]["parameters"]["required"]
    value = arguments.get(parameter)
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    if not text.strip():
        raise ToolArgumentsError(f"{name} needs {parameter!r}, a text that is not empty. Call it again.")
    return text


def unanswered_calls(history: list[Message]) -> set[str]:
    """Return the ids of the calls in the last assistant message that have no result yet."""
    answered = set()
    for message in reversed(history):
        if isinstance(message, ToolResultMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AssistantMessage):
            return {call.id for call in message.tool_calls} - answered
    return set()
