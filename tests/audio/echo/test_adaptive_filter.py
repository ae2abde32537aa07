import numpy as np
import pytest
from tests.audio.echo.sounds import Signal, assistant, blocks, echo_of, level_db, mixed, speech

from rtvoice.audio.echo.adaptive_filter import BLOCK, AdaptiveFilter


def run(microphone: Signal, reference: Signal, adaptive: AdaptiveFilter | None = None) -> tuple[Signal, Signal]:
    adaptive = adaptive or AdaptiveFilter()
    pairs = [adaptive.process(*pair) for pair in zip(blocks(microphone), blocks(reference), strict=True)]
    return np.concatenate([error for error, _ in pairs]), np.concatenate([echo for _, echo in pairs])


def test_it_learns_the_echo_of_speech() -> None:
    played = assistant()
    echo = echo_of(played)
    error, taken = run(echo, played)
    last = slice(-5 * 24_000, None)
    assert level_db(echo[last]) - level_db(error[last]) > 14
    np.testing.assert_allclose(error + taken, echo[: len(error)], atol=1e-6)


def test_the_users_voice_passes_unharmed() -> None:
    played = assistant()
    user = np.zeros_like(played)
    user[12 * 24_000 :] = speech("human_goforward", "lights", "name")[: len(played) - 12 * 24_000]
    error, _ = run(mixed(echo_of(played), user), played)
    span = slice(12 * 24_000, 17 * 24_000)
    assert level_db(user[span]) - level_db(error[span] - user[span]) > 15


def test_without_a_reference_nothing_is_changed() -> None:
    user = speech("lights")
    adaptive = AdaptiveFilter()
    run(echo_of(speech("yes")), speech("yes"), adaptive)
    silence = np.zeros(BLOCK * 33, np.float32)
    run(silence, silence, adaptive)
    error, echo = run(user, np.zeros_like(user), adaptive)
    np.testing.assert_array_equal(error, user[: len(error)])
    assert not echo.any()


def test_a_faint_reference_teaches_nothing() -> None:
    adaptive = AdaptiveFilter()
    noise = np.random.default_rng(1).standard_normal(24_000).astype(np.float32)
    error, echo = run(noise * 0.1, noise * 1e-6, adaptive)
    assert not echo.any()
    np.testing.assert_array_equal(error, noise[: len(error)] * np.float32(0.1))


def test_after_a_reset_it_knows_nothing() -> None:
    played = speech("long")
    adaptive = AdaptiveFilter()
    first, _ = run(echo_of(played), played, adaptive)
    adaptive.reset()
    second, _ = run(echo_of(played), played, adaptive)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("tail_ms", "delay_ms", "works"), [(320, 200, True), (100, 200, False)])
def test_the_tail_is_how_far_it_sees(tail_ms: int, delay_ms: int, works: bool) -> None:
    played = assistant()
    echo = echo_of(played, delay_ms=delay_ms, rt60_s=0.1)
    error, _ = run(echo, played, AdaptiveFilter(tail_ms))
    last = slice(-5 * 24_000, None)
    assert (level_db(echo[last]) - level_db(error[last]) > 8) is works


def test_an_impossible_tail() -> None:
    with pytest.raises(ValueError, match="tail_ms"):
        AdaptiveFilter(5)
