"""Keeps a model's thoughts out of what it says: some servers send them in the text, as ``<think>...</think>``."""

from typing import Final

_BEGIN: Final = "<think>"
_END: Final = "</think>"


class SpokenPart:
    """What is left of a streamed text without the thoughts in it."""

    def __init__(self) -> None:
        self._held = ""
        self._thinks = False

    def feed(self, piece: str) -> str:
        """Return what is to be said now; what might be the beginning of a mark waits for the next piece."""
        text, said = self._held + piece, ""
        while True:
            mark = _END if self._thinks else _BEGIN
            before, found, behind = text.partition(mark)
            if not found:
                break
            said += "" if self._thinks else before
            text, self._thinks = behind, not self._thinks
        kept = next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-n:])), 0)
        self._held = text[len(text) - kept :]
        return said if self._thinks else said + text[: len(text) - kept]

    def finish(self) -> str:
        """Return what waited; the text is over."""
        held, self._held = self._held, ""
        return "" if self._thinks else held
