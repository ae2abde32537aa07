from typing import Any

import pytest

from rtvoice.llm import (
    AssistantMessage,
    ChatInvokeCompletion,
    ChatInvokeUsage,
    ChatModel,
    Function,
    Message,
    ToolCall,
    UserMessage,
)


class Echo(ChatModel):
    """The least that a chat model has to be."""

    async def invoke(
        self, messages: list[Message], output_format: type[Any] | None = None, **kwargs: Any
    ) -> ChatInvokeCompletion[str]:
        return ChatInvokeCompletion(completion=f"You said: {messages[-1].content}")


class Own(Echo):
    def __init__(self) -> None:
        """Does not call the base class."""


def test_is_abstract_only_in_invoke() -> None:
    assert ChatModel.__abstractmethods__ == {"invoke"}


async def test_subclass_with_nothing_but_invoke() -> None:
    async with Own() as model:
        assert isinstance(model, Own)
        assert (await model.invoke([UserMessage(content="hi")])).completion == "You said: hi"
    assert (model.timeout, model.max_retries, model.max_tokens) == (60.0, 2, None)
    with pytest.raises(NotImplementedError, match="Own does not stream"):
        model.stream([])


async def test_a_model_that_cannot_stream_gives_all_at_once() -> None:
    call = ToolCall(id="a", function=Function(name="look", arguments="{}"))
    asked: list[dict[str, Any]] = []

    class Caller(ChatModel):
        async def invoke(
            self, messages: list[Message], output_format: type[Any] | None = None, **kwargs: Any
        ) -> ChatInvokeCompletion[str]:
            asked.append(kwargs)
            return ChatInvokeCompletion(completion="" if kwargs else "Hi.", tool_calls=[call] if kwargs else [])

    model, tool = Caller(), {"type": "function", "function": {"name": "look"}}
    assert [part async for part in model.stream_with_tools([], [tool], "required")] == [call]
    assert [part async for part in model.stream_with_tools([], [])] == ["Hi."]
    assert asked == [{"tools": [tool], "tool_choice": "required"}, {}]


def test_settings() -> None:
    model = Echo(10, 0.5, 0.9, 0.1, 0.2, ["."], 7, {"type": "json_object"}, 5.0, 1, reasoning_effort="low")
    assert vars(model) == {
        "max_tokens": 10,
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "stop": ["."],
        "seed": 7,
        "response_format": {"type": "json_object"},
        "timeout": 5.0,
        "max_retries": 1,
        "extra_parameters": {"reasoning_effort": "low"},
    }


def test_completion_defaults() -> None:
    message = AssistantMessage(content="any object")
    completion: ChatInvokeCompletion[AssistantMessage] = ChatInvokeCompletion(completion=message)
    assert completion.completion is message
    assert (completion.thinking, completion.redacted_thinking) == (None, None)
    assert (completion.usage, completion.stop_reason, completion.tool_calls) == (None, None, [])


def test_usage_adds_up() -> None:
    plain = ChatInvokeUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    cached = ChatInvokeUsage(prompt_tokens=10, completion_tokens=20, total_tokens=30, prompt_cached_tokens=5)
    assert plain.prompt_cached_tokens is None
    assert plain + cached == ChatInvokeUsage(
        prompt_tokens=11, completion_tokens=22, total_tokens=33, prompt_cached_tokens=5
    )
    assert (plain + plain).prompt_cached_tokens is None
