"""Speech, and an echo of it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from rtvoice.audio.room import Room
from rtvoice.audio.wav import read_wav

CLIPS = Path(__file__).parents[2] / "fixtures" / "audio"
Signal = npt.NDArray[np.float32]


def speech(*names: str, level_db: float = -23) -> Signal:
    samples = np.frombuffer(b"".join(b"".join(read_wav(CLIPS / f"{name}.wav")) for name in names), "<i2") / 32_768
    loud = samples[np.abs(samples) > 0.01]
    scaled: Signal = (samples / np.sqrt((loud**2).mean()) * 10 ** (level_db / 20)).clip(-1, 1).astype(np.float32)
    return scaled


def to_pcm(signal: Signal) -> bytes:
    return (signal.clip(-1, 1) * 32_767).astype("<i2").tobytes()


def from_pcm(pcm: bytes) -> Signal:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768


def level_db(signal: Signal) -> float:
    return float(10 * np.log10((signal**2).mean() + 1e-10))


def mixed(*signals: Signal) -> Signal:
    length = max(map(len, signals))
    return np.sum([np.pad(signal, (0, length - len(signal))) for signal in signals], axis=0, dtype=np.float32)


def blocks(signal: Signal) -> Signal:
    return signal[: len(signal) // 240 * 240].reshape(-1, 240)


def assistant() -> Signal:
    """Nineteen seconds of the assistant."""
    return speech("long", "book", "name", "neural_weather", "yes")


def echo_of(signal: Signal, **room: float) -> Signal:
    settings: dict[str, float] = {"level_db": -6, "rt60_s": 0.2}
    return from_pcm(Room(**(settings | room)).echo(to_pcm(signal)))  # type: ignore[arg-type]
