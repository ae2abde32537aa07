"""Voice, model and speed; the speed can change while you talk.

python examples/voice_and_model.py             a rehearsal with scripted words: no key, no microphone
python examples/voice_and_model.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import AssistantVoice, RealtimeAgent, RealtimeModel, Tools
from rtvoice.testing import Reply, ScriptedUser, ToolCall, rehearse_or_run


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    tools = Tools()

    @tools.action("Set how fast you speak, 0.25 to 1.5; 1.0 is normal")
    async def set_speed(speed: float) -> None:
        await agent.set_speech_speed(speed)  # from the next answer on

    agent: RealtimeAgent[None] = RealtimeAgent(
        instructions="You read to the user. Change your speed with set_speed when asked to.",
        model=RealtimeModel.GPT_REALTIME_2_1,  # a plain string does as well: "gpt-realtime-2.1"
        voice=AssistantVoice.CEDAR,
        speech_speed=1.2,  # 0.25 to 1.5
        tools=tools,
        **devices,
    )
    return agent


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Read slowly, please.")
    await user.hears("slowly")


replies = [Reply(calls=[ToolCall("set_speed", {"speed": 0.8})]), Reply("I am reading slowly now.")]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
