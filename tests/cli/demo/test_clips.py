import pytest

from rtvoice.audio.vad import SpeechDetector
from rtvoice.cli.demo.clips import CLIPS, Clip


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_every_clip_is_speech_that_is_about_as_long_as_its_text(clip: Clip) -> None:
    pcm = clip.pcm()  # load_pcm() accepts nothing but mono, 16 bit, 24 kHz
    speech = SpeechDetector().feed(pcm)
    assert 8 < len(clip.text) / (sum(speech) * 0.02) < 25  # characters per second
    if clip.speaker == "user":
        assert not any(speech[:10])
        assert not any(speech[-10:])


def test_the_package_stays_small() -> None:
    sizes = {clip.path: clip.path.stat().st_size for clip in CLIPS}
    assert sum(sizes[clip.path] for clip in CLIPS if clip.speaker == "assistant") <= 1_000_000
    assert sum(sizes.values()) <= 2_000_000


def test_every_file_belongs_to_a_sentence() -> None:
    assert {clip.path for clip in CLIPS} == set(CLIPS[0].path.parent.glob("*.wav"))
