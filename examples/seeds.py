"""Conversation seeds: begin as if something had already been said.

python examples/seeds.py             a rehearsal with scripted words: no key, no microphone
python examples/seeds.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import ConversationSeed, RealtimeAgent
from rtvoice.testing import ReplyRequest, ScriptedUser, rehearse_or_run

# Pairs of user and assistant; or ConversationSeed([SeedMessage.user("..."), ...]) for any other order.
seed = ConversationSeed.from_pairs(
    ("My name is Alice.", "Nice to meet you, Alice."),
    ("I like short answers.", "Got it."),
)


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    agent: RealtimeAgent[None] = RealtimeAgent(instructions="Be helpful.", conversation_seed=seed, **devices)
    print(agent.history.format())
    return agent


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("What is my name?")
    await user.hears("Alice")


def reply(request: ReplyRequest) -> str:
    """Answer from what the server was really sent, instead of from a list."""
    knows_alice = any("My name is Alice." in str(item) for item in request.items)
    return "Alice." if knows_alice else "I do not know."


if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, reply)
