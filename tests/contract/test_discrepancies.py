"""Section 8 of the contract, row by row: where 0.7's README and 0.7's package disagreed, the README is right."""

import asyncio
import inspect
import json
import logging
import os
import signal
import sys
import threading
import wave
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from rtvoice import (
    AgentListener,
    AgentResult,
    AssistantVoice,
    AzureOpenAIProvider,
    ConversationSeed,
    Inject,
    NoiseReduction,
    RealtimeAgent,
    Supervisor,
    Tools,
    TranscriptionModel,
)
from rtvoice.conversation import ConversationHistory, ConversationTurn
from rtvoice.events import EventBus
from rtvoice.llm import ChatInvokeCompletion, ChatModel
from rtvoice.testing import (
    Hold,
    RealtimeEmulator,
    Reply,
    ScriptedChatModel,
    ToolCall,
    VirtualMicrophone,
    VirtualSpeaker,
)

pytestmark = pytest.mark.virtual_clock

DONE = ToolCall("done", {"result": "Booked."})
DELEGATION = Reply(calls=[ToolCall("supervisor", {"task": "Book a table"}, "c1")])


def supervisor(llm: ChatModel, **settings: Any) -> Supervisor[Any]:
    return Supervisor(description="Books tables.", instructions="Book it.", llm=llm, **settings)


@pytest.mark.parametrize("spelling", ["run", "start"])
async def test_d01_run_and_start_are_the_same(spelling: str, story: Any) -> None:
    async with RealtimeEmulator() as server, asyncio.TaskGroup() as group:
        agent = RealtimeAgent(
            provider=server.provider, audio_input=VirtualMicrophone(), audio_output=VirtualSpeaker(), listener=story
        )
        running = group.create_task(getattr(agent, spelling)())
        await story.wait_for("agent_session_connected")
        await agent.stop()
        assert isinstance(await running, AgentResult)
    assert story.names == ["agent_starting", "agent_session_connected", "agent_stopped"]


async def test_d02_a_turn_has_text_and_transcript(converse: Any) -> None:
    async with RealtimeEmulator(["Hello."], detect_speech=False) as server, converse(server) as conversation:
        await conversation.agent.send_message("Hi.")
        await conversation.listener.wait_for("assistant_stopped_responding")
    assert [(turn.role, turn.text, turn.transcript) for turn in conversation.result.turns] == [
        ("user", "Hi.", "Hi."),
        ("assistant", "Hello.", "Hello."),
    ]
    assert ConversationTurn("user", "yes") == ConversationTurn(role="user", text="yes")
    with pytest.raises(AttributeError):
        conversation.result.turns[0].text = "else"


def test_d03_azure_takes_both_spellings_and_no_contradiction(caplog: pytest.LogCaptureFixture) -> None:
    shipped = AzureOpenAIProvider("res", "voice", "secret", "2024-12-17")
    readme = AzureOpenAIProvider(
        azure_endpoint="https://res.openai.azure.com/",
        azure_deployment="voice",
        api_version="2024-12-17",
        api_key="secret",
    )
    url = readme.build_url("ignored")
    assert shipped.build_url("ignored") == url
    assert url.startswith("wss://res.openai.azure.com/openai/realtime?")
    assert "api-version=2024-12-17" in url
    assert "deployment=voice" in url
    assert shipped.build_headers() == readme.build_headers() == {"api-key": "secret"}
    assert any("2026-04-30" in record.getMessage() for record in caplog.records)
    current = AzureOpenAIProvider(resource="res", deployment="voice", api_key="secret")
    assert current.build_url("ignored") == "wss://res.openai.azure.com/openai/v1/realtime?model=voice"
    for contradiction in (
        {"resource": "one", "azure_endpoint": "https://two.openai.azure.com", "deployment": "voice"},
        {"resource": "one", "deployment": "voice", "azure_deployment": "other"},
    ):
        with pytest.raises(ValueError):
            AzureOpenAIProvider(api_key="secret", **contradiction)


