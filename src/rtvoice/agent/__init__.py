"""The agent: composes the parts and runs them."""

import importlib
from typing import TYPE_CHECKING

from rtvoice.agent.agent import RealtimeAgent
from rtvoice.listener import AgentListener

if TYPE_CHECKING:
    from rtvoice.supervisor import Supervisor

__all__ = ["AgentListener", "RealtimeAgent", "Supervisor"]


def __getattr__(name: str) -> object:
    """Load the supervisor when it is first used: an agent without one needs no language model."""
    if name != "Supervisor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("rtvoice.supervisor").Supervisor


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return __all__
