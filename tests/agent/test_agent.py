import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtvoice import (
    AgentListener,
    AgentResult,
    AssistantVoice,
    AzureOpenAIProvider,
    ConversationSeed,
    NoiseReduction,
    OpenAIProvider,
    RealtimeAgent,
    RealtimeModel,
    SeedMessage,
    SemanticVAD,
    ServerVAD,
    Supervisor,
    Tools,
    TranscriptionModel,
)
from rtvoice.agent.stats import AgentStats
from rtvoice.audio import AudioInputDevice, MicrophoneInput, SpeakerOutput
from rtvoice.errors import (
    AgentStateError,
    AudioDeviceError,
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    MissingCredentialsError,
    ServerError,
)
from rtvoice.events import AgentStartingEvent, AgentStoppedEvent, UserTranscriptCompletedEvent
from rtvoice.supervisor import TextAgent
from rtvoice.testing import (
    Faults,
    RealtimeEmulator,
    Reply,
    ScriptedChatModel,
    StartRefusal,
    ToolCall,
    VirtualMicrophone,
    VirtualSpeaker,
)

pytestmark = pytest.mark.virtual_clock


def agent(**settings: Any) -> RealtimeAgent[Any]:
    return RealtimeAgent(**{"api_key": "key", **settings})


# --- the constructor ---------------------------------------------------------------------------------


def test_making_an_agent_needs_no_loop_and_does_nothing(tmp_path: Path) -> None:
    RealtimeAgent(api_key="key", recording_path=tmp_path / "new folder" / "session.wav")
    assert list(tmp_path.iterdir()) == []


def test_an_agent_is_generic_over_its_context() -> None:
    made: RealtimeAgent[dict[str, int]] = RealtimeAgent[dict[str, int]](api_key="key", context={"a": 1})
    assert isinstance(made, RealtimeAgent)


def test_all_parameters_are_keywords() -> None:
    with pytest.raises(TypeError):
        RealtimeAgent("Be kind.")  # type: ignore[misc]


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="OPENAI_API_KEY") as caught:
        RealtimeAgent()
    assert isinstance(caught.value, MissingCredentialsError)
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with pytest.raises(RuntimeError, match="OPENAI_API_KEY"):
        RealtimeAgent()
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    RealtimeAgent()


class Provider:
    def build_url(self, model: str) -> str:
        return f"ws://127.0.0.1:9/?model={model}"

    def build_headers(self) -> dict[str, str]:
        return {}


ERRORS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "key and provider": ({"provider": OpenAIProvider(api_key="a")}, ValueError, "not both"),
    "two instructions": ({"instructions": "a", "system_prompt": "b"}, TypeError, "system_prompt"),
    "two seeds": (
        {"conversation_seed": ConversationSeed([]), "injected_conversation": ConversationSeed([])},
        TypeError,
        "injected_conversation",
    ),
    "reasoning": ({"reasoning_effort": "hard"}, ValueError, "reasoning_effort"),
    "greeting": ({"greeting": 5}, TypeError, "greeting"),
    "no provider": ({"provider": object(), "api_key": None}, TypeError, "build_url"),
    "a provider class": ({"provider": Provider, "api_key": None}, TypeError, r"Provider\(\)"),
    "instructions": ({"instructions": 5}, TypeError, "instructions"),
    "model type": ({"model": 5}, TypeError, "model"),
    "empty model": ({"model": ""}, ValueError, "model"),
    "voice type": ({"voice": None}, TypeError, "voice"),
    "empty voice": ({"voice": ""}, ValueError, "voice"),
    "speed type": ({"speech_speed": "fast"}, TypeError, "speech_speed"),
    "speed flag": ({"speech_speed": True}, TypeError, "speech_speed"),
    "transcription model": ({"transcription_model": 5}, TypeError, "transcription_model"),
    "empty transcription model": ({"transcription_model": ""}, ValueError, "transcription_model"),
    "unknown modality": ({"output_modalities": ["video"]}, ValueError, "video"),
    "modalities as text": ({"output_modalities": "audio"}, TypeError, "output_modalities"),
    "noise reduction": ({"noise_reduction": "none"}, ValueError, "noise_reduction"),
    "turn detection": ({"turn_detection": "semantic"}, TypeError, "turn_detection"),
    "turn detection class": ({"turn_detection": SemanticVAD}, TypeError, "turn_detection"),
    "tools": ({"tools": [print]}, TypeError, "tools"),
    "supervisor": ({"supervisor": object()}, TypeError, "supervisor"),
    "input": ({"audio_input": object()}, TypeError, "audio_input"),
    "input class": ({"audio_input": VirtualMicrophone}, TypeError, r"VirtualMicrophone\(\)"),
    "output": ({"audio_output": VirtualMicrophone()}, TypeError, "play_chunk"),
    "listener class": ({"listener": AgentListener}, TypeError, r"AgentListener\(\)"),
    "seed": ({"conversation_seed": [SeedMessage.user("Hi.")]}, TypeError, "conversation_seed"),
    "seconds without enabled": ({"inactivity_timeout_seconds": 5}, ValueError, "inactivity_timeout_enabled"),
    "no seconds": ({"inactivity_timeout_seconds": 0, "inactivity_timeout_enabled": True}, ValueError, "greater than 0"),
    "negative": ({"inactivity_timeout_seconds": -1, "inactivity_timeout_enabled": True}, ValueError, "greater than 0"),
    "seconds type": ({"inactivity_timeout_seconds": "5", "inactivity_timeout_enabled": True}, TypeError, "seconds"),
    "recording folder": ({"recording_path": Path(__file__).parent}, ValueError, "folder"),
    "tool timeout": ({"tool_timeout_seconds": 0}, ValueError, "tool_timeout_seconds"),
}