async def test_d04_holding_instruction_and_status_are_spoken_before_the_result(converse: Any, wire: Any) -> None:
    tools = Tools()

    class Song(BaseModel):
        song: str

    @tools.action("Search", holding_instruction="Let me search that.")
    async def search(query: str) -> str:
        return f"found {query}"

    @tools.action("Play", param_model=Song, status="Playing {song} now.")
    async def play(params: Song) -> str:
        return f"playing {params.song}"

    replies = [
        Reply(calls=[ToolCall("search", {"query": "socks"}, "c1")]),
        "Let me search that.",
        "Here are socks.",
        Reply(calls=[ToolCall("play", {"song": "Yesterday"}, "c2")]),
        "Playing Yesterday now.",
        "It plays.",
    ]
    async with RealtimeEmulator(replies, detect_speech=False) as server, converse(server, tools=tools) as conversation:
        await conversation.agent.send_message("Find socks.")
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
        await conversation.agent.send_message("Play Yesterday.")
        await conversation.listener.wait_for("assistant_stopped_responding", 4)
        sent = wire(await server.connected())[1:]
    assert [line.split()[0] for line in sent] == ["item", "say", "say", "output", "say"] * 2
    assert "Let me search that." in sent[2]
    assert sent[3] == "output c1: found socks"
    assert "Playing Yesterday now." in sent[7]
    assert sent[8] == "output c2: playing Yesterday"


