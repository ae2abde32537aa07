"""What a conversation uses and costs, and a budget for it.

python examples/usage_and_cost.py             a rehearsal with scripted words: no key, no microphone
python examples/usage_and_cost.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import RealtimeAgent
from rtvoice.events import UsageUpdatedEvent
from rtvoice.testing import ReplyRequest, ScriptedUser, rehearse_or_run


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    agent: RealtimeAgent[None] = RealtimeAgent(
        instructions="Answer briefly.",
        max_cost_usd=0.001,  # when it is used up, the assistant says goodbye and the agent stops
        **devices,
    )
    agent.event_bus.subscribe(UsageUpdatedEvent, show)  # or ask agent.usage at any time
    return agent


def show(event: UsageUpdatedEvent) -> None:
    print(f"           ({event.usage.tokens.total} tokens, {event.usage.cost_usd:.4f} US dollars so far)")


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Tell me everything about lighthouses.")
    await user.hears("lighthouse")
    await user.waits_for_the_end()


def reply(request: ReplyRequest) -> str:
    if "budget" in request.instructions:  # what the agent adds when the money is gone
        return "I have to go now. Goodbye!"
    return "A lighthouse is a tower with a lamp that guides ships."


if __name__ == "__main__":
    result = rehearse_or_run(make_agent, conversation, reply)
    print()
    print("tokens:", result.usage.tokens)
    print(f"cost:   {result.usage.cost_usd:.4f} US dollars")
