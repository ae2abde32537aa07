"""Tool calls that a server streams in pieces, put together."""

from collections.abc import Iterable
from typing import Any

from rtvoice.llm.messages import Function, ToolCall


class ToolCallDeltas:
    """Collects the ``tool_calls`` of the chunks of one streamed answer."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._at_index: dict[int, ToolCall] = {}

    def add(self, deltas: Iterable[Any]) -> None:
        """Take the deltas of one chunk: objects with ``index``, ``id`` and ``function``, each of which may be None."""
        for delta in deltas:
            name, arguments = "", ""
            if delta.function is not None:
                name, arguments = delta.function.name or "", delta.function.arguments or ""
            call = self._at_index.get(delta.index or 0)
            # Some servers give every call the index 0, and only the id tells them apart; others make up an id for every
            # piece of a call, but only its first piece has the name.
            if call is None or (name and delta.id and delta.id != call.id):
                call = ToolCall(id=delta.id or f"call_{len(self._calls) + 1}", function=Function(name="", arguments=""))
                self._calls.append(call)
                self._at_index[delta.index or 0] = call
            call.function.name += name
            call.function.arguments += arguments

    def finish(self) -> list[ToolCall]:
        """Return the calls, in order; what has no name is none."""
        return [call for call in self._calls if call.function.name]
