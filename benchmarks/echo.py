"""``uv run python -m benchmarks.echo``: what the echo cancellers are worth, in rooms that are computed.

The assistant speaks for a while alone, then the user speaks over it and in its pauses. All is speech from
``tests/fixtures/audio``: cancellers look far better on noise. What counts as an interruption is decided by the same
turn detection that the emulator uses.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from rtvoice.audio.echo.cancellation import EchoCancellation
from rtvoice.audio.echo.choice import make_canceller
from rtvoice.audio.pcm import SAMPLE_RATE
from rtvoice.audio.room import Room
from rtvoice.audio.wav import read_wav
from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.input_audio import TurnDetector

Signal = npt.NDArray[np.float64]

_CLIPS: Final = Path("tests/fixtures/audio")
ASSISTANT: Final = ("long", "book", "name", "human_austen", "neural_weather", "pause", "yes")
_USER: Final = ("human_goforward", "neural_hello", "lights", "weather", "stop", "hello")
_LEVEL_DB: Final = -23.0
"""Level of speech, both as it is played and as the user's reaches the microphone."""
_NOISE_DB: Final = -62.0
_CHUNK: Final = 960
_FRAME: Final = 480
_HEARD_DB: Final = -50.0
_LOST: Final = 0.3
"""A frame of the user's speech counts as lost when less than this part of its amplitude is left."""
_TURNS: Final = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500}


@dataclass(frozen=True)
class Scene:
    """A room and its devices; the echo's level is relative to the user's voice.

    Attributes:
        name: What it is called.
        level_db: Level of the echo.
        rt60_s: Reverberation time.
        delay_ms: Delay of the first sound.
        drive: Distortion of the loudspeaker, see `Room`.
        drift_ppm: How much faster the microphone's clock runs.
        moves: Whether the room changes in the middle of what the assistant says alone.
    """

    name: str
    level_db: float
    rt60_s: float = 0.25
    delay_ms: float = 40
    drive: float = 0.0
    drift_ppm: float = 0.0
    moves: bool = False


SCENES: Final = (
    Scene("laptop", -11.5),
    Scene("loud", 2.5),
    Scene("bare room, 120 ms", -3, rt60_s=0.4, delay_ms=120),
    Scene("distorting", -3, drive=4),
    Scene("drift 100 ppm", -3, drift_ppm=100),
    Scene("room changes", -3, moves=True),
    Scene("Bluetooth, 300 ms", -6, delay_ms=300),
)


@dataclass(frozen=True)
class Figures:
    """What was measured in one scene, over all its rooms.

    Attributes:
        erle_db: Echo reduction in seconds 1 to 3, 3 to 8, and from 8 on, while only the assistant speaks.
        false_per_hour: Interruptions by the echo, per hour of the assistant's speech.
        heard: Share of the user's utterances over the assistant that turn detection notices.
        kept: Share of the user's speech that is kept.
        sdr_db: Ratio of the user's voice to everything else, before and after.
        cpu: CPU seconds per second of audio.
    """

    erle_db: tuple[float, float, float]
    false_per_hour: float
    heard: float
    kept: float
    sdr_db: tuple[float, float]
    cpu: float


