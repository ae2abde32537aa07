import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.conversation.backchannels import BACKCHANNELS, BackchannelWords

WORDS = BackchannelWords()


@pytest.mark.parametrize(
    "text", ["Mhm.", "mm-hmm", "Uh-huh, yeah.", "OK, okay!", "I see. Right.", "Ach so, ja, ja.", "D'accord.", "Sí."]
)
def test_backchannels(text: str) -> None:
    assert WORDS.are_all(text)


@pytest.mark.parametrize("text", ["", "...", "Stop.", "Yeah, but wait.", "I", "I see the sea", "No.", "see"])
def test_others(text: str) -> None:
    assert not WORDS.are_all(text)


@pytest.mark.parametrize("text", ["", "M", "Yeah, y", "I", "I s", "i see", "Okay, I", "Uh-"])
def test_what_may_still_become_one(text: str) -> None:
    assert WORDS.may_become(text)


@pytest.mark.parametrize("text", ["Stop", "Yeah, but", "I want", "Okay, I wa", "see"])
def test_what_cannot(text: str) -> None:
    assert not WORDS.may_become(text)


def test_phrases_of_ones_own() -> None:
    words = BackchannelWords(["Ja, gewiss!", "   "])
    assert words.are_all("ja gewiss, JA GEWISS")
    assert not words.are_all("ja")
    assert words.may_become("ja")
    assert not words.may_become("yeah")


@given(st.lists(st.sampled_from(sorted(BACKCHANNELS)), min_size=1, max_size=5), st.integers(0, 30))
def test_every_beginning_may_become_the_whole(phrases: list[str], length: int) -> None:
    text = ", ".join(phrases)
    assert WORDS.are_all(text)
    assert WORDS.may_become(text[:length])
