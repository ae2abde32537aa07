"""A language model that answers from a script and insists on the rule of the Chat Completions API."""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from rtvoice.llm import (
    AssistantMessage,
    ChatInvokeCompletion,
    ChatModel,
    Function,
    Message,
    ToolCall,
    ToolResultMessage,
)

Step: TypeAlias = Any  # text, a list of calls, a ChatInvokeCompletion, an exception, or an async function giving one


def check_history(messages: list[Message], *, waiting: str | None = None) -> None:
    """Fail unless each tool call has exactly one result before the next message that is none.

    Args:
        messages: A history as it is sent to the API.
        waiting: The one call, in the last assistant message, that may be without a result.
    """
    open_calls: list[str] = []
    for message in messages:
        if isinstance(message, ToolResultMessage):
            assert message.tool_call_id in open_calls, "a result that belongs to no open call"
            open_calls.remove(message.tool_call_id)
            continue
        assert not open_calls, f"calls without a result: {open_calls}"
        if isinstance(message, AssistantMessage):
            assert message.content or message.tool_calls, "an assistant message without anything"
            open_calls = [call.id for call in message.tool_calls]
            assert len({*open_calls}) == len(open_calls), "ids that are not unique"
            assert all(open_calls), "empty ids"
    assert open_calls == ([] if waiting is None else [waiting])


class ScriptedModel(ChatModel):
    def __init__(self, steps: list[Step]) -> None:
        """Does not call the base class, as models of users may not either."""
        self.steps = steps
        self.seen: list[list[Message]] = []
        self.tools: list[dict[str, Any]] = []

    async def invoke(
        self, messages: list[Message], output_format: type[Any] | None = None, **kwargs: Any
    ) -> ChatInvokeCompletion[Any]:
        check_history(messages)
        self.seen.append(messages)
        self.tools = kwargs.pop("tools")
        assert not kwargs
        assert self.steps, "asked more often than expected"
        step = self.steps.pop(0)
        if callable(step):
            step = await step()
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, str):
            return ChatInvokeCompletion(completion=step)
        if isinstance(step, list):
            return ChatInvokeCompletion(completion="", tool_calls=step)
        return step  # type: ignore[no-any-return]

    def texts(self, index: int = -1) -> list[tuple[str, str]]:
        """Role and text of the messages of one request."""
        return [(m.role, str(m.content or "")) for m in self.seen[index]]

    def results(self, index: int = -1) -> dict[str, str]:
        """The tool results in one request, by call id."""
        return {m.tool_call_id: m.content for m in self.seen[index] if isinstance(m, ToolResultMessage)}


@pytest.fixture
def script() -> Callable[..., ScriptedModel]:
    """Make a model that says the given steps."""
    return lambda *steps: ScriptedModel([*steps])


@pytest.fixture(scope="session")
def call() -> Callable[..., ToolCall]:
    """Make a tool call: ``call("c1", "add", a=1)``, or ``call("c1", "add", raw="{broken")``."""

    def make(call_id: str, name: str, *, raw: str | None = None, **arguments: Any) -> ToolCall:
        return ToolCall(
            id=call_id, function=Function(name=name, arguments=json.dumps(arguments) if raw is None else raw)
        )

    return make


@pytest.fixture(scope="session")
def history_is_valid() -> Callable[..., None]:
    return check_history
