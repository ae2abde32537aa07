import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.audio import pcm


def test_counts_whole_samples() -> None:
    assert pcm.samples_in(b"\0" * 961) == 480


def test_durations_round_down_and_samples_to_the_nearest() -> None:
    assert pcm.samples_to_ms(24_000) == 1000
    assert pcm.samples_to_ms(23) == 0
    assert pcm.samples_to_ms(8_000, 8_000) == 1000
    assert pcm.ms_to_samples(20) == 480
    assert pcm.ms_to_samples(0.03) == 1
    assert pcm.ms_to_samples(20, 8_000) == 160


def test_silence_is_zeros() -> None:
    assert pcm.silence(3) == bytes(6)


@pytest.mark.parametrize(
    ("samples", "level"),
    [([], -math.inf), ([0, 0], -math.inf), ([-32768, -32768], 0.0), ([16384, -16384], -6.02), ([3277], -20.0)],
)
def test_level(samples: list[int], level: float) -> None:
    assert pcm.level_dbfs(struct.pack(f"<{len(samples)}h", *samples)) == pytest.approx(level, abs=0.01)


def test_level_ignores_an_odd_byte() -> None:
    assert pcm.level_dbfs(b"\x00\x80\x7f") == pytest.approx(0.0)


def test_ramp_runs_from_start_towards_stop() -> None:
    assert struct.unpack("<4h", pcm.ramp(struct.pack("<4h", 100, 100, 100, -100), 1.0, 0.0)) == (100, 75, 50, -25)
    assert struct.unpack("<2h", pcm.ramp(struct.pack("<2h", 100, 100), 0.0, 1.0)) == (0, 50)
    assert pcm.ramp(b"", 1.0, 0.0) == b""


@given(st.lists(st.binary(max_size=7)))
def test_aligner_loses_and_adds_nothing(chunks: list[bytes]) -> None:
    aligner = pcm.SampleAligner()
    pieces = [aligner.take(chunk) for chunk in chunks]
    stream = b"".join(chunks)
    assert all(len(piece) % 2 == 0 for piece in pieces)
    assert b"".join(pieces) == stream[: len(stream) // 2 * 2]


def test_aligner_forgets_the_spare_byte() -> None:
    aligner = pcm.SampleAligner()
    assert aligner.take(b"abc") == b"ab"
    aligner.reset()
    assert aligner.take(b"de") == b"de"


@pytest.mark.parametrize(
    ("length", "expected"), [(0, []), (1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])]
)
def test_audio_is_cut_into_pieces(length: int, expected: list[int]) -> None:
    audio = bytes(range(length))
    cut = pcm.pieces(audio, 4)
    assert [len(piece) for piece in cut] == expected
    assert b"".join(cut) == audio
