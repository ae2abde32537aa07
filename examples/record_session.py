"""Record everything that goes over the wire, look at it, and hold the same conversation again offline.

python examples/record_session.py             a rehearsal with scripted words: no key, no microphone
python examples/record_session.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]

Then:  rtvoice replay talk.jsonl                     who said what when, tool calls, interruptions, waits
       rtvoice replay talk.jsonl --html talk.html    the same as a page with both voices to listen to
"""

import asyncio
from typing import Any

from rtvoice import RealtimeAgent, SessionLog, Tools
from rtvoice.testing import Replay, Reply, ScriptedUser, ToolCall, rehearse_or_run
from rtvoice.testing.clock import run

tools = Tools()


@tools.action("Current weather of a city")
async def get_weather(city: str) -> str:
    await asyncio.sleep(0.5)
    return f"18 degrees in {city}"


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    # a path does, too; keys are never in the file
    log = SessionLog("talk.jsonl", redact_audio=False, redact_text=False)
    return RealtimeAgent(instructions="You know the weather.", tools=tools, session_log=log, **devices)


async def again() -> None:
    replay = Replay("talk.jsonl")  # the recorded server, the recorded user
    agent = RealtimeAgent(instructions="You know the weather.", tools=tools, **replay.devices)
    for turn in (await replay.run(agent)).turns:  # raises ReplayDiverged if the agent does something else
        print(f"{turn.role}: {turn.heard}")


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("How is the weather in Berlin?")
    await user.interrupts("Thanks!", after_ms=1000)
    await user.hears("welcome")


replies = [
    Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]),
    Reply("It is 18 degrees, and cloudy."),
    Reply("You are welcome."),
]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
    print("\nThe same again, without user and server:")
    run(again())
