"""Real-time voice agents over the OpenAI Realtime API.

    import asyncio
    from rtvoice import RealtimeAgent

    asyncio.run(RealtimeAgent(instructions="You are a helpful assistant.").run())

What most programs need can be imported from here, and loads when it is first used. The rest is in ``rtvoice.audio``
(devices), ``rtvoice.errors``, ``rtvoice.events``, ``rtvoice.conversation``, ``rtvoice.llm``, ``rtvoice.local`` and
``rtvoice.testing``.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rtvoice.agent import RealtimeAgent
    from rtvoice.agent.result import AgentResult
    from rtvoice.agent.stats import AgentStats
    from rtvoice.errors import RtvoiceError
    from rtvoice.events.facts import AgentError, RestoredConversation
    from rtvoice.listener import AgentListener, ToolApproval, ToolApprovalRequest
    from rtvoice.realtime import AzureOpenAIProvider, OpenAIProvider, RealtimeProvider
    from rtvoice.settings import (
        AssistantVoice,
        ConversationSeed,
        InjectedAssistantMessage,
        InjectedConversation,
        InjectedUserMessage,
        InterruptionPolicy,
        NoiseReduction,
        OutputModality,
        RealtimeModel,
        ReasoningEffort,
        ReconnectPolicy,
        RotationPolicy,
        SeedMessage,
        SemanticEagerness,
        SemanticVAD,
        ServerVAD,
        SessionLog,
        TranscriptionModel,
        TurnDetection,
        WatchdogPolicy,
    )
    from rtvoice.supervisor import Supervisor, TextAgent
    from rtvoice.tools import ActionResult, Inject, ToolContext, ToolFeedbackError, Tools
    from rtvoice.usage import ModelPrice, TranscriptionPrice

_HOMES: Final = {
    "rtvoice.agent": ("RealtimeAgent",),
    "rtvoice.agent.result": ("AgentResult",),
    "rtvoice.agent.stats": ("AgentStats",),
    "rtvoice.errors": ("RtvoiceError",),
    "rtvoice.events.facts": ("AgentError", "RestoredConversation"),
    "rtvoice.listener": ("AgentListener", "ToolApproval", "ToolApprovalRequest"),
    "rtvoice.realtime": ("AzureOpenAIProvider", "OpenAIProvider", "RealtimeProvider"),
    "rtvoice.settings": (
        "AssistantVoice",
        "ConversationSeed",
        "InjectedAssistantMessage",
        "InjectedConversation",
        "InjectedUserMessage",
        "InterruptionPolicy",
        "NoiseReduction",
        "OutputModality",
        "RealtimeModel",
        "ReasoningEffort",
        "ReconnectPolicy",
        "RotationPolicy",
        "SeedMessage",
        "SemanticEagerness",
        "SemanticVAD",
        "ServerVAD",
        "SessionLog",
        "TranscriptionModel",
        "TurnDetection",
        "WatchdogPolicy",
    ),
    "rtvoice.supervisor": ("Supervisor", "TextAgent"),
    "rtvoice.tools": ("ActionResult", "Inject", "ToolContext", "ToolFeedbackError", "Tools"),
    "rtvoice.usage": ("ModelPrice", "TranscriptionPrice"),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ActionResult",
    "AgentError",
    "AgentListener",
    "AgentResult",
    "AgentStats",
    "AssistantVoice",
    "AzureOpenAIProvider",
    "ConversationSeed",
    "Inject",
    "InjectedAssistantMessage",
    "InjectedConversation",
    "InjectedUserMessage",
    "InterruptionPolicy",
    "ModelPrice",
    "NoiseReduction",
    "OpenAIProvider",
    "OutputModality",
    "RealtimeAgent",
    "RealtimeModel",
    "RealtimeProvider",
    "ReasoningEffort",
    "ReconnectPolicy",
    "RestoredConversation",
    "RotationPolicy",
    "RtvoiceError",
    "SeedMessage",
    "SemanticEagerness",
    "SemanticVAD",
    "ServerVAD",
    "SessionLog",
    "Supervisor",
    "TextAgent",
    "ToolApproval",
    "ToolApprovalRequest",
    "ToolContext",
    "ToolFeedbackError",
    "Tools",
    "TranscriptionModel",
    "TranscriptionPrice",
    "TurnDetection",
    "WatchdogPolicy",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rtvoice' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