def main() -> int:
    """Run all scenes, or those that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.echo", description=__doc__)
    parser.add_argument("--rooms", type=int, default=3, help="rooms per scene; default: %(default)s")
    parser.add_argument("--alone", type=int, default=120, help="seconds that the assistant speaks alone")
    parser.add_argument("--together", type=int, default=40, help="seconds in which the user speaks too")
    parser.add_argument("--scene", action="append", choices=[scene.name for scene in SCENES])
    parser.add_argument("--canceller", action="append", choices=["off", "builtin", "webrtc"])
    arguments = parser.parse_args()
    say(
        "| scene | canceller | ERLE 1-3, 3-8, 8- s | false per hour | heard | kept | SDR in, out | CPU |\n"
        "| --- | --- | --- | ---: | ---: | ---: | --- | ---: |"
    )
    for scene in SCENES:
        if arguments.scene and scene.name not in arguments.scene:
            continue
        for name in arguments.canceller or ["off", "builtin", "webrtc"]:
            figures = measure(scene, name, arguments.rooms, arguments.alone, arguments.together)
            erle = " ".join(f"{value:.0f}" for value in figures.erle_db)
            say(
                f"| {scene.name} | {name} | {erle} | {figures.false_per_hour:.0f} | {figures.heard:.0%} | "
                f"{figures.kept:.1%} | {figures.sdr_db[0]:.1f}, {figures.sdr_db[1]:.1f} | {figures.cpu:.1%} |"
            )
    return 0


def measure(scene: Scene, name: str, rooms: int, alone_s: int, together_s: int) -> Figures:
    """Let a canceller work in so many rooms of a kind."""
    results = [_measure_room(scene, name, seed, alone_s, together_s) for seed in range(rooms)]
    rows = [(*f.erle_db, f.false_per_hour, f.heard, f.kept, *f.sdr_db, f.cpu) for f in results]
    early, middle, late, false, heard, kept, before, after, cpu = np.mean(rows, axis=0).tolist()
    return Figures((early, middle, late), false, heard, kept, (before, after), cpu)


def _measure_room(scene: Scene, name: str, seed: int, alone_s: int, together_s: int) -> Figures:
    played, echo, user, noise = _sounds(scene, seed, alone_s, together_s)
    microphone = from_pcm(to_pcm(echo + user + noise))
    cleaned, cpu = _clean(name, to_pcm(microphone), to_pcm(played))
    start = alone_s * SAMPLE_RATE
    delay = _delay(cleaned[start:], user[start:])
    cleaned = cleaned[delay:]
    microphone, user = microphone[: len(cleaned)], user[: len(cleaned)]

    def reduction(begin_s: float, end_s: float) -> float:
        span = slice(int(begin_s * SAMPLE_RATE), int(end_s * SAMPLE_RATE))
        return level_db(microphone[span]) - level_db(cleaned[span])

    frames = len(user) // _FRAME * _FRAME
    voice, out = (signal[:frames].reshape(-1, _FRAME) for signal in (user, cleaned))
    speaking = (voice**2).mean(axis=1) > 10 ** (_HEARD_DB / 10)
    share = (out * voice).sum(axis=1)[speaking] / (voice**2).sum(axis=1)[speaking]
    noticed = list(beginnings(cleaned))
    utterances = list(beginnings(user))
    hits = sum(any(-300 <= at - begin <= 700 for at in noticed) for begin in utterances)
    return Figures(
        (reduction(1, 3), reduction(3, 8), reduction(8, alone_s)),
        sum(at < 1000 * alone_s for at in noticed) * 3600 / alone_s,
        hits / len(utterances),
        float((share > _LOST).mean()),
        tuple(level_db(user[start:]) - level_db(signal[start:] - user[start:]) for signal in (microphone, cleaned)),  # type: ignore[arg-type]
        cpu,
    )


def _sounds(scene: Scene, seed: int, alone_s: int, together_s: int) -> tuple[Signal, Signal, Signal, Signal]:
    """Return what is played, and echo, user and noise at the microphone."""
    length = alone_s + together_s
    played = speech(ASSISTANT, length, pause_s=(0.3, 0.8), seed=seed)
    heard = played
    if scene.drift_ppm:
        times = np.arange(len(played)) * (1 - scene.drift_ppm * 1e-6)
        heard = np.interp(times, np.arange(len(played)), played)
    room = Room(delay_ms=scene.delay_ms, level_db=scene.level_db, rt60_s=scene.rt60_s, drive=scene.drive, seed=seed)
    echo = from_pcm(room.echo(to_pcm(heard)))
    if scene.moves:
        other = replace(scene, moves=False)
        middle = alone_s * SAMPLE_RATE // 2
        room = Room(delay_ms=other.delay_ms, level_db=other.level_db, rt60_s=other.rt60_s, seed=seed + 50)
        echo[middle:] = from_pcm(room.echo(to_pcm(heard)))[middle:]
    user = np.zeros_like(played)
    user[alone_s * SAMPLE_RATE :] = speech(_USER, together_s, pause_s=(0.8, 2.0), seed=seed + 100)
    noise = np.random.default_rng(seed + 200).standard_normal(len(played)) * 10 ** (_NOISE_DB / 20)
    return played, echo, user, noise


def speech(clips: tuple[str, ...], seconds: int, *, pause_s: tuple[float, float], seed: int) -> Signal:
    """Return so many seconds of speech, with pauses."""
    random = np.random.default_rng(seed)
    parts: list[Signal] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        for name in random.permutation(clips):
            clip = from_pcm(b"".join(read_wav(_CLIPS / f"{name}.wav")))
            frames = (clip[: len(clip) // _FRAME * _FRAME].reshape(-1, _FRAME) ** 2).mean(axis=1)
            level = np.sqrt(frames[frames > 1e-3 * frames.max()].mean())
            parts += [clip * 10 ** (_LEVEL_DB / 20) / level, np.zeros(int(random.uniform(*pause_s) * SAMPLE_RATE))]
    return np.concatenate(parts)[: seconds * SAMPLE_RATE].clip(-0.99, 0.99)


def _clean(name: str, microphone: bytes, played: bytes) -> tuple[Signal, float]:
    if name == "off":
        return from_pcm(microphone), 0.0
    cancellation = EchoCancellation(make_canceller("builtin" if name == "builtin" else "webrtc"))
    out = bytearray()
    began = time.process_time()
    for start in range(0, len(microphone), _CHUNK):
        at = start / 2 / SAMPLE_RATE
        cancellation.rendered.add(played[start : start + _CHUNK], at)
        out += cancellation.process(microphone[start : start + _CHUNK], at + _CHUNK / 2 / SAMPLE_RATE)[0]
    return from_pcm(bytes(out)), (time.process_time() - began) / (len(microphone) / 2 / SAMPLE_RATE)


def _delay(cleaned: Signal, user: Signal) -> int:
    size = 1 << (2 * len(user) - 1).bit_length()
    spectrum = np.fft.rfft(cleaned, size) * np.conj(np.fft.rfft(user, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: SAMPLE_RATE // 10]))


def beginnings(signal: Signal) -> Iterator[int]:
    """Yield where turn detection sees a turn begin, in milliseconds."""
    detector = TurnDetector(_TURNS, AudioFormat("audio/pcm"), 0)
    return (edge.at_ms for edge in detector.feed(to_pcm(signal)) if edge.kind == "started")


def level_db(signal: Signal) -> float:
    """Return the level, in dBFS."""
    return float(10 * np.log10(np.mean(signal**2) + 1e-10))


def to_pcm(signal: Signal) -> bytes:
    """Return it as PCM16."""
    return (signal.clip(-1, 1) * 32767).astype("<i2").tobytes()


def from_pcm(pcm: bytes) -> Signal:
    """Return PCM16 as numbers, 1.0 is full scale."""
    return np.frombuffer(pcm, "<i2") / 32768


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
