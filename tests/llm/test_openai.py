import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel, Field

from rtvoice.errors import ChatCompletionError, MissingCredentialsError
from rtvoice.llm import (
    BaseOpenAICompatible,
    ChatAzureOpenAI,
    ChatOpenAI,
    Function,
    Message,
    SystemMessage,
    ToolCall,
    UserMessage,
)

HELLO: list[Message] = [SystemMessage(content="Be brief."), UserMessage(content="Hello")]
WEATHER = {"type": "function", "function": {"name": "weather", "description": "", "parameters": {"type": "object"}}}


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int | None = Field(default=None, description="People")


class OwnTool:
    name = "weather"

    def to_openai_schema(self) -> dict[str, Any]:
        return WEATHER

    def parse_arguments(self, arguments: str) -> Any:
        return json.loads(arguments)


async def test_plain_answer(chat_server: Any, model: ChatOpenAI) -> None:
    chat_server.will_say("Hi!", usage={"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5})
    answer = await model.invoke(HELLO)
    assert answer.completion == "Hi!"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5
    request = chat_server.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "a-model",
        "stream": False,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    }


async def test_settings_are_sent_and_overridden(chat_server: Any) -> None:
    model = ChatOpenAI(
        "m",
        base_url=f"{chat_server.url}/v1",
        max_tokens=10,
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        stop=["."],
        seed=7,
        response_format={"type": "json_object"},
        default_headers={"X-Team": "voice"},
        reasoning_effort="low",
    )
    chat_server.will_say()
    chat_server.will_say()
    async with model:
        await model.invoke([])
        expected = {
            "model": "m",
            "stream": False,
            "messages": [],
            "max_tokens": 10,
            "temperature": 0.5,
            "top_p": 0.9,
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "stop": ["."],
            "seed": 7,
            "response_format": {"type": "json_object"},
            "reasoning_effort": "low",
        }
        assert chat_server.body == expected
        assert chat_server.requests[0].headers["x-team"] == "voice"
        await model.invoke(
            [],
            model="n",
            temperature=0,
            seed=None,
            extra_headers={"X-Trace": "1"},
            extra_body={"top_k": 3},
            never_heard_of=True,
            timeout=None,
            max_retries=0,
        )
    del expected["seed"]
    assert chat_server.body == expected | {"model": "n", "temperature": 0, "top_k": 3, "never_heard_of": True}
    assert chat_server.requests[1].headers["x-trace"] == "1"


@pytest.mark.parametrize("tool", [WEATHER, OwnTool()])
async def test_tools(chat_server: Any, model: ChatOpenAI, tool: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    chat_server.will_say(None, finish="tool_calls", tool_calls=[call])
    answer = await model.invoke(HELLO, tools=[tool], tool_choice="required")
    assert answer.completion == ""
    assert answer.stop_reason == "tool_calls"
    assert answer.tool_calls == [ToolCall(id="c1", function=Function(name="weather", arguments='{"city": "Rome"}'))]
    assert (chat_server.body["tools"], chat_server.body["tool_choice"]) == ([WEATHER], "required")


async def test_without_tools_no_tool_choice(chat_server: Any, model: ChatOpenAI) -> None:
    chat_server.will_say()
    await model.invoke(HELLO, tools=[], tool_choice="none")
    assert not {"tools", "tool_choice"} & chat_server.body.keys()


async def test_structured_output_next_to_tools(chat_server: Any, model: ChatOpenAI) -> None:
    chat_server.will_say('{"name": "Rome", "inhabitants": null}')
    answer = await model.invoke(HELLO, City, tools=[WEATHER])
    assert answer.completion == City(name="Rome")
    assert answer.completion.name == "Rome"  # typed: mypy knows the class
    assert chat_server.body["tools"] == [WEATHER]
    assert chat_server.body["tool_choice"] == "auto"
    wanted = chat_server.body["response_format"]
    assert (wanted["type"], wanted["json_schema"]["name"], wanted["json_schema"]["strict"]) == (
        "json_schema",
        "City",
        True,
    )
    schema = wanted["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["name", "inhabitants"], False)


async def test_output_format_has_to_be_a_model(model: ChatOpenAI) -> None:
    for wrong in (dict, City(name="Rome")):
        with pytest.raises(TypeError, match="pydantic model class"):
            await model.invoke(HELLO, wrong)  # type: ignore[arg-type]


async def test_stream(chat_server: Any, model: ChatOpenAI) -> None:
    def chunk(**delta: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta}]}

    chat_server.will_stream(
        {"choices": [], "prompt_filter_results": []},  # Azure
        chunk(role="assistant", content=""),
        chunk(content="Good "),
        {"object": "ping"},
        chunk(tool_calls=[]),
        {"choices": [{"index": 0}]},
        chunk(content="evening"),
        {"choices": [], "usage": {"total_tokens": 3}},
    )
    assert [piece async for piece in model.stream(HELLO, temperature=1)] == ["Good ", "evening"]
    assert (chat_server.body["stream"], chat_server.body["temperature"]) == (True, 1)


async def test_stream_left_early_closes_the_connection(chat_server: Any, model: ChatOpenAI) -> None:
    chat_server.will_stream({"choices": [{"index": 0, "delta": {"content": "A"}}]}, stall=True)
    async with contextlib.aclosing(model.stream(HELLO)) as pieces:
        async for piece in pieces:
            assert piece == "A"
            break
    await chat_server.all_closed()  # before the model is closed


async def test_stream_with_tools(chat_server: Any, model: ChatOpenAI) -> None:
    def chunk(**delta: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta}]}

    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    chat_server.will_stream(
        chunk(role="assistant", content="One "),
        chunk(content="moment."),
        chunk(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": ""}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"up":'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
    )
    call = ToolCall(id="a", function=Function(name="look", arguments='{"up":1}'))
    parts = [part async for part in model.stream_with_tools(HELLO, [tool], "required")]
    assert parts == ["One ", "moment.", call]
    assert (chat_server.body["tools"], chat_server.body["tool_choice"]) == ([tool], "required")
    assert chat_server.body["stream"] is True

    chat_server.will_stream(chunk(content="Hi."))
    assert [part async for part in model.stream_with_tools(HELLO, [])] == ["Hi."]
    assert chat_server.body.keys().isdisjoint({"tools", "tool_choice"})


async def test_stream_with_tools_left_early_closes_the_connection(chat_server: Any, model: ChatOpenAI) -> None:
    chat_server.will_stream({"choices": [{"index": 0, "delta": {"content": "A"}}]}, stall=True)
    async with contextlib.aclosing(model.stream_with_tools(HELLO, [])) as parts:
        assert await anext(parts) == "A"
    await chat_server.all_closed()  # before the model is closed


async def test_broken_streams(chat_server: Any, model: ChatOpenAI) -> None:
    chat_server.will_stream(end=b"data: {nope\n\n")
    with pytest.raises(ChatCompletionError, match="a-model sent a chunk that is not JSON"):
        [_ async for _ in model.stream(HELLO)]
    chat_server.will_stream([1], {"error": {"message": "overloaded"}})
    with pytest.raises(openai.APIError, match="overloaded"):
        [_ async for _ in model.stream(HELLO)]


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, openai.BadRequestError), (401, openai.AuthenticationError), (404, openai.NotFoundError)],
)
async def test_refusals_come_through_at_once(
    chat_server: Any, model: ChatOpenAI, status: int, error: type[openai.APIStatusError]
) -> None:
    chat_server.will_fail(status, "so sorry")
    with pytest.raises(error, match="so sorry"):
        await model.invoke(HELLO)
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize("status", [429, 500])
async def test_passing_trouble_is_retried(chat_server: Any, model: ChatOpenAI, status: int) -> None:
    chat_server.will_fail(status)
    chat_server.will_fail(status)
    chat_server.will_say("there")
    assert (await model.invoke(HELLO)).completion == "there"


