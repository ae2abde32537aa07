"""Providers that do what they should not: the agent starts, or says why it cannot, and always ends."""

from typing import Any

import pytest
from tests.hostile.conftest import ILLS, Conversation, Ill

from rtvoice import RealtimeAgent
from rtvoice.realtime import RealtimeProvider

pytestmark = pytest.mark.virtual_clock


class IllProvider(RealtimeProvider):
    def __init__(self, good: Any, ill: Ill) -> None:
        self._good, self._ill = good, ill

    def build_url(self, model: str) -> str:
        return str(self._good.build_url(model))

    def build_headers(self) -> dict[str, str]:
        return dict(self._good.build_headers())

    async def connection_headers(self) -> dict[str, str]:
        await self._ill()
        return self.build_headers()


@pytest.mark.parametrize("what", ILLS)
async def test_a_provider_harms_nobody(what: str, conversation: Conversation) -> None:
    ill = Ill(what)
    devices = {**conversation.devices, "provider": IllProvider(conversation.server.provider, ill)}
    agent: RealtimeAgent[Any] = RealtimeAgent(tools=conversation.tools(), **devices)
    await conversation.hold(agent, ill)
    assert ill.began == 1
    assert (conversation.result is None) is (conversation.failure is not None)
    if what in ("raises", "exits", "cancels itself", "runs the agent again"):
        assert conversation.failure is not None
    elif "swallows" not in what and what != "stops the agent":
        assert conversation.answered


@pytest.mark.parametrize("method", ["build_url", "build_headers"])
async def test_a_provider_that_raises_ends_the_run_with_its_own_error(method: str, conversation: Conversation) -> None:
    class Raising(IllProvider):
        pass

    def broken(*_: object) -> Any:
        raise LookupError("no such place")

    setattr(Raising, method, broken)
    provider = Raising(conversation.server.provider, Ill("takes 30 s"))
    agent: RealtimeAgent[Any] = RealtimeAgent(**{**conversation.devices, "provider": provider})
    provider._ill.agent = agent
    await conversation.hold(agent, provider._ill)
    assert isinstance(conversation.failure, LookupError)
