"""Text instead of speech: the user speaks, the assistant writes.

python examples/text_output.py             a rehearsal with scripted words: no key, no microphone
python examples/text_output.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import AgentListener, RealtimeAgent
from rtvoice.testing import ScriptedUser, rehearse_or_run


class Screen(AgentListener):
    async def on_assistant_transcript_delta(self, delta: str) -> None:  # word by word
        print(delta, end="", flush=True)

    async def on_assistant_stopped_responding(self) -> None:
        print()


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    # ["audio"] is the default; ["audio", "text"] speaks, and calls on_assistant_transcript_delta too.
    return RealtimeAgent(instructions="Answer briefly.", output_modalities=["text"], listener=Screen(), **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Write down the capital of Norway.")
    await user.hears("Oslo")


if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, ["The capital of Norway is Oslo."], tell=None)