@pytest.mark.parametrize(("status", "error"), [(429, openai.RateLimitError), (503, openai.InternalServerError)])
async def test_retries_end(chat_server: Any, status: int, error: type[openai.APIStatusError]) -> None:
    chat_server.will_fail(status)
    chat_server.will_fail(status)
    async with ChatOpenAI("m", base_url=f"{chat_server.url}/v1", max_retries=1) as model:
        with pytest.raises(error):
            await model.invoke(HELLO)
        chat_server.will_fail(status)
        with pytest.raises(error):
            await model.invoke(HELLO, max_retries=0)
    assert len(chat_server.requests) == 3


async def test_slow_body_times_out(chat_server: Any) -> None:
    chat_server.will_send({"choices": []}, stall=True)
    async with ChatOpenAI("m", base_url=f"{chat_server.url}/v1", timeout=0.1, max_retries=0) as model:
        with pytest.raises(openai.APITimeoutError):
            await model.invoke(HELLO)
        chat_server.will_say("in time")
        assert (await model.invoke(HELLO, timeout=30)).completion == "in time"


async def test_timeout_can_be_lifted_for_one_request(chat_server: Any, model: ChatOpenAI) -> None:
    for timeout in ({}, {"timeout": 7}, {"timeout": None}):
        chat_server.will_say()
        await model.invoke(HELLO, **timeout)
    # The client tells the server how long it is going to wait.
    told = [request.headers.get("x-stainless-read-timeout") for request in chat_server.requests]
    assert told == ["60.0", "7", None]


