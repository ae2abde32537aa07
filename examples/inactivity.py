"""Inactivity: hang up when nobody has spoken for a while.

python examples/inactivity.py             a rehearsal with scripted words: no key, no microphone
python examples/inactivity.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import AgentListener, RealtimeAgent
from rtvoice.testing import ScriptedUser, rehearse_or_run


class Countdown(AgentListener):
    async def on_user_inactivity_countdown(self, remaining_seconds: int) -> None:
        print(f"hanging up in {remaining_seconds} ...")


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(
        instructions="Answer briefly.",
        inactivity_timeout_enabled=True,
        inactivity_timeout_seconds=6,  # counts only while nobody is busy: no speech, no tool, no supervisor
        listener=Countdown(),
        **devices,
    )


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Are you there?")
    await user.hears("Yes")
    await user.waits_for_the_end()


if __name__ == "__main__":
    result = rehearse_or_run(make_agent, conversation, ["Yes, I am listening."])
    print("The conversation had", len(result.turns), "turns.")
