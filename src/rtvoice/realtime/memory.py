"""What has to be told again when a session has to begin anew.

The service keeps nothing of a session that is gone. This remembers the conversation as items that can be created again:
the words of both sides, as far as they were heard, tool calls with their outputs, messages. What cannot be created
again is forgotten: sound and tone, user turns that were not written down, the server's own MCP items.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rtvoice.events import (
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    Event,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.settings import SeedMessage

MAX_ITEMS: Final = 400
"""Messages and calls that are told again at most; older ones are forgotten."""
MAX_CHARACTERS: Final = 60_000
"""Text that is told again at most, about 15,000 tokens: half of the smallest model's context."""
MAX_PARTS: Final = 100
"""Parts of one message that are remembered; the service makes one or two."""
MAX_IMAGES: Final = 1
"""Images that are told again at most: the last ones. They are large, and their words stay."""

Role = Literal["user", "assistant"]


@dataclass(slots=True)
class _Message:
    role: Role
    parts: dict[int, str] = field(default_factory=dict)
    image_url: str | None = None
    heard_of: Callable[[str], str] | None = None

    @property
    def text(self) -> str:
        words = " ".join(self.parts[index] for index in sorted(self.parts))
        return self.heard_of(words) if self.heard_of is not None else words

    def add_words(self, index: int, words: str) -> None:
        """Add to a part, as far as there is room: more could not be told again anyway."""
        if index in self.parts or len(self.parts) < MAX_PARTS:
            known = self.parts.get(index, "")
            self.parts[index] = known + words[: MAX_CHARACTERS - len(known)]

    @property
    def is_lost(self) -> bool:
        """Whether the user said something that was never written down."""
        return self.role == "user" and not self.parts

    def items(self) -> list[dict[str, Any]]:
        kind = "input_text" if self.role == "user" else "output_text"
        content: list[dict[str, Any]] = [{"type": kind, "text": self.text}] if self.text.strip() else []
        if self.image_url is not None:
            content.append({"type": "input_image", "image_url": self.image_url})
        return [{"type": "message", "role": self.role, "content": content}] if content else []


@dataclass(slots=True)
class _Call:
    call_id: str
    name: str
    arguments: str
    output: str | None = None

    def items(self) -> list[dict[str, Any]]:
        """Return the call, and its output as soon as that is known; else the output follows by itself."""
        call = {"type": "function_call", "call_id": self.call_id, "name": self.name, "arguments": self.arguments}
        if self.output is None:
            return [call]
        return [call, {"type": "function_call_output", "call_id": self.call_id, "output": self.output}]


@dataclass(frozen=True, slots=True)
class Retelling:
    """What a new session is told.

    Attributes:
        items: The items to create, oldest first.
        told: What they stand for: entries by the id of their (last) item.
    """

    items: list[dict[str, Any]]
    told: dict[str, str]


@dataclass(frozen=True, slots=True)
class Correction:
    """An item that was told again says more than was heard: it has to be replaced.

    Attributes:
        outdated_id: The item in the new session that has to go.
        item: What takes its place; ``None`` if nothing was heard.
        previous_item_id: Where that belongs: after this item, or at the beginning (``"root"``).
    """

    outdated_id: str
    item: dict[str, Any] | None
    previous_item_id: str


