"""Replies by a language model behind any Chat Completions server: Ollama, llama.cpp, vLLM, LM Studio, OpenAI."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from rtvoice.llm import (
    AssistantMessage,
    ChatModel,
    ContentPartImageParam,
    ContentPartTextParam,
    Function,
    ImageURL,
    Message,
    SystemMessage,
    ToolResultMessage,
    UserMessage,
)
from rtvoice.llm import ToolCall as ChatToolCall
from rtvoice.local.thoughts import SpokenPart
from rtvoice.testing.script import ReplyRequest, ToolCall

_SPOKEN: Final = "Your words are spoken aloud: answer in short sentences, without lists, Markdown or emoji."
_GO_ON: Final = "(Go on as your instructions say.)"
_NO_RESULT: Final = "(no result yet)"


class ChatReplies:
    """A ``ReplyEngine`` that asks a chat model, and passes its words on while it is still writing.

    Example::

        model = ChatOpenAI("qwen3:4b", base_url="http://127.0.0.1:11434/v1")
        async with model, LocalServer(ChatReplies(model)) as server:
            ...

    Args:
        model: The model; whoever made it closes it.
    """

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[str | ToolCall, None]:
        """Answer with the model's words as they come, then with the tools that it wants called."""
        messages = list(_messages(request))
        tools = [_chat_tool(tool) for tool in request.tools if tool["type"] == "function"]
        if request.tool_choice == "none":
            tools = []
        spoken = SpokenPart()
        stream = self._model.stream_with_tools(messages, tools, _chat_tool_choice(request.tool_choice))
        async with aclosing(stream) as parts:
            async for part in parts:
                if isinstance(part, str):
                    if words := spoken.feed(part):
                        yield words
                else:
                    # The id is the server's business: some models use the same one in every answer.
                    yield ToolCall(part.function.name, part.function.arguments or "{}")
        if words := spoken.finish():
            yield words


def _messages(request: ReplyRequest) -> Iterator[Message]:
    """Yield the conversation as a chat model wants it."""
    hint = [_SPOKEN] if list(request.output_modalities) == ["audio"] else []
    yield SystemMessage(content="\n\n".join([request.instructions, *hint]))
    calls = {item["call_id"]: item for item in request.items if item["type"] == "function_call"}
    answered = {item["call_id"] for item in request.items if item["type"] == "function_call_output"}
    last: Message | None = None
    for item in request.items:
        if item["type"] == "message":
            last = _message(item)
        elif item["type"] == "function_call_output" and item["call_id"] in calls:
            # A chat model wants a result right behind its call; here something may have been said between them.
            yield _call(calls[item["call_id"]])
            last = ToolResultMessage(tool_call_id=item["call_id"], content=item["output"])
        elif item["type"] == "function_call" and item["call_id"] not in answered:
            yield _call(item)
            last = ToolResultMessage(tool_call_id=item["call_id"], content=_NO_RESULT)
        else:
            continue
        if last is not None:
            yield last
    if not isinstance(last, UserMessage | ToolResultMessage):  # most models answer nothing else
        yield UserMessage(content=_GO_ON)


def _message(item: Mapping[str, Any]) -> Message | None:
    text = " ".join(filter(None, (part.get("text") or part.get("transcript") for part in item["content"])))
    images = [part["image_url"] for part in item["content"] if part["type"] == "input_image"]
    if item["role"] == "system":
        return SystemMessage(content=text)
    if item["role"] == "assistant":
        return AssistantMessage(content=text) if text else None  # cut off before anything of it was heard
    if images:
        pictures = [ContentPartImageParam(image_url=ImageURL(url=url)) for url in images]
        return UserMessage(content=[*([ContentPartTextParam(text=text)] if text else []), *pictures])
    return UserMessage(content=text or "(The user said something that could not be understood.)")


def _call(item: Mapping[str, Any]) -> AssistantMessage:
    function = Function(name=item["name"], arguments=item["arguments"])
    return AssistantMessage(tool_calls=[ChatToolCall(id=item["call_id"], function=function)])


def _chat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _chat_tool_choice(choice: Any) -> str | dict[str, Any]:
    if isinstance(choice, Mapping):
        return {"type": "function", "function": {"name": choice["name"]}} if "name" in choice else "auto"
    return str(choice)
