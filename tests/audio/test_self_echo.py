"""Echoes of computed rooms, users who speak over them, and headphones; see also `benchmarks.self_echo`."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from rtvoice.audio.room import Room
from rtvoice.audio.self_echo import Hearing, SelfEchoDetector
from rtvoice.audio.wav import read_wav

AUDIO = Path(__file__).parent.parent / "fixtures" / "audio"
RATE = 24_000
BLOCK = 480

Sound = npt.NDArray[np.float64]


def clip(name: str) -> Sound:
    return np.frombuffer(b"".join(read_wav(AUDIO / f"{name}.wav")), "<i2").astype(float)


def pcm(sound: Sound) -> bytes:
    return sound.clip(-32768, 32767).astype("<i2").tobytes()


def echo_of(played: Sound, **room: float) -> Sound:
    noise = np.random.default_rng(1).standard_normal(len(played)) * 25
    return np.frombuffer(Room(**room).echo(pcm(played)), "<i2") + noise


def listen(
    played: Sound, heard: Sound, *, begin_s: float = 0.5, since_s: float = 0.6, jitter: float = 0.0
) -> list[Hearing]:
    """Look ten times a second."""
    detector, looks = SelfEchoDetector(), []
    for start in range(0, len(heard) - BLOCK, BLOCK):
        now = 100 + (start + BLOCK) / RATE
        detector.played(pcm(played[start : start + BLOCK]), now - BLOCK / RATE)
        detector.heard(pcm(heard[start : start + BLOCK]), now + jitter * (start // BLOCK % 3))
        if now - 100 >= begin_s and start // BLOCK % 5 == 0:
            looks.append(detector.examine(now - since_s))
    return looks


ROOMS = {
    "laptop": {"delay_ms": 40, "level_db": -12, "rt60_s": 0.25},
    "loud": {"delay_ms": 40, "level_db": 0, "rt60_s": 0.25},
    "bare": {"delay_ms": 120, "level_db": -6, "rt60_s": 0.5},
    "distorting": {"delay_ms": 60, "level_db": -3, "rt60_s": 0.3, "drive": 3},
    "bluetooth": {"delay_ms": 300, "level_db": -12, "rt60_s": 0.3},
}


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS.keys())
def test_an_echo_is_told(room: dict[str, float]) -> None:
    played = clip("long")
    looks = listen(played, echo_of(played, **room), begin_s=2.0, jitter=0.004)
    assert np.mean([look.is_echo for look in looks]) > 0.95
    assert all(look.is_certain for look in looks)
    assert np.median([look.delay_ms for look in looks]) == pytest.approx(room["delay_ms"], abs=25)
    assert np.mean([look.foreign_ms for look in looks]) < 60


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS.keys())
@pytest.mark.parametrize("name", ["lights", "human_goforward"])
def test_who_speaks_over_it_is_heard(name: str, room: dict[str, float]) -> None:
    played, spoken = clip("long"), clip(name)
    heard = echo_of(played, **room)
    start = int(3.1 * RATE)
    heard[start : start + len(spoken)] += spoken
    onset = 3.1 + float(np.argmax(np.abs(spoken) > 2_000)) / RATE
    looks = listen(played, heard, begin_s=onset + 0.1)[:8]
    assert [look.is_echo for look in looks[:6]].count(False) >= 2
    assert max(look.foreign_ms for look in looks) >= 250


def test_headphones() -> None:
    played = clip("long")
    heard = np.random.default_rng(1).standard_normal(len(played)) * 25
    spoken = clip("name")
    heard[RATE : RATE + len(spoken)] += spoken
    looks = listen(played, heard, begin_s=1.0)
    assert not any(look.is_echo for look in looks)
    assert looks[-1].is_certain


def test_whoever_wears_headphones_is_believed_from_the_second_answer_on() -> None:
    answer = np.concatenate([np.zeros(RATE), clip("long")[int(0.29 * RATE) : 2 * RATE]])
    played = np.tile(answer, 2)
    heard = np.random.default_rng(1).standard_normal(len(played)) * 25
    looks = listen(played, heard, begin_s=1.2)
    assert not looks[0].is_certain
    assert all(look.is_certain for look in looks[-10:])


def test_the_first_words_are_uncertain_the_first_time() -> None:
    """Both begin: that alone is no proof. Later the known delay is."""
    first = np.concatenate([np.zeros(RATE), clip("long")[int(0.29 * RATE) :]])
    played = np.concatenate([first, np.zeros(3 * RATE), first])
    looks = listen(played, echo_of(played, **ROOMS["loud"]), begin_s=1.2)
    assert not looks[0].is_certain
    assert not looks[0].is_echo
    again = 10 * ((len(first) / RATE) + 3 + 1 + 0.3 - 1.2)
    assert looks[round(again)].is_echo


def test_the_delay_changes() -> None:
    played = np.tile(clip("long"), 2)
    half = len(played) // 2
    near, far = echo_of(played, **ROOMS["laptop"]), echo_of(played, **ROOMS["bluetooth"])
    looks = listen(played, np.concatenate([near[:half], far[half:]]), begin_s=2.0)
    assert looks[-10].is_echo
    assert looks[-10].delay_ms == pytest.approx(300, abs=30)


def test_nothing_at_all() -> None:
    hearing = SelfEchoDetector().examine(0.0)
    assert hearing == Hearing(
        correlation=0.0, delay_ms=hearing.delay_ms, unexplained=0.0, foreign_ms=0, quiet_ms=2_000, is_echo=False,
        is_certain=True,
    )  # fmt: skip


def test_how_long_somebody_speaks_and_is_quiet() -> None:
    heard = np.random.default_rng(1).standard_normal(4 * RATE) * 5
    heard[2 * RATE : 2 * RATE + RATE // 2] = clip("human_austen")[RATE : RATE + RATE // 2]
    silence = np.zeros(len(heard))
    looks = listen(silence, heard, begin_s=0.5, since_s=1.5)
    at_3_2 = looks[27]
    assert at_3_2.foreign_ms == pytest.approx(500, abs=100)
    assert at_3_2.quiet_ms == pytest.approx(700, abs=100)
    assert at_3_2.unexplained == 0.0


def test_a_gap_in_the_delivery_is_silence_and_a_jump_back_begins_anew() -> None:
    detector = SelfEchoDetector()
    voice = clip("human_austen")[RATE : RATE + RATE // 5]
    detector.heard(pcm(voice), 10.2)
    detector.heard(bytes(2 * BLOCK), 11.0)
    hearing = detector.examine(9.0)
    assert hearing.quiet_ms == pytest.approx(800, abs=40)
    assert hearing.foreign_ms == pytest.approx(200, abs=60)
    detector.heard(bytes(2 * BLOCK), 5.0)
    assert detector.examine(3.0).foreign_ms == 0
    detector.heard(pcm(np.tile(voice, 30)), 20.0)  # longer than is kept
    assert detector.examine(18.0).foreign_ms > 1_000
