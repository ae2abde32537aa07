"""Transcript: keeps the conversation's history."""

from rtvoice.conversation import ConversationHistory
from rtvoice.events import (
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    ConversationItemAddedEvent,
    EventBus,
    InterruptionDismissedEvent,
    UserMessageAddedEvent,
    UserTranscriptCompletedEvent,
)


class Transcript:
    """Writes into the history what is said, where it belongs, and how far it was heard.

    Args:
        bus: The agent's bus.
        history: The history to keep.
    """

    hears = (
        ConversationItemAddedEvent,
        UserTranscriptCompletedEvent,
        UserMessageAddedEvent,
        AssistantTranscriptCompletedEvent,
        AssistantInterruptedEvent,
        InterruptionDismissedEvent,
    )
    says = ()

    def __init__(self, bus: EventBus, history: ConversationHistory) -> None:
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        self._history = history

    def stop(self) -> None:
        """Let `run` end once everything that was said is written down."""
        self._inbox.close()

    async def run(self) -> None:
        """Write until `stop`."""
        async for event in self._inbox:
            match event:
                case ConversationItemAddedEvent():
                    self._history.place(event.item_id, event.previous_item_id)
                case UserTranscriptCompletedEvent():
                    self._history.add("user", event.transcript, event.item_id)
                case UserMessageAddedEvent():
                    self._history.add("user", event.text, event.item_id)
                case AssistantTranscriptCompletedEvent():
                    self._history.add("assistant", event.transcript, event.item_id, event.content_index)
                case AssistantInterruptedEvent():
                    for cut in event.cuts:
                        self._history.mark_interrupted(cut.item_id, cut.played_ms, cut.heard_of)
                case InterruptionDismissedEvent():  # pragma: no branch - the last of all that it hears
                    if event.item_id is not None and not event.was_speech:
                        self._history.remove(event.item_id)
