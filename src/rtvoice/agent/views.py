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

__all__ = [
    "AgentError",
    "AgentListener",
    "AgentResult",
    "AssistantVoice",
    "ConversationSeed",
    "NoiseReduction",
    "OutputModality",
    "RealtimeModel",
    "SeedMessage",
    "SemanticEagerness",
    "SemanticVAD",
    "ServerVAD",
    "TranscriptionModel",
    "TurnDetection",
]
