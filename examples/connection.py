"""A lost connection: the conversation goes on where it was, and a display can say what is happening.

python examples/connection.py             a rehearsal with scripted words: no key, no microphone
python examples/connection.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import AgentListener, RealtimeAgent, ReconnectPolicy, RestoredConversation
from rtvoice.testing import ScriptedUser, rehearse_or_run


class Display(AgentListener):
    async def on_agent_reconnecting(self, attempt: int, reason: str) -> None:
        print(f"display    One moment, please ({attempt}).")

    async def on_agent_reconnected(self, restored: RestoredConversation) -> None:
        print(f"display    Here again: the model knows {restored.items} items, {restored.lost_user_turns} are lost.")


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(
        instructions="You tell jokes.",
        listener=Display(),
        # these are the defaults but for the number of attempts; reconnect=None ends the conversation instead
        reconnect=ReconnectPolicy(max_attempts=20, initial_delay_s=0.5, max_delay_s=30, jitter=0.2),
        **devices,
    )


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Tell me a joke.")
    await user.hears("cross the road")
    await user.loses_the_connection()
    await user.says("Why did it?")
    await user.hears("other side")


replies = ["A chicken wants to cross the road.", "To get to the other side."]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
