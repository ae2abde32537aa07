"""Push to talk: the microphone is heard while a button is held, and letting go ends the user's turn.

python examples/push_to_talk.py             a rehearsal with a scripted button: no key, no microphone
python examples/push_to_talk.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from rtvoice import AgentListener, RealtimeAgent
from rtvoice.audio import AudioInputDevice, MicrophoneInput
from rtvoice.testing import ScriptedUser, rehearse_or_run


class Walkie(AudioInputDevice):  # a microphone that is heard while its button is held
    def __init__(self, microphone: AudioInputDevice) -> None:
        self.held = False
        self._microphone = microphone

    async def start(self) -> None:
        await self._microphone.start()

    async def stop(self) -> None:
        await self._microphone.stop()

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._microphone.stream_chunks():
            if self.held:
                yield chunk

    @property
    def is_active(self) -> bool:
        return self._microphone.is_active


class Button(AgentListener):  # stands for a real button: it is held for the first two seconds
    agent: RealtimeAgent[None]
    walkie: Walkie

    async def on_agent_session_connected(self) -> None:
        self.walkie.held = True
        await asyncio.sleep(2)
        self.walkie.held = False
        await self.agent.commit_user_turn()  # the turn is over: the assistant answers


def make_agent(audio_input: AudioInputDevice | None = None, **others: Any) -> RealtimeAgent[None]:
    button = Button()
    button.walkie = Walkie(audio_input or MicrophoneInput())
    button.agent = RealtimeAgent(audio_input=button.walkie, turn_detection=None, listener=button, **others)
    return button.agent


async def conversation(user: ScriptedUser) -> None:
    await user.hears("loud and clear")


if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, ["I hear you loud and clear."])
