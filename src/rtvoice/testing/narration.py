"""Tells a conversation, line by line, while it happens."""

from collections.abc import Callable

from rtvoice.events import (
    AgentErrorEvent,
    AgentReconnectedEvent,
    AgentReconnectingEvent,
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    EventBus,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserTranscriptCompletedEvent,
)


class Narration:
    """Makes a line of everything that an agent's bus tells.

    Args:
        bus: The agent's bus.
        tell: Called with every line.
        user_too: Whether to tell the server's transcripts of the user. They often come after the answer has begun; who
            knows better what the user says calls ``line("user", ...)``.
    """

    def __init__(self, bus: EventBus, tell: Callable[[str], None], *, user_too: bool) -> None:
        self._tell = tell
        if user_too:
            bus.subscribe(UserTranscriptCompletedEvent, lambda event: self.line("user", event.transcript))
        bus.subscribe(AssistantTranscriptCompletedEvent, lambda event: self.line("assistant", event.transcript))
        bus.subscribe(AssistantInterruptedEvent, self._interrupted)
        bus.subscribe(ToolCallRequestedEvent, self._tool_called)
        bus.subscribe(ToolCallFinishedEvent, lambda event: self.line("tool", f"{event.name} -> {event.output}"))
        bus.subscribe(AgentErrorEvent, lambda event: self.line("error", str(event.error)))
        bus.subscribe(AgentReconnectingEvent, lambda event: self.line("network", f"reconnecting: {event.reason}"))
        bus.subscribe(AgentReconnectedEvent, lambda _: self.line("network", "the connection is restored"))

    def line(self, who: str, what: str) -> None:
        """Tell a line."""
        self._tell(f"{who:<10} {what.strip()}")

    def _interrupted(self, event: AssistantInterruptedEvent) -> None:
        self.line("assistant", f"... interrupted after {(event.played_ms or 0) / 1000:.1f} s")

    def _tool_called(self, event: ToolCallRequestedEvent) -> None:
        arguments = ", ".join(f"{name}={value!r}" for name, value in event.arguments.items())
        self.line("tool", f"{event.name}({arguments})")
