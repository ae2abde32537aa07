"""Where the Realtime server is, and how to prove who we are: one class per kind of service."""

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from rtvoice.environment import read_variable
from rtvoice.errors import ConfigurationError, MissingCredentialsError

logger = logging.getLogger(__name__)

TokenProvider = Callable[[], str | Awaitable[str]]

_GA_VERSIONS: Final = frozenset({"v1", "ga"})
_WEBSOCKET_SCHEMES: Final = {"https": "wss", "wss": "wss", "http": "ws", "ws": "ws"}


class RealtimeProvider(ABC):
    """A service that speaks the Realtime protocol.

    Subclass it for a service of your own. Both methods are called once per connection attempt, so
    they may return something fresh each time.
    """

    @abstractmethod
    def build_url(self, model: str) -> str:
        """Return the WebSocket URL for a session with this model."""

    @abstractmethod
    def build_headers(self) -> dict[str, str]:
        """Return the HTTP headers of the WebSocket upgrade, credentials included."""

    async def connection_headers(self) -> dict[str, str]:
        """Return the headers for the next connection attempt; override it to fetch a token first."""
        return self.build_headers()


class OpenAIProvider(RealtimeProvider):
    """OpenAI, or any server that speaks its protocol.

    Args:
        api_key: The key; without it the environment variable ``OPENAI_API_KEY`` (a ``.env`` file
            counts). Ephemeral keys (``ek_…``) work too.
        base_url: Another server: ``https://host/v1``, ``ws://127.0.0.1:8080/v1`` …; ``/realtime`` is
            appended unless it is there. A server on a base URL needs no key.
        organization: Sent as ``OpenAI-Organization``.
        project: Sent as ``OpenAI-Project``.
        safety_identifier: A stable id of the end user that tells nothing about them, sent as
            ``OpenAI-Safety-Identifier``.

    Raises:
        MissingCredentialsError: No key was given or found.
        ConfigurationError: ``base_url`` is not a URL.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        safety_identifier: str | None = None,
    ) -> None:
        self._api_key = _key(api_key, "OPENAI_API_KEY")
        if not self._api_key and base_url is None:
            raise MissingCredentialsError(
                "No OpenAI API key: set the environment variable OPENAI_API_KEY (or a .env file), or pass api_key=."
            )
        self._base_url = _websocket_url(base_url or "https://api.openai.com/v1", "base_url")
        self._extra_headers = {
            name: value
            for name, value in (
                ("OpenAI-Organization", organization),
                ("OpenAI-Project", project),
                ("OpenAI-Safety-Identifier", safety_identifier),
            )
            if value
        }

    def build_url(self, model: str) -> str:
        """Return ``wss://api.openai.com/v1/realtime?model=…``, or the same on the base URL."""
        base = self._base_url.rstrip("/")
        path = "" if base.endswith("/realtime") else "/realtime"
        return f"{base}{path}?model={quote(model, safe='')}"

    def build_headers(self) -> dict[str, str]:
        """Return the bearer token and the optional headers."""
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        return headers | self._extra_headers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_credentials(self._base_url)!r})"


