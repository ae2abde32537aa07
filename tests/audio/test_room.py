import numpy as np
import pytest

from rtvoice.audio.room import Room


def pcm(values: np.ndarray) -> bytes:
    return values.astype("<i2").tobytes()


def signal(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").astype(float)


def noise(count: int, amplitude: float = 3_000) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(count) * amplitude


@pytest.mark.parametrize("size", [1, 7, 480, 4_801, 48_000])
def test_chunks_make_no_difference(size: int) -> None:
    played = pcm(noise(48_000 if size > 7 else 2_000))
    whole = signal(Room(seed=1).echo(played))
    room = Room(seed=1)
    pieces = signal(b"".join(room.echo(played[start : start + 2 * size]) for start in range(0, len(played), 2 * size)))
    assert len(pieces) == len(whole)
    assert np.abs(pieces - whole).max() <= 1


def test_delay_level_and_reverberation() -> None:
    click = np.zeros(24_000)
    click[0] = 32_000
    heard = signal(Room(delay_ms=100, level_db=0, rt60_s=0.3).echo(pcm(click)))
    assert not heard[:2_400].any()
    assert heard[2_400:2_424].any()
    assert np.sqrt((heard**2).sum()) == pytest.approx(32_000, rel=0.01)
    early, late = (heard[2_400 + at : 2_400 + at + 480] for at in (0, 3_600))  # half the reverberation time
    assert 10 * np.log10((early**2).sum() / (late**2).sum()) == pytest.approx(30, abs=2)


def test_the_echo_goes_on_after_the_sound() -> None:
    room = Room(delay_ms=50)
    room.echo(pcm(noise(480)))
    assert any(room.echo(bytes(9_600)))


def test_a_loudspeaker_that_distorts() -> None:
    tone = 20_000 * np.sin(2 * np.pi * 500 * np.arange(24_000) / 24_000)
    spectrum = np.abs(np.fft.rfft(signal(Room(drive=3, level_db=0).echo(pcm(tone)))[12_000:]))
    assert spectrum[750] > 0.02 * spectrum[250]  # the third harmonic
    linear = np.abs(np.fft.rfft(signal(Room(level_db=0).echo(pcm(tone)))[12_000:]))
    assert linear[750] < 0.002 * linear[250]


@pytest.mark.parametrize("setting", [{"delay_ms": -1}, {"rt60_s": 0}, {"drive": -0.1}])
def test_impossible_rooms(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        Room(**setting)
