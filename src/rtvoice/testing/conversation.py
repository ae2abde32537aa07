"""The conversation as the server keeps it: items in order, with their audio (protocol page, sections 6 and 7.9)."""

import asyncio
import base64
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.validation import RequestRefused

PCM = AudioFormat("audio/pcm")


@dataclass(slots=True, eq=False)
class Item:
    """One item of a conversation.

    Attributes:
        data: The item as events show it, without audio.
        audio: Audio bytes by content index, in the format of the session at that time.
        audio_format: That format.
        truncated: Whether the client has cut the audio; then later audio of the item does not count any more.
        heard: For a committed user turn: what the user is taken to have said, as soon as that is known.
    """

    data: dict[str, Any]
    audio: dict[int, bytearray] = field(default_factory=dict)
    audio_format: AudioFormat = PCM
    truncated: bool = False
    heard: asyncio.Future[str] | None = None

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.data["id"])

    @property
    def is_assistant_message(self) -> bool:
        """Whether the assistant said it."""
        return (self.data["type"], self.data.get("role")) == ("message", "assistant")

    @property
    def text(self) -> str:
        """All text and transcripts of a message, joined by spaces."""
        parts = [part.get("text") or part.get("transcript") or "" for part in self.data.get("content", ())]
        return " ".join(part for part in parts if part)

    def audio_ms(self, content_index: int = 0) -> int:
        """Return the length of a content part's audio, in whole milliseconds."""
        return len(self.audio.get(content_index, b"")) // self.audio_format.bytes_per_ms

    def add_audio(self, audio: bytes, content_index: int = 0) -> None:
        """Append audio that was sent to, or came from, the client."""
        if not self.truncated:
            self.audio.setdefault(content_index, bytearray()).extend(audio)

    def wire(self, *, with_audio: bool = False) -> dict[str, Any]:
        """Return the item as an event shows it; only ``conversation.item.retrieved`` shows audio."""
        data = copy.deepcopy(self.data)
        if with_audio:
            for index, audio in self.audio.items():
                data["content"][index]["audio"] = base64.b64encode(audio).decode()
        return data


def id_taken(item_id: str) -> RequestRefused:
    """Return the refusal of an item whose id is in use."""
    return RequestRefused("invalid_value", f"Error adding item: an item with id '{item_id}' already exists.", "item.id")


class Conversation:
    """The items of one session, in order."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def has_assistant_audio(self) -> bool:
        """Whether the assistant has spoken; that locks its voice."""
        return any(item.is_assistant_message and any(item.audio.values()) for item in self._items)

    def find(self, item_id: str) -> Item | None:
        """Return the item of that id, if there is one."""
        return next((item for item in self._items if item.id == item_id), None)

    def previous_id(self, item: Item | None = None) -> str | None:
        """Return the id of the item before ``item``; without an argument, of the last item."""
        position = len(self._items) if item is None else self._items.index(item)
        return self._items[position - 1].id if position else None

    def add(self, item: Item, after: str | None = None) -> None:
        """Insert an item.

        Args:
            item: The new item.
            after: Id of the item to insert after, ``"root"`` for the first place, ``None`` for the last.

        Raises:
            RequestRefused: ``after`` names no item, or the item's id is taken. The service's codes are not
                established (protocol page, section 13).
        """
        if self.find(item.id) is not None:
            raise id_taken(item.id)
        if after is None:
            self._items.append(item)
            return
        position = 0
        if after != "root":
            previous = self.find(after)
            if previous is None:
                raise RequestRefused(
                    "invalid_value",
                    f"Error adding item: the previous item with id '{after}' does not exist.",
                    "previous_item_id",
                )
            position = self._items.index(previous) + 1
        self._items.insert(position, item)

    def delete(self, item_id: str) -> None:
        """Remove an item.

        Raises:
            RequestRefused: There is none of that id.
        """
        self._items.remove(self._existing(item_id, "deleting", "delete"))

    def retrieve(self, item_id: str) -> Item:
        """Return an item.

        Raises:
            RequestRefused: There is none of that id.
        """
        return self._existing(item_id, "retrieving", "retrieve")

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut an assistant item's audio, and remove its transcript.

        Raises:
            RequestRefused: There is no such item, it has no audio from the model, or not that much of it.
        """
        item = self.find(item_id)
        if item is None:
            raise RequestRefused(
                "item_truncate_invalid_item_id",
                f"Error truncating item: the item with id '{item_id}' does not exist.",
                "item_id",
            )
        audio = item.audio.get(content_index) if item.is_assistant_message else None
        if audio is None:
            raise RequestRefused("unsupported_content_type", "Only model output audio messages can be truncated")
        if audio_end_ms * item.audio_format.bytes_per_ms > len(audio):
            raise RequestRefused(
                "invalid_value",
                f"Audio content of {item.audio_ms(content_index)}ms is already shorter than {audio_end_ms}ms",
            )
        del audio[audio_end_ms * item.audio_format.bytes_per_ms :]
        item.truncated = True
        if content_index < len(item.data["content"]):
            item.data["content"][content_index].pop("transcript", None)

    def _existing(self, item_id: str, doing: str, verb: str) -> Item:
        item = self.find(item_id)
        if item is None:
            # Both errors come without event_id and param (protocol page, section 8.1).
            raise RequestRefused(
                f"item_{verb}_invalid_item_id",
                f"Error {doing} item: the item with id '{item_id}' does not exist.",
                names_event=False,
            )
        return item
