"""Approval: a person decides whether a tool may run.

python examples/approval.py             a rehearsal with scripted words: no key, no microphone
python examples/approval.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import AgentListener, RealtimeAgent, Tools
from rtvoice.listener import ToolApproval, ToolApprovalRequest
from rtvoice.testing import Reply, ScriptedUser, ToolCall, rehearse_or_run

tools = Tools()


@tools.action("Transfer money", needs_approval=True)
async def transfer(to: str, euros: float) -> str:
    return f"{euros:.2f} euros are on their way to {to}."


class Bank(AgentListener):
    """Here a rule decides. A person could: this may take its time, the conversation goes on meanwhile."""

    async def on_tool_approval_requested(self, request: ToolApprovalRequest) -> ToolApproval:
        approved = request.arguments["euros"] <= 100
        print(f"bank       {request.name} {dict(request.arguments)}: {'approved' if approved else 'refused'}")
        return ToolApproval(approved, reason="more than 100 euros need a signature")


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="You are the voice of a bank.", tools=tools, listener=Bank(), **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Send Bob twenty euros.")
    await user.hears("Done")
    await user.says("And Carol five hundred.")
    await user.hears("signature")


replies = [
    Reply(calls=[ToolCall("transfer", {"to": "Bob", "euros": 20})]),
    Reply("Done."),
    Reply(calls=[ToolCall("transfer", {"to": "Carol", "euros": 500})]),
    Reply("For that the bank needs your signature."),
]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
