"""Words of the application's own: spoken beside the conversation, then told to the model as far as they were heard."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from rtvoice.events import PlaybackCut
from rtvoice.realtime import client_events
from rtvoice.realtime.outbox import Outbox

REMEMBERED: Final = 100
"""Sayings that can still be corrected when the user interrupts them; older ones are forgotten."""


@dataclass(slots=True)
class _Saying:
    text: str
    item_id: str  # ours, in the conversation
    told: bool = False
    cut: bool = False


class Sayings:
    """Keeps the model's idea of what was said beside the conversation true.

    Args:
        outbox: Takes the frames.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._texts: OrderedDict[str, str] = OrderedDict()  # by request
        self._sayings: OrderedDict[str, _Saying] = OrderedDict()  # by response
        self._responses: OrderedDict[str, str] = OrderedDict()  # by item of the response

    def request(self, request_id: str, text: str) -> None:
        """Note what a request is to say."""
        self._texts[request_id] = text
        _bound(self._texts)

    def began(self, response_id: str, request_id: str) -> None:
        """Note which response says it."""
        text = self._texts.get(request_id, "")
        self._sayings[response_id] = _Saying(text, self._outbox.new_id("said"))
        _bound(self._sayings)

    def __contains__(self, response_id: object) -> bool:
        return response_id in self._sayings

    def item(self, response_id: str, item_id: str) -> None:
        """Note an item of a response that says something."""
        if response_id in self._sayings:
            self._responses[item_id] = response_id
            _bound(self._responses)

    def ended(self, response_id: str, *, completed: bool) -> None:
        """Note that a response is over: if it was generated whole, the model is told all of it."""
        saying = self._sayings.get(response_id)
        if saying is not None and completed and not saying.cut:
            self._tell(saying, saying.text)

    def connection_lost(self) -> None:
        """Note that the session is gone, and with it the items that could be corrected."""
        self._sayings.clear()
        self._responses.clear()

    def was_cut(self, cut: PlaybackCut) -> None:
        """Note how much of an item was heard: the model is told that, instead of all of it."""
        saying = self._sayings.get(self._responses.get(cut.item_id, ""))
        if saying is None or saying.cut:
            return
        saying.cut = True
        if saying.told:
            self._outbox.put(client_events.delete_item(self._outbox.new_id("delete"), saying.item_id))
        saying.item_id = self._outbox.new_id("said")  # an id is not used twice
        self._tell(saying, cut.heard_of(saying.text))

    def _tell(self, saying: _Saying, text: str) -> None:
        if text:
            saying.told = True
            event_id = self._outbox.new_id("message")
            self._outbox.put(client_events.assistant_message(event_id, saying.item_id, text))


def _bound(memory: OrderedDict[str, str] | OrderedDict[str, _Saying]) -> None:
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
