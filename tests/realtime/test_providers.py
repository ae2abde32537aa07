import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rtvoice import errors
from rtvoice.realtime import AzureOpenAIProvider, OpenAIProvider, RealtimeProvider

VARIABLES = (
    "OPENAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_RESOURCE",
    "AZURE_OPENAI_DEPLOYMENT",
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder without a .env file as the working directory; no variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- OpenAI ---


def test_openai_url_and_headers() -> None:
    provider = OpenAIProvider("sk-1")

    assert provider.build_url("gpt-realtime-2.1") == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"
    assert provider.build_headers() == {"Authorization": "Bearer sk-1"}


def test_the_model_is_quoted() -> None:
    url = OpenAIProvider("sk-1").build_url("a/b c&d=é?#")

    assert url == "wss://api.openai.com/v1/realtime?model=a%2Fb%20c%26d%3D%C3%A9%3F%23"


def test_openai_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env\n")

    assert OpenAIProvider().build_headers() == {"Authorization": "Bearer sk-env"}
    assert OpenAIProvider("sk-arg").build_headers() == {"Authorization": "Bearer sk-arg"}


def test_openai_key_from_a_dotenv_file(no_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (no_environment / ".env").write_text("OPENAI_API_KEY=sk-file\n")
    assert OpenAIProvider().build_headers() == {"Authorization": "Bearer sk-file"}
    assert "OPENAI_API_KEY" not in os.environ, "looking must change nothing"

    (no_environment / "below").mkdir()
    monkeypatch.chdir(no_environment / "below")
    assert OpenAIProvider().build_headers() == {"Authorization": "Bearer sk-file"}

    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert OpenAIProvider().build_headers() == {"Authorization": "Bearer sk-env"}


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_openai_without_a_key(monkeypatch: pytest.MonkeyPatch, empty: str | None) -> None:
    if empty is not None:
        monkeypatch.setenv("OPENAI_API_KEY", empty)

    with pytest.raises(RuntimeError, match="OPENAI_API_KEY") as caught:
        OpenAIProvider(empty)
    assert isinstance(caught.value, errors.MissingCredentialsError)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://eu.api.openai.com/v1", "wss://eu.api.openai.com/v1/realtime?model=m"),
        ("https://eu.api.openai.com/v1/", "wss://eu.api.openai.com/v1/realtime?model=m"),
        ("ws://127.0.0.1:8080/v1", "ws://127.0.0.1:8080/v1/realtime?model=m"),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/realtime?model=m"),
        ("WSS://host/v1/realtime", "wss://host/v1/realtime?model=m"),
        ("wss://host/v1/realtime?model=other#x", "wss://host/v1/realtime?model=m"),
    ],
)
def test_another_server(base_url: str, url: str) -> None:
    provider = OpenAIProvider(base_url=base_url)

    assert provider.build_url("m") == url
    assert provider.build_headers() == {}, "a server of one's own needs no key"
    assert OpenAIProvider("k", base_url=base_url).build_headers() == {"Authorization": "Bearer k"}


@pytest.mark.parametrize("base_url", ["host", "host:80", "ftp://host", "https://", "https://:80", "http://[::1"])
def test_a_base_url_that_is_none(base_url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="base_url"):
        OpenAIProvider(base_url=base_url)


def test_optional_headers() -> None:
    provider = OpenAIProvider("k", organization="org", project="proj", safety_identifier="user-1")

    assert provider.build_headers() == {
        "Authorization": "Bearer k",
        "OpenAI-Organization": "org",
        "OpenAI-Project": "proj",
        "OpenAI-Safety-Identifier": "user-1",
    }


async def test_the_connection_headers_are_the_plain_ones() -> None:
    assert await OpenAIProvider("k").connection_headers() == {"Authorization": "Bearer k"}


