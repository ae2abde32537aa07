"""Talking to the session: a greeting, words said exactly, messages in writing, new instructions, silence.

python examples/talking.py             a rehearsal with scripted words: no key, no microphone
python examples/talking.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import Reply, ScriptedUser, ToolCall, rehearse_or_run


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    tools = Tools()

    # the tool does the talking: the assistant is not asked to speak about its result
    @tools.action("Read the news to the user", respond=False)
    async def read_news() -> None:
        await agent.update_instructions("Answer questions about the news in one sentence.")
        await agent.say("Here is the news. It rains.")  # word for word; returns when it was heard
        await agent.send_message("I have heard the news. Anything else?")  # as if the user had written it

    agent: RealtimeAgent[None] = RealtimeAgent(
        instructions="You read the news.",
        greeting="Good morning! Shall I read the news?",
        tools=tools,
        **devices,
    )
    return agent


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.hears("Good morning")
    await user.says("Yes, please.")
    await user.hears("It rains.")
    await user.hears("Nothing else")


replies = [
    Reply("Good morning! Shall I read the news?"),
    Reply(calls=[ToolCall("read_news")]),
    Reply("Here is the news. It rains."),
    Reply("Nothing else has happened."),
]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
