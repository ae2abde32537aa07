"""Silero's network as voice activity."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.local.conftest import clip

from rtvoice.local import VoiceActivity

FRAME_BYTES = 32 * 48


def in_pieces(pcm: bytes, size: int) -> Iterator[bytes]:
    return (pcm[start : start + size] for start in range(0, len(pcm), size))


@pytest.mark.parametrize(
    ("name", "begin_s", "end_s"),
    [("neural_weather", 0.64, 2.02), ("human_goforward", 0.51, 2.24), ("weather_noisy", 0.32, 2.02)],
)
def test_speech_is_found_where_it_is(name: str, begin_s: float, end_s: float, silero: VoiceActivity) -> None:
    decisions = silero(0.5).feed(clip(name))
    frames = [number for number, is_speech in enumerate(decisions) if is_speech]
    assert frames[0] * 0.032 == pytest.approx(begin_s, abs=0.15)
    assert frames[-1] * 0.032 == pytest.approx(end_s, abs=0.15)


@pytest.mark.parametrize("name", ["silence", "noise", "tone440"])
def test_nothing_is_found_where_there_is_none(name: str, silero: VoiceActivity) -> None:
    assert not any(silero(0.5).feed(clip(name)))


@pytest.mark.parametrize("size", [1, 961, 960 * 7])
def test_the_size_of_the_pieces_makes_no_difference(size: int, silero: VoiceActivity) -> None:
    pcm = clip("stop")[: FRAME_BYTES * 25]
    at_once, detector = silero(0.5).feed(pcm), silero(0.5)
    assert [decision for piece in in_pieces(pcm, size) for decision in detector.feed(piece)] == at_once


def test_detectors_do_not_hear_each_other(silero: VoiceActivity) -> None:
    alone = silero(0.5).feed(clip("weather"))
    first, second = silero(0.5), silero(0.5)
    first.feed(clip("noise"))
    assert second.feed(clip("weather")) == alone


def test_a_threshold(silero: VoiceActivity) -> None:
    pcm = clip("weather")
    assert sum(silero(0.9).feed(pcm)) <= sum(silero(0.5).feed(pcm)) <= sum(silero(0.1).feed(pcm))
    wrong: Any = silero
    with pytest.raises(ValueError, match="between 0 and 1, not 2"):
        wrong(2)
