"""Devices that do what they should not: the agent says so or goes on, and always ends."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.hostile.conftest import END_LIMIT_S, ILLS, Conversation, Ill
from tests.model.devices import Ear, Mouth

from rtvoice import RealtimeAgent

pytestmark = pytest.mark.virtual_clock


class IllMouth(Mouth):
    def __init__(self, place: str, ill: Ill) -> None:
        super().__init__()
        self._place, self._ill = place, ill

    async def start(self) -> None:
        if self._place == "start":
            await self._ill()
        await super().start()

    async def stop(self) -> None:
        if self._place == "stop":
            await self._ill()
        await super().stop()

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        async for chunk in super().stream_chunks():
            if self._place == "stream_chunks":
                await self._ill()
            yield chunk


class IllEar(Ear):
    def __init__(self, place: str, ill: Ill) -> None:
        super().__init__()
        self._place, self._ill = place, ill

    async def start(self) -> None:
        if self._place == "start":
            await self._ill()
        await super().start()

    async def stop(self) -> None:
        if self._place == "stop":
            await self._ill()
        await super().stop()

    async def play_chunk(self, chunk: bytes) -> None:
        if self._place == "play_chunk":
            await self._ill()
        await super().play_chunk(chunk)

    async def clear_buffer(self) -> None:
        if self._place == "clear_buffer":
            await self._ill()
        await super().clear_buffer()


async def hold(conversation: Conversation, ill: Ill, **devices: Any) -> None:
    agent: RealtimeAgent[Any] = RealtimeAgent(tools=conversation.tools(), **{**conversation.devices, **devices})
    await conversation.hold(agent, ill)
    assert conversation.ended_after_s < END_LIMIT_S
    assert (conversation.result is None) is (conversation.failure is not None)


@pytest.mark.parametrize("place", ["start", "stop", "stream_chunks"])
@pytest.mark.parametrize("what", ILLS)
async def test_a_microphone_harms_nobody(what: str, place: str, conversation: Conversation) -> None:
    ill = Ill(what)
    conversation.mouth = IllMouth(place, ill)
    await hold(conversation, ill)
    assert ill.began
    if place == "stop":
        assert conversation.answered


@pytest.mark.parametrize("place", ["start", "stop", "play_chunk", "clear_buffer"])
@pytest.mark.parametrize("what", ILLS)
async def test_a_loudspeaker_harms_nobody(what: str, place: str, conversation: Conversation) -> None:
    ill = Ill(what)
    conversation.ear = IllEar(place, ill)
    await hold(conversation, ill)
    if place in ("stop", "clear_buffer"):
        assert conversation.answered
