"""Thoughts are not spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.local.thoughts import SpokenPart


def spoken(*pieces: str) -> str:
    part = SpokenPart()
    return "".join(part.feed(piece) for piece in pieces) + part.finish()


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Hello.", "Hello."),
        ("<think>Hm. Who is it?</think>Hello.", "Hello."),
        ("A<think>b</think>C<think>d</think>E", "ACE"),
        ("<think>for ever", ""),
        ("1 < 2 and <thing>", "1 < 2 and <thing>"),
        ("It ends with <th", "It ends with <th"),
        ("</think>", "</think>"),
    ],
)
def test_whole_and_letter_by_letter(text: str, rest: str) -> None:
    assert spoken(text) == rest
    assert spoken(*text) == rest


def test_words_are_not_held_back() -> None:
    part = SpokenPart()
    assert part.feed("Hello <") == "Hello "
    assert part.feed("b>") == "<b>"


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "th", "ink>", "a", " "]), max_size=20), st.data())
def test_cutting_makes_no_difference(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    at = data.draw(st.integers(0, len(text)))
    assert spoken(text[:at], text[at:]) == spoken(text)
