"""Every snippet of 0.7's README works as written; only ``provider=`` and the audio devices are replaced.

The texts are ours; names, spellings and the way they are used are the README's.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from rtvoice import (
    AgentListener,
    AssistantVoice,
    AzureOpenAIProvider,
    ConversationSeed,
    Inject,
    RealtimeAgent,
    RealtimeModel,
    SeedMessage,
    SemanticEagerness,
    SemanticVAD,
    ServerVAD,
    Supervisor,
    Tools,
)
from rtvoice.audio import AudioInputDevice, AudioOutputDevice
from rtvoice.conversation import ConversationHistory, ConversationTurn
from rtvoice.events import EventBus
from rtvoice.llm import ChatOpenAI
from rtvoice.testing import (
    RealtimeEmulator,
    Rehearsal,
    Reply,
    ScriptedChatModel,
    ToolCall,
    VirtualMicrophone,
    VirtualSpeaker,
)
from rtvoice.tools import ToolContext

pytestmark = pytest.mark.virtual_clock


def call(name: str, **arguments: Any) -> Reply:
    return Reply(calls=[ToolCall(name, arguments)])


async def opened_session(**settings: Any) -> dict[str, Any]:
    """The settings that an agent with these arguments opens its session with."""
    rehearsal = Rehearsal(["Hello."])
    async with rehearsal.run(RealtimeAgent(**settings, **rehearsal.devices)) as user:
        await user.says("Hello?")
        await user.hears("Hello.")
        session: dict[str, Any] = rehearsal.server.current.received[0]["session"]
        return session


async def test_quickstart() -> None:
    rehearsal = Rehearsal(["At your service."])
    held = []

    async def main(**replaced: Any) -> None:
        agent = RealtimeAgent(instructions="You are Jarvis, short and helpful.", **replaced)
        held.append(agent)
        await agent.run()

    async with rehearsal.server, asyncio.TaskGroup() as group:
        provider = rehearsal.server.provider
        microphone, speaker = VirtualMicrophone(), VirtualSpeaker()
        running = group.create_task(main(provider=provider, audio_input=microphone, audio_output=speaker))
        session = await rehearsal.server.connected()
        await rehearsal.server.sent("session.updated")
        session.speech_started()
        session.speech_stopped()
        await speaker.wait_until_heard(200)
        await held[0].stop()
        await running
        assert session.config["instructions"] == "You are Jarvis, short and helpful."


async def test_basic_tools() -> None:
    tools = Tools()

    @tools.action("Get the weather of a city")
    async def get_weather(city: str) -> str:
        return f"18°C and partly cloudy in {city}."

    @tools.action("Get the population of a city")
    def get_population(city: str, year: int = 2025) -> str:
        return f"{city} in {year}: 700000"

    rehearsal = Rehearsal(
        [call("get_weather", city="Oslo"), "18 degrees.", call("get_population", city="Oslo"), "700000 people."]
    )
    agent = RealtimeAgent(instructions="Answer with get_weather.", tools=tools, **rehearsal.devices)
    async with rehearsal.run(agent) as user:
        await user.says("The weather in Oslo?")
        await user.hears("18 degrees")
        await user.says("And its people?")
        await user.hears("700000")
        weather, population = rehearsal.server.current.received[0]["session"]["tools"]
    assert weather["type"] == "function"
    assert weather["description"] == "Get the weather of a city"
    assert weather["parameters"]["properties"] == {"city": {"type": "string"}}
    assert weather["parameters"]["required"] == ["city"]
    assert population["parameters"]["required"] == ["city"]
    assert population["parameters"]["properties"]["year"]["type"] == "integer"
    assert rehearsal.tool_called("get_weather", city="Oslo").output == "18°C and partly cloudy in Oslo."
    assert rehearsal.tool_called("get_population").output == "Oslo in 2025: 700000"


async def test_pydantic_model_tools() -> None:
    tools, searches = Tools(), []

    class CalendarSearchParams(BaseModel):
        query: str = Field(description="What to look for")
        date: str | None = Field(default=None, description="Only this ISO date")
        limit: int = Field(default=5, description="At most so many")
        source: Literal["work", "personal"] = "work"

    @tools.action("Search the calendar", param_model=CalendarSearchParams)
    async def search_calendar(params: CalendarSearchParams) -> str:
        searches.append({"query": params.query, "date": params.date, "limit": params.limit, "source": params.source})
        return "A dentist on Monday."

    rehearsal = Rehearsal([call("search_calendar", query="dentist", limit=2), "On Monday."])
    async with rehearsal.run(RealtimeAgent(tools=tools, **rehearsal.devices)) as user:
        await user.says("When is my dentist?")
        await user.hears("On Monday")
        (tool,) = rehearsal.server.current.received[0]["session"]["tools"]
    assert searches == [{"query": "dentist", "date": None, "limit": 2, "source": "work"}]
    properties = tool["parameters"]["properties"]
    assert tool["parameters"]["required"] == ["query"]
    assert properties["query"] == {"type": "string", "description": "What to look for"}
    assert properties["date"] == {"type": "string", "description": "Only this ISO date"}
    assert properties["limit"] == {"type": "integer", "description": "At most so many", "default": 5}
    assert properties["source"] == {"type": "string", "enum": ["work", "personal"], "default": "work"}


async def test_long_running_tools() -> None:
    tools = Tools()

    async def do_search(query: str) -> str:
        await asyncio.sleep(5)
        return f"Three hits for {query}"

    @tools.action("Search the web", holding_instruction="Let me look, one moment.")
    async def search_web(query: str) -> str:
        result = await do_search(query)
        return result  # noqa: RET504 - as it is written there

    @tools.action("Fetch the headlines", holding_instruction="Fetching.", result_instruction="Two sentences, please.")
    async def get_headlines() -> str: ...  # type: ignore[empty-body]

    said: list[str] = []

    def reply(request: Any) -> Reply | str:
        said.append(request.instructions)
        return script.pop(0)

    script: list[Reply | str] = [
        call("search_web", query="socks"), "Let me look, one moment.", "Three hits.",
        call("get_headlines"), "Fetching.", "Nothing new.",
    ]  # fmt: skip
    rehearsal = Rehearsal(reply)
    async with rehearsal.run(RealtimeAgent(tools=tools, **rehearsal.devices)) as user:
        await user.says("Find socks.")
        await user.hears("one moment")
        assert rehearsal.tool_calls[0].output is None
        await user.hears("Three hits")
        await user.says("The news?")
        await user.hears("Nothing new")
    assert "Let me look, one moment." in said[1]
    assert "Fetching." in said[4]
    assert "Two sentences, please." in said[5]
    assert [used.output for used in rehearsal.tool_calls] == ["Three hits for socks", "OK"]


@pytest.mark.parametrize("kind", ["template", "callable"])
async def test_status(kind: str) -> None:
    tools, said = Tools(), []

    class PlaySongParams(BaseModel):
        song: str = Field(description="Its title")

    status = "Now comes {song}." if kind == "template" else lambda params: f"Now comes {params.song}."

    @tools.action("Play a song", param_model=PlaySongParams, status=status)
    async def play_song(params: PlaySongParams) -> str:
        return f"Playing {params.song}"

    script = [call("play_song", song="Yesterday"), "Now comes Yesterday.", "Enjoy."]

    def reply(request: Any) -> Reply | str:
        said.append(request.instructions)
        return script.pop(0)

    rehearsal = Rehearsal(reply)
    async with rehearsal.run(RealtimeAgent(tools=tools, **rehearsal.devices)) as user:
        await user.says("Play Yesterday.")
        await user.hears("Enjoy")
    assert "Now comes Yesterday." in said[1]
    with pytest.raises(ValueError, match="artist"):
        tools.action("Play", param_model=PlaySongParams, status="{artist}")(play_song)


async def test_context_injection() -> None:
    tools, texts = Tools(), []

    @tools.action("Summarise what was said")
    async def summarise(history: Inject[ConversationHistory], bus: Inject[EventBus]) -> str:
        assert isinstance(bus, EventBus)
        texts.append(history.format())
        return "a summary"

    rehearsal = Rehearsal(["Hello.", call("summarise"), "We greeted."])
    async with rehearsal.run(RealtimeAgent(tools=tools, **rehearsal.devices)) as user:
        await user.says("Hi.")
        await user.hears("Hello")
        await user.says("Sum up.")
        await user.hears("We greeted")
    assert texts[0].startswith("[USER]: Hi.\n[ASSISTANT]: Hello.")
    bus = EventBus()
    tools.set_context(ToolContext(event_bus=bus, context=None, conversation_history=ConversationHistory(bus)))
    assert await tools.execute("summarise", {}) == "a summary"
    assert texts[-1] == "(no conversation yet)"


async def test_custom_application_context() -> None:
    @dataclass
    class AppState:
        user_name: str
        premium: bool

    tools = Tools()

    @tools.action("Greet the user")
    async def greet(state: Inject[AppState]) -> str:
        tier = "premium" if state.premium else "free"
        return f"Hello {state.user_name}, your plan is {tier}."

    rehearsal = Rehearsal([call("greet"), "Hello Alice."])
    agent = RealtimeAgent(
        instructions="Greet the user.",
        tools=tools,
        context=AppState(user_name="Alice", premium=True),
        **rehearsal.devices,
    )
    async with rehearsal.run(agent) as user:
        await user.says("Hi.")
        await user.hears("Hello Alice")
        assert rehearsal.server.current.received[0]["session"]["tools"][0]["parameters"]["properties"] == {}
    assert rehearsal.tool_called("greet").output == "Hello Alice, your plan is premium."


async def test_supervisor() -> None:
    tools = Tools()

    @tools.action("Book a table")
    async def book_table(restaurant: str, date: str, time: str, party_size: int) -> str:
        return f"Booked for {party_size} at {restaurant} on {date} at {time}."

    settings: dict[str, Any] = {
        "description": "Books tables.",
        "holding_instruction": "I am checking, one moment.",
        "instructions": "Use book_table. Call done() at the end.",
        "tools": tools,
    }
    Supervisor(llm=ChatOpenAI(model="gpt-4o-mini"), **settings)  # needs a key when it is used, not before
    booking = {"restaurant": "Roma", "date": "2026-12-01", "time": "20:00", "party_size": 4}
    llm = ScriptedChatModel(
        ToolCall("clarify", {"question": "For how many?"}),
        ToolCall("book_table", booking),
        ToolCall("done", {"result": "Booked for four."}),
    )
    supervisor = Supervisor(
        llm=llm,
        **settings,
        result_instructions="Be brief.",
        handoff_instructions="Name the restaurant.",
        max_iterations=10,
        context={"any": "object"},
    )
    rehearsal = Rehearsal(
        [
            call("supervisor", task="A table at Roma"),
            "I am checking, one moment.",
            "For how many?",
            call("supervisor", task="A table at Roma", clarification_answer="Four."),
            "I am checking, one moment.",
            "Booked for four.",
        ]
    )
    agent = RealtimeAgent(instructions="Delegate bookings.", supervisor=supervisor, **rehearsal.devices)
    async with rehearsal.run(agent) as user:
        await user.says("A table at Roma, please.")
        await user.hears("For how many?")
        await user.says("Four.")
        await user.hears("Booked for four")
        (tool,) = rehearsal.server.current.received[0]["session"]["tools"]
    assert tool["name"] == "supervisor"
    assert "Books tables." in tool["description"]
    assert "Name the restaurant." in tool["description"]
    assert any("Booked for 4 at Roma" in str(message.content) for message in llm.requests[2])
    assert rehearsal.errors == []


@pytest.mark.parametrize("spelling", ["messages", "pairs"])
async def test_conversation_seeds(spelling: str) -> None:
    if spelling == "messages":
        seed = ConversationSeed(
            messages=[SeedMessage.user("I am Alice."), SeedMessage.assistant("Hello, Alice.")],
        )
    else:
        seed = ConversationSeed.from_pairs(("I am Alice.", "Hello, Alice."), ("Be brief.", "Fine."))
    rehearsal = Rehearsal(["Alice."])
    agent = RealtimeAgent(instructions="You are helpful.", conversation_seed=seed, **rehearsal.devices)
    async with rehearsal.run(agent) as user:
        await user.says("Who am I?")
        await user.hears("Alice.")
        seeded = [
            (event["item"]["role"], event["item"]["content"][0]["type"], event["item"]["content"][0]["text"])
            for event in rehearsal.server.current.received
            if event["type"] == "conversation.item.create"
        ]
    kinds = {"user": "input_text", "assistant": "output_text"}
    assert seeded == [(message.role, kinds[message.role], message.text) for message in seed.messages]


async def test_lifecycle_listener() -> None:
    lines: list[str] = []

    class MyListener(AgentListener):
        async def on_agent_starting(self) -> None:
            lines.append("starting")

        async def on_agent_session_connected(self) -> None:
            lines.append("connected")

        async def on_user_transcript(self, transcript: str) -> None:
            lines.append(f"user: {transcript}")

        async def on_assistant_transcript(self, transcript: str) -> None:
            lines.append(f"assistant: {transcript}")

        async def on_agent_stopped(self) -> None:
            lines.append("stopped")

    rehearsal = Rehearsal(["Hello to you."])
    agent = RealtimeAgent(instructions="You are helpful.", listener=MyListener(), **rehearsal.devices)
    async with rehearsal.run(agent) as user:
        await user.says("Hello there.")
        await user.hears("Hello to you")
    assert sorted(lines) == ["assistant: Hello to you.", "connected", "starting", "stopped", "user: Hello there."]
    assert lines[:2] == ["starting", "connected"]
    assert lines[-1] == "stopped"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("agent_starting", 0), ("agent_session_connected", 0), ("agent_stopped", 0), ("user_started_speaking", 0),
        ("user_stopped_speaking", 0), ("user_transcript", 1), ("assistant_started_responding", 0),
        ("assistant_stopped_responding", 0), ("assistant_transcript", 1), ("assistant_transcript_delta", 1),
        ("agent_interrupted", 0), ("agent_error", 1), ("supervisor_started", 0), ("supervisor_finished", 0),
        ("user_inactivity_countdown", 1),
    ],
)  # fmt: skip
async def test_every_callback_of_the_table_is_an_async_no_op(name: str, arguments: int) -> None:
    assert await getattr(AgentListener(), f"on_{name}")(*[None] * arguments) is None


async def test_custom_input() -> None:
    class CustomMicrophone(AudioInputDevice):
        def __init__(self) -> None:
            self._active = False

        async def start(self) -> None:
            self._active = True

        async def stop(self) -> None:
            self._active = False

        async def stream_chunks(self) -> AsyncIterator[bytes]:
            while self._active:
                chunk = await self._read_pcm_chunk()
                yield chunk

        @property
        def is_active(self) -> bool:
            return self._active

        async def _read_pcm_chunk(self) -> bytes:
            await asyncio.sleep(0.05)
            return b"\x01\x00" * 1_200

    microphone = CustomMicrophone()
    async with RealtimeEmulator(detect_speech=False) as server, asyncio.TaskGroup() as group:
        agent = RealtimeAgent(
            instructions="...", audio_input=microphone, audio_output=VirtualSpeaker(), provider=server.provider
        )
        running = group.create_task(agent.run())
        session = await server.connected()
        await session.audio_received(500)
        await agent.stop()
        await running
        assert set(session.user_audio[:24_000]) == {0, 1}
    assert not microphone.is_active


async def test_custom_output() -> None:
    class CustomSpeaker(AudioOutputDevice):
        def __init__(self) -> None:
            self._playing = False
            self.chunks: list[bytes] = []
            self.flushed = 0

        async def start(self) -> None:
            self._playing = True

        async def stop(self) -> None:
            self._playing = False

        async def play_chunk(self, chunk: bytes) -> None:
            await self._write_to_device(chunk)

        async def clear_buffer(self) -> None:
            await self._flush()

        @property
        def is_playing(self) -> bool:
            return self._playing

        async def _write_to_device(self, chunk: bytes) -> None:
            self.chunks.append(chunk)

        async def _flush(self) -> None:
            self.flushed += 1

    calls: list[str] = []

    class Listener(AgentListener):
        async def on_assistant_stopped_responding(self) -> None:
            calls.append("stopped")
            stopped.set()

        async def on_agent_interrupted(self) -> None:
            calls.append("interrupted")

    stopped = asyncio.Event()
    speaker = CustomSpeaker()
    async with (
        RealtimeEmulator(["Hello.", "A story. " * 30], detect_speech=False) as server,
        asyncio.TaskGroup() as group,
    ):
        agent = RealtimeAgent(
            instructions="...",
            audio_input=VirtualMicrophone(),
            audio_output=speaker,
            provider=server.provider,
            listener=Listener(),
        )
        running = group.create_task(agent.run())
        session = await server.connected()
        await server.sent("session.updated")
        session.speech_started()
        session.speech_stopped()
        await stopped.wait()
        assert (calls, speaker.flushed) == (["stopped"], 0)
        stopped.clear()
        session.speech_started()
        session.speech_stopped()
        await server.sent("response.done")
        await server.sent("response.done")
        await asyncio.sleep(1)
        session.speech_started()
        await server.received("conversation.item.truncate")
        await stopped.wait()
        await agent.stop()
        await running
    assert calls == ["stopped", "interrupted", "stopped"]
    assert speaker.flushed >= 1
    assert b"".join(speaker.chunks)
    assert not speaker.is_playing


async def test_semantic_vad() -> None:
    session = await opened_session(
        instructions="...", turn_detection=SemanticVAD(eagerness=SemanticEagerness.LOW)
    )  # fmt: skip
    detection = session["audio"]["input"]["turn_detection"]
    assert (detection["type"], detection["eagerness"]) == ("semantic_vad", "low")
    assert [level.name for level in SemanticEagerness] == ["LOW", "MEDIUM", "HIGH", "AUTO"]
    assert SemanticVAD().eagerness is SemanticEagerness.AUTO


async def test_server_vad() -> None:
    session = await opened_session(
        instructions="...",
        turn_detection=ServerVAD(
            threshold=0.5,
            prefix_padding_ms=300,
            silence_duration_ms=500,
        ),
    )
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500,
        "create_response": True, "interrupt_response": True,
    }  # fmt: skip


async def test_voice_and_model() -> None:
    session = await opened_session(
        model=RealtimeModel.GPT_REALTIME,
        voice=AssistantVoice.CORAL,
        speech_speed=1.2,
        instructions="...",
    )
    assert session["model"] == "gpt-realtime"
    assert session["audio"]["output"]["voice"] == "coral"
    assert session["audio"]["output"]["speed"] == 1.2
    assert (RealtimeModel.GPT_REALTIME_MINI, RealtimeModel.GPT_REALTIME_1_5) == (
        "gpt-realtime-mini", "gpt-realtime-1.5",
    )  # fmt: skip


async def test_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rehearsal = Rehearsal(["Hello to you."])
    agent = RealtimeAgent(instructions="...", recording_path="session.pcm", **rehearsal.devices)
    async with rehearsal.run(agent) as user:
        await user.says("Hello.")
        await user.hears("Hello to you")
    result = rehearsal.result  # what run() returned
    assert result.recording_path == Path("session.pcm")
    assert result.recording_path.stat().st_size > 48_000
    assert all(isinstance(turn, ConversationTurn) for turn in result.turns)
    assert [(turn.role, turn.text) for turn in result.turns] == [("user", "Hello."), ("assistant", "Hello to you.")]


async def test_inactivity_timeout() -> None:
    class MyListener(AgentListener):
        def __init__(self) -> None:
            self.seconds: list[int] = []

        async def on_user_inactivity_countdown(self, remaining_seconds: int) -> None:
            self.seconds.append(remaining_seconds)

    listener = MyListener()
    async with RealtimeEmulator(detect_speech=False) as server:
        agent = RealtimeAgent(
            instructions="...",
            inactivity_timeout_enabled=True,
            inactivity_timeout_seconds=30.0,
            listener=listener,
            provider=server.provider,
            audio_input=VirtualMicrophone(),
            audio_output=VirtualSpeaker(),
        )
        began = asyncio.get_running_loop().time()
        await agent.run()
        assert asyncio.get_running_loop().time() - began == pytest.approx(30, abs=0.5)
    assert listener.seconds == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("key", ["argument", "variable"])
async def test_azure_openai(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    provider = AzureOpenAIProvider(
        azure_endpoint="https://your-resource.openai.azure.com",
        azure_deployment="gpt-4o-realtime-preview",
        api_version="2024-12-17",
        **({"api_key": "secret"} if key == "argument" else {}),
    )
    RealtimeAgent(instructions="...", provider=provider)
    url = provider.build_url("ignored")
    assert url.startswith("wss://your-resource.openai.azure.com/openai/realtime?")
    assert "api-version=2024-12-17" in url
    assert "deployment=gpt-4o-realtime-preview" in url
    assert provider.build_headers() == {"api-key": "secret"}


@pytest.mark.parametrize("spelling", ["readme", "shipped"])
async def test_azure_openai_on_the_wire(spelling: str) -> None:
    async with (
        RealtimeEmulator(["Hello."], api_key="secret", detect_speech=False) as server,
        asyncio.TaskGroup() as group,
    ):
        host = server.base_url.split("/")[2]
        provider = (
            AzureOpenAIProvider(azure_endpoint=f"http://{host}", azure_deployment="voice", api_key="secret")
            if spelling == "readme"
            else AzureOpenAIProvider(f"http://{host}", "voice", "secret")
        )
        agent = RealtimeAgent(
            instructions="...", provider=provider, audio_input=VirtualMicrophone(), audio_output=VirtualSpeaker()
        )
        group.create_task(agent.run())
        session = await server.connected()
        await server.sent("session.updated")
        await agent.stop()
        assert session.path.split("?")[0] == "/openai/v1/realtime"
        assert session.headers["api-key"] == "secret"
        assert session.received[0]["session"]["audio"]["input"]["transcription"] == {"model": "whisper-1"}
