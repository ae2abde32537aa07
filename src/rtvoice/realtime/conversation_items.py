"""Items of the conversation: their place, and the messages of ours that the server has yet to acknowledge."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from rtvoice.events import ConversationItemAddedEvent, Event, SendMessageCommand, UserMessageAddedEvent
from rtvoice.realtime import client_events, server_events
from rtvoice.realtime.memory import ConversationMemory
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.sent_items import SentItems

REMEMBERED: Final = 1_000
"""Items whose place has been told and is not told again, and messages not acknowledged; older ones are forgotten."""


class ConversationItems:
    """What is in the conversation on the server.

    Args:
        emit: Takes the facts.
        outbox: Takes the frames.
        sent_items: The items of ours.
        memory: Learns the place of every item, and the messages.
    """

    def __init__(
        self, emit: Callable[[Event], None], outbox: Outbox, sent_items: SentItems, memory: ConversationMemory
    ) -> None:
        self._emit = emit
        self._outbox = outbox
        self._sent_items = sent_items
        self._memory = memory
        self._known: OrderedDict[str, None] = OrderedDict()
        self._written: OrderedDict[int, SendMessageCommand] = OrderedDict()  # that the server has yet to acknowledge

    # --- from the server ---

    def added(self, event: server_events.ItemAdded) -> int:
        """Take in that the server has put an item into the conversation.

        Returns:
            The item's number if it is one of ours, else 0.
        """
        item = event.item
        number = 0
        if item.type == "function_call_output":
            number = self._sent_items.acknowledge(item.call_id or "")
        elif item.type == "message" and item.role == "user" and item.id not in self._known:
            number = self._sent_items.acknowledge()
        self.place(item.id, event.previous_item_id, item.role)
        written = self._written.pop(number, None)
        if written is not None:
            self._memory.add_message(item.id, "user", written.text, written.image_url)
            if written.text:
                self._emit(UserMessageAddedEvent(text=written.text, item_id=item.id))
        return number

    def place(self, item_id: str, previous_item_id: str | None, role: str | None) -> None:
        """Take in where an item stands, once."""
        if not item_id or item_id in self._known:
            return
        self._know(item_id)
        self._memory.place(item_id, previous_item_id)
        self._emit(ConversationItemAddedEvent(item_id=item_id, previous_item_id=previous_item_id, role=role))

    def refuse(self, event_id: str | None) -> None:
        """Take in that the server refused an event; if it was to add a message, there is none."""
        self._written.pop(self._sent_items.refuse(event_id or ""), None)

    # --- to the server ---

    def write(self, command: SendMessageCommand) -> int:
        """Send a message of the user; return its number among the items of ours."""
        event_id = self._outbox.new_id("message")
        self._outbox.put(client_events.user_message(event_id, command.text, command.image_url))
        number = self._sent_items.add(event_id)
        self._written[number] = command
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)
        return number

    def write_again(self) -> int:
        """Send all messages to a new session that the old one did not acknowledge; return their number."""
        unacknowledged, self._written = self._written, OrderedDict()
        for command in unacknowledged.values():
            self.write(command)
        return len(unacknowledged)

    def new_id(self) -> str:
        """Return the id of an item that we tell again; nobody needs to hear that the server has added it."""
        item_id = self._outbox.new_id("told")
        self._know(item_id)
        return item_id

    def _know(self, item_id: str) -> None:
        self._known[item_id] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
