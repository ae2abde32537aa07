"""A listener: be told what happens in the conversation.

python examples/listener.py             a rehearsal with scripted words: no key, no microphone
python examples/listener.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import AgentError, AgentListener, RealtimeAgent
from rtvoice.testing import ScriptedUser, rehearse_or_run


class Console(AgentListener):
    """Override the callbacks you need. They come one at a time, in order, and the conversation never waits for them."""

    async def on_agent_session_connected(self) -> None:
        print("(connected)")

    async def on_user_started_speaking(self) -> None:
        print("(the user speaks)")

    async def on_user_transcript(self, transcript: str) -> None:
        print("User:", transcript)

    async def on_assistant_transcript(self, transcript: str) -> None:
        print("Assistant:", transcript)

    async def on_agent_interrupted(self) -> None:
        print("(the assistant falls silent)")

    async def on_agent_error(self, error: AgentError) -> None:
        print("Error:", error)

    async def on_agent_stopped(self) -> None:
        print("(stopped)")


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="You tell stories.", listener=Console(), **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Tell me a story.")
    await user.interrupts("Stop.", after_ms=1200)
    await user.hears("All right")


replies = ["There once was a lighthouse at the end of the world, and its keeper was a cat.", "All right."]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies, tell=None)
