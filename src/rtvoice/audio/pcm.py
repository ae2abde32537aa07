"""Small facts and sums about PCM: 16-bit signed little-endian, mono, 24 000 samples per second.

48 bytes are one millisecond. Nothing here needs numpy, so everybody may import it.
"""

import math
import struct
from collections.abc import Sequence

SAMPLE_RATE = 24_000
"""Samples per second of the Realtime API's ``audio/pcm``."""

SAMPLE_BYTES = 2
"""Bytes per sample."""

FULL_SCALE = 32_768
"""The magnitude that counts as 0 dBFS."""


def samples_in(pcm: bytes) -> int:
    """Return how many whole samples ``pcm`` holds; an odd last byte is not one."""
    return len(pcm) // SAMPLE_BYTES


def samples_to_ms(samples: int, sample_rate: int = SAMPLE_RATE) -> int:
    """Return the duration of ``samples`` in whole milliseconds, rounded down."""
    return samples * 1000 // sample_rate


def ms_to_samples(ms: float, sample_rate: int = SAMPLE_RATE) -> int:
    """Return the number of whole samples in ``ms`` milliseconds, rounded to the nearest."""
    return round(ms * sample_rate / 1000)


def silence(samples: int) -> bytes:
    """Return ``samples`` samples of digital silence."""
    return bytes(samples * SAMPLE_BYTES)


def level_dbfs(pcm: bytes) -> float:
    """Return the RMS level in dB relative to full scale: 0.0 is the loudest square wave, ``-inf`` is silence."""
    count = samples_in(pcm)
    values = struct.unpack(f"<{count}h", memoryview(pcm)[: count * SAMPLE_BYTES])
    energy = sum(value * value for value in values)
    if energy == 0:
        return -math.inf
    return 10 * math.log10(energy / count / FULL_SCALE**2)


def ramp(pcm: bytes, start: float, stop: float) -> bytes:
    """Return ``pcm`` with a gain that runs linearly from ``start`` (first sample) towards ``stop`` (after the last).

    Meant for fades of a few milliseconds: it works sample by sample.
    """
    count = samples_in(pcm)
    step = (stop - start) / max(count, 1)
    values = struct.unpack(f"<{count}h", pcm)
    return struct.pack(f"<{count}h", *(int(value * (start + step * index)) for index, value in enumerate(values)))


def pieces(pcm: bytes, size: int) -> Sequence[bytes]:
    """Cut audio into pieces of ``size`` bytes, the last one may be shorter; nothing has no pieces."""
    if len(pcm) <= size:  # most often
        return (pcm,) if pcm else ()
    return [pcm[start : start + size] for start in range(0, len(pcm), size)]


class SampleAligner:
    """Cuts a byte stream at sample borders, whatever the size of its pieces.

    An odd last byte waits for the next piece; without that, everything after it would be noise.
    """

    def __init__(self) -> None:
        self._spare = b""

    def take(self, chunk: bytes) -> bytes:
        """Return the whole samples that ``chunk`` completes."""
        joined = self._spare + chunk if self._spare else chunk
        if len(joined) % SAMPLE_BYTES == 0:
            self._spare = b""
            return joined
        self._spare = joined[-1:]
        return joined[:-1]

    def reset(self) -> None:
        """Forget a waiting byte: what comes next is another stream."""
        self._spare = b""
