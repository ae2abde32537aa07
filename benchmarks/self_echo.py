"""``uv run python -m benchmarks.self_echo``: how well the assistant's own echo is told from a user.

The detector of `rtvoice.audio.self_echo` is asked ten times a second, as it is while the server reports speech, in
computed rooms and with recorded voices:

* veto: share of the moments with an audible echo, and nothing else, in which it is called an echo;
* alarms: false interruptions per hour of assistant speech, if the server reported speech all the time: two moments in a
  row that are called a user (as `rtvoice.components.interruption` wants it);
* missed: share of users who speak over the assistant and are not noticed within 0.8 s of their first sound;
* noticed: median time until they are.
"""

import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rtvoice.audio.room import Room
from rtvoice.audio.self_echo import Hearing, SelfEchoDetector
from rtvoice.audio.wav import read_wav

_ROOT: Final = Path(__file__).parent.parent
_CLIPS: Final = _ROOT / "src" / "rtvoice" / "cli" / "demo" / "clips"
_AUDIO: Final = _ROOT / "tests" / "fixtures" / "audio"
_ASSISTANT: Final = (
    [_CLIPS / "lighthouse.wav", _CLIPS / "story.wav", _CLIPS / "introduction.wav"],
    [_AUDIO / "human_austen.wav", _AUDIO / "neural_weather.wav", _AUDIO / "neural_hello.wav", _AUDIO / "name.wav"],
    [_AUDIO / "long.wav", _AUDIO / "book.wav"],
)
_USERS: Final = ("hello", "name", "lights", "stop", "human_goforward", "neural_hello", "weather_noisy")
_ROOMS: Final[dict[str, dict[str, Any] | None]] = {
    "headphones": None,
    "laptop, -12 dB": {"delay_ms": 40, "level_db": -12, "rt60_s": 0.25},
    "loud speakerphone, +2 dB": {"delay_ms": 40, "level_db": 2, "rt60_s": 0.25},
    "kiosk, -6 dB, 0.4 s": {"delay_ms": 90, "level_db": -6, "rt60_s": 0.4},
    "bare room, -6 dB, 0.6 s": {"delay_ms": 120, "level_db": -6, "rt60_s": 0.6},
    "bluetooth, 300 ms": {"delay_ms": 300, "level_db": -12, "rt60_s": 0.3},
    "distorting loudspeaker": {"delay_ms": 60, "level_db": -3, "rt60_s": 0.3, "drive": 3},
}
_RATE: Final = 24_000
_BLOCK: Final = 480
_STEP_S: Final = 0.1
_NOISE: Final = 26.0  # -62 dBFS
_AUDIBLE: Final = 184.0  # -45 dBFS: what turn detection may take for speech
_NOTICED_S: Final = 0.8

Sound = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one room gave."""

    moments: int
    veto: float
    alarms_per_hour: float
    users: int
    missed: float
    noticed_s: float


def _load(*paths: Path) -> Sound:
    return np.concatenate([np.frombuffer(b"".join(read_wav(path)), "<i2").astype(float) for path in paths])


def _pcm(sound: Sound) -> bytes:
    return sound.clip(-32768, 32767).astype("<i2").tobytes()


def _heard(played: Sound, room: dict[str, Any] | None) -> Sound:
    noise = np.random.default_rng(0).standard_normal(len(played)) * _NOISE
    return noise if room is None else noise + np.frombuffer(Room(**room).echo(_pcm(played)), "<i2")


def _looks(played: Sound, heard: Sound, begin_s: float, end_s: float) -> list[tuple[float, Hearing]]:
    detector, looks, next_s = SelfEchoDetector(), [], begin_s
    for start in range(0, min(len(heard), int(end_s * _RATE)) - _BLOCK, _BLOCK):
        now = (start + _BLOCK) / _RATE
        detector.played(_pcm(played[start : start + _BLOCK]), start / _RATE)
        detector.heard(_pcm(heard[start : start + _BLOCK]), now)
        if now >= next_s:
            hearing = detector.examine(now - 0.6)
            if hearing.is_certain:  # until then nothing is done, for 0.9 s at most
                looks.append((now, hearing))
            next_s += _STEP_S
    return looks


def _in_a_row(looks: list[tuple[float, Hearing]]) -> float | None:
    """Return when two looks in a row have found more than the echo."""
    doubts = 0
    for now, hearing in looks:
        doubts = 0 if hearing.is_echo else doubts + 1
        if doubts == 2:
            return now
    return None


def measure(room: dict[str, Any] | None) -> Figures:
    """Return the figures of one room."""
    vetoed: list[bool] = []
    alarms, seconds, delays, users = 0, 0.0, [], 0
    for paths in _ASSISTANT:
        played = _load(*paths)
        alone = _heard(played, room)
        looks = [
            (now, hearing)
            for now, hearing in _looks(played, alone, 1.0, len(played) / _RATE)
            if np.sqrt(np.mean(alone[int((now - 0.2) * _RATE) : int(now * _RATE)] ** 2)) > _AUDIBLE
        ]
        vetoed += [hearing.is_echo for _, hearing in looks]
        rows = [not a[1].is_echo and not b[1].is_echo for a, b in pairwise(looks)]
        alarms += sum(now and not before for before, now in pairwise([False, *rows]))
        seconds += len(looks) * _STEP_S
        for number, name in enumerate(_USERS):
            spoken = _load(_AUDIO / f"{name}.wav")
            start = int((1.6 + 0.37 * number) * _RATE)
            both = alone.copy()
            spoken = spoken[: len(both) - start]
            both[start : start + len(spoken)] += spoken
            onset = start / _RATE + float(np.argmax(np.abs(spoken) > 1_500)) / _RATE
            noticed = _in_a_row(_looks(played, both, onset + 0.05, onset + _NOTICED_S))
            users += 1
            if noticed is not None:
                delays.append(noticed - onset)
    return Figures(
        moments=len(vetoed),
        veto=sum(vetoed) / len(vetoed) if vetoed else 0.0,
        alarms_per_hour=3_600 * alarms / seconds if seconds else 0.0,
        users=users,
        missed=1 - len(delays) / users,
        noticed_s=median(delays),
    )


def _cost_ms() -> float:
    detector = SelfEchoDetector()
    played = _load(*_ASSISTANT[0])[: 3 * _RATE]
    detector.played(_pcm(played), 0.0)
    detector.heard(_pcm(_heard(played, {"delay_ms": 40})), 3.0)
    times = []
    for _ in range(50):
        begin = time.process_time()
        detector.examine(2.0)
        times.append(time.process_time() - begin)
    return 1000 * median(times)


def main() -> int:
    """Print the table."""
    say = sys.stdout.write
    say("| room | moments | veto | false alarms an hour | users | missed | noticed after |\n")
    say("|---|---|---|---|---|---|---|\n")
    for name, room in _ROOMS.items():
        f = measure(room)
        say(
            f"| {name} | {f.moments} | {f.veto:.1%} | {f.alarms_per_hour:.0f} | {f.users} | {f.missed:.0%} "
            f"| {1000 * f.noticed_s:.0f} ms |\n"
        )
    say(f"\nOne look: {_cost_ms():.1f} ms of CPU.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
