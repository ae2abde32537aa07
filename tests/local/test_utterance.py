"""The speech in a turn."""

import pytest
from tests.local.conftest import Detector, clip

from rtvoice.local.utterance import speech_in

MS = 48


def quiet(milliseconds: int) -> bytes:
    return bytes(milliseconds * MS)


def loud(milliseconds: int) -> bytes:
    return b"\1" * milliseconds * MS


def test_the_silence_around_speech_is_cut() -> None:
    pcm = quiet(1000) + loud(200) + quiet(500) + loud(100) + quiet(1000)
    assert speech_in(pcm, Detector()) == quiet(300) + loud(200) + quiet(500) + loud(100) + quiet(300)


def test_what_is_not_there_is_not_added() -> None:
    assert speech_in(loud(100) + quiet(40), Detector()) == loud(100) + quiet(40)


@pytest.mark.parametrize("pcm", [b"", quiet(500), quiet(500) + loud(40) + quiet(500)])
def test_silence_and_clicks_are_no_speech(pcm: bytes) -> None:
    assert speech_in(pcm, Detector()) == b""


def test_a_click_after_the_speech_does_not_count() -> None:
    assert speech_in(loud(100) + quiet(1000) + loud(20), Detector()) == loud(100) + quiet(300)


@pytest.mark.parametrize("name", ["silence", "noise", "tone440"])
def test_real_noise(name: str, silero: object) -> None:
    assert speech_in(clip(name), silero(0.5)) == b""  # type: ignore[operator]
