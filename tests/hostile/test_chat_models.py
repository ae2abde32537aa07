"""Language models of a supervisor that do what they should not: its call is answered, the conversation goes on."""

from typing import Any

import pytest
from tests.hostile.conftest import ILLS, Conversation, Ill, reply_with

from rtvoice import RealtimeAgent, Supervisor
from rtvoice.testing import RealtimeEmulator, ScriptedChatModel

pytestmark = pytest.mark.virtual_clock


class IllModel(ScriptedChatModel):
    def __init__(self, ill: Ill) -> None:
        super().__init__("Nothing.", "Nothing.")
        self._ill = ill

    async def invoke(self, *args: Any, **kwargs: Any) -> Any:
        await self._ill()
        return await super().invoke(*args, **kwargs)


@pytest.mark.parametrize("what", ILLS)
async def test_a_chat_model_harms_nobody(what: str) -> None:
    ill = Ill(what)
    replies = reply_with("supervisor", task="Look.")
    async with RealtimeEmulator(replies, ["What do you see?"], detect_speech=False) as server:
        conversation = Conversation(server)
        supervisor: Supervisor[Any] = Supervisor(description="Looks.", instructions="Look.", llm=IllModel(ill))
        agent: RealtimeAgent[Any] = RealtimeAgent(supervisor=supervisor, **conversation.devices)
        await conversation.hold(agent, ill)
        assert ill.began
        assert conversation.result is not None
        outputs = [item for item in server.current.items if item["type"] == "function_call_output"]
        assert len(outputs) == 1
        if "swallows" in what:
            assert conversation.ended_after_s < 3
