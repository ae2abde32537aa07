import json
from typing import Any

import pytest

from rtvoice.errors import ToolArgumentsError
from rtvoice.llm import AssistantMessage, Function, Message, SystemMessage, ToolCall, ToolResultMessage, UserMessage
from rtvoice.supervisor.calls import (
    ENDING_TOOLS,
    decode_arguments,
    ending_text,
    unanswered_calls,
    with_unique_ids,
)


def tool_call(call_id: str, arguments: str = "") -> ToolCall:
    return ToolCall(id=call_id, function=Function(name="f", arguments=arguments))


def test_ending_tools_are_chat_completions_tools() -> None:
    for name, parameter in {"done": "result", "clarify": "question"}.items():
        tool = ENDING_TOOLS[name]
        assert (tool["type"], tool["function"]["name"]) == ("function", name)
        assert tool["function"]["description"]
        assert tool["function"]["parameters"]["required"] == [parameter]
        assert tool["function"]["parameters"]["properties"][parameter]["type"] == "string"
    json.dumps(ENDING_TOOLS)


def test_ids_become_unique_and_stay_when_they_are() -> None:
    calls = [tool_call("a"), tool_call(""), tool_call("a"), tool_call("b"), tool_call("")]
    unique = with_unique_ids(calls)
    assert [call.function for call in unique] == [call.function for call in calls]
    ids = [call.id for call in unique]
    assert len({*ids}) == 5
    assert "" not in ids
    assert (ids[0], ids[3]) == ("a", "b")
    assert calls[1].id == ""


@pytest.mark.parametrize(("text", "arguments"), [("", {}), ("null", {}), ("{}", {}), ('{"a": 1}', {"a": 1})])
def test_arguments(text: str, arguments: dict[str, Any]) -> None:
    assert decode_arguments(tool_call("1", text)) == arguments


@pytest.mark.parametrize("text", ["{", "nope", "[" * 100_000])
def test_arguments_that_are_not_json(text: str) -> None:
    with pytest.raises(ToolArgumentsError, match=r"arguments of f are not valid JSON .*go on without"):
        decode_arguments(tool_call("1", text))


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "false"])
def test_arguments_that_are_no_object(text: str) -> None:
    with pytest.raises(ToolArgumentsError, match=r"arguments of f have to be a JSON object.*go on without"):
        decode_arguments(tool_call("1", text))


def test_ending_text() -> None:
    assert ending_text("done", {"result": "Booked."}) == "Booked."
    assert ending_text("done", {"result": {"table": 4, "who": "Åsa"}}) == '{"table": 4, "who": "Åsa"}'
    assert ending_text("clarify", {"question": "When?", "other": 1}) == "When?"


@pytest.mark.parametrize("arguments", [{}, {"result": None}, {"result": " "}, {"question": "x"}])
def test_ending_without_text(arguments: dict[str, Any]) -> None:
    with pytest.raises(ToolArgumentsError, match="done needs 'result'"):
        ending_text("done", arguments)


def test_unanswered_calls() -> None:
    history: list[Message] = [SystemMessage(content="x"), UserMessage(content="y")]
    assert unanswered_calls([]) == unanswered_calls(history) == set()
    history.append(AssistantMessage(tool_calls=[tool_call("a"), tool_call("b")]))
    assert unanswered_calls(history) == {"a", "b"}
    history.append(ToolResultMessage(tool_call_id="b", content=""))
    assert unanswered_calls(history) == {"a"}
    assert unanswered_calls([*history, AssistantMessage(content="later")]) == set()
