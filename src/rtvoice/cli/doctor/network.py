"""The API key, and the way to the service."""

import asyncio
import os
from typing import Any, Final
from urllib.parse import urlsplit

from rtvoice import AgentListener, OpenAIProvider, RealtimeAgent
from rtvoice.cli.doctor.findings import Finding
from rtvoice.errors import AuthenticationFailed, ConfigurationError, RtvoiceError
from rtvoice.testing import VirtualMicrophone, VirtualSpeaker

_TIMEOUT_S: Final = 20.0
_SLOW_MS: Final = 1500.0
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


async def check_service(base_url: str | None, model: str | None) -> Finding:
    """Connect to the service as an agent does, wait until it accepts the settings, and leave."""
    try:
        provider = OpenAIProvider(base_url=base_url) if base_url else OpenAIProvider()
    except ConfigurationError as error:
        return Finding("service", "problem", "There is no usable API key or address.", str(error))
    leaving = _Leaving()
    settings: dict[str, Any] = {"model": model} if model else {}
    leaving.agent = agent = RealtimeAgent[None](
        provider=provider,
        reconnect=None,
        listener=leaving,
        audio_input=VirtualMicrophone(),
        audio_output=VirtualSpeaker(),
        **settings,
    )
    host = urlsplit(provider.build_url(model or "any")).hostname
    proxy = next((name for name in _PROXIES if os.environ.get(name)), None)
    way = f"{host} through the proxy of {proxy}" if proxy else f"{host}"
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await agent.run()
    except TimeoutError:
        remedy = "A firewall may hold the connection: try another network, or set HTTPS_PROXY."
        return Finding("service", "problem", f"{way} has not answered within {_TIMEOUT_S:g} s.", remedy)
    except RtvoiceError as error:
        return _failure(error, way)
    needed_ms = round((leaving.connected_at - began) * 1000)
    details = {"host": host, "connected_ms": needed_ms, "proxy": proxy}
    message = f"{way} accepts the key and the settings; connected in {needed_ms} ms."
    if needed_ms > _SLOW_MS:
        return Finding("service", "warning", message, "That is slow: conversations will be, too.", details)
    return Finding("service", "ok", message, details=details)


def _failure(error: RtvoiceError, way: str) -> Finding:
    if isinstance(error, AuthenticationFailed):
        remedy = "Check OPENAI_API_KEY in the environment and in .env: mistyped, expired, of another project?"
        return Finding("service", "problem", f"{way} refuses the key: {error}", remedy)
    remedy = "Check the network, the name of the model, and the account's credit; --offline leaves this check out."
    return Finding("service", "problem", f"No session with {way}: {error}", remedy)


class _Leaving(AgentListener):
    agent: RealtimeAgent[None]
    connected_at = 0.0

    async def on_agent_session_connected(self) -> None:
        self.connected_at = asyncio.get_running_loop().time()
        await self.agent.stop()
