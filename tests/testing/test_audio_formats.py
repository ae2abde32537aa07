"""Formats, files and the placeholder voice."""

import math
import wave
from array import array
from pathlib import Path

import pytest

from rtvoice.testing.audio_formats import SAMPLE_RATE, AudioFormat, load_pcm, placeholder_speech

PCM, ULAW, ALAW = AudioFormat("audio/pcm"), AudioFormat("audio/pcmu"), AudioFormat("audio/pcma")


def tone(amplitude: int, frequency: int = 300, samples: int = 2400) -> bytes:
    return array(
        "h", [int(amplitude * math.sin(2 * math.pi * frequency * n / SAMPLE_RATE)) for n in range(samples)]
    ).tobytes()


def test_sizes() -> None:
    assert AudioFormat.of({"type": "audio/pcm", "rate": 24000}) == PCM
    assert (PCM.bytes_per_ms, ULAW.bytes_per_ms, ALAW.bytes_per_ms) == (48, 8, 8)


def test_pcm_stays_as_it_is() -> None:
    assert PCM.to_pcm(b"\1\2") == PCM.from_pcm(b"\1\2") == b"\1\2"


@pytest.mark.parametrize("form", [ULAW, ALAW], ids=lambda form: form.name)
@pytest.mark.parametrize("amplitude", [300, 3000, 30000])
def test_g711_there_and_back(form: AudioFormat, amplitude: int) -> None:
    pcm = tone(amplitude)
    coded = form.from_pcm(pcm)
    assert len(coded) == len(pcm) // 6
    back = array("h", form.to_pcm(coded))
    original = array("h", pcm)
    error = math.sqrt(sum((a - b) ** 2 for a, b in zip(original, back, strict=True)) / len(original))
    assert error < 0.08 * amplitude


@pytest.mark.parametrize(
    ("form", "byte", "level"),
    # ITU-T G.711: largest levels and silence of both laws.
    [
        (ULAW, 0x80, 32124),
        (ULAW, 0x00, -32124),
        (ULAW, 0xFF, 0),
        (ALAW, 0xAA, 32256),
        (ALAW, 0x2A, -32256),
        (ALAW, 0xD5, 8),
        (ALAW, 0x55, -8),
    ],
)
def test_g711_levels(form: AudioFormat, byte: int, level: int) -> None:
    assert array("h", form.to_pcm(bytes([byte]))).tolist() == [level] * 3


def test_pcm_is_taken_as_it_is_or_read_from_a_file(tmp_path: Path) -> None:
    assert load_pcm(b"\1\2") == b"\1\2"
    path = tmp_path / "clip.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(b"\1\2\3\4")
    assert load_pcm(path) == load_pcm(str(path)) == b"\1\2\3\4"


def test_half_samples_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even number of bytes, not 3"):
        load_pcm(b"123")
    path = tmp_path / "clip.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(bytes(8))
    with pytest.raises(ValueError, match=r"2 channel\(s\), 16 bit, 44100 Hz; convert it to mono"):
        load_pcm(path)


def test_the_placeholder_lasts_as_long_as_the_text() -> None:
    text = "x" * 30
    assert len(placeholder_speech(text)) == 2000 * 48
    assert len(placeholder_speech(text, speed=0.5)) == 4000 * 48
    assert placeholder_speech("") == b""


def test_the_placeholder_is_audible_and_told_apart() -> None:
    samples = array("h", placeholder_speech("Hello there, how are you?"))
    assert 3000 < max(samples) < 20000
    assert samples[0] == 0
    assert placeholder_speech("Hello") == placeholder_speech("Hello")
    assert len({placeholder_speech("Hello there", seed=seed)[:9600] for seed in range(8)}) > 3
