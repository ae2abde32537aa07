import numpy as np
import pytest

from rtvoice.audio import AudioFormat, g711
from rtvoice.audio.wire_codec import G711Codec

LAWS: list[tuple[AudioFormat, str, g711.Law]] = [
    (AudioFormat.MULAW, "audio/pcmu", "mulaw"),
    (AudioFormat.ALAW, "audio/pcma", "alaw"),
]
both = pytest.mark.parametrize(("audio_format", "name", "law"), LAWS)


@both
def test_every_sample_passes_through_untouched(audio_format: AudioFormat, name: str, law: g711.Law) -> None:
    codec = G711Codec(audio_format)
    assert codec.name == name
    audio = np.random.default_rng(1).permutation(np.arange(256).repeat(10)).astype(np.uint8).tobytes()
    audio = audio.replace(b"\x7f", b"\xff") if law == "mulaw" else audio  # the two zeros of µ-law
    pcm = b"".join(codec.decode(audio[start : start + 100], "item") for start in range(0, len(audio), 100))
    assert len(pcm) == 6 * len(audio)
    assert codec.encode(pcm) == audio


@both
def test_the_line_between_two_samples_is_straight(audio_format: AudioFormat, name: str, law: g711.Law) -> None:
    codec = G711Codec(audio_format)
    low, high = g711.encode(np.array([0, 9_000], "<i2").tobytes(), law)
    first, second = (int(level) for level in np.frombuffer(g711.decode(bytes([low, high]), law), "<i2"))
    assert np.frombuffer(codec.decode(bytes([low]), 1), "<i2").tolist() == [first] * 3
    step = (second - first) / 3
    expected = [first + step, first + 2 * step, second]
    assert np.frombuffer(codec.decode(bytes([high]), 1), "<i2").tolist() == pytest.approx(expected, abs=1)
    assert np.frombuffer(codec.decode(bytes([low]), 2), "<i2").tolist() == [first] * 3  # another item


def test_little_audio() -> None:
    codec = G711Codec(AudioFormat.MULAW)
    assert codec.decode(b"", "item") == b""
    assert codec.encode(bytes(2)) == codec.encode(bytes(3)) == codec.encode(bytes(6)) == b"\xff"