async def test_a_provider_of_ones_own() -> None:
    class Mine(RealtimeProvider):
        def build_url(self, model: str) -> str:
            return f"ws://mine/{model}"

        def build_headers(self) -> dict[str, str]:
            return {"X": "1"}

    assert await Mine().connection_headers() == {"X": "1"}


def test_an_openai_provider_can_be_subclassed() -> None:
    class Mine(OpenAIProvider):
        def build_headers(self) -> dict[str, str]:
            return super().build_headers() | {"X": "1"}

    assert Mine("k").build_headers() == {"Authorization": "Bearer k", "X": "1"}
    assert repr(Mine("k")) == "Mine('wss://api.openai.com/v1')"


# --- Azure ---


@pytest.mark.parametrize(
    ("arguments", "host"),
    [
        ({"resource": "r"}, "wss://r.openai.azure.com"),
        ({"resource": "r.openai.azure.com"}, "wss://r.openai.azure.com"),
        ({"azure_endpoint": "https://host"}, "wss://host"),
        ({"azure_endpoint": "https://host/"}, "wss://host"),
        ({"azure_endpoint": "https://host/openai/v1?x=1"}, "wss://host"),
        ({"azure_endpoint": "http://host:8080"}, "ws://host:8080"),
        ({"azure_endpoint": "wss://host"}, "wss://host"),
        ({"azure_endpoint": "ws://host:1/"}, "ws://host:1"),
        ({"azure_endpoint": "r.openai.azure.com"}, "wss://r.openai.azure.com"),
        ({"azure_endpoint": "r.openai.azure.com/"}, "wss://r.openai.azure.com"),
        ({"azure_endpoint": "localhost:8080"}, "wss://localhost:8080"),
        ({"azure_endpoint": "https://r.openai.azure.com", "resource": "r"}, "wss://r.openai.azure.com"),
    ],
)
def test_azure_hosts(arguments: dict[str, str], host: str) -> None:
    provider = AzureOpenAIProvider(**arguments, deployment="d", api_key="k")  # type: ignore[arg-type]

    assert provider.build_url("ignored") == f"{host}/openai/v1/realtime?model=d"
    assert provider.build_headers() == {"api-key": "k"}


@pytest.mark.parametrize("version", [None, "", "v1", "V1", "ga", "GA"])
def test_azure_ga_needs_no_version(version: str | None, caplog: pytest.LogCaptureFixture) -> None:
    provider = AzureOpenAIProvider("r", "a b/c", "k", version)

    assert provider.build_url("m") == "wss://r.openai.azure.com/openai/v1/realtime?model=a%20b%2Fc"
    assert caplog.text == ""


def test_a_dated_version_is_the_retired_preview(caplog: pytest.LogCaptureFixture) -> None:
    provider = AzureOpenAIProvider("r", "d&e", "k", "2025-04-01-preview")

    assert provider.build_url("m") == (
        "wss://r.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=d%26e"
    )
    assert len(caplog.records) == 1
    assert "2026-04-30" in caplog.text
    assert "leave api_version out" in caplog.text


def test_azure_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_RESOURCE", "by-resource")
    monkeypatch.setenv("AZURE_OPENAI_DEPLOYMENT", "env-d")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "env-k")
    assert AzureOpenAIProvider().build_url("m") == "wss://by-resource.openai.azure.com/openai/v1/realtime?model=env-d"
    assert AzureOpenAIProvider().build_headers() == {"api-key": "env-k"}

    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://by-endpoint")
    assert AzureOpenAIProvider().build_url("m") == "wss://by-endpoint/openai/v1/realtime?model=env-d"

    provider = AzureOpenAIProvider("r", "d", "k")
    assert provider.build_url("m") == "wss://r.openai.azure.com/openai/v1/realtime?model=d"
    assert provider.build_headers() == {"api-key": "k"}