@pytest.mark.parametrize("suffix", ["pcm", "wav"])
async def test_d05_the_suffix_decides_what_a_recording_is(suffix: str, converse: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"session.{suffix}"
    async with (
        RealtimeEmulator(["Hello there."], detect_speech=False) as server,
        converse(server, recording_path=path) as conversation,
    ):
        await conversation.agent.send_message("Hi.")
        await conversation.listener.wait_for("assistant_stopped_responding")
    assert conversation.result.recording_path == path
    if suffix == "pcm":
        raw = path.read_bytes()
        assert raw[:4] != b"RIFF"
        assert any(raw)
        return
    with wave.open(str(path)) as recording:
        assert recording.getparams()[:3] == (2, 2, 24_000)
        frames = recording.readframes(recording.getnframes())
    assert any(frames[2::4]) or any(frames[3::4]), "the assistant is on the right"


async def test_d06_tools_of_the_supervisor_are_given_bus_history_and_context(converse: Any) -> None:
    tools, seen = Tools(), []

    class State:
        pass

    @tools.action("Look")
    async def look(bus: Inject[EventBus], history: Inject[ConversationHistory], state: Inject[State]) -> str:
        seen.extend([bus, history, state])
        return "seen"

    state = State()
    boss = supervisor(ScriptedChatModel(ToolCall("look", {}), DONE), tools=tools, context=state)
    async with (
        RealtimeEmulator([DELEGATION, "Booked."], detect_speech=False) as server,
        converse(server, supervisor=boss) as conversation,
    ):
        await conversation.agent.send_message("Book a table.")
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert seen == [conversation.agent.event_bus, conversation.agent.history, state]


async def test_d07_a_response_that_only_calls_tools_is_not_heard(converse: Any) -> None:
    tools = Tools()

    @tools.action("Weather")
    async def weather() -> str:
        return "sunny"

    hold = Hold()
    replies = [Reply(calls=[ToolCall("weather", {}, "c1")]), Reply("It is sunny.", hold=hold)]
    async with RealtimeEmulator(replies, detect_speech=False) as server, converse(server, tools=tools) as conversation:
        await conversation.agent.send_message("The weather?")
        await hold.reached()
        await asyncio.sleep(1)
        assert "assistant_started_responding" not in conversation.listener.names
        hold.release()
        await conversation.listener.wait_for("assistant_stopped_responding")
    assert conversation.listener.names.count("assistant_started_responding") == 1


async def test_d08_stopped_responding_is_the_end_of_playback_and_comes_once(converse: Any) -> None:
    async with RealtimeEmulator(["One.", Reply(""), "Three."], detect_speech=False) as server, converse(server) as c:
        for number, count in enumerate((1, 1, 2), 1):
            await c.agent.send_message(f"Message {number}.")
            if number == 2:
                await asyncio.sleep(10)
                continue
            await c.listener.wait_for("assistant_stopped_responding", count)
            ended = c.listener.times[-1 - c.listener.names[::-1].index("assistant_stopped_responding")]
            assert ended == pytest.approx(c.speaker.pieces[-1].ends_at, abs=0.35)
            assert not c.speaker.is_playing
    heard = [name for name in c.listener.names if name.endswith("_responding")]
    assert heard == ["assistant_started_responding", "assistant_stopped_responding"] * 2


@pytest.mark.parametrize("what", ["api", "response", "connection", "microphone", "speaker", "recording"])
async def test_d09_all_that_goes_wrong_is_reported(what: str, converse: Any, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    quota = "insufficient_quota"
    failed = Reply(status="failed", error={"type": quota, "code": quota, "message": "Out of quota."})
    settings: dict[str, Any] = {"reconnect": None}
    if what == "recording":
        settings["recording_path"] = blocked / "session.wav"
    async with RealtimeEmulator([failed], detect_speech=False) as server, converse(server, **settings) as c:
        session = await server.connected()
        match what:
            case "api":
                session.send_error("something", "Something broke.")
            case "response":
                await c.agent.send_message("Hello.")
            case "connection":
                session.drop()
            case "microphone":
                c.microphone.fail(OSError("unplugged"))
            case "speaker":
                c.speaker.failure = OSError("unplugged")
                server.add_replies("Hello.")
                await c.agent.send_message("Hello.")
                await c.listener.wait_for("agent_error")
                await c.agent.send_message("Hello again.")
                await c.listener.wait_for("agent_error", 2)
        await c.listener.wait_for("agent_error")
        if what in ("connection", "microphone", "speaker"):
            await asyncio.wait([c.running])
        elif what != "recording":
            assert not c.running.done()
    error = c.listener.all("agent_error")[-1]
    kinds = {
        "api": "invalid_request_error",
        "response": quota,
        "connection": "connection_closed",
        "microphone": "audio_error",
        "speaker": "audio_error",
        "recording": "recording_error",
    }
    assert error.type == kinds[what]
    assert str(error) == f"[{error.type}] {error.message}"
    if what == "recording":
        assert c.result.recording_path is None


async def test_d10_seeds_are_history_but_not_turns_of_the_session(converse: Any) -> None:
    llm = ScriptedChatModel(DONE)
    async with RealtimeEmulator([DELEGATION, "Booked."], detect_speech=False) as server:
        seed = ConversationSeed.from_pairs(("My name is Alice.", "Hello Alice."))
        async with converse(server, supervisor=supervisor(llm), conversation_seed=seed) as conversation:
            assert [(turn.text, turn.seeded) for turn in conversation.agent.history.turns] == [
                ("My name is Alice.", True),
                ("Hello Alice.", True),
            ]
            assert conversation.agent.history.format() == "[USER]: My name is Alice.\n[ASSISTANT]: Hello Alice."
            await conversation.agent.send_message("Book a table.")
            await conversation.listener.wait_for("assistant_stopped_responding")
    assert "[USER]: My name is Alice." in str(llm.requests[0][1].content)
    assert [turn.text for turn in conversation.result.turns] == ["Book a table.", "Booked."]


@pytest.mark.parametrize("timeout", [5.0, 30.0, 2.5])
async def test_d11_the_countdown_goes_from_five_to_one(timeout: float, converse: Any) -> None:
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, inactivity_timeout_enabled=True, inactivity_timeout_seconds=timeout) as conversation,
    ):
        result = await conversation.running
    expected = [second for second in (5, 4, 3, 2, 1) if second <= timeout]
    assert conversation.listener.all("user_inactivity_countdown") == expected
    times = dict(zip(conversation.listener.names, conversation.listener.times, strict=True))
    started, stopped = times["agent_session_connected"], times["agent_stopped"]
    assert stopped - started == pytest.approx(timeout, abs=0.15)
    told = [t for name, t in zip(conversation.listener.names, conversation.listener.times, strict=True)
            if name == "user_inactivity_countdown"]  # fmt: skip
    assert [started + timeout - t for t in told] == pytest.approx(expected, abs=0.15)
    assert isinstance(result, AgentResult)


