"""Turn detection: how the server knows that the user has finished.

python examples/turn_detection.py             a rehearsal with scripted words: no key, no microphone
python examples/turn_detection.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import RealtimeAgent, SemanticEagerness, SemanticVAD, ServerVAD
from rtvoice.testing import ScriptedUser, rehearse_or_run

# The default kind: a model listens whether the thought is finished. Patient, and seldom cuts in.
patient = SemanticVAD(eagerness=SemanticEagerness.LOW)

# Loudness and silence decide: quick, and easy to predict.
quick = ServerVAD(
    threshold=0.5,  # loudness that counts as speech, 0 to 1: higher in a noisy room
    prefix_padding_ms=300,  # audio kept from before the speech was noticed
    silence_duration_ms=300,  # silence that ends the turn
)


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="Answer briefly.", turn_detection=quick, **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("How long do I have to wait?")
    answer = await user.hears("long")
    print(f"           (the answer began {answer.latency_ms:.0f} ms after the user's last word)")


if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, ["Not long."])
