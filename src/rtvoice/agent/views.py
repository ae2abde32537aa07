"""The names that scripts for rtvoice 0.7 import from here."""

from rtvoice.agent.result import AgentResult
from rtvoice.events.facts import AgentError
from rtvoice.listener import AgentListener
from rtvoice.settings import (
    AssistantVoice,
    ConversationSeed,
    NoiseReduction,
    OutputModality,
    RealtimeModel,
    SeedMessage,
    SemanticEagerness,
    SemanticVAD,
    ServerVAD,
    TranscriptionModel,
    TurnDetection,
)
from rtvoice.supervisor import (
    ClarificationCheckpoint,
    SupervisorClarificationNeeded,
    SupervisorDone,
    SupervisorResult,
)

__all__ = [
    "AgentError",
    "AgentListener",
    "AgentResult",
    "AssistantVoice",
    "ClarificationCheckpoint",
    "ConversationSeed",
    "NoiseReduction",
    "OutputModality",
    "RealtimeModel",
    "SeedMessage",
    "SemanticEagerness",
    "SemanticVAD",
    "ServerVAD",
    "SupervisorClarificationNeeded",
    "SupervisorDone",
    "SupervisorResult",
    "TranscriptionModel",
    "TurnDetection",
]
