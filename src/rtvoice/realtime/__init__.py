"""The Realtime protocol: where to connect, what to write, how to read."""

from rtvoice.realtime.providers import AzureOpenAIProvider, OpenAIProvider, RealtimeProvider

__all__ = ["AzureOpenAIProvider", "OpenAIProvider", "RealtimeProvider"]
