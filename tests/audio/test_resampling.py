import struct

import numpy as np
import pytest

from rtvoice.audio import resampling
from rtvoice.audio.resampling import RateConverter


def sine(rate: int, hertz: float = 1000, seconds: float = 1.0) -> bytes:
    return (10_000 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype("<i2").tobytes()


def test_equal_rates_change_nothing() -> None:
    converter = RateConverter(24_000, 24_000)
    assert converter.convert(b"abcd") == b"abcd"
    assert converter.finish() == b""
    assert converter.delay_s == 0.0


@pytest.mark.parametrize(
    ("source", "target"),
    [(8_000, 24_000), (16_000, 24_000), (22_050, 24_000), (44_100, 24_000), (48_000, 24_000), (24_000, 44_100)],
)
@pytest.mark.parametrize("block", [7, 160, 1023, 48_000])
def test_streaming_loses_nothing_and_clicks_nowhere(source: int, target: int, block: int) -> None:
    converter = RateConverter(source, target)
    pcm = sine(source)
    pieces, delays = [], []
    for start in range(0, len(pcm), 2 * block):
        pieces.append(converter.convert(pcm[start : start + 2 * block]))
        delays.append(converter.delay_s)
    assert max(delays) <= 0.0041
    out = np.frombuffer(b"".join(pieces) + converter.finish(), "<i2")
    assert len(out) == target
    error = out[500:-500].astype(float) - np.frombuffer(sine(target), "<i2")[500:-500]
    assert np.abs(error).max() < 4  # of 10 000; a click would be thousands


def test_the_delay_is_the_time_between_what_comes_next() -> None:
    converter = RateConverter(48_000, 24_000)
    got = sum(len(converter.convert(bytes(2 * count))) // 2 for count in (960, 1, 33, 2000))
    assert converter.delay_s == pytest.approx(2994 / 48_000 - got / 24_000)


@pytest.mark.parametrize("hertz", [12_100, 13_000, 15_000, 20_000])
def test_what_does_not_fit_the_target_is_filtered_out(hertz: float) -> None:
    out = np.frombuffer(RateConverter(48_000, 24_000).convert(sine(48_000, hertz)), "<i2")
    assert np.abs(out[500:-500].astype(int)).max() <= 2  # of 10 000: -74 dB, with rounding


@pytest.mark.parametrize("hertz", [50, 3_000, 9_500])
def test_the_voice_band_is_untouched(hertz: float) -> None:
    out = np.frombuffer(RateConverter(48_000, 24_000).convert(sine(48_000, hertz)), "<i2").astype(float)[500:-500]
    assert np.sqrt((out**2).mean()) == pytest.approx(10_000 / 2**0.5, rel=0.01)


def test_overshoot_stays_at_the_limit() -> None:
    square = struct.pack("<h", 32767) * 500 + struct.pack("<h", -32768) * 500
    out = np.frombuffer(RateConverter(48_000, 24_000).convert(square), "<i2")
    assert out.max() == 32767
    assert out[:240].min() > 0  # not wrapped


def test_channels() -> None:
    stereo = struct.pack("<6h", 100, 200, -32768, -32768, 32767, 32767)
    assert resampling.to_mono(stereo, 2) == struct.pack("<3h", 150, -32768, 32767)
    assert resampling.to_mono(stereo, 1) == stereo
    assert resampling.to_channels(struct.pack("<2h", 1, 2), 3) == struct.pack("<6h", 1, 1, 1, 2, 2, 2)
    assert resampling.to_channels(stereo, 1) == stereo
    assert RateConverter(24_000, 24_000).from_device(stereo, 2) == struct.pack("<3h", 150, -32768, 32767)
    assert RateConverter(24_000, 24_000).to_device(b"ab", 2) == b"abab"


@pytest.mark.parametrize(
    ("data", "width"),
    [
        (bytes([128, 255, 0]), 1),
        (struct.pack("<3h", 0, 32512, -32768), 2),
        (b"\x99\x00\x00" + b"\x00\x00\x7f" + b"\xff\x00\x80", 3),
        (b"\x01\x02\x00\x00" + b"\x00\x00\x00\x7f" + b"\xff\xff\x00\x80", 4),
    ],
)
def test_widths(data: bytes, width: int) -> None:
    assert resampling.to_pcm16(data, width) == struct.pack("<3h", 0, 32512, -32768)


def test_mix_saturates() -> None:
    left = struct.pack("<4h", 1000, 30_000, -30_000, -32768)
    right = struct.pack("<4h", -1, 30_000, -30_000, 0)
    assert resampling.mix(left, right) == struct.pack("<4h", 999, 32767, -32768, -32768)


def test_interleave() -> None:
    assert resampling.interleave(struct.pack("<2h", 1, 2), struct.pack("<2h", -1, -2)) == struct.pack(
        "<4h", 1, -1, 2, -2
    )
