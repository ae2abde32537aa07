import numpy as np
import pytest
from tests.audio.echo.sounds import Signal, assistant, blocks, echo_of, mixed

from rtvoice.audio.echo.delay_search import DelaySearch


def search(microphone: Signal, reference: Signal) -> list[float]:
    delays = DelaySearch()
    answers = [delays.feed(*pair) for pair in zip(blocks(microphone), blocks(reference), strict=False)]
    return [answer for answer in answers if answer is not None]


@pytest.mark.parametrize("delay_ms", [10, 150, 300, 700])
def test_it_finds_the_delay(delay_ms: int) -> None:
    played = assistant()
    found = search(echo_of(played, delay_ms=delay_ms), played)
    assert found
    assert all(1000 * answer == pytest.approx(delay_ms + 5, abs=15) for answer in found)


def test_a_user_who_speaks_is_no_echo() -> None:
    played = assistant()
    assert search(np.ascontiguousarray(played[::-1]), played) == []


def test_noise_does_not_hide_it() -> None:
    played = assistant()
    noise = np.random.default_rng(1).standard_normal(len(played)).astype(np.float32) * 0.003
    found = search(mixed(echo_of(played, delay_ms=300), noise), played)
    assert found
    assert 1000 * np.median(found) == pytest.approx(305, abs=15)


def test_silence_is_not_looked_at() -> None:
    silence = np.zeros(24_000 * 10, np.float32)
    assert search(silence, silence) == []


def test_reset() -> None:
    played = assistant()
    delays = DelaySearch()
    echo = echo_of(played, delay_ms=300)
    pairs = list(zip(blocks(echo), blocks(played), strict=True))
    first = [delays.feed(*pair) for pair in pairs]
    delays.reset()
    assert [delays.feed(*pair) for pair in pairs] == first
