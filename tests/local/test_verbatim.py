"""Requests to say certain words."""

import pytest
from tests.local.conftest import request

from rtvoice.local.verbatim import words_to_say

ASKED = 'Say this to the user now, word for word in your usual voice, and nothing else: "{}"'


@pytest.mark.parametrize("words", ["Hello.", 'He said: "no"', "Two\nlines", "100 %"])
def test_the_words_are_found(words: str) -> None:
    assert words_to_say(request(own_instructions=f"You are Bob.\n\n{ASKED.format(words)}")) == words
    assert words_to_say(request(own_instructions=f'Repeat exactly: "{words}" ')) == words


@pytest.mark.parametrize(
    "instructions",
    [None, "Say hello.", 'Say something like: "Hello"', ASKED.format("Hello") + " Then wave.", ASKED.format("")],
)
def test_other_instructions_are_for_the_reply_engine(instructions: str | None) -> None:
    assert words_to_say(request(own_instructions=instructions)) is None


def test_what_the_session_says_is_no_request() -> None:
    assert words_to_say(request(instructions=ASKED.format("Hello"))) is None
