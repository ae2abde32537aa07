"""What can go wrong when a conversation begins, and which exception ``run()`` raises then."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from rtvoice.errors import AuthenticationFailed, ConfigurationError, ConnectionFailed, RtvoiceError, ServerError
from rtvoice.testing import Faults, RealtimeEmulator, RefusingProxy, StartRefusal, name_lookup_fails
from rtvoice.testing.faults import BAD_KEY, BETA_HEADER, MISSING_MODEL, NO_QUOTA, model_not_found

Trouble = Callable[[RealtimeEmulator, Callable[[], ssl.SSLContext], Any], AbstractAsyncContextManager[str]]
"""Makes trouble around a server, and gives the address that an agent is led to."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Something that goes wrong at the beginning.

    Attributes:
        what: What happens, for people.
        trouble: Lets it happen.
        raises: What ``run()`` raises.
        error: Type of the error that ``on_agent_error`` is told.
    """

    what: str
    trouble: Trouble
    raises: type[RtvoiceError]
    error: str


def at_the_server(act: Callable[[RealtimeEmulator], object]) -> Trouble:
    """Trouble of the server's own making."""

    @asynccontextmanager
    async def trouble(server: RealtimeEmulator, _make_tls: Any, _environment: Any) -> AsyncIterator[str]:
        act(server)
        yield server.url

    return trouble


def refuses(refusal: StartRefusal) -> Trouble:
    return at_the_server(lambda server: server.refuse(refusal))


def has(faults: Faults) -> Trouble:
    def act(server: RealtimeEmulator) -> None:
        server.faults = faults

    return at_the_server(act)


@asynccontextmanager
async def nobody_listens(server: RealtimeEmulator, _make_tls: Any, _environment: Any) -> AsyncIterator[str]:
    await server.stop_listening()
    yield server.url


@asynccontextmanager
async def no_names(_server: RealtimeEmulator, _make_tls: Any, _environment: Any) -> AsyncIterator[str]:
    with name_lookup_fails():
        yield "ws://realtime.invalid/v1/realtime"


@asynccontextmanager
async def unknown_certificate(_server: RealtimeEmulator, make_tls: Any, _environment: Any) -> AsyncIterator[str]:
    async with RealtimeEmulator(tls=make_tls()) as stranger:
        yield stranger.url


@asynccontextmanager
async def no_tls(server: RealtimeEmulator, _make_tls: Any, _environment: Any) -> AsyncIterator[str]:
    yield server.url.replace("ws://", "wss://")


@asynccontextmanager
async def proxy_refuses(server: RealtimeEmulator, _make_tls: Any, environment: Any) -> AsyncIterator[str]:
    async with RefusingProxy() as proxy:
        environment.setenv("ws_proxy", proxy.url)
        yield server.url


@asynccontextmanager
async def odd_proxy(server: RealtimeEmulator, _make_tls: Any, environment: Any) -> AsyncIterator[str]:
    environment.setenv("ws_proxy", "gopher://127.0.0.1:70")
    yield server.url


@asynccontextmanager
async def silence(_server: RealtimeEmulator, _make_tls: Any, _environment: Any) -> AsyncIterator[str]:
    """A host that takes connections and never says a word."""
    loop = asyncio.get_running_loop()
    mute = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{mute.sockets[0].getsockname()[1]}/v1/realtime"
    finally:
        mute.close()
        await mute.wait_closed()


def _http(status: int, raises: type[RtvoiceError], error: str) -> Beginning:
    return Beginning(
        what=f"The server answers HTTP {status}",
        trouble=refuses(StartRefusal(http_status=status)), raises=raises, error=error,
    )  # fmt: skip


NO_CONNECTION: Final = "connection_failed"
NO_ACCESS: Final = "authentication_failed"
NO_SETTINGS: Final = {"type": "invalid_request_error", "code": "invalid_value", "message": "No such voice."}

BEGINNINGS: Final = {
    **{f"HTTP {status}": _http(status, AuthenticationFailed, NO_ACCESS) for status in (401, 403)},
    **{
        f"HTTP {status}": _http(status, ConnectionFailed, NO_CONNECTION)
        for status in (400, 404, 429, 500, 502, 503, 504)
    },
    **{
        f"refused: {what}": Beginning(
            what=f"The server refuses the session: {what}", trouble=refuses(refusal), raises=raises, error=error
        )
        for what, refusal, raises, error in (
            ("bad key", BAD_KEY, AuthenticationFailed, NO_ACCESS),
            ("no credit", NO_QUOTA, AuthenticationFailed, NO_ACCESS),
            ("retired interface", BETA_HEADER, ConnectionFailed, NO_CONNECTION),
            ("model missing", MISSING_MODEL, ConnectionFailed, NO_CONNECTION),
            ("no such model", model_not_found("gpt-realtime-2.1-mini"), ConnectionFailed, NO_CONNECTION),
        )
    },
    **{
        f"close {code}": Beginning(
            what=f"The server closes with {code} before it has said anything",
            trouble=refuses(StartRefusal(close_code=code)), raises=ConnectionFailed, error=NO_CONNECTION,
        )
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 4500)
    },
    "refused settings": Beginning(
        what="The server refuses the settings", trouble=has(Faults(refuse_session_updates=NO_SETTINGS)),
        raises=ServerError, error="start_failed",
    ),
    "nobody listens": Beginning(
        what="Nobody listens at the address", trouble=nobody_listens, raises=ConnectionFailed, error=NO_CONNECTION
    ),
    "silence": Beginning(
        what="The host takes the connection and never says a word", trouble=silence, raises=ConnectionFailed,
        error=NO_CONNECTION,
    ),
    "no names": Beginning(
        what="The host name cannot be looked up", trouble=no_names, raises=ConnectionFailed, error=NO_CONNECTION
    ),
    "unknown certificate": Beginning(
        what="Nobody trusts the server's certificate", trouble=unknown_certificate, raises=ConnectionFailed,
        error=NO_CONNECTION,
    ),
    "no TLS": Beginning(
        what="The server does not speak TLS", trouble=no_tls, raises=ConnectionFailed, error=NO_CONNECTION
    ),
    "proxy refuses": Beginning(
        what="The proxy refuses (HTTP 407)", trouble=proxy_refuses, raises=ConnectionFailed, error=NO_CONNECTION
    ),
    "odd proxy": Beginning(
        what="The environment names a proxy of an unknown kind", trouble=odd_proxy, raises=ConfigurationError,
        error="start_failed",
    ),
}  # fmt: skip
