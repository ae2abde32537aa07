"""Finds the arguments of a tool in a sentence: for simple parameters, by simple rules."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rtvoice.local.words import FILLERS, Figure, content_stems, figures, stem, tokens

_PREPOSITIONS: Final = "in at for to of from about on with named called into by near under"
_OPENING = re.compile(rf"\b(?:{_PREPOSITIONS.replace(' ', '|')})\s+", re.IGNORECASE)
_CLOSING = re.compile(
    rf"\s+(?:{_PREPOSITIONS.replace(' ', '|')}|and|or|please|today|tomorrow|tonight|now|like|is|right now|this|next)\b|"
    r"[,.;:!?]+(?:\s|$)",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:the|a|an|my|our|your|some|any)\s+", re.IGNORECASE)
_TIME = re.compile(
    r"\b(?:(?:today|tomorrow|tonight|this|next|on)\s*)?"
    r"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday|morning|afternoon|evening|week|tomorrow|today|tonight)"
    r"(?:\s+(?:morning|afternoon|evening|night))?(?:\s+at\s+[\w: ]+?(?=[,.!?]|$| for | in ))?"
    r"|\b(?:noon|midnight|\d{1,2}(?::\d{2})?\s*(?:o'clock|am|pm|a\.m\.|p\.m\.))",
    re.IGNORECASE,
)
_TIME_NAMES: Final = frozenset({"when", "time", "date", "day"})
_YES: Final = frozenset("on yes true enable enabled start open activate".split())  # noqa: SIM905
_NO: Final = frozenset("off no false disable disabled stop close deactivate not don't without".split())  # noqa: SIM905


@dataclass(slots=True)
class Arguments:
    """What was found for a tool.

    Attributes:
        values: The arguments.
        missing: Names of required parameters without one.
    """

    values: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def find_arguments(tool: Mapping[str, Any], sentence: str) -> Arguments:
    """Return the arguments of a tool that a sentence contains.

    Args:
        tool: Name, description and JSON schema of the tool, as a session has them.
        sentence: What the user said.
    """
    schema = tool.get("parameters") or {}
    found = Arguments()
    texts = _Texts(sentence, known=content_stems(f"{tool['name']} {tool.get('description') or ''}"))
    numbers = figures(sentence)
    for name, parameter in (schema.get("properties") or {}).items():
        required = name in (schema.get("required") or ())
        value = _value(name, _plain(parameter), texts, numbers, required=required)
        if value is not None:
            found.values[name] = value
        elif required:
            found.missing.append(name)
    return found


def find_value(tool: Mapping[str, Any], name: str, answer: str) -> Any:
    """Return the value that an answer to the question for one parameter gives, or ``None``."""
    parameter = _plain(tool["parameters"]["properties"][name])
    value = _value(name, parameter, _Texts(answer, known=set()), figures(answer), required=True)
    if value is None and parameter.get("type") == "string" and "enum" not in parameter:
        value = _tidy(answer) or None
    return value


def _plain(parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a parameter; of one that may be null, what it is if it is not."""
    choices = [choice for choice in parameter.get("anyOf", ()) if choice.get("type") != "null"]
    return {**parameter, **choices[0]} if choices else parameter


def _value(
    name: str, parameter: Mapping[str, Any], texts: "_Texts", numbers: list[Figure], *, required: bool
) -> Any | None:
    kind = parameter.get("type")
    if "enum" in parameter:
        return _choice(parameter["enum"], texts.sentence)
    if kind in ("integer", "number"):
        return _number(name, numbers, whole=kind == "integer")
    if kind == "boolean":
        said = {word.lower() for word in tokens(texts.sentence)}
        named = bool(content_stems(name) & {stem(word) for word in said})
        return False if said & _NO else True if said & _YES or named else None
    if kind == "string":
        return texts.take(name, required=required)
    return None


def _choice(choices: Iterable[Any], sentence: str) -> Any | None:
    """Return the choice that is named in the sentence; the longest, if several are."""
    said = f" {' '.join(stem(word) for word in tokens(sentence))} "
    named = [choice for choice in choices if f" {' '.join(stem(word) for word in tokens(str(choice)))} " in said]
    return max(named, key=lambda choice: len(str(choice)), default=None)


def _number(name: str, numbers: list[Figure], *, whole: bool) -> int | float | None:
    """Return the number that counts what the parameter is called ("four people"), else the next; and use it up."""
    fitting = [number for number in numbers if number.value.is_integer() or not whole]
    counted = [number for number in fitting if stem(number.unit) in content_stems(name)]
    number = next(iter(counted + fitting), None)
    if number is None:
        return None
    numbers.remove(number)
    return int(number.value) if number.value.is_integer() else number.value


class _Texts:
    """The phrases of a sentence, each of which is given away once.

    Args:
        sentence: The sentence.
        known: Stems of words that name the tool, and so are no argument.
    """

    def __init__(self, sentence: str, known: set[str]) -> None:
        self.sentence = sentence
        self._known = known
        self._phrases = [
            (found.group().strip().lower(), _tidy(_CLOSING.split(f"{sentence[found.end() :]} ", maxsplit=1)[0]))
            for found in _OPENING.finditer(sentence)
        ]

    def take(self, name: str, *, required: bool) -> str | None:
        """Return the phrase that fits a parameter best.

        In this order: "city is Berlin"; a time, for a "when"; the phrase behind a preposition that the name contains
        ("from_city"); and, for a required parameter, the phrase behind any, else the words that remain.
        """
        parts = [part.lower() for part in tokens(name)]
        pattern = rf"\b{'[ _]'.join(parts)}\s+(?:is|are|equals|to|named|called|of)\s+"
        named = re.search(pattern, self.sentence, re.IGNORECASE)
        if named:
            return _tidy(_CLOSING.split(f"{self.sentence[named.end() :]} ", maxsplit=1)[0]) or None
        if _TIME_NAMES.intersection(parts):
            time = _TIME.search(self.sentence)
            return time.group().strip() if time else None
        for preposition, phrase in self._phrases:
            if preposition in parts:
                return self._use(preposition, phrase)
        if not required:
            return None
        for preposition, phrase in self._phrases:
            if content_stems(phrase) - self._known:
                return self._use(preposition, phrase)
        return self._remainder()

    def _use(self, preposition: str, phrase: str) -> str:
        self._phrases.remove((preposition, phrase))
        return phrase

    def _remainder(self) -> str | None:
        """Return the last words in a row that neither name the tool nor say little."""
        runs: list[list[str]] = [[]]
        for word in tokens(self.sentence):
            if word.lower() in FILLERS or stem(word) in self._known or figures(word):
                runs.append([])
            else:
                runs[-1].append(word)
        return next((" ".join(run) for run in reversed(runs) if run), None)


def _tidy(phrase: str) -> str:
    """Return a phrase without its article and what ends the sentence."""
    phrase = re.sub(r"(?:\s*\bplease\b\s*|[\s,.;:!?]+)+$", "", phrase.strip(), flags=re.IGNORECASE)
    phrase = re.sub(rf"^(?:{_PREPOSITIONS.replace(' ', '|')})\s+", "", phrase, flags=re.IGNORECASE)
    return _ARTICLE.sub("", phrase)
