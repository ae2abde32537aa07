import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.audio.echo.sounds import from_pcm, speech, to_pcm

from rtvoice.audio.echo.reference import RenderedTrack


def counting(first: int, count: int) -> bytes:
    return np.arange(first, first + count).astype("<i2").tobytes()


def values(track: RenderedTrack, position: float, count: int) -> list[int]:
    return (track.read(position, count) * 32_768).round().astype(int).tolist()


@given(st.lists(st.integers(1, 700), max_size=20), st.integers(-50, 12_000), st.integers(1, 500))
def test_blocks_make_no_difference(sizes: list[int], position: int, count: int) -> None:
    track = RenderedTrack()
    end = 0
    for size in sizes:
        track.add(counting(end, size), end / 24_000)
        end += size
    expected = [at if 0 <= at < end else 0 for at in range(position, position + count)]
    assert values(track, position, count) == expected
    assert track.end == end


def test_before_the_first_block_there_is_no_position() -> None:
    track = RenderedTrack()
    assert track.position_at(1.0) is None
    assert not track.read(0, 10).any()


def test_positions_follow_the_times() -> None:
    track = RenderedTrack()
    track.add(counting(0, 480), 10.0)
    assert track.position_at(10.01) == pytest.approx(240)
    track.add(counting(480, 480), 10.025)  # 5 ms of jitter: no gap
    assert values(track, 478, 4) == [478, 479, 480, 481]
    assert track.position_at(10.045) == pytest.approx(960)


def test_a_device_that_shows_no_silence() -> None:
    track = RenderedTrack()
    track.add(counting(1, 240), 10.0)
    track.add(counting(1, 240), 10.11)
    assert track.end == 480 + 2_400
    assert values(track, 239, 3) == [240, 0, 0]
    assert values(track, 2_639, 2) == [0, 1]
    track.add(counting(1, 240), 1_000.0)  # a pause longer than what is kept
    assert values(track, track.end - 241, 2) == [0, 1]


def test_the_last_seconds_are_kept() -> None:
    track = RenderedTrack()
    for second in range(8):
        track.add(counting(1, 24_000), float(second))
    assert not any(values(track, 0, 10))
    assert values(track, 5 * 24_000, 3) == [1, 2, 3]


def test_blocks_that_nobody_fetches_are_dropped_in_the_end() -> None:
    track = RenderedTrack()
    for block in range(1_000):
        track.add(counting(1, 24), block / 1_000)
    assert track.end == 500 * 24


def test_between_samples_it_interpolates() -> None:
    voice = speech("lights")
    track = RenderedTrack()
    for start in range(0, len(voice), 480):
        track.add(to_pcm(voice[start : start + 480]), start / 24_000)
    step = 1 + 300e-6
    read = track.read(1_000.5, 20_000, step)
    played = from_pcm(to_pcm(voice))
    spectrum = np.fft.rfft(played)
    fine = np.fft.irfft(np.concatenate((spectrum, np.zeros(7 * len(spectrum)))), 8 * len(played)) * 8
    expected = np.interp(1_000.5 + step * np.arange(20_000), np.arange(len(fine)) / 8, fine)
    assert np.sqrt(np.mean((read - expected) ** 2)) < 0.03 * np.sqrt(np.mean(expected**2))


def test_an_odd_byte_is_no_sample() -> None:
    track = RenderedTrack()
    track.add(counting(1, 3) + b"x", 0.0)
    assert track.end == 3
