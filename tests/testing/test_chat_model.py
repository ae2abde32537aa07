import pytest

from rtvoice.llm import AssistantMessage, Function, Message, ToolResultMessage, UserMessage
from rtvoice.llm import ToolCall as ChatToolCall
from rtvoice.testing import ScriptedChatModel, ToolCall

QUESTION = UserMessage(content="Hello?")
CALLS = AssistantMessage(
    tool_calls=[ChatToolCall(id=call_id, function=Function(name="f", arguments="{}")) for call_id in ("a", "b")]
)
TOOLS = [{"type": "function", "function": {"name": "add", "description": "", "parameters": {}}}]


def result(call_id: str) -> ToolResultMessage:
    return ToolResultMessage(tool_call_id=call_id, content="1")


async def test_texts_calls_and_errors_in_order() -> None:
    model = ScriptedChatModel(
        "Hi.", ToolCall("add", {"a": 1}), [ToolCall("add", call_id="x"), ToolCall("add", "{broken")], OSError("down")
    )
    assert (await model.invoke([QUESTION])).completion == "Hi."
    one = await model.invoke([QUESTION], tools=TOOLS)
    assert [(call.id, call.function.name, call.function.arguments) for call in one.tool_calls] == [
        ("call_1", "add", '{"a":1}')
    ]
    two = await model.invoke([QUESTION])
    assert [(call.id, call.function.arguments) for call in two.tool_calls] == [("x", "{}"), ("call_2", "{broken")]
    with pytest.raises(OSError, match="down"):
        await model.invoke([QUESTION])
    with pytest.raises(LookupError, match="no further answer"):
        await model.invoke([QUESTION])
    assert model.tools == [[], ["add"], [], [], []]
    assert model.requests == [[QUESTION]] * 5


async def test_functions_of_the_messages() -> None:
    async def slow(messages: list[Message]) -> ToolCall:
        return ToolCall("add", {"n": len(messages)})

    model = ScriptedChatModel(lambda messages: str(messages[-1].content), slow)
    assert (await model.invoke([QUESTION])).completion == "Hello?"
    assert (await model.invoke([QUESTION])).tool_calls[0].function.arguments == '{"n":1}'


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([QUESTION, CALLS], "these calls have no result: a, b"),
        ([QUESTION, CALLS, result("b"), QUESTION, result("a")], "these calls have no result: a"),
        ([QUESTION, CALLS, result("a"), result("b"), result("b")], "'b' follows no such call"),
        ([result("a")], "'a' follows no such call"),
    ],
)
async def test_histories_that_the_api_refuses(messages: list[Message], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        await ScriptedChatModel("Hi.").invoke(messages)


async def test_a_history_that_is_right() -> None:
    model = ScriptedChatModel("Hi.")
    assert (await model.invoke([QUESTION, CALLS, result("b"), result("a"), QUESTION])).completion == "Hi."
