import importlib

import pytest

import rtvoice.agent.listener
import rtvoice.agent.views
from rtvoice import AgentListener, AgentResult


@pytest.mark.parametrize(
    "name",
    [
        "AgentError", "AgentListener", "AgentResult", "AssistantVoice", "ClarificationCheckpoint", "ConversationSeed",
        "NoiseReduction", "OutputModality", "RealtimeModel", "SeedMessage", "SemanticEagerness", "SemanticVAD",
        "ServerVAD", "SupervisorClarificationNeeded", "SupervisorDone", "SupervisorResult", "TranscriptionModel",
        "TurnDetection",
    ],
)  # fmt: skip
def test_names_of_0_7_can_be_imported_from_views(name: str) -> None:
    assert getattr(importlib.import_module("rtvoice.agent.views"), name) is not None
    assert name in rtvoice.agent.views.__all__


def test_the_names_are_the_same_objects() -> None:
    assert rtvoice.agent.views.AgentResult is AgentResult
    assert rtvoice.agent.listener.AgentListener is rtvoice.agent.views.AgentListener is AgentListener


def test_unknown_names_are_unknown() -> None:
    with pytest.raises(AttributeError):
        _ = rtvoice.agent.views.Nothing  # type: ignore[attr-defined]
