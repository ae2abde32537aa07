"""The local server: what it lets in, what it needs, how it ends; with engines that are told what to do."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.local.conftest import Detector, Ear, Mouth
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from rtvoice import OpenAIProvider, ServerVAD, Tools, TranscriptionModel
from rtvoice.errors import ConfigurationError, LocalExtraMissingError
from rtvoice.local import LocalServer, RuleReplies
from rtvoice.testing import ReplyRequest, ToolCall

MS = 48


def server(ear: Ear | None = None, **options: Any) -> LocalServer:
    options = {"text_to_speech": Mouth(), "voice_activity": Detector, **options}
    return LocalServer(speech_to_text=ear or Ear(), **options)


async def test_a_spoken_conversation_with_a_tool(converse: Any) -> None:
    tools = Tools()

    @tools.action("Current weather of a city", holding_instruction="One moment.")
    async def get_weather(city: str) -> str:
        return f"It rains in {city}"

    ear = Ear("warm-up", "What is the weather in Berlin?", "Thanks.")
    settings = {
        "tools": tools,
        "turn_detection": ServerVAD(silence_duration_ms=200),
        "transcription_model": TranscriptionModel.GPT_TRANSCRIBE,
    }
    async with server(ear) as running, converse(running, **settings) as conversation:
        conversation.microphone.say(b"\1" * 400 * MS)
        await conversation.listener.wait_for("assistant_transcript", 2)
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
        conversation.microphone.say(b"\1" * 400 * MS)
        await conversation.listener.wait_for("assistant_stopped_responding", 3)
    assert conversation.listener.all("user_transcript") == ["What is the weather in Berlin?", "Thanks."]
    assert conversation.listener.all("assistant_transcript") == [
        "One moment.",
        "It rains in Berlin.",
        "You are welcome.",
    ]
    heard = conversation.speaker.heard_pcm
    assert Mouth().synthesize("It rains in Berlin.", 1.0) in heard


async def test_the_user_interrupts(converse: Any) -> None:
    closed = asyncio.Event()

    class Talker:
        async def reply(self, _request: ReplyRequest) -> AsyncGenerator[str | ToolCall, None]:
            try:
                for _ in range(1000):
                    yield "And so on and so on. "
                    await asyncio.sleep(0.1)
            finally:
                closed.set()

    settings = {"turn_detection": ServerVAD(silence_duration_ms=200)}
    async with server(replies=Talker()) as running, converse(running, **settings) as conversation:
        conversation.microphone.say(b"\1" * 200 * MS)
        await conversation.listener.wait_for("assistant_started_responding")
        conversation.microphone.say(b"\1" * 200 * MS)
        await conversation.listener.wait_for("agent_interrupted")
        await asyncio.wait_for(closed.wait(), 5)


@pytest.mark.usefixtures("no_packages")
async def test_in_writing_nothing_has_to_be_installed(converse: Any) -> None:
    async with (
        LocalServer(text_only=True) as running,
        converse(running, output_modalities=["text"], transcription_model=None) as conversation,
    ):
        await conversation.agent.send_message("Hello!")
        await conversation.listener.wait_for("assistant_transcript")
        assert conversation.listener.all("assistant_transcript") == ["Hello! What can I do for you?"]


@pytest.mark.usefixtures("no_packages")
async def test_without_the_extra_it_does_not_begin() -> None:
    with pytest.raises(LocalExtraMissingError, match="Speech to text needs moonshine-voice"):
        await LocalServer().__aenter__()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.168.1.2", "example.com", "::"])
def test_others_than_this_machine_need_a_key(host: str) -> None:
    with pytest.raises(ConfigurationError, match="choose an API key"):
        LocalServer(host=host)
    LocalServer(host=host, api_key="secret")


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_cannot_be(port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"no port {port}: choose one from 1 to 65535"):
        LocalServer(port=port)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_none(host: str) -> None:
    LocalServer(host=host)


async def test_a_key_keeps_others_out() -> None:
    async with server(api_key="secret") as running:
        url = running.provider.build_url("gpt-realtime")
        with pytest.raises(InvalidStatus):
            async with connect(url):
                pass
        async with connect(url, additional_headers=running.provider.build_headers()) as client:
            assert json.loads(await client.recv())["type"] == "session.created"


async def test_any_provider_can_reach_it() -> None:
    async with server() as running:
        for provider in (OpenAIProvider(base_url=running.base_url), OpenAIProvider("any", base_url=running.base_url)):
            url, headers = provider.build_url("gpt-realtime"), provider.build_headers()
            async with connect(url, additional_headers=headers) as client:
                assert json.loads(await client.recv())["type"] == "session.created"


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://localhost.example.com"])
async def test_a_web_page_of_another_host_is_not_let_in(origin: str) -> None:
    async with server() as running:
        url = running.provider.build_url("gpt-realtime")
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(url, origin=Origin(origin)):
                pass
        async with connect(url, origin=Origin("http://localhost:3000")) as client:
            assert json.loads(await client.recv())["type"] == "session.created"


async def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 is taken by another program"):
            await server(port=port).__aenter__()


async def test_an_address_that_this_machine_does_not_have() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:0"):  # RFC 5737: nobody has it
        await server(host="192.0.2.1", api_key="secret").__aenter__()


def test_where_it_is_is_known_while_it_runs() -> None:
    with pytest.raises(RuntimeError, match="enter it with 'async with' first"):
        _ = LocalServer(RuleReplies()).provider
