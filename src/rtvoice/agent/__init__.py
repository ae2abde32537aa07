"""The agent: composes the parts and runs them."""

from rtvoice.agent.agent import RealtimeAgent
from rtvoice.listener import AgentListener
from rtvoice.supervisor import Supervisor

__all__ = ["AgentListener", "RealtimeAgent", "Supervisor"]
