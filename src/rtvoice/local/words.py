"""English words, as far as rules need them: tokens, stems, figures."""

import re
from dataclasses import dataclass
from typing import Final

_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|(?:(?<!\w)-)?\d+(?:\.\d+)?")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

FILLERS: Final = frozenset(
    """
    a about all am an and any are as at be been by can could did do does doing for from get give had has have he hello
    her here hey hi him his how i if in into is it its just know let like me might more my need no not now of off ok
    okay on or our out please re shall she should show so some tell than thank thanks that the their them then there
    these they this to today tomorrow tonight too up us use user want was we were what whats what's when where which
    who why will with would yes you your i'd i'm let's value values given return returns string number name current
    """.split()  # noqa: SIM905 - a word list reads better so
)
"""Words that say little about what is wanted."""

_SMALL_NUMBERS: Final = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
    """
_UNITS: Final = {word: number for number, word in enumerate(_SMALL_NUMBERS.split())}
_TENS_NAMES: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS: Final = {word: 10 * number for number, word in enumerate(_TENS_NAMES.split(), 2)}


def tokens(text: str) -> list[str]:
    """Return the words and numbers of a text, or the parts of an identifier, as they are written."""
    return _WORD.findall(_CAMEL.sub(" ", text.replace("_", " ")).replace("’", "'"))  # noqa: RUF001 - an apostrophe


def stem(word: str) -> str:
    """Return what a word has in common with its other forms, roughly: "lights", "lighting" and "light" are one."""
    word = word.lower().removesuffix("'s")
    for ending in ("ing", "ies", "ed", "es", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word.removesuffix(ending)
            return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
    return word


def content_stems(text: str) -> set[str]:
    """Return the stems of the words that say something."""
    return {stem(word) for word in tokens(text) if word.lower() not in FILLERS and not word.isdigit()}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in a text.

    Attributes:
        value: The number.
        unit: The word behind it, in small letters; "" if there is none.
    """

    value: float
    unit: str


def figures(text: str) -> list[Figure]:
    """Return the numbers in a text, written in digits or, below 1000, in words."""
    found: list[Figure] = []
    total: int | None = None
    words = [*tokens(text.lower()), ""]
    for word, behind in zip(words, [*words[1:], ""], strict=True):
        value = _UNITS.get(word, _TENS.get(word))
        if value is not None and (total is None or _continues(total, value)):
            total = (total or 0) + value
            continue
        if word == "hundred" and total is not None and total < 10:
            total *= 100
            continue
        if word == "and" and total is not None and total >= 100 and total % 100 == 0:
            continue
        if total is not None:
            found.append(Figure(float(total), word))
        total = value
        if word.lstrip("-")[:1].isdigit():
            found.append(Figure(float(word), behind))
    return found


def _continues(total: int, value: int) -> bool:
    """Whether "twenty" goes on with "three", "two hundred" with "five"."""
    return (total % 100 == 0 and total > 0) or (total % 10 == 0 and total % 100 >= 20 and 0 < value < 10)
