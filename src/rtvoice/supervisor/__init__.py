"""A text model that works on tasks with tools, for an agent or alone."""

from rtvoice.supervisor.loop import Supervisor
from rtvoice.supervisor.results import (
    ClarificationCheckpoint,
    SupervisorClarificationNeeded,
    SupervisorDone,
    SupervisorResult,
)
from rtvoice.supervisor.text_agent import TextAgent

__all__ = [
    "ClarificationCheckpoint",
    "Supervisor",
    "SupervisorClarificationNeeded",
    "SupervisorDone",
    "SupervisorResult",
    "TextAgent",
]
