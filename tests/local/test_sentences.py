"""Sentences of a text that is still being written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.local.sentences import LONGEST, Sentences, speakable


def cut(text: str, size: int = 1) -> list[str]:
    sentences = Sentences()
    done = [sentence for start in range(0, len(text), size) for sentence in sentences.feed(text[start : start + size])]
    return [*done, sentences.finish()]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ('He said "Stop." Then he left.', ['He said "Stop." ', "Then he left."]),
        ("It is 3.5 degrees. Cold.", ["It is 3.5 degrees. ", "Cold."]),
        ("Dr. Smith and J. Doe came. Good.", ["Dr. Smith and J. Doe came. ", "Good."]),
        ("1. Eggs\n2. Milk", ["1. Eggs\n", "2. Milk"]),
        ("Well … Yes", ["Well … ", "Yes"]),
        ("", [""]),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_sentences(text: str, parts: list[str], size: int) -> None:
    assert cut(text, size) == parts


def test_a_sentence_is_given_away_when_the_next_begins() -> None:
    sentences = Sentences()
    assert list(sentences.feed("One.")) == []
    assert list(sentences.feed(" ")) == []
    assert list(sentences.feed("T")) == ["One. "]


def test_endless_sentences_are_cut_at_a_comma_a_space_or_anywhere() -> None:
    words = "word " * 100
    assert all(len(part) <= LONGEST and part.endswith(" ") for part in cut(words)[:-1])
    assert cut("so, " + words)[0] == "so, "
    assert cut("x" * (LONGEST + 1)) == ["x" * LONGEST, "x"]


@given(st.text(alphabet="ab. !\n,3\"'", max_size=600), st.integers(1, 50))
def test_nothing_is_lost_or_changed(text: str, size: int) -> None:
    parts = cut(text, size)
    assert "".join(parts) == text
    assert all(len(part) <= LONGEST for part in parts)


def test_marks_cannot_be_heard() -> None:
    assert speakable("**Yes**, `f(x)`:\n```python\n# 1\n```") == "Yes, f(x):\n\n 1"
    assert speakable("***") == ""