async def test_d12_text_and_audio_together_are_audio_with_deltas(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Hello there."], detect_speech=False) as server,
        converse(server, output_modalities=["text", "audio"]) as conversation,
    ):
        session = await server.connected()
        await conversation.agent.send_message("Hi.")
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert session.received[0]["session"]["output_modalities"] == ["audio"]
    assert "".join(conversation.listener.all("assistant_transcript_delta")) == "Hello there."
    assert conversation.speaker.heard_samples > 0


async def test_d13_the_holding_phrase_of_the_supervisor_waits_for_its_turn(converse: Any) -> None:
    boss = supervisor(ScriptedChatModel(DONE), holding_instruction="I'm checking, just a moment.")
    replies = [DELEGATION, "I'm checking, just a moment.", "Booked."]
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, supervisor=boss, instructions="You are Jarvis.") as conversation,
    ):
        session = await server.connected()
        await conversation.agent.send_message("Book a table.")
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
        _, holding, result = [event for event in session.received if event["type"] == "response.create"]
        phrase = holding["response"]["instructions"]
        assert phrase.startswith("You are Jarvis.")
        assert "I'm checking, just a moment." in phrase
        assert phrase.replace("You are Jarvis.", "").strip() != "I'm checking, just a moment."
        assert holding["response"]["tool_choice"] == "none"
        assert result.get("response", {}).get("tool_choice", "auto") == "auto"
    assert "error" not in session.types()
    assert conversation.listener.all("assistant_transcript") == ["I'm checking, just a moment.", "Booked."]


async def test_d14_a_chat_model_needs_no_stream(converse: Any) -> None:
    class Mine(ChatModel):
        def __init__(self) -> None:  # as users write it: without super().__init__()
            self.name = "mine"

        async def invoke(self, messages: Any, output_format: Any = None, **kwargs: Any) -> Any:
            return ChatInvokeCompletion(completion="Booked by mine.")

    async with (
        RealtimeEmulator([DELEGATION, "Booked."], detect_speech=False) as server,
        converse(server, supervisor=supervisor(Mine())) as conversation,
    ):
        await conversation.agent.send_message("Book a table.")
        output = await server.received(
            "conversation.item.create", where=lambda event: event["item"]["type"] == "function_call_output"
        )
    assert json.loads(output["item"]["output"]) == {"message": "Booked by mine.", "success": True}


async def test_d15_a_speaker_that_always_claims_to_play(converse: Any, tmp_path: Path) -> None:
    async with (
        RealtimeEmulator(["Hello.", "Again."], transcripts=["Hi.", "Hi."], detect_speech=False) as server,
        converse(
            server,
            audio_output=VirtualSpeaker(stuck_playing=True),
            recording_path=tmp_path / "session.wav",
            inactivity_timeout_enabled=True,
            inactivity_timeout_seconds=20.0,
        ) as c,
    ):
        session = await server.connected()
        for turn in (1, 2):
            session.speech_started()
            session.speech_stopped()
            await c.listener.wait_for("assistant_stopped_responding", turn)
        result = await c.running
        assert "conversation.item.truncate" not in session.types("received")
    assert "agent_interrupted" not in c.listener.names
    assert c.listener.all("user_inactivity_countdown") == [5, 4, 3, 2, 1]
    assert result.recording_path is not None
    assert result.recording_path.exists()


async def test_d16_without_the_audio_extra_run_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, story: Any
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    async with RealtimeEmulator() as server:
        agent = RealtimeAgent(provider=server.provider, listener=story)
        with pytest.raises(ImportError, match=r"rtvoice\[audio\]"):
            await agent.run()
    assert story.names[0] == "agent_starting"
    assert story.names[-2:] == ["agent_error", "agent_stopped"]


async def test_d17_ctrl_c_returns_the_result(converse: Any, tmp_path: Path) -> None:
    async with (
        RealtimeEmulator(["Hello."], detect_speech=False) as server,
        converse(server, recording_path=tmp_path / "session.wav") as conversation,
    ):
        await conversation.agent.send_message("Hi.")
        await conversation.listener.wait_for("assistant_stopped_responding")
        os.kill(os.getpid(), signal.SIGINT)
        result = await conversation.running
    assert result.recording_path == tmp_path / "session.wav"
    assert [turn.text for turn in result.turns] == ["Hi.", "Hello."]


