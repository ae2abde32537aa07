import numpy as np
import pytest
from tests.audio.echo.sounds import Signal, level_db

from rtvoice.audio.echo.gate import Gate

SILENCE = np.zeros(240, np.float32)


def sound(db: float) -> Signal:
    """A block at that level, in dBFS."""
    return np.full(240, 10 ** (db / 20), np.float32)


def feed(gate: Gate, count: int, *, sound_db: float, echo_db: float = -40, played_db: float = -20) -> Signal:
    """Pass so many equal blocks; return the last."""
    out = SILENCE
    for _ in range(count):
        out = gate.process(sound(sound_db), sound(echo_db), sound(played_db), sound(max(sound_db, echo_db)))
    return out


def is_shut(block: Signal, db: float) -> bool:
    return level_db(block) < db - 40


def test_while_nothing_is_played_it_is_open() -> None:
    out = Gate().process(sound(-30), SILENCE, SILENCE, sound(-30))
    np.testing.assert_array_equal(out, sound(-30))


def test_at_first_what_may_be_echo_is_kept_out() -> None:
    """The filter knows nothing yet, so the residue is the whole echo."""
    gate = Gate()
    assert is_shut(feed(gate, 50, sound_db=-30, echo_db=-80), -30)


def test_a_residue_is_kept_out_and_a_voice_is_let_in() -> None:
    gate = Gate()
    assert is_shut(feed(gate, 400, sound_db=-52), -52)
    assert is_shut(feed(gate, 1, sound_db=-30), -35)  # may be a click
    np.testing.assert_allclose(feed(gate, 3, sound_db=-30), sound(-30), rtol=1e-5)
    np.testing.assert_allclose(feed(gate, 39, sound_db=-52), sound(-52), rtol=1e-5)  # a pause in a sentence
    assert is_shut(feed(gate, 3, sound_db=-52), -52)


def test_one_click_opens_nothing() -> None:
    gate = Gate()
    feed(gate, 400, sound_db=-52)
    feed(gate, 1, sound_db=-20)
    assert is_shut(feed(gate, 2, sound_db=-52), -52)


def test_a_residue_that_grows_is_followed() -> None:
    """The better the filter, the softer the user may speak; a filter that is lost keeps more out."""
    softly = -42.0  # 2 dB under the echo
    learned = Gate()
    feed(learned, 2_500, sound_db=-54)
    assert not is_shut(feed(learned, 3, sound_db=softly), softly)
    lost = Gate()
    feed(lost, 2_500, sound_db=-41)
    assert is_shut(feed(lost, 3, sound_db=softly), softly)


def test_a_user_who_is_much_louder_than_the_echo_is_never_kept_out() -> None:
    lost = Gate()
    feed(lost, 600, sound_db=-36)
    assert not is_shut(feed(lost, 3, sound_db=-31), -31)


def test_what_is_faint_opens_nothing() -> None:
    gate = Gate()
    feed(gate, 400, sound_db=-75, echo_db=-70)
    assert is_shut(feed(gate, 5, sound_db=-57, echo_db=-70), -57)


def test_the_reverberation_after_the_last_word_is_kept_out() -> None:
    gate = Gate()
    feed(gate, 400, sound_db=-52)
    for _ in range(10):
        out = gate.process(sound(-52), SILENCE, SILENCE, sound(-45))
        assert is_shut(out, -52)
    for _ in range(40):
        out = gate.process(sound(-52), SILENCE, SILENCE, sound(-52))
    np.testing.assert_array_equal(out, sound(-52))


@pytest.mark.parametrize("opening", [True, False])
def test_it_opens_and_closes_without_a_step(opening: bool) -> None:
    gate = Gate()
    if opening:
        feed(gate, 400, sound_db=-52)
        feed(gate, 1, sound_db=-30)
        ramp = feed(gate, 1, sound_db=-30)
    else:
        gate.process(sound(-30), SILENCE, SILENCE, sound(-30))
        ramp = feed(gate, 1, sound_db=-30)
    steps = np.diff(ramp)
    assert ((steps > 0) if opening else (steps < 0)).all()
    assert np.abs(steps).max() < 0.005 * 10 ** (-30 / 20)


def test_reset() -> None:
    gate = Gate()
    feed(gate, 400, sound_db=-52)
    gate.reset()
    assert is_shut(feed(gate, 50, sound_db=-30, echo_db=-80), -30)
