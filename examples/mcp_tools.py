"""MCP: the assistant uses the tools of an MCP server, here one that is started as a program of its own.

python examples/mcp_tools.py             a rehearsal with scripted words: no key, no microphone
python examples/mcp_tools.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]

Both need rtvoice[mcp].
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import Rehearsal, Reply, ToolCall

SERVER = Path(__file__).parent / "mcp_server" / "weather.py"


def make_agent(tools: Tools, **devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="Answer questions about the weather with your tools.", tools=tools, **devices)


async def main() -> None:
    # The connection lives as long as this block. For a server elsewhere: Tools.from_mcp(url="https://…/mcp").
    async with Tools.from_mcp(command=sys.executable, args=[str(SERVER)], only=["get_weather"]) as tools:
        # What the server does not know about voice can be added.
        tools.tools["get_weather"].holding_instruction = "I am asking the weather station."
        if "--openai" in sys.argv:
            print("Speak to the assistant. Ctrl+C ends the conversation.")
            await make_agent(tools).run()
        else:
            await rehearse(tools)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def rehearse(tools: Tools) -> None:
    rehearsal = Rehearsal(replies, tell=print)
    async with rehearsal.run(make_agent(tools, **rehearsal.devices)) as user:
        await user.says("What is the weather in Berlin?")
        await user.hears("18 degrees")
    print(rehearsal.tool_called("get_weather", city="Berlin").output)


replies: list[Reply | str] = [
    Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]),
    "I am asking the weather station.",
    "It is 18 degrees in Berlin, and partly cloudy.",
]

if __name__ == "__main__":
    asyncio.run(main())