class ConversationMemory:
    """The conversation so far, bounded, in conversation order.

    Args:
        seed: Messages that count as already said.

    Attributes:
        revision: Grows with everything that a new session would have to be told differently.
    """

    def __init__(self, seed: Iterable[SeedMessage] = ()) -> None:
        self._messages: dict[str, _Message] = {}  # by item
        self._calls: dict[str, _Call] = {}  # by `_call_key`
        self._order: list[str] = []
        self._placed: set[str] = set()
        self._retold: dict[str, str] = {}  # entries that were told again, by the id of their (last) item there
        self.revision = 0
        for number, message in enumerate(seed):
            self.add_message(f"seed {number}", message.role, message.text)

    # --- what happens ---

    def note(self, event: Event) -> None:
        """Take in a fact; those that do not concern the conversation change nothing."""
        match event:
            case UserTranscriptCompletedEvent():
                self._message(event.item_id, "user").parts[0] = event.transcript[:MAX_CHARACTERS]
            case AssistantTranscriptDeltaEvent():
                self._message(event.item_id, "assistant").add_words(event.content_index, event.delta)
            case AssistantTranscriptCompletedEvent():
                message = self._message(event.item_id, "assistant")
                message.parts.pop(event.content_index, None)
                message.add_words(event.content_index, event.transcript)
            case AssistantInterruptedEvent():
                for cut in event.cuts:
                    self._message(cut.item_id, "assistant").heard_of = cut.heard_of
            case ToolCallRequestedEvent():
                key = _call_key(event.call_id)
                self.place(key)
                self._calls[key] = _Call(event.call_id, event.name, json.dumps(dict(event.arguments)))
            case ToolCallFinishedEvent():
                call = self._calls.get(_call_key(event.call_id))
                if call is not None:
                    call.output = event.output
            case _:
                return
        self.revision += 1

    def add_message(self, item_id: str, role: Role, text: str, image_url: str | None = None) -> None:
        """Add a message that was written, seeded or shown."""
        message = self._message(item_id, role)
        message.parts[0], message.image_url = text, image_url
        self.revision += 1

    def expect_words(self, item_id: str) -> None:
        """Note that the user has said something whose words are not known yet, and may never be."""
        self._message(item_id, "user")
        self.revision += 1

    def forget(self, item_id: str) -> None:
        """Note that an item was taken out of the conversation."""
        if self._messages.pop(item_id, None) is not None:
            self._order.remove(item_id)
            self._placed.discard(item_id)
            self.revision += 1

    def place(self, key: str, previous: str | None = None) -> None:
        """Note where an item stands: after ``previous``, if that is known; what is known stays where it is."""
        if key in self._placed:
            return
        self._placed.add(key)
        if previous in self._placed:
            index = len(self._order)  # it is nearly always the last
            while self._order[index - 1] != previous:
                index -= 1
            self._order.insert(index, key)
        else:
            self._order.append(key)
        while len(self._order) > 2 * MAX_ITEMS:
            oldest = self._order.pop(0)
            self._placed.discard(oldest)
            self._messages.pop(oldest, None)
            self._calls.pop(oldest, None)
            self._retold.pop(oldest, None)

    # --- what is known ---

    @property
    def lost_user_turns(self) -> int:
        """Number of the user's turns whose words are not known."""
        return sum(message.is_lost for message in self._messages.values())

    @property
    def last_turn_is_lost(self) -> bool:
        """Whether the last that happened is that the user said something whose words are not known."""
        for key in reversed(self._order):
            message = self._messages.get(key)
            if key in self._calls or (message is not None and message.items()):
                return False
            if message is not None and message.is_lost:
                return True
        return False

    def retell(self, new_id: Callable[[], str]) -> Retelling:
        """Return what to tell a new session, within the limits; call `adopt` if it takes over.

        Args:
            new_id: Makes the ids of the items.
        """
        chosen: dict[str, list[dict[str, Any]]] = {}
        characters = images = 0
        for key in reversed(self._order):
            entry = self._messages.get(key) or self._calls.get(key)
            items = entry.items() if entry is not None else []
            if isinstance(entry, _Message) and entry.image_url is not None:
                images += 1
                if images > MAX_IMAGES:
                    items = _without_image(items[0])
            characters += sum(_length(item) for item in items)
            if characters > MAX_CHARACTERS or len(chosen) >= MAX_ITEMS:
                break
            if items:
                chosen[key] = items
        retold = {key: [{"id": new_id(), **item} for item in chosen[key]] for key in reversed(chosen)}
        told = {key: items[-1]["id"] for key, items in retold.items()}
        return Retelling([item for items in retold.values() for item in items], told)

    def adopt(self, retelling: Retelling) -> None:
        """Note that the session that was told this takes over: its items are what can be corrected from now on."""
        self._retold = retelling.told

    def correct(self, item_id: str, new_id: Callable[[], str]) -> Correction | None:
        """Return what has to be replaced in the new session because less of an item was heard than was told again.

        Args:
            item_id: The item in the old session.
            new_id: Makes the id of the item that takes its place: an id is not used twice.
        """
        outdated = self._retold.get(item_id)
        if outdated is None:
            return None
        keys = list(self._retold)
        position = keys.index(item_id)
        previous = self._retold[keys[position - 1]] if position else "root"
        items = self._messages[item_id].items()
        if not items:
            del self._retold[item_id]
            return Correction(outdated, None, previous)
        self._retold[item_id] = new_id()
        return Correction(outdated, {"id": self._retold[item_id], **items[0]}, previous)

    def _message(self, item_id: str, role: Role) -> _Message:
        self.place(item_id)
        return self._messages.setdefault(item_id, _Message(role))


def _call_key(call_id: str) -> str:
    return f"call {call_id}"


def _without_image(item: dict[str, Any]) -> list[dict[str, Any]]:
    content = [part for part in item["content"] if part["type"] != "input_image"]
    return [{**item, "content": content}] if content else []


def _length(item: dict[str, Any]) -> int:
    texts = [part.get("text", "") for part in item.get("content", ())]
    return sum(map(len, texts)) + len(item.get("arguments", "")) + len(item.get("output", ""))
