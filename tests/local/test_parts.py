"""What comes with rtvoice[local], and what is said where it does not."""

import re

import pytest

from rtvoice.errors import LocalExtraMissingError
from rtvoice.local.parts import load_speech_to_text, load_text_to_speech, load_voice_activity
from rtvoice.testing.input_audio import energy_detector


@pytest.mark.usefixtures("no_packages")
def test_without_the_network_voice_activity_is_by_energy(caplog: pytest.LogCaptureFixture) -> None:
    assert load_voice_activity() is energy_detector
    assert "pip install 'rtvoice[local]'" in caplog.text


@pytest.mark.usefixtures("no_packages")
def test_what_is_missing_is_named_with_a_way_out() -> None:
    with pytest.raises(
        LocalExtraMissingError, match=r"Speech to text needs moonshine-voice .*'rtvoice\[local\]'"
    ) as error:
        load_speech_to_text()
    for way_out in ("macOS 15", "rtvoice chat --text", "--openai", "LocalServer(speech_to_text=...)"):
        assert way_out in str(error.value)
    with pytest.raises(LocalExtraMissingError, match=r"Text to speech needs hibari-tts .*LocalServer\(text_to_speech="):
        load_text_to_speech()


@pytest.mark.parametrize("error", [OSError("GLIBC_2.34 not found"), RuntimeError("it cannot load its model")])
def test_a_library_that_does_not_fit_the_system(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def does_not_fit(_self: object) -> None:
        raise error

    monkeypatch.setattr("rtvoice.local.moonshine.MoonshineTranscriber.__init__", does_not_fit)
    with pytest.raises(LocalExtraMissingError, match=re.escape(str(error))):
        load_speech_to_text()