async def test_cancelling_closes_the_connection(chat_server: Any, model: ChatOpenAI) -> None:
    chat_server.will_send({}, stall=True)
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as tasks:
            request = tasks.create_task(model.invoke(HELLO))
            await chat_server.arrived.wait()
            request.cancel()
    assert request.cancelled()
    await chat_server.all_closed()


async def test_refused_connection(dead_url: str) -> None:
    async with ChatOpenAI("m", base_url=dead_url, max_retries=0) as model:
        with pytest.raises(openai.APIConnectionError):
            await model.invoke(HELLO)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"{nope", "application/json", "not JSON: is this a Chat Completions server"),
        (b"<html>", "text/html", "not a chat completion, but <html>"),
        ([1], "application/json", "not a chat completion"),
        ({"error": {"message": "quota"}}, "application/json", "quota"),
    ],
)
async def test_answers_that_are_none(chat_server: Any, model: ChatOpenAI, body: Any, kind: str, message: str) -> None:
    chat_server.will_send(body, kind=kind)
    with pytest.raises(ChatCompletionError, match=message):
        await model.invoke(HELLO)


@pytest.mark.parametrize("status", [400, 422])
async def test_token_limit_gets_the_name_that_the_server_takes(
    chat_server: Any, model: ChatOpenAI, status: int
) -> None:
    chat_server.will_fail(status, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    chat_server.will_say()
    chat_server.will_say()
    await model.invoke(HELLO, max_tokens=5)
    await model.invoke(HELLO, max_tokens=6)
    limits = [(r.body.get("max_tokens"), r.body.get("max_completion_tokens")) for r in chat_server.requests]
    assert limits == [(5, None), (None, 5), (None, 6)]


async def test_connection_is_kept_until_closed(chat_server: Any, model: ChatOpenAI) -> None:
    chat_server.will_say()
    chat_server.will_say()
    await model.invoke(HELLO)
    await model.invoke(HELLO)
    assert chat_server.accepted == 1
    await model.aclose()
    await chat_server.all_closed()
    await model.aclose()
    chat_server.will_say("again")
    assert (await model.invoke(HELLO)).completion == "again"


async def test_client_is_made_in_a_thread_and_only_one_is_kept(chat_server: Any) -> None:
    threads, clients = set(), []

    class Watched(ChatOpenAI):
        def create_client(self) -> openai.AsyncOpenAI:
            threads.add(threading.current_thread())
            client = super().create_client()
            clients.append(client)
            all_here.wait()
            return client

    all_here = threading.Barrier(3, timeout=5)  # in a thread each: at least five of them in the default executor
    async with Watched("m", base_url=f"{chat_server.url}/v1") as model:
        for _ in range(3):
            chat_server.will_say()
        await asyncio.gather(*(model.invoke(HELLO) for _ in range(3)))
        assert threading.main_thread() not in threads
        assert sorted(client.is_closed() for client in clients) == [False, True, True]
    assert all(client.is_closed() for client in clients)


def test_works_in_one_event_loop_after_the_other(dead_url: str) -> None:
    created = 0

    class Counting(ChatOpenAI):
        def create_client(self) -> openai.AsyncOpenAI:
            nonlocal created
            created += 1
            return super().create_client()

    model = Counting("m", base_url=dead_url, max_retries=0)

    async def ask() -> None:
        for _ in range(2):
            with pytest.raises(openai.APIConnectionError):
                await model.invoke(HELLO)

    asyncio.run(ask())
    asyncio.run(ask())
    asyncio.run(model.aclose())  # a third loop: nothing to await any more
    assert created == 2
    gc.collect()


async def test_key_and_base_url_from_an_env_file(
    chat_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"OPENAI_BASE_URL={chat_server.url}/v1\nOPENAI_API_KEY=sk-file\n")
    for expected in ("Bearer sk-file", "Bearer sk-env"):
        async with ChatOpenAI("m") as model:
            chat_server.will_say()
            await model.invoke(HELLO)
        assert chat_server.requests[-1].headers["authorization"] == expected
        monkeypatch.setenv("OPENAI_API_KEY", "sk-env")


async def test_key_and_base_url_from_the_environment(chat_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ChatOpenAI("m") as model:  # the environment counts when it is needed, not before
        monkeypatch.setenv("OPENAI_BASE_URL", f"{chat_server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
        chat_server.will_say()
        await model.invoke(HELLO)
    assert chat_server.requests[0].headers["authorization"] == "Bearer sk-env"
    async with ChatOpenAI("m", "sk-arg", base_url=f"{chat_server.url}/other") as model:
        chat_server.will_say()
        await model.invoke(HELLO)
    assert chat_server.requests[1].headers["authorization"] == "Bearer sk-arg"
    assert chat_server.requests[1].path == "/other/chat/completions"


@pytest.mark.parametrize("base_url", [None, "https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
async def test_missing_key(base_url: str | None) -> None:
    model = ChatOpenAI("gpt-x", base_url=base_url)
    message = "No API key for gpt-x: set OPENAI_API_KEY"
    with pytest.raises(MissingCredentialsError, match=message):
        model.check_credentials()
    with pytest.raises(MissingCredentialsError, match=message):
        await model.invoke(HELLO)
    with pytest.raises(MissingCredentialsError, match=message):
        [_ async for _ in model.stream(HELLO)]


def test_local_server_needs_no_key() -> None:
    ChatOpenAI("m", base_url="http://localhost:11434/v1").check_credentials()


@pytest.mark.parametrize(
    "model",
    [ChatOpenAI("m", "sk-secret"), ChatAzureOpenAI("m", "sk-secret", "https://r.openai.azure.com")],
)
def test_keys_are_not_shown(model: BaseOpenAICompatible) -> None:
    assert repr(model) == str(model) == f"{type(model).__name__}(model='m')"


def test_defaults() -> None:
    openai_model, azure_model = ChatOpenAI(), ChatAzureOpenAI()
    for model in (openai_model, azure_model):
        assert (model.model, model.timeout, model.max_retries, model.default_headers) == ("gpt-4o", 60.0, 2, None)
    assert azure_model.api_version == "2024-02-15-preview"


async def test_azure_dated(chat_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"{chat_server.url}/")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    chat_server.will_say("from Azure")
    async with ChatAzureOpenAI("dep", temperature=0.1) as model:
        assert (await model.invoke(HELLO)).completion == "from Azure"
    request = chat_server.requests[0]
    assert request.path == "/openai/deployments/dep/chat/completions?api-version=2024-02-15-preview"
    assert request.headers["api-key"] == "azure-key"
    assert request.body["temperature"] == 0.1


@pytest.mark.parametrize(
    ("api_version", "path"),
    [
        ("2025-01-01-preview", "/openai/deployments/dep/chat/completions?api-version=2025-01-01-preview"),
        ("v1", "/openai/v1/chat/completions"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_azure_entra_token(chat_server: Any, api_version: str, path: str, asynchronous: bool) -> None:
    async def later() -> str:
        return "entra"

    async with ChatAzureOpenAI(
        "dep",
        azure_endpoint=chat_server.url,
        api_version=api_version,
        token_provider=later if asynchronous else lambda: "entra",
    ) as model:
        chat_server.will_say()
        await model.invoke(HELLO)
    assert chat_server.requests[0].path == path
    assert chat_server.requests[0].headers["authorization"] == "Bearer entra"
    assert chat_server.body["model"] == "dep"


async def test_azure_undated_with_key(chat_server: Any) -> None:
    async with ChatAzureOpenAI("dep", "k", chat_server.url, "v1") as model:
        chat_server.will_say()
        await model.invoke(HELLO)
    assert chat_server.requests[0].headers["authorization"] == "Bearer k"


async def test_azure_missing_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingCredentialsError, match="AZURE_OPENAI_ENDPOINT"):
        await ChatAzureOpenAI().invoke(HELLO)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com")
    with pytest.raises(MissingCredentialsError, match=r"AZURE_OPENAI_API_KEY.*token_provider"):
        ChatAzureOpenAI().check_credentials()


def test_own_dialect_has_nothing_to_check() -> None:
    class Own(BaseOpenAICompatible):
        def create_client(self) -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(api_key="x")

    Own("m", max_tokens=3).check_credentials()


def test_importing_and_constructing_loads_no_client() -> None:
    code = (
        "import sys; from rtvoice.llm import *; ChatOpenAI(); ChatAzureOpenAI();"
        "assert not {'openai', 'numpy', 'sounddevice'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
