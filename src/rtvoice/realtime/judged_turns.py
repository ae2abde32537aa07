"""Turns of the user's that the server does not answer by itself: we are told which count.

The judgement may come before the turn is complete (the user speaks on, and it is clear that this is meant) or after it
(the words had to be waited for). A turn is answered when both have come, whatever their order.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from rtvoice.realtime import client_events
from rtvoice.realtime.memory import ConversationMemory
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.responses import Purpose, ResponseArbiter, ResponseRequest

REMEMBERED: Final = 100
"""Turns that can still be judged; older ones are forgotten."""


@dataclass(slots=True)
class _Turn:
    complete: bool = False
    answered: bool | None = None  # None: not judged
    forgotten: bool = False


class JudgedTurns:
    """What becomes of each turn.

    Args:
        outbox: Takes the frames.
        arbiter: Takes the requests for answers.
        memory: Forgets what was not said.
    """

    def __init__(self, outbox: Outbox, arbiter: ResponseArbiter, memory: ConversationMemory) -> None:
        self._outbox = outbox
        self._arbiter = arbiter
        self._memory = memory
        self._turns: OrderedDict[str, _Turn] = OrderedDict()  # of this session, by item; "" if the server names none

    def begin_anew(self) -> None:
        """Note that a new session takes over: what the old one owes the user is settled without us."""
        forgotten = {item_id: turn for item_id, turn in self._turns.items() if turn.forgotten}
        self._turns = OrderedDict(forgotten)  # their words may still come

    def began(self, item_id: str | None) -> None:
        """Note that the user began to speak."""
        self._turns[item_id or ""] = _Turn()
        if len(self._turns) > REMEMBERED:
            self._turns.popitem(last=False)

    def completed(self, item_id: str) -> None:
        """Note that the turn is an item of the conversation."""
        turn = self._turns.get(item_id)
        if turn is None and (turn := self._turns.pop("", None)) is not None:
            self._turns[item_id] = turn
        if turn is None or turn.complete:
            return
        turn.complete = True
        self._act(item_id, turn)

    def accept(self, item_id: str | None) -> None:
        """Answer a turn, also one that was dismissed but not forgotten."""
        turn = self._turns.get(item_id or "")
        if turn is None or turn.answered or turn.forgotten:
            return
        turn.answered = True
        self._act(item_id or "", turn)

    def dismiss(self, item_id: str | None, *, forget: bool) -> None:
        """Do not answer a turn, and perhaps take it out of the conversation."""
        turn = self._turns.get(item_id or "")
        if turn is None or turn.answered is not None:
            return
        turn.answered, turn.forgotten = False, forget
        self._act(item_id or "", turn)

    def is_forgotten(self, item_id: str) -> bool:
        """Whether a turn is taken out of the conversation: what is written down of it was not said."""
        turn = self._turns.get(item_id)
        return turn is not None and turn.forgotten

    def _act(self, item_id: str, turn: _Turn) -> None:
        if not turn.complete or turn.answered is None:
            return
        self._arbiter.turn_is_judged()
        if turn.answered:
            self._arbiter.request(ResponseRequest(Purpose.ANSWER))
        elif turn.forgotten:
            self._memory.forget(item_id)
            self._outbox.put(client_events.delete_item(self._outbox.new_id("delete"), item_id))
