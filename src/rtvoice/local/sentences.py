"""Cuts a text that is still being written into sentences, so that the first can be spoken before the last is there."""

import re
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 200
"""Characters after which a sentence without an end is cut, at a comma or a space; about 13 s of speech."""

_END = re.compile(r"(?:(?<=[.!?…])[\"'”’)\]]*\s+(?=\S)|\s*\n\s*)")  # noqa: RUF001 - quotes
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|No|vs|etc|approx)|\b[a-z]\.[a-z]|^\s*\d+)\.$")
_CLAUSE = re.compile(r"[,;:–—]\s+")  # noqa: RUF001 - dashes
_MARKUP = re.compile(r"```\w*|[*_`#|~>]+")


class Sentences:
    """A text that comes in pieces, as sentences.

    A sentence is over when the next one begins: only then is "3." known to be no "3.5".
    """

    def __init__(self) -> None:
        self._text = ""

    def feed(self, piece: str) -> Iterator[str]:
        """Yield the sentences that are complete now, each with the space behind it."""
        self._text += piece
        while (end := self._end_of_first()) is not None:
            sentence, self._text = self._text[:end], self._text[end:]
            yield sentence

    def finish(self) -> str:
        """Return what is left."""
        rest, self._text = self._text, ""
        return rest

    def _end_of_first(self) -> int | None:
        ends = (found for found in _END.finditer(self._text) if not _ABBREVIATION.search(self._text[: found.start()]))
        end = next((found.end() for found in ends), None)
        if (len(self._text) if end is None else end) <= LONGEST:
            return end
        clauses = [found.end() for found in _CLAUSE.finditer(self._text[:LONGEST])]
        return clauses[-1] if clauses else (self._text.rfind(" ", 0, LONGEST) + 1 or LONGEST)


def speakable(text: str) -> str:
    """Return a text without the marks of Markdown, which nobody can hear."""
    return _MARKUP.sub("", text).strip()
