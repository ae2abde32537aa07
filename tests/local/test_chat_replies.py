"""A language model behind a Chat Completions server: in a small one on 127.0.0.1."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import openai
import pytest
from tests.llm.conftest import ChatServer
from tests.local.conftest import request, said, tool

from rtvoice.llm import ChatOpenAI
from rtvoice.local import ChatReplies
from rtvoice.testing import ReplyRequest, ToolCall

WEATHER = tool("get_weather", "Current weather of a city", city={"type": "string"})
CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Berlin"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees"}


def chunk(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


def call(index: int, arguments: str | None) -> dict[str, Any]:
    return {"index": index, "id": f"id_{index}", "function": {"name": "get_weather", "arguments": arguments}}


@pytest.fixture
async def replies(chat_server: ChatServer) -> AsyncIterator[ChatReplies]:
    async with ChatOpenAI("a-model", base_url=f"{chat_server.url}/v1", max_retries=0) as model:
        yield ChatReplies(model)


async def parts(replies: ChatReplies, asked: ReplyRequest) -> list[str | ToolCall]:
    return [part async for part in replies.reply(asked)]


async def test_words_come_as_they_are_written_and_then_the_calls(chat_server: ChatServer, replies: ChatReplies) -> None:
    chat_server.will_stream(
        chunk(content="<think>Hm."),
        chunk(content="</think>One "),
        chunk(content="moment."),
        chunk(tool_calls=[call(0, '{"city":"Rome"}')]),
        chunk(tool_calls=[call(1, None)]),
    )
    assert await parts(replies, request(said("How is the weather in Rome?"), [WEATHER])) == [
        "One ",
        "moment.",
        ToolCall("get_weather", '{"city":"Rome"}'),
        ToolCall("get_weather", "{}"),
    ]
    body = chat_server.body
    system, user = body["messages"]
    assert system["content"].startswith("Be brief.\n\nYour words are spoken aloud")
    assert user == {"role": "user", "content": "How is the weather in Rome?"}
    function = {key: WEATHER[key] for key in ("name", "description", "parameters")}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert (body["stream"], body["tool_choice"]) == (True, "auto")


async def test_an_end_that_only_looks_like_a_thought_is_said(chat_server: ChatServer, replies: ChatReplies) -> None:
    chat_server.will_stream(chunk(content="1 <"))
    assert await parts(replies, request(said("Hi."), modalities=["text"])) == ["1 ", "<"]
    assert chat_server.body["messages"][0] == {"role": "system", "content": "Be brief."}


async def messages(chat_server: ChatServer, replies: ChatReplies, asked: ReplyRequest) -> list[dict[str, Any]]:
    chat_server.will_stream(chunk(content="Yes."))
    await parts(replies, asked)
    told: list[dict[str, Any]] = chat_server.body["messages"][1:]
    return told


async def test_a_result_stands_right_behind_its_call(chat_server: ChatServer, replies: ChatReplies) -> None:
    question, holding = said("How is the weather?", "One moment.")
    told = await messages(chat_server, replies, request([question, CALL, holding, OUTPUT]))
    assert [message["role"] for message in told] == ["user", "assistant", "assistant", "tool"]
    assert told[2]["tool_calls"][0] == {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city":"Berlin"}'},
    }
    assert told[3] == {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"}


async def test_a_call_without_a_result_yet(chat_server: ChatServer, replies: ChatReplies) -> None:
    orphan = {**OUTPUT, "call_id": "call_0"}
    told = await messages(chat_server, replies, request([*said("How is the weather?"), CALL, orphan]))
    assert [message["role"] for message in told] == ["user", "assistant", "tool"]
    assert told[2]["content"] == "(no result yet)"


async def test_texts_images_and_silence(chat_server: ChatServer, replies: ChatReplies) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}

    def message(role: str, *content: dict[str, Any]) -> dict[str, Any]:
        return {"type": "message", "role": role, "content": list(content)}

    items = [
        message("system", {"type": "input_text", "text": "It is night."}),
        message("user", {"type": "input_text", "text": "What is it?"}, image),
        message("assistant", {"type": "output_audio"}),  # truncated before a word was heard
        message("assistant", {"type": "output_text", "text": "A square."}),
        message("user", image),
        message("user", {"type": "input_audio", "transcript": None}),
        {"type": "mcp_list_tools"},
    ]
    told = await messages(chat_server, replies, request(items))
    picture = {"type": "image_url", "image_url": {"url": image["image_url"], "detail": "auto"}}
    assert told == [
        {"role": "system", "content": "It is night."},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]},
        {"role": "assistant", "content": "A square."},
        {"role": "user", "content": [picture]},
        {"role": "user", "content": "(The user said something that could not be understood.)"},
    ]


@pytest.mark.parametrize("items", [[], said("Hi.", "Hello.")])
async def test_a_model_always_has_somebody_to_answer(
    items: list[Any],
    chat_server: ChatServer,
    replies: ChatReplies,
) -> None:
    told = await messages(chat_server, replies, request(items))
    assert told[-1] == {"role": "user", "content": "(Go on as your instructions say.)"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        ({"type": "function", "name": "get_weather"}, {"type": "function", "function": {"name": "get_weather"}}),
        ({"type": "mcp", "server_label": "docs"}, "auto"),
        ("none", None),
    ],
)
async def test_tool_choice(choice: Any, sent: Any, chat_server: ChatServer, replies: ChatReplies) -> None:
    tools = [WEATHER, {"type": "mcp", "server_label": "docs"}]
    await messages(chat_server, replies, request(said("Hi."), tools, tool_choice=choice))
    assert chat_server.body.get("tool_choice") == sent
    assert len(chat_server.body.get("tools", ())) == (0 if sent is None else 1)


async def test_nobody_listens_any_more(chat_server: ChatServer, replies: ChatReplies) -> None:
    chat_server.will_stream(chunk(content="A long story"), stall=True)
    async with aclosing(replies.reply(request(said("Tell me a story.")))) as pieces:
        assert await anext(pieces) == "A long story"
    await chat_server.all_closed()  # the model stops writing


async def test_what_the_server_complains_about(chat_server: ChatServer, replies: ChatReplies) -> None:
    chat_server.will_fail(404, "no such model")
    with pytest.raises(openai.NotFoundError, match="no such model"):
        await parts(replies, request(said("Hi.")))
