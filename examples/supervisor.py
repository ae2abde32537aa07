"""Supervisor: a text model books a table, asks back, and reports, while the conversation goes on.

python examples/supervisor.py             a rehearsal with scripted words: no key, no microphone
python examples/supervisor.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

import asyncio
from typing import Any

from rtvoice import RealtimeAgent, Supervisor, Tools
from rtvoice.llm import ChatModel, ChatOpenAI
from rtvoice.testing import Reply, ScriptedChatModel, ScriptedUser, ToolCall, rehearse_or_run

tools = Tools()


@tools.action("Book a table by phone")
async def book_table(restaurant: str, people: int, outside: bool) -> str:
    await asyncio.sleep(1)
    return f"Confirmed: a table for {people} at {restaurant}, {'outside' if outside else 'inside'}."


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    model: ChatModel = thoughts if devices else ChatOpenAI("gpt-5.4-mini")  # base_url= for other servers
    supervisor = Supervisor[None](
        description="Books restaurant tables.",
        instructions="Book with book_table. If the user did not say whether inside or outside, ask with clarify().",
        holding_instruction="One moment, I take care of it.",
        tools=tools,
        llm=model,
    )
    return RealtimeAgent(instructions="Leave bookings to the supervisor.", supervisor=supervisor, **devices)


# --- the rehearsal: what the user says and waits for, and what the two models do ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("A table for four at Luigi's, please.")
    await user.hears("inside or outside?")
    await user.says("Outside.")
    await user.hears("Done!")


task = {"task": "Book a table for four at Luigi's."}
replies: list[Reply | str] = [
    Reply(calls=[ToolCall("supervisor", task)]),
    "One moment, I take care of it.",
    "Would you like to sit inside or outside?",
    Reply(calls=[ToolCall("supervisor", {**task, "clarification_answer": "Outside."})]),
    "One moment, I take care of it.",
    "Done! You have a table for four at Luigi's, outside.",
]
thoughts = ScriptedChatModel(
    ToolCall("clarify", {"question": "Would you like to sit inside or outside?"}),
    ToolCall("book_table", {"restaurant": "Luigi's", "people": 4, "outside": True}),
    ToolCall("done", {"result": "A table for four at Luigi's, outside."}),
)

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
