"""An agent with the tools of a real MCP server process, which dies in the middle of the conversation."""

import asyncio
import sys
from pathlib import Path

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import RealtimeEmulator, Reply, ToolCall, VirtualMicrophone, VirtualSpeaker

SERVER = str(Path(__file__).parents[1] / "tools" / "mcp_server.py")


async def test_the_conversation_survives_the_death_of_an_mcp_server() -> None:
    names = ["mcp_weather", "mcp_die", "mcp_weather"]
    replies: list[Reply | str] = []
    for number, name in enumerate(names):
        arguments = {"city": "Oslo"} if name == "mcp_weather" else {}
        replies += [Reply(calls=[ToolCall(name, arguments, f"c{number}")]), "Hm."]
    async with (
        Tools.from_mcp(command=sys.executable, args=[SERVER], prefix="mcp_", only=["weather", "die"]) as tools,
        RealtimeEmulator(replies, ["the words"] * 9, detect_speech=False) as server,
        asyncio.TaskGroup() as group,
    ):
        agent = RealtimeAgent(
            provider=server.provider,
            audio_input=VirtualMicrophone(),
            audio_output=VirtualSpeaker(realtime=False),
            tools=tools,
        )
        running = group.create_task(agent.run())
        session = await server.connected()
        await server.sent("session.updated")
        assert [tool["name"] for tool in session.config["tools"]] == ["mcp_weather", "mcp_die"]
        outputs = []
        for _ in names:
            session.speech_started()
            session.speech_stopped()
            answer = await server.received(
                "conversation.item.create",
                where=lambda event: event["item"]["type"] == "function_call_output",
                timeout=20,
            )
            outputs.append(answer["item"]["output"])
            await server.received("response.create")
            await server.sent("response.done", where=lambda event: event["response"]["output"][0]["type"] == "message")
        await agent.stop()
        await running
    assert outputs[0] == outputs[2] == "18 degrees in Oslo"
    assert "'weather-desk' was lost during this call of 'die'" in outputs[1]
