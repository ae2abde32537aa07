"""The three audio formats of the Realtime API, and sound for replies that come with text only."""

import functools
import math
import random
import wave
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_RATE = 24_000
"""Samples per second of ``audio/pcm``."""
PCM_BYTES_PER_MS = 48
CHARACTERS_PER_SECOND = 15
"""Speed of the placeholder voice, about that of a person reading aloud."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How audio bytes on the wire are to be read.

    Attributes:
        name: ``"audio/pcm"`` (16-bit, 24 kHz), ``"audio/pcmu"`` or ``"audio/pcma"`` (G.711, 8 kHz).
    """

    name: str

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "AudioFormat":
        """Return the format that a session's ``format`` object names."""
        return cls(settings["type"])

    @property
    def bytes_per_ms(self) -> int:
        """Bytes that one millisecond takes."""
        return PCM_BYTES_PER_MS if self.name == "audio/pcm" else 8

    def to_pcm(self, audio: bytes) -> bytes:
        """Return the audio as 16-bit PCM at 24 kHz, a third sample for each one of G.711 by repetition."""
        if self.name == "audio/pcm":
            return audio
        table = _g711_levels(self.name)
        samples = array("h", [table[byte] for byte in audio for _ in range(3)])
        return samples.tobytes()

    def from_pcm(self, pcm: bytes) -> bytes:
        """Return 16-bit PCM at 24 kHz in this format; G.711 gets the mean of every three samples."""
        if self.name == "audio/pcm":
            return pcm
        samples = array("h", pcm[: len(pcm) // 6 * 6])
        table = _g711_codes(self.name)
        means = [(samples[i] + samples[i + 1] + samples[i + 2]) // 3 for i in range(0, len(samples), 3)]
        return bytes(table[(mean + 32768) >> 4] for mean in means)


@functools.cache
def _g711_levels(name: str) -> list[int]:
    """Return the 16-bit sample of each G.711 byte (ITU-T G.711, tables 1a and 2a)."""
    levels = []
    for byte in range(256):
        if name == "audio/pcmu":
            code = ~byte & 0xFF
            level = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
            levels.append(-level if code & 0x80 else level)
        else:
            code = byte ^ 0x55
            segment, mantissa = (code & 0x70) >> 4, (code & 0x0F) << 4
            level = mantissa + 8 if segment == 0 else mantissa + 0x108 << segment - 1
            levels.append(level if code & 0x80 else -level)
    return levels


@functools.cache
def _g711_codes(name: str) -> bytes:
    """Return the nearest G.711 byte for each of 4096 levels from -32768 up in steps of 16."""
    levels = _g711_levels(name)
    order = sorted(range(256), key=levels.__getitem__)
    codes, position = bytearray(), 0
    for step in range(4096):
        target = step * 16 - 32768 + 8
        while position < 255 and abs(levels[order[position + 1]] - target) <= abs(levels[order[position]] - target):
            position += 1
        codes.append(order[position])
    return bytes(codes)


def load_pcm(source: bytes | str | Path) -> bytes:
    """Return 16-bit PCM, 24 kHz, mono.

    Args:
        source: The PCM itself, or the path of a WAV file in just that format.

    Raises:
        ValueError: The bytes are no whole number of samples, or the file has another format.
    """
    if isinstance(source, bytes):
        if len(source) % 2:
            raise ValueError(f"PCM16 needs an even number of bytes, not {len(source)}")
        return source
    with wave.open(str(source), "rb") as file:
        shape = (file.getnchannels(), file.getsampwidth() * 8, file.getframerate())
        if shape != (1, 16, SAMPLE_RATE):
            channels, bits, rate = shape
            raise ValueError(
                f"{source}: {channels} channel(s), {bits} bit, {rate} Hz; convert it to mono, 16 bit, {SAMPLE_RATE} Hz"
            )
        return file.readframes(file.getnframes())


def placeholder_speech(text: str, *, seed: int = 0, speed: float = 1.0) -> bytes:
    """Return a hum that lasts as long as the text would take to say.

    It is quiet at its ends, swells five times a second as syllables do, and its pitch (120 to 236 Hz) depends on
    text and seed, so that two replies can be told apart.

    Args:
        text: What is "said", at 15 characters per second.
        seed: Changes the pitch.
        speed: Speed factor of the voice.

    Returns:
        PCM16, 24 kHz, mono.
    """
    milliseconds = math.ceil(len(text) * 1000 / CHARACTERS_PER_SECOND / speed)
    pitch = 120 + random.Random(zlib.crc32(text.encode()) ^ seed).randrange(24) * 5
    syllable = _syllable(pitch)
    wanted = milliseconds * PCM_BYTES_PER_MS
    return (syllable * (wanted // len(syllable) + 1))[:wanted]


@functools.lru_cache(maxsize=32)
def _syllable(pitch: int) -> bytes:
    """Return 200 ms of hum; the pitch is a multiple of 5 Hz, so that repetitions join without a click."""
    count = SAMPLE_RATE // 5
    wave_step, swell_step = 2 * math.pi * pitch / SAMPLE_RATE, 2 * math.pi / count
    return array(
        "h",
        [
            int(3000 * (1 - math.cos(n * swell_step)) * (math.sin(n * wave_step) + 0.5 * math.sin(2 * n * wave_step)))
            for n in range(count)
        ],
    ).tobytes()
