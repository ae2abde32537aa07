"""What has to be told again when a session has to begin anew.

The service keeps nothing of a session that is gone. This remembers the conversation as items that can be created again:
the words of both sides, as far as they were heard, tool calls with their outputs, messages. What cannot be created
again is forgotten: sound and tone, images beyond the last, the server's own MCP items.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

MAX_ITEMS: Final = 400
"""Items that are told again at most; older ones are forgotten."""
MAX_CHARACTERS: Final = 60_000
"""Text that is told again at most, about 15,000 tokens: half of the smallest model's context."""


@dataclass(slots=True)
class _Message:
    role: Literal["user", "assistant"]
    parts: dict[int, str] = field(default_factory=dict)
    image_url: str | None = None
    heard_of: Callable[[str], str] | None = None

    def text(self) -> str:
        words = " ".join(self.parts[index] for index in sorted(self.parts))
        return self.heard_of(words) if self.heard_of is not None else words


@dataclass(slots=True)
class _Call:
    call_id: str
    name: str
    arguments: str
    output: str | None = None


class ConversationMemory:
    """The conversation so far, bounded, in conversation order."""

    def __init__(self) -> None:
        self._entries: dict[str, _Message | _Call] = {}
        self._order: list[str] = []
        self._placed: set[str] = set()
        self._next = 0

    def place(self, item_id: str, previous_item_id: str | None) -> None:
        """Note where an item of the server stands; known items stay where they are."""
        if item_id in self._placed:
            return
        self._placed.add(item_id)
        if previous_item_id in self._placed:
            index = len(self._order)
            while self._order[index - 1] != previous_item_id:
                index -= 1
            self._order.insert(index, item_id)
        else:
            self._order.append(item_id)
        self._bound()

    def add_message(self, role: Literal["user", "assistant"], text: str, image_url: str | None = None) -> None:
        """Add a message of ours (a seed, written text, an image), after all that is known."""
        self._next += 1
        key = f"local {self._next}"
        self.place(key, None)
        self._entries[key] = _Message(role, {0: text}, image_url)

    def add_words(self, item_id: str, role: Literal["user", "assistant"], text: str, content_index: int = 0) -> None:
        """Set the words of one content part of an item."""
        self.place(item_id, None)
        entry = self._entries.setdefault(item_id, _Message(role))
        if isinstance(entry, _Message):
            entry.parts[content_index] = text

    def cut(self, item_id: str, heard_of: Callable[[str], str]) -> None:
        """Note that only a part of an item was heard."""
        self.place(item_id, None)
        entry = self._entries.setdefault(item_id, _Message("assistant"))
        if isinstance(entry, _Message):
            entry.heard_of = heard_of

    def add_call(self, call_id: str, name: str, arguments: str) -> None:
        """Add a function call, after all that is known."""
        key = f"call {call_id}"
        self.place(key, None)
        self._entries.setdefault(key, _Call(call_id, name, arguments))

    def add_output(self, call_id: str, output: str) -> None:
        """Set the output of a call."""
        entry = self._entries.get(f"call {call_id}")
        if isinstance(entry, _Call):
            entry.output = output

    def items(self) -> list[dict[str, Any]]:
        """Return the items to create, oldest first, within the limits.

        A call whose output is not known yet stands without one: its output follows when it is there.
        """
        chosen: list[list[dict[str, Any]]] = []
        characters = 0
        for key in reversed(self._order):
            entry = self._entries.get(key)
            items = _call_items(entry) if isinstance(entry, _Call) else _message_items(entry) if entry else []
            characters += sum(_length(item) for item in items)
            if characters > MAX_CHARACTERS or len(chosen) >= MAX_ITEMS:
                break
            chosen.append(items)
        return [item for items in reversed(chosen) for item in items]

    def _bound(self) -> None:
        while len(self._order) > 2 * MAX_ITEMS:
            oldest = self._order.pop(0)
            self._placed.discard(oldest)
            self._entries.pop(oldest, None)


def _message_items(message: _Message) -> list[dict[str, Any]]:
    text = message.text()
    kind = "input_text" if message.role == "user" else "output_text"
    content: list[dict[str, Any]] = [{"type": kind, "text": text}] if text else []
    if message.image_url is not None:
        content.append({"type": "input_image", "image_url": message.image_url})
    return [{"type": "message", "role": message.role, "content": content}] if content else []


def _call_items(call: _Call) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    ]
    if call.output is not None:
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": call.output})
    return items


def _length(item: dict[str, Any]) -> int:
    texts = [part.get("text", "") for part in item.get("content", ())]
    return sum(map(len, texts)) + len(item.get("arguments", "")) + len(item.get("output", ""))
