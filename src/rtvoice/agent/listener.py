"""The import path of `AgentListener` in rtvoice 0.7."""

from rtvoice.listener import AgentListener

__all__ = ["AgentListener"]
