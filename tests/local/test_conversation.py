"""A whole spoken conversation with the real engines: no script, no network, no sound card."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.local.conftest import clip

from rtvoice import ServerVAD, Tools, TranscriptionModel
from rtvoice.local import LocalServer, SpeechToText, TextToSpeech, VoiceActivity

pytestmark = [pytest.mark.virtual_clock]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing but loopback can be dialled, and no name looked up."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def dial(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), f"dials {address}"
        connect(self, address)

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        assert host in ("127.0.0.1", "::1", "localhost", None), f"looks up {host}"
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", dial)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return


@pytest.fixture
def tools() -> Tools:
    tools = Tools()

    @tools.action("Current weather of a city", holding_instruction="One moment, I am looking that up.")
    async def get_weather(city: str) -> str:
        return f"It is eighteen degrees and partly cloudy in {city}."

    return tools


SETTINGS = {"turn_detection": ServerVAD(), "transcription_model": TranscriptionModel.GPT_TRANSCRIBE}


async def test_spoken_heard_called_and_spoken_again(
    converse: Any, tools: Tools, silero: VoiceActivity, moonshine: SpeechToText, hibari: TextToSpeech
) -> None:
    server = LocalServer(speech_to_text=moonshine, text_to_speech=hibari, voice_activity=silero)
    async with server, converse(server, tools=tools, **SETTINGS) as conversation:
        conversation.microphone.say(clip("neural_weather"))
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
    assert conversation.listener.all("user_transcript") == ["What is the weather in Berlin?"]
    assert conversation.listener.all("tool_executed") == ["get_weather"]
    understood = moonshine.transcribe(conversation.speaker.heard_pcm).lower()
    for words in ("one moment", "eighteen degrees", "partly cloudy", "berlin"):
        assert words in understood


async def test_the_parts_are_loaded_by_themselves_and_noise_is_nobody(
    converse: Any, tools: Tools, hibari: object
) -> None:
    async with LocalServer() as server, converse(server, tools=tools, greeting="Hi!", **SETTINGS) as conversation:
        await conversation.listener.wait_for("assistant_stopped_responding")
        conversation.microphone.say(clip("noise") + clip("silence"))
        conversation.microphone.say(clip("neural_weather"))
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
    assert conversation.listener.all("user_transcript") == ["What is the weather in Berlin?"]
    assert conversation.listener.all("assistant_transcript")[0] == "Hi!"


async def test_an_interruption_in_the_middle_of_a_sentence(
    converse: Any, silero: VoiceActivity, moonshine: SpeechToText, hibari: TextToSpeech
) -> None:
    server = LocalServer(speech_to_text=moonshine, text_to_speech=hibari, voice_activity=silero)
    async with server, converse(server, **SETTINGS) as conversation:
        conversation.microphone.say(clip("human_austen"))
        await conversation.listener.wait_for("assistant_started_responding")
        await conversation.speaker.wait_until_heard(1500)
        conversation.microphone.say(clip("neural_weather"))
        await conversation.listener.wait_for("agent_interrupted")
        heard_ms = conversation.speaker.heard_ms
        await conversation.listener.wait_for("user_transcript", 2)
    assert 1500 < heard_ms < 4000  # the answer is three times as long
    assert conversation.listener.all("user_transcript")[-1] == "What is the weather in Berlin?"
