import pytest

from rtvoice.audio.echo.half_duplex import HalfDuplex

MS = 48
VOICE = b"\x00\x10" * 24
"""A millisecond of something loud."""


def hears(gate: HalfDuplex, starts_at: float, milliseconds: int = 20) -> bool:
    """Whether the microphone's next so many milliseconds pass."""
    pcm = b"\x01\x02" * 24 * milliseconds
    out, at = gate.process(pcm, starts_at + milliseconds / 1000)
    assert at == starts_at + milliseconds / 1000
    assert out in (pcm, bytes(len(pcm)))
    return out == pcm


def test_it_is_muted_while_something_plays_and_a_little_longer() -> None:
    gate = HalfDuplex(tail_s=0.25)
    gate.schedule(VOICE * 1_000, 10.0)
    assert hears(gate, 9.9)
    assert not hears(gate, 9.99)
    assert not hears(gate, 10.5)
    assert not hears(gate, 11.2)
    assert hears(gate, 11.26)


def test_a_cut_ends_it() -> None:
    gate = HalfDuplex(tail_s=0.25)
    gate.schedule(VOICE * 1_000, 10.0)
    gate.schedule(VOICE * 1_000, 12.0)
    gate.cut(10.3)
    assert not hears(gate, 10.5)
    assert hears(gate, 10.6)
    assert hears(gate, 12.5)


def test_pieces_of_one_answer_are_one() -> None:
    gate = HalfDuplex(tail_s=0.25)
    for piece in range(200):
        gate.schedule(VOICE * 20, 10 + piece * 0.02)
    assert len(gate._spans) == 1
    assert not hears(gate, 13.9)


def test_what_is_over_is_forgotten() -> None:
    gate = HalfDuplex(tail_s=0.1)
    for answer in range(100):
        gate.schedule(VOICE * 100, 10.0 + answer)
        assert not hears(gate, 10.05 + answer)
        assert hears(gate, 10.5 + answer)
    assert len(gate._spans) <= 2


@pytest.mark.parametrize(("pcm", "muted"), [(VOICE * 20, True), (bytes(960), False), (b"\x01\x00" * 480, False)])
def test_a_tap_shows_silence_too(pcm: bytes, muted: bool) -> None:
    gate = HalfDuplex()
    gate.rendered(pcm + b"\x7f", 10.0)  # an odd byte is no sample
    assert hears(gate, 10.0) is not muted


def test_nothing_played() -> None:
    assert hears(HalfDuplex(), 1.0)
