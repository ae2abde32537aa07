"""The conversation as a list of turns, in the order in which it was held."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rtvoice.events.facts import (
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.settings import SeedMessage


@dataclass(slots=True, init=False)
class ConversationTurn:
    """What one side said in one go.

    Attributes:
        role: ``"user"`` or ``"assistant"``.
        transcript: The words. ``text`` is another name for it, here and in the constructor.
        item_id: The server's id of the item, if it came from the server.
        interrupted: The assistant was cut short.
        played_ms: How much of an interrupted turn was heard, in milliseconds.
        seeded: It was given as already said, not spoken in this session.
        heard: The part of the words that the user heard: all of them, unless the turn was interrupted; then an
            estimate.
    """

    role: Literal["user", "assistant"]
    transcript: str
    item_id: str | None
    interrupted: bool
    played_ms: int | None
    seeded: bool
    heard: str

    def __init__(
        self,
        role: Literal["user", "assistant"],
        transcript: str | None = None,
        item_id: str | None = None,
        interrupted: bool = False,
        played_ms: int | None = None,
        seeded: bool = False,
        *,
        text: str | None = None,
    ) -> None:
        words = transcript if transcript is not None else text
        if words is None or (transcript is not None and text is not None):
            raise TypeError("ConversationTurn needs either transcript= or text=, which mean the same")
        self.role = role
        self.transcript = words
        self.item_id = item_id
        self.interrupted = interrupted
        self.played_ms = played_ms
        self.seeded = seeded
        self.heard = words

    @property
    def text(self) -> str:
        """The words; the same as `transcript`."""
        return self.transcript


class _Subscribable(Protocol):
    def subscribe(self, event_type: type[Any], handler: Callable[[Any], Awaitable[None] | None], /) -> None: ...


class ConversationHistory:
    """All turns so far, in conversation order.

    Order goes by the place that the server gave each item, not by arrival: the words of the user are
    often known only after the assistant has begun to answer them.

    Args:
        event_bus: A bus whose transcripts to follow. The agent's own history is fed by the agent.
        seed: Messages that count as already said.
    """

    def __init__(self, event_bus: _Subscribable | None = None, *, seed: Iterable[SeedMessage] = ()) -> None:
        self._seeds = [ConversationTurn(message.role, message.text, seeded=True) for message in seed]
        self._order: list[str] = []
        self._placed: set[str] = set()
        self._turns: dict[str, ConversationTurn] = {}
        self._parts: dict[str, dict[int, str]] = {}
        self._cuts: dict[str, tuple[int, Callable[[str], str]]] = {}
        self._removed: set[str] = set()
        if event_bus is not None:
            event_bus.subscribe(UserTranscriptCompletedEvent, self._user_transcript)
            event_bus.subscribe(AssistantTranscriptCompletedEvent, self._assistant_transcript)
            event_bus.subscribe(AssistantInterruptedEvent, self._interrupted)

    @property
    def turns(self) -> list[ConversationTurn]:
        """A copy of the list of turns, seeds first."""
        return self._seeds + self.spoken_turns

    @property
    def spoken_turns(self) -> list[ConversationTurn]:
        """The turns of this session, without seeds."""
        return [self._turns[item_id] for item_id in self._order if item_id in self._turns]

    def format(self) -> str:
        """Return the conversation as lines ``[USER]: …`` and ``[ASSISTANT]: …``."""
        lines = [f"[{turn.role.upper()}]: {turn.transcript}" for turn in self.turns]
        return "\n".join(lines) or "(no conversation yet)"

    def place(self, item_id: str, previous_item_id: str | None = None) -> None:
        """Note where an item stands; known items stay where they are.

        Args:
            item_id: The item.
            previous_item_id: The item before it; if unknown, the item goes to the end.
        """
        if item_id in self._placed:
            return
        self._placed.add(item_id)
        if previous_item_id in self._placed:
            index = len(self._order)  # it is nearly always the last
            while self._order[index - 1] != previous_item_id:
                index -= 1
            self._order.insert(index, item_id)
        else:
            self._order.append(item_id)

    def add(self, role: Literal["user", "assistant"], transcript: str, item_id: str, content_index: int = 0) -> None:
        """Set the words of one content part of an item. Silence is no turn."""
        if not transcript.strip() or item_id in self._removed:
            return
        self.place(item_id)
        parts = self._parts.setdefault(item_id, {})
        parts[content_index] = transcript
        turn = self._turns.setdefault(item_id, ConversationTurn(role, "", item_id))
        turn.transcript = turn.heard = " ".join(parts[index] for index in sorted(parts))
        self._mark(item_id)

    def mark_interrupted(
        self, item_id: str, played_ms: int, heard_of: Callable[[str], str] = lambda text: text
    ) -> None:
        """Note that an item was cut short, whether or not its words are known yet.

        Args:
            item_id: The item.
            played_ms: How much of it was heard, in milliseconds.
            heard_of: Returns the part of its words that was heard.
        """
        self._cuts[item_id] = (played_ms, heard_of)
        self._mark(item_id)

    def remove(self, item_id: str) -> None:
        """Take a turn out: nobody has said it, whatever is still written down of it."""
        self._removed.add(item_id)
        self._turns.pop(item_id, None)

    def _mark(self, item_id: str) -> None:
        turn = self._turns.get(item_id)
        if turn is not None and item_id in self._cuts:
            turn.interrupted = True
            turn.played_ms, heard_of = self._cuts[item_id]
            turn.heard = heard_of(turn.transcript)

    def _user_transcript(self, event: UserTranscriptCompletedEvent) -> None:
        self.add("user", event.transcript, event.item_id)

    def _assistant_transcript(self, event: AssistantTranscriptCompletedEvent) -> None:
        self.add("assistant", event.transcript, event.item_id, event.content_index)

    def _interrupted(self, event: AssistantInterruptedEvent) -> None:
        if event.item_id is not None:
            self.mark_interrupted(event.item_id, event.played_ms or 0)
        for cut in event.cuts:
            self.mark_interrupted(cut.item_id, cut.played_ms, cut.heard_of)
