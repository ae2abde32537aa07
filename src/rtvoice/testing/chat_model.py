"""A language model that answers from a script, for supervisors under test."""

import inspect
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from rtvoice.llm import (
    AssistantMessage,
    ChatInvokeCompletion,
    ChatModel,
    Function,
    Message,
    ToolResultMessage,
)
from rtvoice.llm import ToolCall as ChatToolCall
from rtvoice.testing.script import ToolCall

T = TypeVar("T")

Answer: TypeAlias = str | ToolCall | Sequence[ToolCall] | Exception
"""Text, calls that are made together, or an error to raise."""
ScriptedAnswer: TypeAlias = Answer | Callable[[list[Message]], Answer | Awaitable[Answer]]


class ScriptedChatModel(ChatModel):
    """Gives scripted answers, and keeps the rule of the Chat Completions API that each call gets one result.

    Example::

        llm = ScriptedChatModel(
            ToolCall("clarify", {"question": "For how many people?"}),
            ToolCall("book_table", {"people": 4}),
            "A table for four is booked.",
        )
        supervisor = Supervisor(description="Books tables.", instructions="Book it.", tools=tools, llm=llm)

    Args:
        *answers: One for each request: a text, a ``ToolCall`` or several that are made together, an exception to
            raise, or a function of the messages, sync or async, that gives one of those.

    Attributes:
        requests: The messages of every request, in order.
        tools: The names of the tools that were offered with each request.
    """

    def __init__(self, *answers: ScriptedAnswer) -> None:
        super().__init__()
        self.requests: list[list[Message]] = []
        self.tools: list[list[str]] = []
        self._answers = deque(answers)
        self._ids = itertools.count(1)

    async def invoke(
        self, messages: list[Message], output_format: type[T] | None = None, **kwargs: Any
    ) -> ChatInvokeCompletion[Any]:
        """Give the next answer.

        Raises:
            ValueError: The API would refuse the messages: a call has no result, or a result has no call.
            LookupError: The script has no further answer.
            Exception: The script says so.
        """
        self.requests.append(list(messages))
        self.tools.append([tool["function"]["name"] for tool in kwargs.get("tools") or ()])
        _check(messages)
        if not self._answers:
            raise LookupError("the script of this ScriptedChatModel has no further answer")
        scripted = self._answers.popleft()
        answer: Any = scripted(messages) if callable(scripted) else scripted
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return ChatInvokeCompletion(completion=answer)
        calls = [answer] if isinstance(answer, ToolCall) else answer
        return ChatInvokeCompletion(completion="", tool_calls=[self._call(call) for call in calls])

    def _call(self, call: ToolCall) -> ChatToolCall:
        function = Function(name=call.name, arguments=call.json_arguments)
        return ChatToolCall(id=call.call_id or f"call_{next(self._ids)}", function=function)


def _check(messages: Iterable[Message]) -> None:
    """Refuse what the API refuses.

    Raises:
        ValueError: It would.
    """
    unanswered: list[str] = []
    for message in messages:
        if isinstance(message, ToolResultMessage):
            if message.tool_call_id not in unanswered:
                raise ValueError(f"the result for {message.tool_call_id!r} follows no such call")
            unanswered.remove(message.tool_call_id)
            continue
        if unanswered:
            break
        if isinstance(message, AssistantMessage):
            unanswered = [call.id for call in message.tool_calls]
    if unanswered:
        raise ValueError(f"these calls have no result: {', '.join(unanswered)}")
