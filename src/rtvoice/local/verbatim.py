"""Requests to say certain words and no others: they need no reply engine."""

import re

from rtvoice.testing.script import ReplyRequest

_WORD_FOR_WORD = re.compile(
    r"\b(?:say|speak|read|repeat|tell)\b[^\"\n]*\b(?:word for word|verbatim|exactly)\b[^\"\n]*:"
    r"\s*\"(?P<words>.+)\"\s*$",
    re.IGNORECASE | re.DOTALL,
)


def words_to_say(request: ReplyRequest) -> str | None:
    """Return the words that the client wants to be said, or ``None`` if it leaves them to the assistant.

    A language model would follow such instructions, but slowly and, if it is a small one, not always. What counts is
    the end of the response's own instructions: 'Say this ... word for word ...: "..."'.
    """
    own = ((request.event or {}).get("response") or {}).get("instructions")
    found = _WORD_FOR_WORD.search(own) if isinstance(own, str) else None
    return found["words"] if found else None
