"""Tools whose parameters are a pydantic model: descriptions, limits, nested data.

python examples/pydantic_tools.py             a rehearsal with scripted words: no key, no microphone
python examples/pydantic_tools.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import Reply, ScriptedUser, ToolCall, rehearse_or_run

tools = Tools()


class Topping(BaseModel):
    name: str
    double: bool = False


class Pizza(BaseModel):
    """All of this becomes the schema that the model sees."""

    size: Literal["small", "large"]
    toppings: list[Topping] = Field(description="In the order in which the guest named them", max_length=5)
    note: str | None = Field(default=None, description="Wishes of the guest, if any")


# The function receives a validated Pizza. Wrong arguments never reach it: the model is told what is wrong with them.
# "status" is spoken at once, while the tool runs; {size} is a field of the model.
@tools.action("Order a pizza", param_model=Pizza, status="One {size} pizza, I am sending the order.")
async def order_pizza(pizza: Pizza) -> dict[str, object]:
    toppings = [f"double {topping.name}" if topping.double else topping.name for topping in pizza.toppings]
    return {"accepted": True, "minutes": 20, "toppings": toppings}


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="You take orders for a pizzeria.", tools=tools, **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("A large pizza with olives and double cheese, please.")
    await user.hears("large pizza")
    await user.hears("twenty minutes")


order = {"size": "large", "toppings": [{"name": "olives"}, {"name": "cheese", "double": True}]}
replies = [
    Reply(calls=[ToolCall("order_pizza", order)]),
    Reply("One large pizza, I am sending the order."),
    Reply("It will be there in twenty minutes."),
]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