async def test_d18_a_plain_def_does_not_hold_up_the_sound(converse: Any) -> None:
    tools, go_on, threads = Tools(), threading.Event(), []

    @tools.action("Blocks")
    def block() -> str:
        threads.append(threading.current_thread())
        assert go_on.wait(10)
        return "done"

    replies = [Reply(calls=[ToolCall("block", {}, "c1")]), "In the meantime.", "Done."]
    async with RealtimeEmulator(replies, detect_speech=False) as server, converse(server, tools=tools) as conversation:
        session = await server.connected()
        await conversation.agent.send_message("Block.")
        try:
            await server.sent("response.done")
            session.speech_started()
            session.speech_stopped()
            await conversation.listener.wait_for("assistant_stopped_responding")
        finally:
            go_on.set()
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
    assert conversation.listener.all("assistant_transcript") == ["In the meantime.", "Done."]
    assert threads != [threading.main_thread()]


class Colour(Enum):
    RED = 1
    BLUE = 2


async def test_d19_lists_enums_literals_and_defaults_in_schemas_and_arguments(converse: Any) -> None:
    tools, seen = Tools(), []

    class Params(BaseModel):
        tags: list[str]
        colour: Colour = Colour.RED
        size: Literal[1, 2, 3] = 2

    @tools.action("Paint", param_model=Params)
    async def paint(params: Params) -> str:
        seen.append(params)
        return "painted"

    @tools.action("Draw")
    async def draw(colour: Colour, size: Literal[1, 2], points: list[float]) -> str:
        seen.append((colour, size, points))
        return "drawn"

    calls = [
        ToolCall("paint", {"tags": ["a"], "colour": 2, "size": 3}, "c1"),
        ToolCall("draw", {"colour": 1, "size": 2, "points": [1, 2.5]}, "c2"),
    ]
    async with (
        RealtimeEmulator([Reply(calls=calls), "Done."], detect_speech=False) as server,
        converse(server, tools=tools) as conversation,
    ):
        session = await server.connected()
        await conversation.agent.send_message("Paint and draw.")
        await conversation.listener.wait_for("assistant_stopped_responding")
    schema, plain = (tool["parameters"] for tool in session.received[0]["session"]["tools"])
    assert schema["required"] == ["tags"]
    assert schema["properties"]["tags"] == {"type": "array", "items": {"type": "string"}}
    assert schema["properties"]["colour"]["enum"] == [1, 2]
    assert schema["properties"]["colour"]["default"] == 1
    assert schema["properties"]["size"]["enum"] == [1, 2, 3]
    assert schema["properties"]["size"]["default"] == 2
    assert plain["properties"]["colour"] == {"type": "integer", "enum": [1, 2]}
    assert plain["properties"]["size"] == {"type": "integer", "enum": [1, 2]}
    assert plain["properties"]["points"] == {"type": "array", "items": {"type": "number"}}
    assert Params(tags=["a"], colour=Colour.BLUE, size=3) in seen
    assert (Colour.RED, 2, [1.0, 2.5]) in seen


async def test_d20_the_model_neither_sees_nor_supplies_what_is_injected(converse: Any) -> None:
    tools = Tools()

    @tools.action("Greet")
    async def greet(name: str, state: Inject[dict[str, str]]) -> str:
        return f"{name} {state['user']}"

    call = ToolCall("greet", {"name": "Hi", "state": {"user": "Mallory"}}, "c1")
    async with (
        RealtimeEmulator([Reply(calls=[call]), "Hi."], detect_speech=False) as server,
        converse(server, tools=tools, context={"user": "Alice"}) as conversation,
    ):
        session = await server.connected()
        await conversation.agent.send_message("Greet me.")
        output = await server.received(
            "conversation.item.create", where=lambda event: event["item"]["type"] == "function_call_output"
        )
    assert output["item"]["output"] == "Hi Alice"
    assert list(session.received[0]["session"]["tools"][0]["parameters"]["properties"]) == ["name"]


