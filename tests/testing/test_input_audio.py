"""The input buffer's clock and the turn detector."""

import wave
from pathlib import Path
from typing import Any

import pytest

from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.input_audio import SEMANTIC_SILENCE_MS, InputBuffer, TurnDetector, TurnEdge

PCM = AudioFormat("audio/pcm")
CLIPS = Path(__file__).parents[1] / "fixtures" / "audio"


def clip(name: str) -> bytes:
    with wave.open(str(CLIPS / name)) as file:
        return file.readframes(file.getnframes())


def ms(count: int, value: int = 0) -> bytes:
    return bytes([value]) * (48 * count)


def server_vad(**settings: Any) -> dict[str, Any]:
    return {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 200, **settings}


def test_the_clock_counts_all_audio_ever_written() -> None:
    buffer = InputBuffer(PCM)
    buffer.append(ms(30))
    buffer.append(ms(20))
    assert (buffer.clock_ms, buffer.start_ms, buffer.duration_ms, len(buffer)) == (50, 0, 50, 2400)
    buffer.clear()
    assert (buffer.clock_ms, buffer.start_ms, buffer.duration_ms) == (50, 50, 0)
    buffer.append(bytes(24))
    assert buffer.duration_ms == 0.5


def test_audio_is_taken_between_two_positions() -> None:
    buffer = InputBuffer(PCM)
    for value in range(5):
        buffer.append(ms(10, value))
    assert buffer.take(10, 30) == ms(10, 1) + ms(10, 2)
    assert buffer.start_ms == 30
    assert buffer.take(0, 35) == ms(5, 3)
    assert buffer.take() == ms(5, 3) + ms(10, 4)
    assert buffer.clock_ms == 50
    assert buffer.take(0, 10) == b""


def test_old_audio_is_forgotten() -> None:
    buffer = InputBuffer(PCM, clock_ms=1000)
    buffer.append(ms(50))
    buffer.keep_last(80)
    assert buffer.duration_ms == 50
    buffer.keep_last(20)
    assert (buffer.start_ms, buffer.duration_ms, buffer.clock_ms) == (1030, 20, 1050)


def edges(settings: dict[str, Any], audio: bytes, *, size: int = 960, begin_ms: int = 0) -> list[TurnEdge]:
    detector = TurnDetector(settings, PCM, begin_ms)
    return [edge for start in range(0, len(audio), size) for edge in detector.feed(audio[start : start + size])]


@pytest.mark.parametrize("size", [960, 4800, 10**6])
def test_a_turn_begins_and_ends_on_the_audio_clock(size: int) -> None:
    started, stopped = edges(server_vad(), clip("weather.wav") + ms(500), size=size, begin_ms=7000)
    assert (started.kind, stopped.kind) == ("started", "stopped")
    assert started.at_ms == pytest.approx(7290, abs=200)
    assert stopped.at_ms == pytest.approx(7000 + 1920 + 200, abs=200)


def test_longer_silence_makes_one_turn_of_two() -> None:
    audio = clip("pause.wav") + ms(2500)
    assert len(edges(server_vad(), audio)) == 4
    assert len(edges(server_vad(silence_duration_ms=800), audio)) == 2


@pytest.mark.parametrize("eagerness", ["low", "medium", "high", "auto"])
def test_semantic_turns_end_by_eagerness(eagerness: str) -> None:
    settings = {"type": "semantic_vad", "eagerness": eagerness}
    audio = clip("stop.wav") + ms(3000)
    _, stopped = edges(settings, audio)
    assert stopped.at_ms == pytest.approx(770 + SEMANTIC_SILENCE_MS[eagerness], abs=200)


@pytest.mark.parametrize("name", ["silence.wav", "noise.wav", "tone440.wav"])
def test_no_turn_without_speech(name: str) -> None:
    assert edges(server_vad(), clip(name)) == []


def test_a_reset_forgets_the_utterance() -> None:
    detector = TurnDetector(server_vad(), PCM, 0)
    speech = clip("weather.wav")
    assert [edge.kind for edge in detector.feed(speech[: 48 * 1000])] == ["started"]
    assert detector.in_speech
    detector.reset()
    assert not detector.in_speech
    assert detector.feed(ms(1000)) == []


def test_g711_is_heard_too() -> None:
    form = AudioFormat("audio/pcmu")
    detector = TurnDetector(server_vad(), form, 0)
    kinds = [edge.kind for edge in detector.feed(form.from_pcm(clip("human_goforward.wav") + ms(500)))]
    assert kinds == ["started", "stopped"]


class Ears:
    """A detector with frames of 32 ms, in which every byte that is not 0 is speech."""

    frame_ms = 32

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._rest = b""

    def feed(self, pcm: bytes) -> list[bool]:
        audio, size = self._rest + pcm, 32 * 48
        whole = len(audio) // size * size
        self._rest = audio[whole:]
        return [any(audio[start : start + size]) for start in range(0, whole, size)]


def test_another_detector_takes_the_place_of_the_built_in_one() -> None:
    made: list[Ears] = []

    def make(threshold: float) -> Ears:
        made.append(Ears(threshold))
        return made[-1]

    detector = TurnDetector(server_vad(threshold=0.7), PCM, 0, make)
    assert [ears.threshold for ears in made] == [0.7]
    assert detector.feed(ms(32) + ms(32, 9) + ms(32)) == []  # too short: a click
    assert detector.feed(ms(64, 9)) == [TurnEdge("started", 96)]
    assert detector.feed(ms(180)) == []
    assert detector.feed(ms(60)) == [TurnEdge("stopped", 160 + 224)]
