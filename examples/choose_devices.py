"""Which microphone, which loudspeaker, and what happens when one is unplugged.

python examples/choose_devices.py             a rehearsal with scripted words: no key, no microphone
python examples/choose_devices.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import AgentListener, RealtimeAgent
from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.testing import ScriptedUser, rehearse_or_run

# A part of the name is enough, and better than an index, which changes when something is plugged in.
# None is the system's default. `python -m sounddevice` lists what is there.
microphone = MicrophoneInput(device=None)
loudspeaker = SpeakerOutput(
    device=None,  # for example "USB"
    latency="low",  # 0.1 where other Python code holds the interpreter and speech stutters
    hard_clear=False,  # True for Bluetooth: an interruption also empties the headset's own buffer
)


class Watcher(AgentListener):
    async def on_audio_device_lost(self, direction: str, reason: str) -> None:
        print(f"lost       {direction}: {reason}")

    async def on_audio_device_restored(self, direction: str, device: str) -> None:
        print(f"restored   {direction}: {device}")


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    devices = {"audio_input": microphone, "audio_output": loudspeaker} | devices
    return RealtimeAgent(
        instructions="Answer briefly.",
        on_device_lost="continue",  # without a microphone the assistant still speaks; "end" is the default
        listener=Watcher(),
        **devices,
    )


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Can you hear me?")
    await user.hears("I hear you")


if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, ["I hear you well."])