def test_azure_from_a_dotenv_file(no_environment: Path) -> None:
    (no_environment / ".env").write_text(
        "AZURE_OPENAI_ENDPOINT=https://file\nAZURE_OPENAI_DEPLOYMENT=d\nAZURE_OPENAI_API_KEY=k\n"
    )

    assert AzureOpenAIProvider().build_url("m") == "wss://file/openai/v1/realtime?model=d"


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        ({"deployment": "d", "api_key": "k"}, "AZURE_OPENAI_ENDPOINT"),
        ({"resource": "r", "api_key": "k"}, "AZURE_OPENAI_DEPLOYMENT"),
        ({"resource": "r", "deployment": "d"}, "AZURE_OPENAI_API_KEY"),
        ({"resource": "r", "deployment": "d", "api_key": " "}, "AZURE_OPENAI_API_KEY"),
    ],
)
def test_azure_misses(arguments: dict[str, str], missing: str) -> None:
    with pytest.raises(RuntimeError, match=missing) as caught:
        AzureOpenAIProvider(**arguments)  # type: ignore[arg-type]
    assert isinstance(caught.value, errors.MissingCredentialsError)


@pytest.mark.parametrize(
    "arguments",
    [
        {"resource": "r", "azure_endpoint": "https://other"},
        {"deployment": "d", "azure_deployment": "e"},
    ],
)
def test_azure_spellings_that_contradict(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="contradict"):
        AzureOpenAIProvider(**{"resource": "r", "deployment": "d", "api_key": "k"} | arguments)  # type: ignore[arg-type]


def test_azure_spellings_that_agree() -> None:
    provider = AzureOpenAIProvider("r", "d", "k", azure_endpoint="r.openai.azure.com", azure_deployment="d")

    assert provider.build_url("m") == "wss://r.openai.azure.com/openai/v1/realtime?model=d"
    assert AzureOpenAIProvider("r", api_key="k", azure_deployment="e").build_url("m").endswith("model=e")


@pytest.mark.parametrize(
    ("variable", "value"), [("AZURE_OPENAI_ENDPOINT", "ftp://x"), ("AZURE_OPENAI_RESOURCE", "http://[")]
)
def test_an_endpoint_that_is_no_url_says_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(errors.ConfigurationError, match=variable):
        AzureOpenAIProvider(deployment="d", api_key="k")


def sync_token(tokens: list[str]) -> Callable[[], str]:
    return lambda: tokens.pop(0)


def async_token(tokens: list[str]) -> Callable[[], object]:
    async def fetch() -> str:
        return tokens.pop(0)

    return fetch


@pytest.mark.parametrize("make", [sync_token, async_token])
async def test_a_token_is_fetched_for_every_connection(make: Callable[[list[str]], Callable[[], str]]) -> None:
    tokens = ["one", "two"]
    provider = AzureOpenAIProvider("r", "d", token_provider=make(tokens))

    assert tokens == ["one", "two"], "nothing is fetched before there is a connection"
    assert provider.build_headers() == {}
    assert await provider.connection_headers() == {"Authorization": "Bearer one"}
    assert await provider.connection_headers() == {"Authorization": "Bearer two"}


async def test_a_token_replaces_the_key() -> None:
    provider = AzureOpenAIProvider("r", "d", "k", token_provider=lambda: "t")

    assert await provider.connection_headers() == {"Authorization": "Bearer t"}


async def test_azure_without_a_token_provider() -> None:
    assert await AzureOpenAIProvider("r", "d", "k").connection_headers() == {"api-key": "k"}


@pytest.mark.parametrize(
    "provider",
    [
        lambda: OpenAIProvider("hush"),
        lambda: OpenAIProvider("hush", base_url="https://me:hush@host/v1"),
        lambda: AzureOpenAIProvider("r", "d", "hush"),
        lambda: AzureOpenAIProvider(azure_endpoint="https://me:hush@host", deployment="d", api_key="hush"),
    ],
)
def test_no_key_in_the_repr(provider: Callable[[], RealtimeProvider]) -> None:
    assert "hush" not in repr(provider())
    assert "host" in repr(provider()) or "openai" in repr(provider())
