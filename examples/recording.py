"""Record a conversation: left the user, right the assistant, as far as it was heard.

python examples/recording.py             a rehearsal with scripted words: no key, no microphone
python examples/recording.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import RealtimeAgent
from rtvoice.testing import ScriptedUser, rehearse_or_run


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    # ".wav" is stereo; any other suffix is raw PCM, 16 bit, 24 kHz, mono. The file grows while you talk.
    return RealtimeAgent(instructions="You count.", recording_path="recording.wav", **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Count to twenty.")
    await user.interrupts("That is enough.", after_ms=1500)
    await user.hears("Fine")


replies = ["One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen.", "Fine."]

if __name__ == "__main__":
    result = rehearse_or_run(make_agent, conversation, replies)
    print()
    print("recorded in", result.recording_path)
    for turn in result.turns:
        print(f"{turn.role}: {turn.heard}", "(interrupted)" if turn.interrupted else "")
