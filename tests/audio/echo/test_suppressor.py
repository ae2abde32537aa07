import numpy as np
from tests.audio.echo.sounds import Signal, blocks, level_db, mixed, speech

from rtvoice.audio.echo.suppressor import Suppressor


def run(error: Signal, echo: Signal, suppressor: Suppressor | None = None) -> Signal:
    suppressor = suppressor or Suppressor()
    return np.concatenate([suppressor.process(*pair) for pair in zip(blocks(error), blocks(echo), strict=True)])


def test_without_echo_it_only_delays_by_a_block() -> None:
    user = speech("lights")
    out = run(user, np.zeros_like(user))
    np.testing.assert_allclose(out[240:], user[: len(out) - 240], atol=1e-6)
    assert not out[:240].any()


def test_what_leaks_through_is_lowered() -> None:
    echo = speech("long")
    residue = echo * 0.1
    out = run(residue, echo)
    assert level_db(residue) - level_db(out) > 10


def test_the_users_voice_stays() -> None:
    echo = speech("long")
    user = speech("human_goforward", "lights")
    user = np.pad(user, (0, len(echo) - len(user)))
    suppressor = Suppressor()
    run(echo * 0.1, echo, suppressor)
    out = run(mixed(user, echo * 0.1), echo, suppressor)[240:]
    wanted = user[: len(out)]
    assert level_db(wanted) - level_db(out - wanted) > 10


def test_reset() -> None:
    echo = speech("yes")
    suppressor = Suppressor()
    first = run(echo * 0.1, echo, suppressor)
    suppressor.reset()
    np.testing.assert_array_equal(run(echo * 0.1, echo, suppressor), first)
