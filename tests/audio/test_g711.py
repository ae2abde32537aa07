import numpy as np
import pytest

from rtvoice.audio import g711
from rtvoice.testing import audio_formats

LAWS: tuple[tuple[g711.Law, str], ...] = (("mulaw", "audio/pcmu"), ("alaw", "audio/pcma"))
EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32_768, 32_768).astype("<i2")


@pytest.mark.parametrize(("law", "name"), LAWS)
def test_every_code_means_what_the_other_implementation_says(law: g711.Law, name: str) -> None:
    assert np.frombuffer(g711.decode(EVERY_CODE, law), "<i2").tolist() == audio_formats._g711_levels(name)


@pytest.mark.parametrize(("law", "name"), LAWS)
def test_what_was_decoded_is_encoded_as_before(law: g711.Law, name: str) -> None:
    again = g711.encode(g711.decode(EVERY_CODE, law), law)
    differing = [code for code in range(256) if again[code] != code]
    assert differing == ([0x7F] if law == "mulaw" else [])  # µ-law has two zeros


@pytest.mark.parametrize(("law", "name"), LAWS)
def test_every_sample_gets_a_code_next_to_it(law: g711.Law, name: str) -> None:
    levels = np.frombuffer(g711.decode(g711.encode(EVERY_SAMPLE.tobytes(), law), law), "<i2").astype(int)
    assert np.all(np.diff(levels) >= 0)
    error = np.abs(levels - EVERY_SAMPLE)
    within = np.abs(EVERY_SAMPLE.astype(int)) < 32_000  # beyond it is clipped
    assert np.all(error[within] <= np.maximum(np.abs(EVERY_SAMPLE[within].astype(int)) / 16, 16))


@pytest.mark.parametrize(
    ("law", "samples", "codes"),
    [
        # as the reference implementation, Sun's g711.c, gives them
        ("mulaw", [0, 8, -8, 1000, -1000, 32_767, -32_768], [0xFF, 0xFE, 0x7E, 0xCE, 0x4E, 0x80, 0x00]),
        ("alaw", [0, 8, -8, 1000, -1000, 32_767, -32_768], [0xD5, 0xD5, 0x55, 0xFA, 0x7A, 0xAA, 0x2A]),
    ],
)
def test_known_codes(law: g711.Law, samples: list[int], codes: list[int]) -> None:
    assert list(g711.encode(np.array(samples, "<i2").tobytes(), law)) == codes


@pytest.mark.parametrize(("law", "name"), LAWS)
def test_silence(law: g711.Law, name: str) -> None:
    assert abs(int(np.frombuffer(g711.decode(g711.SILENCE[law], law), "<i2")[0])) <= 8
    assert g711.encode(bytes(2), law) == g711.SILENCE[law]
