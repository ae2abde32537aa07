"""The speech detector against recordings whose speech is known."""

import re
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from rtvoice.audio.vad import FRAME_MS, FRAME_SAMPLES, SpeechDetector

CLIPS = Path(__file__).parents[1] / "fixtures" / "audio"
TOLERANCE_S = 0.2


def pcm_of(name: str) -> bytes:
    with wave.open(str(CLIPS / name)) as file:
        return file.readframes(file.getnframes())


def table() -> list[tuple[str, float, float]]:
    """The clips of README.md with the speech that a neural VAD found; (0, 0) where there is none."""
    rows = []
    for line in (CLIPS / "README.md").read_text().splitlines():
        row = re.match(r"\| (\w+\.wav) \|[^|]*\|[^|]*\| (none|([\d.]+)-([\d.]+))", line)
        if row:
            rows.append((row[1], float(row[3] or 0), float(row[4] or 0)))
    return rows


def speech_of(decisions: list[bool]) -> tuple[float, float]:
    """Return begin and end of speech in seconds; it begins with three frames in a row, as a turn does."""
    begins = [i for i in range(len(decisions) - 2) if all(decisions[i : i + 3])]
    if not begins:
        return 0.0, 0.0
    last = max(i for i, is_speech in enumerate(decisions) if is_speech)
    return begins[0] * FRAME_MS / 1000, (last + 1) * FRAME_MS / 1000


def test_the_table_is_whole() -> None:
    assert len(table()) == len(list(CLIPS.glob("*.wav"))) == 17


@pytest.mark.parametrize(("name", "begin", "end"), table())
def test_finds_speech_where_it_is(name: str, begin: float, end: float) -> None:
    found = speech_of(SpeechDetector().feed(pcm_of(name)))
    assert found == pytest.approx((begin, end), abs=TOLERANCE_S)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.8, 1.0])
def test_every_threshold_finds_clear_speech_and_no_more(threshold: float) -> None:
    assert speech_of(SpeechDetector(threshold).feed(pcm_of("weather.wav"))) == pytest.approx((0.29, 1.92), abs=0.2)
    for name in ("silence.wav", "noise.wav", "tone440.wav"):
        assert not any(SpeechDetector(threshold).feed(pcm_of(name)))


def test_a_higher_threshold_needs_louder_speech() -> None:
    samples = np.frombuffer(pcm_of("weather.wav"), "<i2")
    quiet = (samples * 10 ** (-32 / 20)).astype("<i2").tobytes()
    assert sum(SpeechDetector(0.1).feed(quiet)) > sum(SpeechDetector(0.9).feed(quiet))
    assert not any(SpeechDetector(1.0).feed(quiet))


@pytest.mark.parametrize("size", [1, 7, 960, 961, 4800])
def test_chunk_sizes_do_not_matter(size: int) -> None:
    pcm = pcm_of("yes.wav")
    if size == 1:
        pcm = pcm[:9600]
    detector = SpeechDetector()
    pieces = [decision for start in range(0, len(pcm), size) for decision in detector.feed(pcm[start : start + size])]
    assert pieces == SpeechDetector().feed(pcm)
    assert len(pieces) == len(pcm) // 2 // FRAME_SAMPLES


def test_the_noise_floor_follows_the_background() -> None:
    detector = SpeechDetector()
    detector.feed(pcm_of("noise.wav"))
    assert detector.noise_floor_db == pytest.approx(-53, abs=2)
    detector.feed(bytes(2 * FRAME_SAMPLES * 100))
    assert detector.noise_floor_db == -75


def test_a_steady_hum_becomes_background() -> None:
    time_s = np.arange(24_000 * 60) / 24_000
    hum = sum(np.sin(2 * np.pi * frequency * time_s) / frequency for frequency in (240, 480, 720, 960))
    pcm = (hum / np.abs(hum).max() * 1000).astype("<i2").tobytes()
    decisions = SpeechDetector().feed(pcm)
    assert any(decisions[:50])
    assert not any(decisions[-50:])


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_outside_0_to_1_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        SpeechDetector(threshold)


def test_it_keeps_up_with_many_streams() -> None:
    """One second of audio takes a small part of a second (about 6 ms, 50 frames at about 0.12 ms)."""
    pcm, detector = pcm_of("long.wav")[:48_000], SpeechDetector()
    started = time.perf_counter()
    for start in range(0, len(pcm), 960):
        detector.feed(pcm[start : start + 960])
    assert time.perf_counter() - started < 1.0
