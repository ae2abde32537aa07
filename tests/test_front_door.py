"""What users import, and what that costs."""

import importlib
import subprocess
import sys

import pytest

import rtvoice

TIER_1 = {
    "rtvoice": "AgentListener AssistantVoice AzureOpenAIProvider ConversationSeed Inject NoiseReduction OpenAIProvider "
    "OutputModality RealtimeAgent RealtimeModel RealtimeProvider SeedMessage SemanticEagerness SemanticVAD ServerVAD "
    "Supervisor ToolContext Tools TranscriptionModel TurnDetection AgentError AgentResult",
    "rtvoice.agent": "AgentListener RealtimeAgent Supervisor",
    "rtvoice.audio": "AudioInputDevice AudioOutputDevice AudioSession MicrophoneInput SpeakerOutput",
    "rtvoice.conversation": "ConversationHistory ConversationInactivityTimer ConversationTurn",
    "rtvoice.events": "EventBus AgentStartingEvent AgentSessionConnectedEvent AgentStoppedEvent "
    "UserStartedSpeakingEvent UserStoppedSpeakingEvent UserTranscriptChunkReceivedEvent UserTranscriptCompletedEvent "
    "AssistantStartedRespondingEvent AssistantStoppedRespondingEvent AssistantTranscriptChunkReceivedEvent "
    "AssistantTranscriptDeltaEvent AssistantTranscriptCompletedEvent AssistantInterruptedEvent "
    "AudioPlaybackCompletedEvent AgentErrorEvent SupervisorStartedEvent SupervisorFinishedEvent "
    "UserInactivityCountdownEvent UserInactivityTimeoutEvent UpdateSpeechSpeedCommand UpdateToolChoiceCommand "
    "UpdateSessionToolsCommand CancelSupervisorCommand UpdateSupervisorCommand",
    "rtvoice.llm": "AssistantMessage BaseOpenAICompatible ChatAzureOpenAI ChatInvokeCompletion ChatInvokeUsage "
    "ChatModel ChatOpenAI ContentPartImageParam ContentPartTextParam Function FunctionTool ImageURL Message "
    "RawSchemaTool SystemMessage Tool ToolCall ToolResultMessage UserMessage tool",
    "rtvoice.realtime": "AzureOpenAIProvider OpenAIProvider RealtimeProvider",
    "rtvoice.tools": "Inject Tool ToolContext Tools",
}
OTHERS = ["rtvoice.testing", "rtvoice.supervisor", "rtvoice.agent.views", "rtvoice.agent.listener"]


@pytest.mark.parametrize(("module", "names"), TIER_1.items(), ids=TIER_1.keys())
def test_every_promised_name_is_there(module: str, names: str) -> None:
    loaded = importlib.import_module(module)
    missing = [name for name in names.split() if not hasattr(loaded, name)]
    assert missing == []
    assert set(names.split()) <= set(loaded.__all__)
    assert set(names.split()) <= set(dir(loaded))


@pytest.mark.parametrize("module", [*TIER_1, *OTHERS])
def test_star_imports_work(module: str) -> None:
    loaded = importlib.import_module(module)
    space: dict[str, object] = {}
    exec(f"from {module} import *", space)  # noqa: S102 - there is no other way to write it in a function
    assert set(loaded.__all__) <= space.keys()
    assert len(loaded.__all__) == len(set(loaded.__all__))


def test_unknown_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = rtvoice.Nothing  # type: ignore[attr-defined]
    assert "RealtimeAgent" in dir(rtvoice)


def test_two_tools_are_two_things() -> None:
    import rtvoice.llm
    import rtvoice.tools

    assert rtvoice.tools.Tool is not rtvoice.llm.Tool


def in_a_new_process(code: str) -> str:
    """Run code where nothing is loaded, without key, sound card and network."""
    block = """
import socket, sys
class NoNetwork(socket.socket):
    def connect(self, *_): raise AssertionError("no network")
socket.socket = NoNetwork
class NoPortAudio:
    def find_spec(self, name, path=None, target=None):
        if name in ("sounddevice", "_sounddevice", "soxr"):
            raise ImportError("PortAudio library not found")
sys.meta_path.insert(0, NoPortAudio())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block + code],
        capture_output=True, text=True, timeout=50, env={"PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = ("openai", "numpy", "sounddevice", "soxr", "websockets.asyncio.server", "rtvoice.testing", "rtvoice.llm", "mcp")


def test_import_rtvoice_is_light() -> None:
    loaded = in_a_new_process("import rtvoice\nprint(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []
    assert "pydantic" not in loaded


def test_making_an_agent_is_light_too() -> None:
    code = """
from rtvoice import RealtimeAgent, Tools, AgentListener
tools = Tools()
@tools.action("a tool")
async def tool(city: str) -> str: ...
RealtimeAgent(api_key="key", tools=tools, listener=AgentListener(), recording_path="nowhere/session.wav")
print(*sys.modules)
"""
    loaded = in_a_new_process(code).split()
    assert [name for name in HEAVY if name in loaded and name != "rtvoice.llm"] == []


@pytest.mark.parametrize("module", [*TIER_1, "rtvoice.agent.views"])
def test_no_import_needs_sound_or_openai(module: str) -> None:
    loaded = in_a_new_process(f"from {module} import *\nprint(*sys.modules)").split()
    assert [name for name in ("openai", "sounddevice", "websockets.asyncio.server") if name in loaded] == []


def test_the_devices_say_what_is_missing_when_they_are_opened() -> None:
    code = """
import asyncio
from rtvoice.audio import MicrophoneInput, SpeakerOutput
for device in (MicrophoneInput(), SpeakerOutput()):
    try:
        asyncio.run(device.start())
    except ImportError as error:
        print(error)
"""
    lines = in_a_new_process(code).splitlines()
    assert len(lines) >= 2
    assert all("rtvoice[audio]" in line for line in lines[:2]) or "rtvoice[audio]" in " ".join(lines)
