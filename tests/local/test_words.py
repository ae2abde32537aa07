"""Tokens, stems and numbers."""

import pytest

from rtvoice.local.words import Figure, content_stems, figures, stem, tokens


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What's the weather?", ["What's", "the", "weather"]),
        ("get_weather", ["get", "weather"]),
        ("setLight", ["set", "Light"]),
        ("it\u2019s 3.5 or -2", ["it's", "3.5", "or", "-2"]),
        ("half-past 7-8", ["half", "past", "7", "8"]),
        ("...", []),
    ],
)
def test_tokens(text: str, words: list[str]) -> None:
    assert tokens(text) == words


@pytest.mark.parametrize(
    "forms",
    [
        ("light", "lights", "Lighting", "lighted"),
        ("city", "cities"),
        ("stop", "stopping", "stopped", "stops"),
        ("dice",),
        ("glass",),
        ("is",),
        ("dog", "dog's"),
    ],
)
def test_forms_of_one_word_have_one_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


def test_words_that_say_little_are_left_out() -> None:
    assert content_stems("What is the weather in Berlin, please? 7") == {"weather", "berlin"}
    assert content_stems("") == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a table for four people", [(4, "people")]),
        ("twenty five minutes", [(25, "minutes")]),
        ("twenty-three", [(23, "")]),
        ("two hundred and five", [(205, "")]),
        ("two hundred, please", [(200, "please")]),
        ("twenty thirty", [(20, "thirty"), (30, "")]),
        ("one two", [(1, "two"), (2, "")]),
        ("a hundred", []),
        ("3.5 meters or -2", [(3.5, "meters"), (-2, "")]),
        ("one hundred and seven", [(107, "")]),
        ("ten and four", [(10, "and"), (4, "")]),
        ("5 six", [(5, "six"), (6, "")]),
        ("nothing", []),
    ],
)
def test_figures(text: str, found: list[tuple[float, str]]) -> None:
    assert figures(text) == [Figure(value, unit) for value, unit in found]
