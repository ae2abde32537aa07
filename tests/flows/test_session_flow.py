"""What the session promises about settings at the start, and about a tool beside a supervisor's long task."""

import asyncio
from typing import Any

import pytest
from tests.conftest import Story
from tests.flows.test_reconnect_flow import known, settle

from rtvoice import Supervisor, Tools
from rtvoice.testing import RealtimeEmulator, Reply, ScriptedChatModel, ToolCall

pytestmark = pytest.mark.virtual_clock


class Quick(Story):
    """A listener that changes settings before the agent is connected."""

    agent: Any

    def __getattribute__(self, name: str) -> Any:
        if name != "on_agent_starting":
            return super().__getattribute__(name)

        async def starting() -> None:
            await self.agent.set_speech_speed(1.2)
            await self.agent.update_instructions("You are Eva.")

        return starting


async def test_settings_that_change_while_the_agent_starts_are_in_the_first_update(converse: Any) -> None:
    listener = Quick()
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, connected=False, listener=listener, instructions="You are nobody.") as conversation,
    ):
        listener.agent = conversation.agent
        session = await server.connected()
        await settle()
        (update,) = [event["session"] for event in session.received if event["type"] == "session.update"]
        assert update["audio"]["output"]["speed"] == 1.2
        assert update["instructions"] == "You are Eva."


async def test_a_tool_beside_a_long_task_is_spoken_of_first(converse: Any) -> None:
    done = asyncio.Event()

    async def work(_: Any) -> ToolCall:
        await done.wait()
        return ToolCall("done", {"result": "Booked for eight."})

    tools = Tools()

    @tools.action("Tells the weather.")
    async def weather() -> str:
        return "18 degrees"

    supervisor = Supervisor(description="Books tables.", instructions="Book it.", llm=ScriptedChatModel(work))
    replies = [
        Reply(calls=[ToolCall("supervisor", {"task": "Book a table"}, "c1"), ToolCall("weather", {}, "c2")]),
        "It is 18 degrees.",
        "The table is booked.",
    ]
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, supervisor=supervisor, tools=tools) as conversation,
    ):
        await conversation.agent.send_message("A table, please, and how is the weather?")
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert conversation.listener.all("assistant_transcript") == ["It is 18 degrees."]
        done.set()
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
        assert conversation.listener.all("assistant_transcript")[1:] == ["The table is booked."]
        outputs = [line.split()[1] for line in known(server.current) if line.startswith("output")]
        assert outputs == ["c2", "c1"]
