import numpy as np
import pytest
from tests.audio.echo.sounds import Signal, blocks, speech

from rtvoice.audio.echo.drift import DriftMeter


def shifted(signal: Signal, samples: float) -> Signal:
    spectrum = np.fft.rfft(signal)
    phases = np.exp(-2j * np.pi * samples * np.fft.rfftfreq(len(signal)))
    return np.fft.irfft(spectrum * phases, len(signal)).astype(np.float32)


@pytest.mark.parametrize("late", [-0.5, 0.5])
def test_an_echo_that_comes_too_late_or_too_early(late: float) -> None:
    """The filter's echo is where the true one was some time ago."""
    echo = speech("long")
    meter = DriftMeter()
    for true, estimated in zip(blocks(shifted(echo, late)), blocks(echo), strict=True):
        meter.feed(true - estimated, estimated)
    assert meter.drift * -late > 1e-5


def test_a_voice_is_no_drift() -> None:
    echo, voice = speech("long"), speech("human_austen", "lights")
    meter = DriftMeter()
    for other, estimated in zip(blocks(voice), blocks(echo), strict=False):
        meter.feed(other, estimated)
    assert abs(meter.drift) < 3e-5


def test_it_stays_within_what_clocks_do() -> None:
    echo = speech("long")
    meter = DriftMeter()
    for _ in range(20):
        for estimated in blocks(echo):
            meter.feed(50 * np.gradient(estimated).astype(np.float32), estimated)
    assert meter.drift == 5e-4


def test_silence_says_nothing_and_a_reset_keeps_the_drift() -> None:
    meter = DriftMeter()
    silence = np.zeros(240, np.float32)
    meter.feed(silence, silence)
    assert meter.drift == 0
    for estimated in blocks(speech("yes")):
        meter.feed(np.gradient(estimated).astype(np.float32), estimated)
    before = meter.drift
    assert before > 0
    meter.reset()
    meter.feed(silence, silence)
    assert meter.drift == before