async def test_d21_a_clarification_next_to_another_call_resumes(converse: Any) -> None:
    tools = Tools()

    @tools.action("Look")
    async def look() -> str:
        return "looked"

    llm = ScriptedChatModel(  # refuses histories with unanswered calls, as the API does
        [ToolCall("clarify", {"question": "Inside or outside?"}), ToolCall("look", {})], DONE
    )
    answer = ToolCall("supervisor", {"task": "Book a table", "clarification_answer": "Outside."}, "c2")
    replies = [DELEGATION, "Inside or outside?", Reply(calls=[answer]), "Booked."]
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, supervisor=supervisor(llm, tools=tools)) as conversation,
    ):
        session = await server.connected()
        await conversation.agent.send_message("Book a table.")
        await conversation.listener.wait_for("assistant_stopped_responding")
        asked = [event for event in session.received if event["type"] == "response.create"][-1]
        assert "Inside or outside?" in asked["response"]["instructions"]
        await conversation.agent.send_message("Outside.")
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
    assert "Outside." in [getattr(message, "content", None) for message in llm.requests[1]]
    supervised = [name for name in conversation.listener.names if name.startswith("supervisor")]
    assert supervised == ["supervisor_started", "supervisor_finished"] * 2
    assert conversation.listener.all("agent_error") == []


def test_d22_thirteen_voices_three_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    names = "ALLOY ASH BALLAD CORAL ECHO FABLE ONYX NOVA SAGE SHIMMER VERSE CEDAR MARIN"
    assert " ".join(voice.name for voice in AssistantVoice) == names
    assert all(voice.value == voice.name.lower() for voice in AssistantVoice)
    warned = []
    for voice in AssistantVoice:
        caplog.clear()
        RealtimeAgent(api_key="key", voice=voice)
        if any(str(voice) in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING):
            warned.append(voice.value)
    assert warned == ["fable", "onyx", "nova"]


async def test_d23_stopped_is_done_before_run_returns() -> None:
    done = []

    class Slow(AgentListener):
        async def on_agent_session_connected(self) -> None:
            await agent.stop()

        async def on_agent_stopped(self) -> None:
            await asyncio.sleep(2)
            done.append("stopped")

    async with RealtimeEmulator() as server:
        agent = RealtimeAgent(
            provider=server.provider, audio_input=VirtualMicrophone(), audio_output=VirtualSpeaker(), listener=Slow()
        )
        await agent.run()
        assert done == ["stopped"]


async def test_d24_what_only_the_package_had_is_kept(converse: Any, wire: Any) -> None:
    image = "data:image/png;base64,iVBORw0KGgo="
    async with (
        RealtimeEmulator(["A cat."], detect_speech=False) as server,
        converse(
            server,
            transcription_model=TranscriptionModel.WHISPER_1,
            noise_reduction=NoiseReduction.NEAR_FIELD,
            output_modalities=["audio"],
        ) as conversation,
    ):
        session = await server.connected()
        await conversation.agent.set_speech_speed(1.25)
        await server.received("session.update", where=lambda event: "tools" not in event["session"])
        await conversation.agent.send_image(image, "What is this?")
        await conversation.listener.wait_for("assistant_stopped_responding")
    first, speed = [event["session"] for event in session.received if event["type"] == "session.update"]
    assert first["audio"]["input"]["transcription"] == {"model": "whisper-1"}
    assert first["audio"]["input"]["noise_reduction"] == {"type": "near_field"}
    assert speed == {"type": "realtime", "audio": {"output": {"speed": 1.25}}}
    item = next(event["item"] for event in session.received if event["type"] == "conversation.item.create")
    assert item["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": image},
    ]
    assert wire(session)[-1] == "say"
    for name in ("start", "stop", "set_speech_speed", "send_image"):
        assert inspect.iscoroutinefunction(getattr(RealtimeAgent, name))


def test_d25_seconds_without_the_switch_are_an_error() -> None:
    with pytest.raises(ValueError, match="inactivity_timeout_enabled"):
        RealtimeAgent(api_key="key", inactivity_timeout_seconds=30.0)