@pytest.mark.parametrize(("settings", "error", "words"), ERRORS.values(), ids=ERRORS.keys())
def test_wrong_settings_fail_at_once(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        agent(**settings)


@pytest.mark.parametrize("name", ["supervisor", "cancel_supervisor", "update_supervisor"])
def test_a_tool_must_not_have_the_supervisors_names(name: str) -> None:
    tools = Tools()
    tools.action("something else", name=name)(lambda: None)
    supervisor = Supervisor(description="d", instructions="i", llm=None)
    with pytest.raises(ValueError, match=name):
        agent(tools=tools, supervisor=supervisor)


def test_values_of_all_allowed_kinds_pass() -> None:
    agent(
        model="a model of the future",
        voice="my own voice",
        transcription_model="another",
        output_modalities=["text", "audio", "text"],
        noise_reduction="near_field",
        turn_detection=ServerVAD(threshold=0.7),
        recording_path="",
        inactivity_timeout_seconds=2.5,
        inactivity_timeout_enabled=True,
        tool_timeout_seconds=None,
        conversation_seed=ConversationSeed.from_pairs(("Hi.", "Hello.")),
    )
    agent(reasoning_effort="low", system_prompt="Be kind.", injected_conversation=ConversationSeed([]), greeting="Hi.")
    agent(output_modalities=[], noise_reduction=None, transcription_model=None)
    agent(api_key=None, provider=Provider())


def test_a_device_that_counts_as_false_is_used_nevertheless() -> None:
    class Empty(VirtualMicrophone):
        def __len__(self) -> int:
            return 0

    device = Empty()
    assert agent(audio_input=device)._input is device


def test_the_default_devices() -> None:
    made = agent()
    assert isinstance(made._input, MicrophoneInput)
    assert isinstance(made._output, SpeakerOutput)


WARNINGS: dict[str, tuple[dict[str, Any], str]] = {
    "fast": ({"speech_speed": 9}, "1.5"),
    "slow": ({"speech_speed": 0}, "0.25"),
    "no number": ({"speech_speed": float("nan")}, "1.0"),
    "dying model": ({"model": RealtimeModel.GPT_REALTIME_MINI}, "2027-01-20"),
    "dying model by name": ({"model": "gpt-realtime"}, "gpt-realtime-2.1"),
    "dying transcription": ({"transcription_model": TranscriptionModel.WHISPER_1}, "2027-02-26"),
    "voice": ({"voice": AssistantVoice.FABLE}, "fable"),
    "enabled without seconds": ({"inactivity_timeout_enabled": True}, "inactivity_timeout_seconds"),
}


@pytest.mark.parametrize(("settings", "words"), WARNINGS.values(), ids=WARNINGS.keys())
def test_what_is_doubtful_is_warned_about_once(
    settings: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent(**settings)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert words in record.getMessage()


def test_the_defaults_are_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    agent(listener=AgentListener())
    azure = AzureOpenAIProvider(azure_endpoint="https://a.example", azure_deployment="d", api_key="k")
    assert RealtimeAgent(provider=azure)._transcription_model == "whisper-1"
    assert agent()._transcription_model == "gpt-transcribe"
    assert not caplog.records


def test_a_missing_injection_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    from rtvoice import Inject

    class Database: ...

    tools = Tools()

    @tools.action("needs a database")
    async def look_up(database: Inject[Database]) -> None: ...

    agent(tools=tools)
    assert "look_up" in caplog.text
    assert "Database" in caplog.text
    caplog.clear()
    agent(tools=tools, context=Database())
    agent(tools=tools, tool_dependencies=[Database()])
    assert not caplog.records


def test_a_supervisor_needs_the_users_words(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(description="d", instructions="i", llm=None)
    assert agent(supervisor=supervisor, transcription_model=None)._transcription_model == "gpt-transcribe"
    assert "transcription_model" in caplog.text


def test_tools_are_copied() -> None:
    tools = Tools()
    tools.action("first")(_named("first"))
    made = agent(tools=tools)
    tools.action("later")(_named("later"))
    assert list(made._tools.tools) == ["first"]
    made._tools.action("inside")(_named("inside"))
    assert list(tools.tools) == ["first", "later"]


def _named(name: str) -> Callable[[], None]:
    def function() -> None: ...

    function.__name__ = name
    return function


# --- running -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["run", "start"])
async def test_a_run_from_beginning_to_end(method: str, story: Any) -> None:
    async with RealtimeEmulator() as server:
        microphone, speaker = VirtualMicrophone(), VirtualSpeaker()
        running = RealtimeAgent(provider=server.provider, audio_input=microphone, audio_output=speaker, listener=story)
        events: list[str] = []
        for kind in (AgentStartingEvent, AgentStoppedEvent):
            running.event_bus.subscribe(kind, lambda event: events.append(type(event).__name__))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(getattr(running, method)())
            session = await server.connected()
            await server.received("input_audio_buffer.append")
            assert microphone.is_active
            await running.stop()
            assert task.done()
            assert story.names == ["agent_starting", "agent_session_connected", "agent_stopped"]
            assert not microphone.is_active
            await session.wait_closed()
        result = task.result()
        assert isinstance(result, AgentResult)
        assert result.turns == []
        assert result.recording_path is None
        assert events == ["AgentStartingEvent", "AgentStoppedEvent"]


async def test_the_settings_reach_the_server(converse: Any) -> None:
    async with RealtimeEmulator() as server:
        tools = Tools()
        tools.action("A tool.")(_named("a_tool"))
        seed = ConversationSeed.from_pairs(("Hi.", "Hello."))
        settings = {
            "instructions": "Be kind.",
            "model": "a-model",
            "voice": "cedar",
            "speech_speed": 1.25,
            "noise_reduction": NoiseReduction.NEAR_FIELD,
            "turn_detection": ServerVAD(threshold=0.6),
            "output_modalities": ["text", "audio"],
            "tools": tools,
            "conversation_seed": seed,
        }
        async with converse(server, **settings) as conversation:
            session = await server.connected()
            await server.received("input_audio_buffer.append")
            assert session.types("received")[:4] == [
                "session.update", "conversation.item.create", "conversation.item.create", "input_audio_buffer.append",
            ]  # fmt: skip
            sent = session.received[0]["session"]
            assert sent["model"] == "a-model"
            assert sent["instructions"] == "Be kind."
            assert sent["output_modalities"] == ["audio"]
            assert [tool["name"] for tool in sent["tools"]] == ["a_tool"]
            assert sent["audio"]["input"]["turn_detection"]["threshold"] == 0.6
            assert sent["audio"]["input"]["noise_reduction"] == {"type": "near_field"}
            assert sent["audio"]["input"]["transcription"] == {"model": "gpt-transcribe"}
            assert sent["audio"]["output"]["voice"] == "cedar"
            assert sent["audio"]["output"]["speed"] == 1.25
            assert "response.create" not in session.types("received")
            assert conversation.agent.history.format() == "[USER]: Hi.\n[ASSISTANT]: Hello."
        assert conversation.result.turns == []


async def test_an_agent_runs_once(converse: Any) -> None:
    async with RealtimeEmulator() as server:
        async with converse(server) as conversation:
            with pytest.raises(RuntimeError, match="one conversation"):
                await conversation.agent.run()
            assert not conversation.running.done()
        with pytest.raises(AgentStateError):
            await conversation.agent.start()
        assert len(server.sessions) == 1
        assert conversation.listener.names.count("agent_stopped") == 1


async def test_turns_of_the_result(converse: Any) -> None:
    settings: dict[str, Any] = {"transcripts": ["What time is it?"], "detect_speech": False}
    async with RealtimeEmulator(["It is noon."], **settings) as server:
        seed = ConversationSeed.from_pairs(("Hi.", "Hello."))
        async with converse(server, conversation_seed=seed) as conversation:
            server.current.speech_started()
            await asyncio.sleep(0.5)
            server.current.speech_stopped()
            await conversation.listener.wait_for("assistant_stopped_responding")
            await conversation.listener.wait_for("user_transcript")
        turns = [(turn.role, turn.text) for turn in conversation.result.turns]
        assert turns == [("user", "What time is it?"), ("assistant", "It is noon.")]
        assert [turn.seeded for turn in conversation.agent.history.turns] == [True, True, False, False]


# --- the end -----------------------------------------------------------------------------------------


async def test_stop_is_idempotent_and_can_be_called_by_many(converse: Any) -> None:
    async with RealtimeEmulator() as server:
        async with converse(server) as conversation:
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(conversation.agent.stop())
            assert conversation.running.done()
            await conversation.agent.stop()
        assert conversation.listener.names.count("agent_stopped") == 1


async def test_stop_before_run(story: Any) -> None:
    made = agent(listener=story)
    async with asyncio.TaskGroup() as group:
        group.create_task(made.stop())
        group.create_task(made.stop())
    await made.stop()
    assert story.names == ["agent_stopped"]
    with pytest.raises(RuntimeError):
        await made.run()
    assert story.names == ["agent_stopped"]


async def test_stop_from_on_agent_stopped_of_an_agent_that_never_ran() -> None:
    class Nervous(AgentListener):
        stops = 0

        async def on_agent_stopped(self) -> None:
            self.stops += 1
            await made.stop()

    listener = Nervous()
    made = agent(listener=listener)
    await made.stop()
    assert listener.stops == 1


@pytest.mark.parametrize(
    "callback", ["on_agent_starting", "on_agent_session_connected", "on_user_started_speaking", "on_agent_stopped"]
)
async def test_stop_from_a_callback(callback: str) -> None:
    loop = asyncio.get_running_loop()

    class Stopping(AgentListener):
        returned = False
        stopped = 0

        async def on_agent_stopped(self) -> None:
            self.stopped += 1

    async def stop(self: Stopping) -> None:
        await made.stop()
        self.returned = True

    listener = type("L", (Stopping,), {callback: stop})()
    async with RealtimeEmulator(detect_speech=False) as server:
        made = RealtimeAgent(
            provider=server.provider,
            audio_input=VirtualMicrophone(),
            audio_output=VirtualSpeaker(),
            listener=listener,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(made.run())
            if callback == "on_agent_stopped":
                await server.connected()
                await made.stop()
            elif callback == "on_user_started_speaking":
                await server.received("input_audio_buffer.append")
                server.current.speech_started()
            async with asyncio.timeout(5):
                await asyncio.wait([task])
        assert task.result().turns == []
        assert listener.returned
        assert listener.stopped == (0 if callback == "on_agent_stopped" else 1)
        assert loop.time() < 3


@pytest.mark.parametrize("kind", ["async tool", "plain tool"])
async def test_stop_from_a_tool(kind: str, converse: Any) -> None:
    tools = Tools()
    loop = asyncio.get_running_loop()
    returned: list[str] = []
    done = threading.Event()
    if kind == "async tool":

        @tools.action("Ends it.")
        async def hang_up() -> str:
            await conversation.agent.stop()
            returned.append("yes")
            done.set()
            return "Goodbye."
    else:

        @tools.action("Ends it.", name="hang_up")
        def hang_up_plainly() -> str:
            asyncio.run_coroutine_threadsafe(conversation.agent.stop(), loop).result(5)
            returned.append("yes")
            done.set()
            return "Goodbye."

    reply = Reply(calls=[ToolCall("hang_up")])
    async with RealtimeEmulator(replies=[reply], detect_speech=False) as server:
        async with converse(server, tools=tools) as conversation:
            await conversation.agent.send_message("Hang up.")
            async with asyncio.timeout(5):
                await asyncio.wait([conversation.running])
        assert [turn.text for turn in conversation.result.turns] == ["Hang up."]
        assert done.wait(5)  # a thread goes on by itself
        assert returned == ["yes"]
        assert conversation.listener.names[-1] == "agent_stopped"


@pytest.mark.parametrize("subscribed", ["before", "while running"])
async def test_stop_from_an_event_handler(subscribed: str, converse: Any) -> None:
    returned: list[str] = []

    async def handler(_: UserTranscriptCompletedEvent) -> None:
        await conversation.agent.stop()
        returned.append("yes")

    async with RealtimeEmulator(transcripts=["Stop."], detect_speech=False) as server:
        made: list[Any] = []
        async with converse(server, connected=False) as conversation:
            if subscribed == "before":
                conversation.agent.event_bus.subscribe(UserTranscriptCompletedEvent, handler)
            await conversation.listener.wait_for("agent_session_connected")
            if subscribed == "while running":
                conversation.agent.event_bus.subscribe(UserTranscriptCompletedEvent, handler)
            server.current.speech_started()
            await asyncio.sleep(0.5)
            server.current.speech_stopped()
            async with asyncio.timeout(5):
                await asyncio.wait([conversation.running])
        assert returned == ["yes"]
        assert made == []


@pytest.mark.parametrize("place", ["start", "stream_chunks", "stop"])
async def test_stop_from_a_device(place: str, converse: Any) -> None:
    returned: list[str] = []

    async def stop() -> None:
        await conversation.agent.stop()
        returned.append("yes")

    class Button(VirtualMicrophone):
        async def start(self) -> None:
            await super().start()
            if place == "start":
                await stop()

        async def stop(self) -> None:
            await super().stop()
            if place == "stop":
                await stop()

        async def stream_chunks(self) -> Any:
            async for chunk in super().stream_chunks():
                yield chunk
                if place == "stream_chunks":
                    await stop()

    async with RealtimeEmulator() as server:
        async with converse(server, audio_input=Button(), connected=False) as conversation:
            if place == "stop":
                await server.received("input_audio_buffer.append")
                await conversation.agent.stop()
            async with asyncio.timeout(5):
                await asyncio.wait([conversation.running])
        assert conversation.result.turns == []
        assert "yes" in returned


async def test_cancellation_cleans_up_and_passes_through(story: Any) -> None:
    async with RealtimeEmulator() as server:
        microphone, speaker = VirtualMicrophone(), VirtualSpeaker()
        made = RealtimeAgent(provider=server.provider, audio_input=microphone, audio_output=speaker, listener=story)
        running = asyncio.ensure_future(made.run())
        await story.wait_for("agent_session_connected")
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert running.cancelled()
        assert story.names == ["agent_starting", "agent_session_connected", "agent_stopped"]
        assert not microphone.is_active
        await server.current.wait_closed()
        assert server.current.close_code == 1000


async def test_a_timeout_around_run_works(story: Any) -> None:
    async with RealtimeEmulator() as server:
        made = RealtimeAgent(
            provider=server.provider, audio_input=VirtualMicrophone(), audio_output=VirtualSpeaker(), listener=story
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.run(), 2)
        assert story.names[-1] == "agent_stopped"


async def test_on_agent_stopped_is_done_before_run_returns(converse: Any) -> None:
    class Slow(AgentListener):
        done = False

        async def on_agent_stopped(self) -> None:
            await asyncio.sleep(1)
            self.done = True

    async with RealtimeEmulator() as server:
        slow = Slow()
        async with converse(server, listener=slow, connected=False) as conversation:
            await server.connected()
            await conversation.agent.stop()
            assert slow.done


@pytest.mark.parametrize("callback", ["on_agent_starting", "on_agent_stopped"])
async def test_a_broken_callback_changes_nothing(callback: str) -> None:
    async def broken(_: AgentListener) -> None:
        raise LookupError("broken on purpose")

    listener = type("L", (AgentListener,), {callback: broken})()
    async with RealtimeEmulator() as server:
        made = RealtimeAgent(
            provider=server.provider, audio_input=VirtualMicrophone(), audio_output=VirtualSpeaker(), listener=listener
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(made.run())
            await server.received("input_audio_buffer.append")
            await made.stop()
        assert task.result().turns == []


async def test_inactivity_ends_the_conversation(story: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator() as server:
        made = RealtimeAgent(
            provider=server.provider,
            audio_input=VirtualMicrophone(),
            audio_output=VirtualSpeaker(),
            listener=story,
            inactivity_timeout_seconds=7,
            inactivity_timeout_enabled=True,
        )
        result = await made.run()
        assert result.turns == []
        assert loop.time() == pytest.approx(7, abs=0.2)
        assert story.all("user_inactivity_countdown") == [5, 4, 3, 2, 1]
        assert story.names[-1] == "agent_stopped"


# --- a start that fails ------------------------------------------------------------------------------


def silent_devices() -> dict[str, Any]:
    return {"audio_input": VirtualMicrophone(), "audio_output": VirtualSpeaker()}


async def fails_to_start(error: type[Exception], story: Any, **settings: Any) -> Exception:
    made = RealtimeAgent(**{**silent_devices(), "listener": story, **settings})
    with pytest.raises(error) as caught:
        await made.run()
    assert not isinstance(caught.value, BaseExceptionGroup)
    assert story.names == ["agent_starting", "agent_error", "agent_stopped"]
    await made.stop()
    with pytest.raises(AgentStateError):
        await made.run()
    return caught.value


async def test_nobody_listens_there(story: Any) -> None:
    async with RealtimeEmulator() as server:
        provider = server.provider
        await server.stop_listening()
        error = await fails_to_start(ConnectionFailed, story, provider=provider)
    assert isinstance(error, ConnectionError)
    assert "127.0.0.1" in str(error)
    assert story.all("agent_error")[0].type == "connection_failed"


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationFailed), (404, ConnectionFailed)])
async def test_the_server_refuses_the_upgrade(status: int, kind: type[Exception], story: Any) -> None:
    async with RealtimeEmulator() as server:
        server.refuse(StartRefusal(http_status=status))
        error = await fails_to_start(kind, story, provider=server.provider)
    assert str(status) in str(error)


async def test_the_server_refuses_the_key(story: Any) -> None:
    async with RealtimeEmulator(api_key="the right one") as server:
        provider = type(server.provider)(server.url, "the wrong one")
        error = await fails_to_start(AuthenticationFailed, story, provider=provider)
    assert error.code == "invalid_api_key"  # type: ignore[attr-defined]
    assert story.all("agent_error")[0].code == "invalid_api_key"
    assert "wrong one" not in str(error)


async def test_the_server_refuses_the_settings(story: Any) -> None:
    refusal = {"type": "invalid_request_error", "code": "invalid_value", "message": "No such voice.", "param": "voice"}
    async with RealtimeEmulator(faults=Faults(refuse_session_updates=refusal)) as server:
        made = RealtimeAgent(provider=server.provider, listener=story, **silent_devices())
        with pytest.raises(ServerError, match="No such voice"):
            await made.run()
    assert "agent_error" in story.names
    assert story.names[-1] == "agent_stopped"


class NoDevice(AudioInputDevice):
    """Cannot be opened."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.stops = 0

    async def start(self) -> None:
        raise self.error

    async def stop(self) -> None:
        self.stops += 1

    def stream_chunks(self) -> Any:
        raise NotImplementedError

    @property
    def is_active(self) -> bool:
        return False

    async def play_chunk(self, chunk: bytes) -> None: ...

    async def clear_buffer(self) -> None: ...

    is_playing = False


@pytest.mark.parametrize("side", ["audio_input", "audio_output"])
@pytest.mark.parametrize("error", [OSError("no such device"), AudioDeviceError("busy"), ImportError("rtvoice[audio]")])
async def test_a_device_that_cannot_be_opened(side: str, error: Exception, story: Any) -> None:
    device = NoDevice(error)
    async with RealtimeEmulator() as server:
        made = RealtimeAgent(**{**silent_devices(), side: device, "provider": server.provider, "listener": story})
        with pytest.raises(type(error)) as caught:
            await made.run()
        assert caught.value is error
        await server.current.wait_closed()
    assert device.stops == 1
    expected = ["agent_starting", "agent_session_connected", "agent_error", "agent_stopped"]
    assert story.names in (expected, [expected[0], *expected[2:]])
    (problem,) = story.all("agent_error")
    assert problem.type == ("audio_error" if isinstance(error, AudioDeviceError) else "start_failed")


async def test_the_devices_that_are_opened_are_closed_if_the_other_cannot_be(story: Any) -> None:
    speaker = VirtualSpeaker()
    async with RealtimeEmulator() as server:
        made = RealtimeAgent(
            provider=server.provider, audio_input=NoDevice(OSError()), audio_output=speaker, listener=story
        )
        with pytest.raises(OSError):
            await made.run()
    assert len(speaker.cleared) == 1  # its stop() clears


async def test_a_provider_that_fails(story: Any) -> None:
    class Broken(Provider):
        def build_headers(self) -> dict[str, str]:
            raise LookupError("no token")

    await fails_to_start(LookupError, story, provider=Broken())


@pytest.mark.parametrize("url", ["https://example.com/", "no url"])
async def test_an_url_of_another_kind(url: str, story: Any) -> None:
    class Wrong(Provider):
        def build_url(self, model: str) -> str:
            return url

    await fails_to_start(ConfigurationError, story, provider=Wrong())


# --- what can be done while it runs ------------------------------------------------------------------


async def test_the_speed_is_sent_between_turns(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await server.received("session.update")
        await conversation.agent.set_speech_speed(9)
        update = await server.received("session.update")
        assert update["session"] == {"type": "realtime", "audio": {"output": {"speed": 1.5}}}


async def test_the_speed_is_remembered_until_the_start(converse: Any) -> None:
    async with RealtimeEmulator() as server:
        made = RealtimeAgent(provider=server.provider, **silent_devices())
        await made.set_speech_speed(1.25)
        async with asyncio.TaskGroup() as group:
            group.create_task(made.run())
            update = await server.received("session.update")
            assert update["session"]["audio"]["output"]["speed"] == 1.25
            await server.received("input_audio_buffer.append")
            await made.stop()
        assert server.current.types("received").count("session.update") == 1


async def test_images_and_messages(converse: Any) -> None:
    async with (
        RealtimeEmulator(replies=["A cat.", "Hello."], detect_speech=False) as server,
        converse(server) as conversation,
    ):
        await conversation.agent.send_image("data:image/png;base64,AAAA", "What is this?")
        item = await server.received("conversation.item.create")
        await server.received("response.create")
        assert item["item"]["content"] == [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        ]
        await conversation.listener.wait_for("assistant_stopped_responding")
        await conversation.agent.send_message("Hello.")
        item = await server.received("conversation.item.create")
        assert item["item"]["content"] == [{"type": "input_text", "text": "Hello."}]
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
        with pytest.raises(ValueError, match="https URL"):
            await conversation.agent.send_image("cat.png")


async def test_turns_are_not_ended_by_hand_while_the_server_does_it(
    converse: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await conversation.agent.commit_user_turn()
        await conversation.agent.send_message("Hello.")
        await server.received("conversation.item.create")
        assert "input_audio_buffer.commit" not in server.current.types("received")
    assert "by hand" in caplog.text


async def test_turns_ended_by_hand(converse: Any) -> None:
    async with (
        RealtimeEmulator(replies=["Yes?"], detect_speech=False) as server,
        converse(server, turn_detection=None) as conversation,
    ):
        await asyncio.sleep(1)
        await conversation.agent.commit_user_turn()
        await server.received("input_audio_buffer.commit")
        await conversation.listener.wait_for("assistant_stopped_responding")


async def test_new_instructions(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await server.received("session.update")
        await conversation.agent.update_instructions("Be brief.")
        update = await server.received("session.update")
        assert update["session"] == {"type": "realtime", "instructions": "Be brief."}


async def test_usage_is_known_during_and_after_the_conversation(converse: Any) -> None:
    async with RealtimeEmulator(replies=["Hello."], detect_speech=False) as server:
        async with converse(server) as conversation:
            assert conversation.agent.usage.responses == 0
            await conversation.agent.send_message("Hello.")
            await conversation.listener.wait_for("assistant_stopped_responding")
            assert conversation.agent.usage.responses == 1
        assert conversation.agent.usage == conversation.result.usage
        assert conversation.result.usage.responses == 1


async def test_usage_is_known_after_a_cancellation(converse: Any) -> None:
    async with RealtimeEmulator(replies=["Hello."], detect_speech=False) as server:
        async with converse(server) as conversation:
            await conversation.agent.send_message("Hello.")
            await conversation.listener.wait_for("assistant_stopped_responding")
            conversation.running.cancel()
            await asyncio.wait([conversation.running])
        assert conversation.agent.usage.responses == 1


async def test_an_interruption_by_program(converse: Any) -> None:
    long = Reply("A long story. " * 20)
    async with RealtimeEmulator(replies=[long], detect_speech=False) as server:
        async with converse(server) as conversation:
            await conversation.agent.send_message("Tell me a story.")
            await conversation.speaker.wait_until_heard(700)
            await conversation.agent.interrupt()
            cut = await server.received("conversation.item.truncate")
            assert cut["audio_end_ms"] == pytest.approx(700, abs=20)
            await conversation.listener.wait_for("assistant_stopped_responding")
            assert conversation.speaker.heard_ms == pytest.approx(700, abs=20)
        assert conversation.listener.names.count("agent_interrupted") == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_without_a_connection_nothing_happens(when: str, converse: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with RealtimeEmulator() as server:
        made = RealtimeAgent(provider=server.provider, **silent_devices())
        if when == "after":
            await made.stop()
        await made.send_image("https://example.com/cat.png")
        await made.send_message("Hello.")
        await made.interrupt()
        await made.commit_user_turn()
        assert [record.getMessage().split("(")[0] for record in caplog.records] == [
            "send_image", "send_message", "interrupt", "commit_user_turn",
        ]  # fmt: skip
        assert server.sessions == []


async def test_two_agents_side_by_side(converse: Any) -> None:
    async with RealtimeEmulator(replies=["One.", "Two."], detect_speech=False) as server:
        async with converse(server) as first, converse(server) as second:
            for conversation in (first, second):
                await conversation.agent.send_message("Hello.")
                await conversation.listener.wait_for("assistant_transcript")
        assert first.listener.all("assistant_transcript") == ["One."]
        assert second.listener.all("assistant_transcript") == ["Two."]


async def test_a_recording(converse: Any, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "session.wav"
    async with RealtimeEmulator() as server:
        async with converse(server, recording_path=path) as conversation:
            await asyncio.sleep(1)
        assert conversation.result.recording_path == path
        assert path.stat().st_size > 90_000


async def test_a_recording_that_cannot_be_made(converse: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with RealtimeEmulator() as server:
        async with converse(server, recording_path=str(tmp_path / "file" / "session.wav")) as conversation:
            await conversation.listener.wait_for("agent_error")
        assert conversation.result.recording_path is None
        assert conversation.listener.all("agent_error")[0].type == "recording_error"


async def test_an_agent_with_a_supervisor(converse: Any) -> None:
    supervisor = Supervisor(description="Thinks.", instructions="Think.", llm=ScriptedChatModel("42"))
    reply = Reply(calls=[ToolCall("supervisor", {"task": "Think."})])
    async with RealtimeEmulator(replies=[reply, "It is 42."], detect_speech=False) as server:
        async with converse(server, supervisor=supervisor) as conversation:
            await conversation.agent.send_message("Think.")
            await conversation.listener.wait_for("assistant_stopped_responding")
        assert "supervisor_finished" in conversation.listener.names
        assert conversation.result.turns[-1].text == "It is 42."


def test_a_supervisor_in_one_spelling() -> None:
    text_agent = TextAgent(description="d", system_prompt="i", llm=ScriptedChatModel())
    assert agent(text_agent=text_agent)._supervisor is text_agent
    with pytest.raises(TypeError, match="not both"):
        agent(supervisor=Supervisor(description="d", instructions="i"), text_agent=text_agent)


async def test_counters_during_and_after_the_conversation(converse: Any) -> None:
    async with RealtimeEmulator() as server:
        async with converse(server) as conversation:
            assert conversation.agent.stats.session.frames_sent >= 1
            server.current.drop()
            await conversation.listener.wait_for("agent_reconnected")
        stats = conversation.agent.stats
    assert stats.session.reconnects == 1
    assert stats.microphone.device == "VirtualMicrophone"
    assert stats.loudspeaker.reopenings == 0
    assert (stats.events_waiting, stats.events_dropped) == (0, 0)


def test_before_the_conversation_nothing_is_counted() -> None:
    assert RealtimeAgent(api_key="key").stats == AgentStats()


async def test_the_result_says_why_it_ended(converse: Any) -> None:
    async with RealtimeEmulator() as server:
        async with converse(server) as conversation:
            pass
        assert conversation.result.stop_reason == "stop() was called"
        async with converse(server, reconnect=None) as conversation:
            server.current.drop()
            await conversation.listener.wait_for("agent_stopped")
        assert conversation.result.stop_reason == "the connection was closed"