class AzureOpenAIProvider(RealtimeProvider):
    """Azure OpenAI.

    Args:
        resource: Name of the resource (``<resource>.openai.azure.com``) or its endpoint.
        deployment: Name of the deployment of a realtime model; the agent's ``model`` is ignored.
        api_key: The key; without it ``AZURE_OPENAI_API_KEY``.
        api_version: Leave it out for the current interface. A dated version asks for the preview
            interface, which Azure retired on 2026-04-30.
        azure_endpoint: The endpoint's URL or host; without it and ``resource`` the variables
            ``AZURE_OPENAI_ENDPOINT`` and ``AZURE_OPENAI_RESOURCE``.
        azure_deployment: Another spelling of ``deployment``; without both ``AZURE_OPENAI_DEPLOYMENT``.
        token_provider: Function, plain or async, that returns an Entra ID access token for the scope
            ``https://cognitiveservices.azure.com/.default``; asked again at every connection. It
            replaces the key.

    Raises:
        MissingCredentialsError: Endpoint, deployment or key are missing.
        ConfigurationError: Both spellings of a value were given and differ.
    """

    def __init__(
        self,
        resource: str | None = None,
        deployment: str | None = None,
        api_key: str | None = None,
        api_version: str | None = None,
        *,
        azure_endpoint: str | None = None,
        azure_deployment: str | None = None,
        token_provider: TokenProvider | None = None,
    ) -> None:
        self._host = _azure_host(resource, azure_endpoint)
        deployment = _same("azure_deployment", azure_deployment, "deployment", deployment)
        self._deployment = deployment or read_variable("AZURE_OPENAI_DEPLOYMENT")
        if not self._deployment:
            raise MissingCredentialsError(
                "No Azure deployment: pass azure_deployment= or set the environment variable AZURE_OPENAI_DEPLOYMENT."
            )
        self._token_provider = token_provider
        self._api_key = None if token_provider else _key(api_key, "AZURE_OPENAI_API_KEY")
        if not self._api_key and token_provider is None:
            raise MissingCredentialsError(
                "No Azure API key: set the environment variable AZURE_OPENAI_API_KEY, or pass api_key= "
                "or token_provider=."
            )
        self._version = None if not api_version or api_version.lower() in _GA_VERSIONS else api_version
        if self._version is not None:
            logger.warning(
                "Azure retired the preview interface (api_version=%s) on 2026-04-30: leave api_version out "
                "to use the current one",
                self._version,
            )

    def build_url(self, model: str) -> str:
        """Return the URL of the deployment; ``model`` is ignored."""
        if self._version is None:
            return f"{self._host}/openai/v1/realtime?" + urlencode({"model": self._deployment}, quote_via=quote)
        query = {"api-version": self._version, "deployment": self._deployment}
        return f"{self._host}/openai/realtime?" + urlencode(query, quote_via=quote)

    def build_headers(self) -> dict[str, str]:
        """Return the key's header; with a token provider nothing, see `connection_headers`."""
        return {"api-key": self._api_key} if self._api_key else {}

    async def connection_headers(self) -> dict[str, str]:
        """Return the headers, with a fresh token if there is a token provider."""
        headers = self.build_headers()
        if self._token_provider is not None:
            token = self._token_provider()
            if inspect.isawaitable(token):
                token = await token
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_credentials(self._host)!r}, deployment={self._deployment!r})"


def _key(given: str | None, variable: str) -> str | None:
    """Return the key without the line end that a key read from a file tends to have."""
    return (given or read_variable(variable) or "").strip() or None


def _same(name: str, value: str | None, other_name: str, other: str | None) -> str | None:
    if value and other and value != other:
        raise ConfigurationError(f"{name}={value!r} and {other_name}={other!r} contradict each other: give one of them")
    return value or other or None


def _azure_host(resource: str | None, endpoint: str | None) -> str:
    by_endpoint, by_resource = _azure_url("azure_endpoint", endpoint), _azure_url("resource", resource)
    if by_endpoint and by_resource and by_endpoint != by_resource:
        raise ConfigurationError(
            f"azure_endpoint={endpoint!r} and resource={resource!r} contradict each other: give one of them"
        )
    host = by_endpoint or by_resource
    for variable in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_RESOURCE"):
        host = host or _azure_url(variable, read_variable(variable))
    if host is None:
        raise MissingCredentialsError(
            "No Azure endpoint: pass azure_endpoint= or set the environment variable AZURE_OPENAI_ENDPOINT."
        )
    return host


def _azure_url(source: str, value: str | None) -> str | None:
    """Return scheme and host of an endpoint, a host, or a bare resource name; ``source`` is where it was given."""
    if not value:
        return None
    if "://" not in value:
        host = value.split("/", 1)[0]
        value = f"https://{host}" if "." in host or ":" in host else f"https://{host}.openai.azure.com"
    parts = urlsplit(_websocket_url(value, source))
    return f"{parts.scheme}://{parts.netloc}"


def _websocket_url(url: str, source: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"{source}={url!r} is not a URL: {error}") from error
    if parts.scheme not in _WEBSOCKET_SCHEMES or not parts.hostname:
        raise ConfigurationError(f"{source}={url!r} is not a URL: it should look like https://host or ws://host:port")
    return parts._replace(scheme=_WEBSOCKET_SCHEMES[parts.scheme], query="", fragment="").geturl()


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
