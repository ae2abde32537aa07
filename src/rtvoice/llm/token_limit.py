"""Under which name a model takes its token limit: ``max_tokens`` or ``max_completion_tokens``."""

import logging
import re
from typing import Any

logger = logging.getLogger(__name__)

_NAMES = ("max_tokens", "max_completion_tokens")

# OpenAI's reasoning models refuse max_tokens; other models and most other servers take it, some nothing else.
# https://platform.openai.com/docs/api-reference/chat/create, read in November 2026.
_REASONING_MODEL = re.compile(r"o\d|gpt-[5-9]")
_REFUSED = re.compile(r"unsupported|unrecognized|unknown|unexpected|not supported|not permitted", re.IGNORECASE)


class TokenLimitName:
    """Gives the token limit of a request the name that the model takes: known ones at once, others by its errors."""

    def __init__(self) -> None:
        self._learnt: dict[str, str] = {}  # by model

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the request with its token limit, if any, renamed. Of two limits ``max_completion_tokens`` counts."""
        used = next((name for name in reversed(_NAMES) if name in body), None)
        if used is None:
            return body
        model = body["model"]
        wanted = self._learnt.get(model, _NAMES[1] if _REASONING_MODEL.match(model) else used)
        return {name: value for name, value in body.items() if name not in _NAMES} | {wanted: body[used]}

    def learn(self, body: dict[str, Any], complaint: str) -> bool:
        """Learn from the error that answered a request.

        Returns:
            Whether the complaint was about the name of the limit, so that ``apply`` will now do better.
        """
        for used, other in (_NAMES, _NAMES[::-1]):
            if used in body and used in complaint and _REFUSED.search(complaint):
                logger.info("%s does not take %s; sending %s from now on", body["model"], used, other)
                self._learnt[body["model"]] = other
                return True
        return False
