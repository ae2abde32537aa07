"""A tool that takes its time: the assistant says so, and the user can go on talking.

python examples/long_running_tool.py             a rehearsal with scripted words: no key, no microphone
python examples/long_running_tool.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

import asyncio
from typing import Any

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import Reply, ScriptedUser, ToolCall, rehearse_or_run

tools = Tools()


@tools.action(
    "Search the web",
    holding_instruction="Let me search for that.",  # spoken at once, while the tool runs
    result_instruction="Name the best result in one sentence.",  # how the model should present the result
    timeout=30,  # seconds; then the model is told that it took too long
)
async def search_web(query: str) -> list[str]:
    await asyncio.sleep(6)  # a slow search; sound, interruptions and other tools go on meanwhile
    return [f"{query}: the complete guide", f"Ten things about {query}"]


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="Search the web when you do not know.", tools=tools, **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Find something about lighthouses.")
    await user.hears("Let me search")
    await user.says("Are you still there?")  # the search is running
    await user.hears("Yes")
    await user.hears("complete guide")


replies = [
    Reply(calls=[ToolCall("search_web", {"query": "lighthouses"})]),
    Reply("Let me search for that."),
    Reply("Yes, I am waiting for the result."),
    Reply("I found a complete guide to lighthouses."),
]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
