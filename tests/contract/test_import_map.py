"""Section 1 of the contract: every import that scripts for rtvoice 0.7 write works, from exactly there."""

import importlib

import pytest

TIER_1 = {
    "rtvoice": "AgentListener AssistantVoice AzureOpenAIProvider ConversationSeed Inject NoiseReduction OpenAIProvider "
    "OutputModality RealtimeAgent RealtimeModel RealtimeProvider SeedMessage SemanticEagerness SemanticVAD ServerVAD "
    "Supervisor ToolContext Tools TranscriptionModel TurnDetection",
    "rtvoice.agent": "AgentListener RealtimeAgent Supervisor",
    "rtvoice.audio": "AudioInputDevice AudioOutputDevice AudioSession MicrophoneInput SpeakerOutput",
    "rtvoice.conversation": "ConversationHistory ConversationInactivityTimer ConversationTurn",
    "rtvoice.events": "EventBus",
    "rtvoice.llm": "AssistantMessage BaseOpenAICompatible ChatAzureOpenAI ChatInvokeCompletion ChatInvokeUsage "
    "ChatModel ChatOpenAI ContentPartImageParam ContentPartTextParam Function FunctionTool ImageURL Message "
    "RawSchemaTool SystemMessage Tool ToolCall ToolResultMessage UserMessage tool",
    "rtvoice.realtime": "AzureOpenAIProvider OpenAIProvider RealtimeProvider",
    "rtvoice.tools": "Inject Tool ToolContext Tools",
}
TIER_2 = {
    "rtvoice.agent.views": "AgentError AgentResult AssistantVoice ClarificationCheckpoint ConversationSeed "
    "NoiseReduction OutputModality RealtimeModel SeedMessage SemanticEagerness SemanticVAD ServerVAD "
    "SupervisorClarificationNeeded SupervisorDone SupervisorResult TranscriptionModel TurnDetection AgentListener",
    "rtvoice.agent.listener": "AgentListener",
}
SUPERSET = {
    "rtvoice": "AgentError AgentResult TextAgent ActionResult ToolFeedbackError ReasoningEffort InjectedConversation "
    "InjectedUserMessage InjectedAssistantMessage",
    "rtvoice.audio": "AudioInput AudioOutput",
    "rtvoice.tools": "ActionResult ToolFeedbackError",
    "rtvoice.events": "AgentStartingEvent AgentSessionConnectedEvent AgentStoppedEvent UserStartedSpeakingEvent "
    "UserStoppedSpeakingEvent UserTranscriptChunkReceivedEvent UserTranscriptCompletedEvent "
    "AssistantStartedRespondingEvent AssistantStoppedRespondingEvent AssistantTranscriptChunkReceivedEvent "
    "AssistantTranscriptDeltaEvent AssistantTranscriptCompletedEvent AssistantInterruptedEvent "
    "AudioPlaybackCompletedEvent AgentErrorEvent SupervisorStartedEvent SupervisorFinishedEvent "
    "UserInactivityCountdownEvent UserInactivityTimeoutEvent UpdateSpeechSpeedCommand UpdateToolChoiceCommand "
    "UpdateSessionToolsCommand CancelSupervisorCommand UpdateSupervisorCommand",
}
IMPORTS = [
    (module, name) for table in (TIER_1, TIER_2, SUPERSET) for module, names in table.items() for name in names.split()
]


@pytest.mark.parametrize(("module", "name"), IMPORTS)
def test_the_name_can_be_imported_from_there(module: str, name: str) -> None:
    space: dict[str, object] = {}
    exec(f"from {module} import {name}", space)  # noqa: S102 - the statement itself is what is tested
    assert space[name] is not None
    assert name in importlib.import_module(module).__all__


@pytest.mark.parametrize("module", [*TIER_1, *TIER_2])
def test_a_star_import_brings_every_promised_name(module: str) -> None:
    space: dict[str, object] = {}
    exec(f"from {module} import *", space)  # noqa: S102 - a star import is not allowed in a function
    promised = " ".join(table.get(module, "") for table in (TIER_1, TIER_2, SUPERSET)).split()
    assert set(promised) <= space.keys()


@pytest.mark.parametrize("name", ["AgentListener", "RealtimeAgent", "Supervisor", "AgentError", "AgentResult"])
def test_a_name_is_the_same_thing_wherever_it_comes_from(name: str) -> None:
    homes = ("rtvoice", "rtvoice.agent", "rtvoice.agent.views", "rtvoice.agent.listener")
    modules = [importlib.import_module(home) for home in homes]
    assert len({id(getattr(module, name)) for module in modules if name in module.__all__}) == 1


def test_names_that_mean_two_things_stay_apart() -> None:
    import rtvoice.llm
    import rtvoice.tools

    assert rtvoice.tools.Tool is not rtvoice.llm.Tool
    assert not hasattr(rtvoice.tools, "FunctionTool")


def test_newer_members_of_the_enums() -> None:
    from rtvoice import RealtimeModel, TranscriptionModel

    models = {member.name: member.value for member in RealtimeModel}
    assert (
        models.items()
        >= {
            "GPT_REALTIME": "gpt-realtime",
            "GPT_REALTIME_MINI": "gpt-realtime-mini",
            "GPT_REALTIME_1_5": "gpt-realtime-1.5",
            "GPT_REALTIME_2": "gpt-realtime-2",
            "GPT_REALTIME_2_1": "gpt-realtime-2.1",
            "GPT_REALTIME_2_1_MINI": "gpt-realtime-2.1-mini",
        }.items()
    )
    transcribers = {member.name: member.value for member in TranscriptionModel}
    assert (
        transcribers.items()
        >= {
            "WHISPER_1": "whisper-1",
            "GPT_TRANSCRIBE": "gpt-transcribe",
            "GPT_4O_TRANSCRIBE": "gpt-4o-transcribe",
            "GPT_4O_MINI_TRANSCRIBE": "gpt-4o-mini-transcribe",
        }.items()
    )
