"""What rtvoice needs of a language model: ``ChatModel``. Subclass it to bring your own."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, Field

from rtvoice.llm.messages import Message, ToolCall

T = TypeVar("T")


class ChatInvokeUsage(BaseModel):
    """Tokens of one answer; add two to get the sum.

    Attributes:
        prompt_tokens: Everything that was sent, cached tokens included.
        completion_tokens: Everything that was generated, reasoning included.
        total_tokens: The sum as the server counts it.
        prompt_cached_tokens: How many of ``prompt_tokens`` came from the server's cache; None where it does not say.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_cached_tokens: int | None = None

    def __add__(self, other: "ChatInvokeUsage") -> "ChatInvokeUsage":
        cached = (self.prompt_cached_tokens, other.prompt_cached_tokens)
        return ChatInvokeUsage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            prompt_cached_tokens=None if cached == (None, None) else sum(count or 0 for count in cached),
        )


class ChatInvokeCompletion(BaseModel, Generic[T]):
    """One answer of a language model.

    Attributes:
        completion: The text (``""`` if there is none), or the parsed object if one was asked for.
        thinking: The reasoning, where the server shows it.
        redacted_thinking: Reasoning that is there but encrypted.
        usage: Tokens, where the server counts them.
        stop_reason: Why the model stopped, in the server's words (OpenAI: ``"stop"``, ``"length"``, ``"tool_calls"``,
            ``"content_filter"``).
        tool_calls: The tools that the model wants called, in its order.
    """

    completion: T
    thinking: str | None = None
    redacted_thinking: str | None = None
    usage: ChatInvokeUsage | None = None
    stop_reason: str | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list)


class ChatModel(ABC):
    """A language model that answers a list of messages.

    A subclass has to define ``invoke``. It need not call ``super().__init__()``, and need not define ``stream``.

    Args:
        max_tokens: Upper limit for the answer, in tokens. None, here and below, leaves the decision to the server.
        temperature: Randomness, 0 to 2.
        top_p: Sample only from the likeliest tokens that make up this share of probability, 0 to 1.
        frequency_penalty: Discourages repeating what was said often, -2 to 2.
        presence_penalty: Discourages repeating what was said at all, -2 to 2.
        stop: The answer ends before any of these texts.
        seed: The same seed makes equal answers likelier.
        response_format: ``response_format`` of Chat Completions, as is. ``output_format=`` of ``invoke`` is handier.
        timeout: Seconds for one attempt; None waits for ever.
        max_retries: Further attempts after lost connections and the statuses 408, 409, 429 and 5xx.
        **kwargs: Further parameters of every request, sent as given.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    timeout: float | None = 60.0
    max_retries: int = 2

    def __init__(
        self,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        stop: str | list[str] | None = None,
        seed: int | None = None,
        response_format: dict[str, Any] | None = None,
        timeout: float | None = 60.0,
        max_retries: int = 2,
        **kwargs: Any,
    ) -> None:
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.top_p = top_p
        self.frequency_penalty = frequency_penalty
        self.presence_penalty = presence_penalty
        self.stop = stop
        self.seed = seed
        self.response_format = response_format
        self.timeout = timeout
        self.max_retries = max_retries
        self.extra_parameters = kwargs

    @abstractmethod
    async def invoke(
        self, messages: list[Message], output_format: type[T] | None = None, **kwargs: Any
    ) -> ChatInvokeCompletion[Any]:
        """Answer the messages.

        Args:
            messages: The conversation, oldest first.
            output_format: A class; the answer's ``completion`` shall be an instance of it.
            **kwargs: Parameters of this request. A ``Supervisor`` passes ``tools``, a list of Chat Completions tools:
                ``{"type": "function", "function": {"name": ..., "description": ..., "parameters": <JSON Schema>}}``.
        """

    def stream(self, messages: list[Message], **kwargs: Any) -> AsyncIterator[str]:
        """Answer piece by piece. Optional; implement it as an async generator.

        Raises:
            NotImplementedError: The model cannot stream.
        """
        raise NotImplementedError(f"{type(self).__name__} does not stream; use invoke()")

    async def stream_with_tools(
        self, messages: list[Message], tools: Sequence[dict[str, Any]], tool_choice: str | dict[str, Any] = "auto"
    ) -> AsyncGenerator[str | ToolCall, None]:
        """Answer piece by piece: text as it comes, then the tools that the model wants called.

        A model that does not define it asks ``invoke`` and gives the whole text at once.

        Args:
            messages: The conversation, oldest first.
            tools: Chat Completions tools; none for an answer in words.
            tool_choice: ``"auto"``, ``"none"``, ``"required"`` or a certain tool, as in Chat Completions.
        """
        options: dict[str, Any] = {"tools": list(tools), "tool_choice": tool_choice} if tools else {}
        answer = await self.invoke(messages, **options)
        if answer.completion:
            yield str(answer.completion)
        for call in answer.tool_calls:
            yield call

    async def aclose(self) -> None:  # noqa: B027 - optional: most models hold nothing open
        """Release what the model holds open, such as connections. It may be used again afterwards."""

    async def __aenter__(self) -> Self:
        """Return the model itself."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release what the model holds open."""
        await self.aclose()
