"""Chat models behind the Chat Completions API: OpenAI, Azure OpenAI, and everything that speaks the same dialect.

The one file that uses the ``openai`` package, which is imported when the first request is made: in a worker thread,
because that import takes about a second and a conversation may be going on meanwhile.
"""

import asyncio
import json
import re
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar, overload
from urllib.parse import urlsplit

from pydantic import BaseModel

from rtvoice.environment import read_variable
from rtvoice.errors import ChatCompletionError, MissingCredentialsError
from rtvoice.llm.chat import ChatInvokeCompletion, ChatModel
from rtvoice.llm.messages import Message, ToolCall
from rtvoice.llm.token_limit import TokenLimitName
from rtvoice.llm.tool_call_deltas import ToolCallDeltas
from rtvoice.llm.tools import Tool
from rtvoice.llm.wire import message_to_wire, read_completion

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")

_SETTINGS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed", "response_format")
_CLIENT_OPTIONS = ("extra_headers", "extra_query", "extra_body", "timeout")
# Names of the undated API of Azure, the same as AzureOpenAIProvider takes.
_UNDATED = ("v1", "ga")


class BaseOpenAICompatible(ChatModel):
    """A model behind a Chat Completions endpoint. A subclass only says how to reach it, in ``create_client``.

    The errors of the ``openai`` package (``openai.AuthenticationError``, ``openai.APITimeoutError`` and so on) come
    through unchanged. Connections are kept open for the next request: call ``aclose()`` or use ``async with``.

    Args:
        model: The name of the model, sent as is.
        **kwargs: As for ``ChatModel``.
    """

    def __init__(self, model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self._client: AsyncOpenAI | None = None
        self._client_loop: asyncio.AbstractEventLoop | None = None
        self._token_limit = TokenLimitName()

    def __repr__(self) -> str:
        """Name the model, and nothing that could be secret."""
        return f"{type(self).__name__}(model={self.model!r})"

    @abstractmethod
    def create_client(self) -> "AsyncOpenAI":
        """Build the client; called in a worker thread before the first request and after ``aclose()``."""

    def check_credentials(self) -> None:
        """Raise ``MissingCredentialsError`` if a request could not be made for want of a key. No I/O."""

    @overload
    async def invoke(
        self,
        messages: Sequence[Message],
        output_format: None = None,
        tools: Sequence[dict[str, Any] | Tool] | None = None,
        tool_choice: str | dict[str, Any] = "auto",
        **kwargs: Any,
    ) -> ChatInvokeCompletion[str]: ...

    @overload
    async def invoke(
        self,
        messages: Sequence[Message],
        output_format: type[T] | None = None,
        tools: Sequence[dict[str, Any] | Tool] | None = None,
        tool_choice: str | dict[str, Any] = "auto",
        **kwargs: Any,
    ) -> ChatInvokeCompletion[T]: ...

    async def invoke(
        self,
        messages: Sequence[Message],
        output_format: type[Any] | None = None,
        tools: Sequence[dict[str, Any] | Tool] | None = None,
        tool_choice: str | dict[str, Any] = "auto",
        **kwargs: Any,
    ) -> ChatInvokeCompletion[Any]:
        """Answer the messages.

        Args:
            messages: The conversation, oldest first.
            output_format: A pydantic model. The server is held to its schema and ``completion`` is an instance of it,
                or None when the model called tools instead of answering.
            tools: What the model may call: Chat Completions tools, or objects with ``to_openai_schema()``.
            tool_choice: ``"auto"``, ``"none"``, ``"required"`` or a certain tool, as in Chat Completions.
            **kwargs: Parameters of this request; they override those of the constructor, None leaves one out.

        Raises:
            ChatCompletionError: The answer is not a chat completion, or not what ``output_format`` asks for.
            MissingCredentialsError: There is no API key.
            openai.OpenAIError: Whatever the server or the network has to complain about.
            TypeError: ``output_format`` is not a pydantic model, or ``messages`` contains something else.
        """
        body = self._body(messages, kwargs)
        if tools:
            body["tools"] = [tool if isinstance(tool, dict) else tool.to_openai_schema() for tool in tools]
            body["tool_choice"] = tool_choice
        client = await self._get_client()
        if output_format is not None:
            body["response_format"] = _response_format(output_format)
        answer = await self._request(client, body)
        # The client gives a model of it only if it is a JSON object and its content type says so.
        body = answer.model_dump(warnings=False) if isinstance(answer, BaseModel) else answer
        return read_completion(body, output_format)

    async def stream(self, messages: Sequence[Message], **kwargs: Any) -> AsyncGenerator[str, None]:
        """Answer piece by piece, text only.

        Wrap it in ``contextlib.aclosing`` if you may stop listening before the end: that closes the connection at once.

        Args:
            messages: The conversation, oldest first.
            **kwargs: As for ``invoke``.

        Raises:
            ChatCompletionError: A piece is not JSON.
            MissingCredentialsError: There is no API key.
            openai.OpenAIError: Whatever the server or the network has to complain about.
        """
        async with aclosing(self._deltas(self._body(messages, kwargs))) as deltas:
            async for delta in deltas:
                if delta.content:
                    yield delta.content

    async def stream_with_tools(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], tool_choice: str | dict[str, Any] = "auto"
    ) -> AsyncGenerator[str | ToolCall, None]:
        """Answer piece by piece: text as it comes, then the tools that the model wants called.

        Wrap it in ``contextlib.aclosing`` if you may stop listening before the end: that closes the connection at once.

        Args:
            messages: The conversation, oldest first.
            tools: Chat Completions tools; none for an answer in words.
            tool_choice: ``"auto"``, ``"none"``, ``"required"`` or a certain tool, as in Chat Completions.

        Raises:
            ChatCompletionError: A piece is not JSON.
            MissingCredentialsError: There is no API key.
            openai.OpenAIError: Whatever the server or the network has to complain about.
        """
        body = self._body(messages, {})
        if tools:
            body |= {"tools": list(tools), "tool_choice": tool_choice}
        calls = ToolCallDeltas()
        async with aclosing(self._deltas(body)) as deltas:
            async for delta in deltas:
                if delta.content:
                    yield delta.content
                calls.add(delta.tool_calls or ())
        for call in calls.finish():
            yield call

    async def _deltas(self, body: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Yield the delta of every choice of a streamed answer."""
        client = await self._get_client()
        async with await self._request(client, body | {"stream": True}) as chunks:
            try:
                async for chunk in chunks:
                    # Azure's content filter and usage reports send chunks without choices, some servers without delta.
                    for choice in getattr(chunk, "choices", None) or ():
                        if choice.delta:
                            yield choice.delta
            except json.JSONDecodeError as error:
                raise ChatCompletionError(f"The server of {self.model} sent a chunk that is not JSON") from error

    async def aclose(self) -> None:
        """Close the connections. The model may be used again afterwards."""
        client, self._client = self._client, None
        if client is not None and self._client_loop is asyncio.get_running_loop():
            await client.close()

    async def _get_client(self) -> "AsyncOpenAI":
        loop = asyncio.get_running_loop()
        if self._client is None or self._client_loop is not loop:  # connections cannot move to another event loop
            self.check_credentials()
            client = await asyncio.to_thread(self._load_client)
            if self._client is None or self._client_loop is not loop:
                self._client, self._client_loop = client, loop
            else:  # another request was first
                await client.close()
        return self._client

    def _load_client(self) -> "AsyncOpenAI":
        client = self.create_client()
        _ = client.chat.completions  # a lazy attribute, and a second import of some size
        return client

    def _body(self, messages: Sequence[Message], overrides: dict[str, Any]) -> dict[str, Any]:
        """The request without what depends on it being a stream, having tools or a structure."""
        settings = {name: getattr(self, name) for name in (*_SETTINGS, "max_tokens")}
        body = {"model": self.model, **settings, **self.extra_parameters, **overrides}
        body = {name: value for name, value in body.items() if value is not None or name == "timeout"}
        return body | {"messages": [message_to_wire(message) for message in messages]}

    async def _request(self, client: "AsyncOpenAI", body: dict[str, Any]) -> Any:
        """Send the request, and once more under the other name if the server refuses the name of the token limit."""
        import openai

        body = self._token_limit.apply(body)
        try:
            return await _send(client, body)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if not self._token_limit.learn(body, str(error)):
                raise
        return await _send(client, self._token_limit.apply(body))


class ChatOpenAI(BaseOpenAICompatible):
    """A model of OpenAI, or of any server that offers the Chat Completions API.

    Args:
        model: The name of the model.
        api_key: Default: ``OPENAI_API_KEY`` (a ``.env`` file counts). A ``base_url`` outside OpenAI works without one.
        max_tokens, temperature, top_p, frequency_penalty, presence_penalty, stop, seed, response_format, timeout,
            max_retries: As for ``ChatModel``.
        default_headers: Sent with every request.
        base_url: The server, up to and including ``/v1``. Default: ``OPENAI_BASE_URL``, else OpenAI.
        **kwargs: Further parameters of every request, such as ``reasoning_effort="low"``.
    """

    def __init__(
        self,
        model: str = "gpt-4o",
        api_key: str | None = None,
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
        default_headers: dict[str, str] | None = None,
        *,
        base_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty,
            stop=stop,
            seed=seed,
            response_format=response_format,
            timeout=timeout,
            max_retries=max_retries,
            **kwargs,
        )
        self.default_headers = default_headers
        self._api_key = api_key
        self._base_url = base_url

    def check_credentials(self) -> None:
        """Raise ``MissingCredentialsError`` if there is no key and the server is OpenAI. No I/O."""
        self._resolve()

    def create_client(self) -> "AsyncOpenAI":
        """Build the client from the arguments and the environment."""
        from openai import AsyncOpenAI

        api_key, base_url = self._resolve()
        return AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            timeout=self.timeout,
            max_retries=self.max_retries,
            default_headers=self.default_headers,
        )

    def _resolve(self) -> tuple[str, str]:
        """The key and the base URL. Read late: the environment may be completed after construction."""
        base_url = self._base_url or read_variable("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        api_key = self._api_key or read_variable("OPENAI_API_KEY")
        if api_key:
            return api_key, base_url
        if (urlsplit(base_url).hostname or "").endswith("openai.com"):
            raise MissingCredentialsError(
                f"No API key for {self.model}: set OPENAI_API_KEY or pass ChatOpenAI(api_key=...)"
            )
        return "not-needed", base_url  # the client insists on one, a local server ignores it


class ChatAzureOpenAI(BaseOpenAICompatible):
    """A deployment of Azure OpenAI.

    Args:
        model: The name of the deployment.
        api_key: Default: ``AZURE_OPENAI_API_KEY``.
        azure_endpoint: ``https://<resource>.openai.azure.com``. Default: ``AZURE_OPENAI_ENDPOINT``.
        api_version: A dated version, or ``"v1"`` for the undated API. The default knows no structured output.
        max_tokens, temperature, top_p, frequency_penalty, presence_penalty, stop, seed, response_format, timeout,
            max_retries: As for ``ChatModel``.
        default_headers: Sent with every request.
        token_provider: Instead of a key: gives a Microsoft Entra token, asked before every request.
        **kwargs: Further parameters of every request.
    """

    def __init__(
        self,
        model: str = "gpt-4o",
        api_key: str | None = None,
        azure_endpoint: str | None = None,
        api_version: str = "2024-02-15-preview",
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
        default_headers: dict[str, str] | None = None,
        *,
        token_provider: Callable[[], str | Awaitable[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty,
            stop=stop,
            seed=seed,
            response_format=response_format,
            timeout=timeout,
            max_retries=max_retries,
            **kwargs,
        )
        self.api_version = api_version
        self.default_headers = default_headers
        self._api_key = api_key
        self._azure_endpoint = azure_endpoint
        self._token_provider = token_provider

    def check_credentials(self) -> None:
        """Raise ``MissingCredentialsError`` if the endpoint is unknown, or there is neither key nor token provider."""
        self._resolve()

    def create_client(self) -> "AsyncOpenAI":
        """Build the client from the arguments and the environment."""
        from openai import AsyncAzureOpenAI, AsyncOpenAI

        endpoint, api_key = self._resolve()
        if self.api_version in _UNDATED:
            # The undated API is the ordinary one at another address; it takes keys and tokens as bearer.
            return AsyncOpenAI(
                base_url=f"{endpoint}/openai/v1/",
                api_key=api_key or self._ask_token,
                timeout=self.timeout,
                max_retries=self.max_retries,
                default_headers=self.default_headers,
            )
        return AsyncAzureOpenAI(
            azure_endpoint=endpoint,
            azure_deployment=self.model,
            api_version=self.api_version,
            api_key=api_key,
            azure_ad_token_provider=None if api_key else self._ask_token,
            timeout=self.timeout,
            max_retries=self.max_retries,
            default_headers=self.default_headers,
        )

    def _resolve(self) -> tuple[str, str | None]:
        """The endpoint, and the key unless there is a token provider. Read late, see ``ChatOpenAI``."""
        endpoint = self._azure_endpoint or read_variable("AZURE_OPENAI_ENDPOINT")
        if not endpoint:
            raise MissingCredentialsError(
                f"No endpoint for {self.model}: set AZURE_OPENAI_ENDPOINT or pass ChatAzureOpenAI(azure_endpoint=...)"
            )
        api_key = None if self._token_provider else self._api_key or read_variable("AZURE_OPENAI_API_KEY")
        if not api_key and self._token_provider is None:
            raise MissingCredentialsError(
                f"No API key for {self.model}: set AZURE_OPENAI_API_KEY, or pass ChatAzureOpenAI(api_key=...) "
                "or token_provider=..."
            )
        return endpoint.rstrip("/"), api_key

    async def _ask_token(self) -> str:
        assert self._token_provider is not None  # noqa: S101 - see _resolve
        token = self._token_provider()
        return token if isinstance(token, str) else await token


async def _send(client: "AsyncOpenAI", body: dict[str, Any]) -> Any:
    body = dict(body)
    options = {name: body.pop(name) for name in _CLIENT_OPTIONS if name in body}
    if "max_retries" in body:
        client = client.with_options(max_retries=body.pop("max_retries"))
    try:
        return await client.chat.completions.create(
            model=body.pop("model"),
            messages=body.pop("messages"),
            stream=body.pop("stream", False),
            # The way in for parameters that this version of the client does not know.
            extra_body=body | options.pop("extra_body", {}),
            **options,
        )
    except json.JSONDecodeError as error:
        raise ChatCompletionError(
            f"The answer of {client.base_url} is not JSON: is this a Chat Completions server?"
        ) from error


def _response_format(output_format: object) -> dict[str, Any]:
    from openai import pydantic_function_tool

    if not (isinstance(output_format, type) and issubclass(output_format, BaseModel)):
        raise TypeError(f"output_format has to be a pydantic model class, not {output_format!r}")
    # Strict schemas have rules of their own (all fields required, nothing additional). The client knows them; asked
    # for a tool it says so publicly, and its parse() refuses ordinary tools next to a structure.
    schema = pydantic_function_tool(output_format)["function"]["parameters"]
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", output_format.__name__)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
