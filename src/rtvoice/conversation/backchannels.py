"""Backchannels: the sounds and words by which a listener shows to be listening, without asking for the word."""

import re
from collections.abc import Iterable
from typing import Final

BACKCHANNELS: Final = frozenset(
    {
        # sounds, as transcription models write them
        "ah", "aha", "ahem", "eh", "er", "erm", "hm", "hmm", "hmmm", "huh", "m", "mh", "mhm", "mhmm", "mm", "mmm",
        "mm hm", "mm hmm", "oh", "oh oh", "ooh", "uh", "uh huh", "uhm", "um", "umm", "wow",
        # English
        "all right", "alright", "exactly", "good", "got it", "great", "i see", "indeed", "interesting", "nice",
        "of course", "ok", "okay", "really", "right", "sure", "true", "yeah", "yep", "yes", "yup",
        # German
        "ach", "ach so", "alles klar", "echt", "genau", "gut", "ja", "jaja", "jo", "klar", "naja", "soso", "stimmt",
        # French
        "ah bon", "bien", "bien sûr", "d accord", "exactement", "oui", "ouais", "voilà",
        # Spanish, Portuguese, Italian
        "ajá", "bueno", "claro", "sí", "vale", "sim", "certo", "tá", "pois é", "sì", "va bene", "esatto",
        # Dutch, Scandinavian
        "inderdaad", "precies", "oké", "jaha", "javisst", "just det",
    }
)  # fmt: skip
"""Phrases that count; a turn of nothing but these is a backchannel."""

_WORD: Final = re.compile(r"[^\W_]+")


class BackchannelWords:
    """Knows whether a turn consists of nothing but backchannels.

    Case, punctuation and hyphens do not matter.

    Args:
        phrases: Words and phrases that count.
    """

    def __init__(self, phrases: Iterable[str] = BACKCHANNELS) -> None:
        self._phrases = {tuple(_words(phrase)) for phrase in phrases} - {()}
        self._longest = max(map(len, self._phrases), default=0)

    def are_all(self, text: str) -> bool:
        """Return whether the text consists of such phrases, one or more, and nothing else."""
        words = _words(text)
        return bool(words) and len(words) in self._reachable(words)

    def may_become(self, text: str) -> bool:
        """Return whether the text can still become such a turn when more of it is written down: also half a word."""
        words = _words(text)
        return any(self._begins_a_phrase(words[position:]) for position in self._reachable(words))

    def _reachable(self, words: list[str]) -> set[int]:
        """Return the positions up to which the words are whole phrases."""
        reachable = {0}
        for start in range(len(words)):
            if start in reachable:
                for length in range(1, self._longest + 1):
                    if tuple(words[start : start + length]) in self._phrases and start + length <= len(words):
                        reachable.add(start + length)
        return reachable

    def _begins_a_phrase(self, words: list[str]) -> bool:
        *whole, last = words or [""]
        return any(
            list(phrase[: len(whole)]) == whole and len(phrase) > len(whole) and phrase[len(whole)].startswith(last)
            for phrase in self._phrases
        )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
