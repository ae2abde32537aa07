"""A whole agent whose microphone or loudspeaker goes."""

import asyncio
from typing import Any

import pytest

from rtvoice import RealtimeAgent
from rtvoice.errors import AudioDeviceError, ConfigurationError
from rtvoice.testing import PositionedSpeaker, RealtimeEmulator, VirtualMicrophone

pytestmark = pytest.mark.virtual_clock


class Microphone(VirtualMicrophone):
    """Works again when it is started again, so many times."""

    chances = 1

    async def start(self) -> None:
        await super().start()
        if self._failure is not None and self.chances:
            self.chances -= 1
            self._failure = None


class Loudspeaker(PositionedSpeaker):
    """Loses what it has not played, and works again when it is started again."""

    async def unplug(self) -> None:
        await self.clear_buffer()
        self.failure = AudioDeviceError("the plug was pulled")

    async def start(self) -> None:
        self.failure = None
        await super().start()


async def test_the_conversation_goes_on_after_the_microphone_was_away(converse: Any) -> None:
    async with (
        RealtimeEmulator(["I hear you again."]) as server,
        converse(server, audio_input=Microphone()) as conversation,
    ):
        await asyncio.sleep(1)
        conversation.microphone.fail(AudioDeviceError("the plug was pulled"))
        await conversation.listener.wait_for("audio_device_restored")
        await conversation.microphone.say("tests/fixtures/audio/hello.wav").done()
        await conversation.listener.wait_for("assistant_stopped_responding")
    assert ("audio_device_lost", "input", "the plug was pulled") in conversation.listener.calls
    assert ("audio_device_restored", "input", "") in conversation.listener.calls
    assert conversation.listener.all("agent_error") == []


async def test_an_answer_goes_on_after_the_loudspeaker_was_away(converse: Any) -> None:
    text = "This answer is long enough to be cut in two by somebody who pulls a plug."
    speaker = Loudspeaker()
    async with (
        RealtimeEmulator([text, text], detect_speech=False) as server,
        converse(server, audio_output=speaker) as conversation,
    ):
        await conversation.agent.send_message("Hello?")
        await speaker.wait_until_heard(1_000)
        await speaker.unplug()
        await conversation.agent.send_message("And now?")  # the next audio meets a loudspeaker that is not there
        await conversation.listener.wait_for("audio_device_restored")
        await conversation.listener.wait_for("assistant_stopped_responding", times=2)
        session = await server.connected()
        assert "conversation.item.truncate" not in session.types("received")
    assert speaker.heard_samples == pytest.approx(2 * 24_000 * len(text) / 15, abs=48)
    assert conversation.listener.names.count("agent_interrupted") == 0


@pytest.mark.parametrize("on_device_lost", ["end", "continue"])
async def test_a_microphone_that_is_gone_for_good(on_device_lost: Any, converse: Any) -> None:
    microphone = Microphone()
    microphone.chances = 0
    async with (
        RealtimeEmulator(["I can still speak."], detect_speech=False) as server,
        converse(server, audio_input=microphone, on_device_lost=on_device_lost) as conversation,
    ):
        await asyncio.sleep(1)
        microphone.fail(AudioDeviceError("the plug was pulled"))
        await conversation.listener.wait_for("agent_error")
        if on_device_lost == "continue":
            await conversation.agent.send_message("Are you there?")
            await conversation.listener.wait_for("assistant_stopped_responding")
            assert not conversation.running.done()
        else:
            await asyncio.wait([conversation.running], timeout=5)
            assert conversation.running.done()
    (error,) = conversation.listener.all("agent_error")
    assert error.type == "audio_error"
    assert "the plug was pulled" in error.message


async def test_a_loudspeaker_that_is_gone_for_good_leaves_the_words(converse: Any) -> None:
    class Gone(Loudspeaker):
        async def start(self) -> None:
            if self.failure is not None:
                raise self.failure
            await super().start()

    speaker = Gone()
    async with (
        RealtimeEmulator(["One.", "You can read this."], detect_speech=False) as server,
        converse(server, audio_output=speaker, on_device_lost="continue") as conversation,
    ):
        await conversation.agent.send_message("Hello?")
        await conversation.listener.wait_for("assistant_stopped_responding")
        await speaker.unplug()
        await conversation.agent.send_message("And now?")
        await conversation.listener.wait_for("assistant_stopped_responding", times=2)
    assert conversation.listener.all("assistant_transcript") == ["One.", "You can read this."]
    assert len(conversation.listener.all("agent_error")) == 1


def test_there_are_two_ways_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with pytest.raises(ConfigurationError, match='on_device_lost must be "end" or "continue", not \'stop\''):
        RealtimeAgent(on_device_lost="stop")  # type: ignore[arg-type]
