"""What goes wrong at the beginning: ``run()`` raises one clear error, soon, and nothing is left behind."""

import asyncio
from typing import Any

import pytest
from tests.faults.beginnings import BEGINNINGS

from rtvoice import RealtimeAgent
from rtvoice.testing import RealtimeEmulator, VirtualMicrophone, VirtualSpeaker
from rtvoice.testing.emulator import EmulatorProvider

BOUND_S = 20.0


@pytest.mark.virtual_clock
@pytest.mark.parametrize("name", BEGINNINGS)
async def test_a_fault_at_the_beginning(
    name: str, story: Any, monkeypatch: pytest.MonkeyPatch, self_signed: Any
) -> None:
    beginning = BEGINNINGS[name]
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator() as server, beginning.trouble(server, self_signed, monkeypatch) as url:
        agent = RealtimeAgent(
            provider=EmulatorProvider(url, server.api_key),  # type: ignore[arg-type]
            audio_input=VirtualMicrophone(),
            audio_output=VirtualSpeaker(),
            listener=story,
        )
        with pytest.raises(beginning.raises) as raised:
            await agent.run()
        assert type(raised.value) is beginning.raises
        assert loop.time() < BOUND_S
    told = [name for name in story.names if name != "agent_error"]
    if name == "refused settings":
        told.remove("agent_session_connected")  # the server greets first, and refuses the settings afterwards
    assert told == ["agent_starting", "agent_stopped"]
    (error,) = story.all("agent_error")
    assert error.type == beginning.error
    assert error.message == str(raised.value)
    assert len(error.message) > 40, "it says what to do"
