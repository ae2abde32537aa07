"""Injection: tools get your own objects, which the model neither sees nor supplies.

python examples/context_injection.py             a rehearsal with scripted words: no key, no microphone
python examples/context_injection.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from dataclasses import dataclass
from typing import Any

from rtvoice import Inject, RealtimeAgent, Tools
from rtvoice.conversation import ConversationHistory
from rtvoice.testing import Reply, ScriptedUser, ToolCall, rehearse_or_run


@dataclass
class Customer:
    name: str


class Basket(list[str]): ...


tools = Tools()


# The model supplies "book"; the agent supplies the rest, by type.
@tools.action("Put a book into the basket")
async def add(book: str, buyer: Inject[Customer], basket: Inject[Basket], history: Inject[ConversationHistory]) -> str:
    basket.append(book)
    return f"{buyer.name} has {basket} in the basket, after {len(history.turns)} turns."


def make_agent(**devices: Any) -> RealtimeAgent[Customer]:
    return RealtimeAgent(
        instructions="You are the assistant of a bookshop.",
        tools=tools,
        context=Customer("Alice"),  # one object of the application ...
        tool_dependencies=[Basket()],  # ... and as many more as the tools need
        **devices,
    )


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Do you have books about whales?")
    await user.hears("Moby Dick")
    await user.says("I take it.")
    await user.hears("Alice")


replies = [
    Reply("Moby Dick."),
    Reply(calls=[ToolCall("add", {"book": "Moby Dick"})]),
    Reply("It is yours, Alice."),
]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
