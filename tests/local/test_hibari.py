"""hibari speaks."""

from rtvoice.local import SpeechToText, TextToSpeech

BYTES_PER_S = 48_000


def test_what_it_says_can_be_understood(hibari: TextToSpeech, moonshine: SpeechToText) -> None:
    sound = hibari.synthesize("It is eighteen degrees and partly cloudy in Berlin.", 1.0)
    assert 2.5 < len(sound) / BYTES_PER_S < 5
    words = moonshine.transcribe(sound).lower()
    assert "degrees and partly cloudy in berlin" in words


def test_speed(hibari: TextToSpeech) -> None:
    usual, fast, slowest, slower = (len(hibari.synthesize("One, two, three.", speed)) for speed in (1, 1.5, 0.25, 0.5))
    assert fast < usual < slower
    assert slowest == slower  # the slowest that the model knows


def test_the_same_text_is_the_same_sound(hibari: TextToSpeech) -> None:
    assert hibari.synthesize("Hello.", 1.0) == hibari.synthesize("Hello.", 1.0)


def test_no_words_no_sound(hibari: TextToSpeech) -> None:
    assert hibari.synthesize("", 1.0) == b""
    assert hibari.synthesize("\n", 1.0) == b""
