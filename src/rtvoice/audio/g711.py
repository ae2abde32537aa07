"""G.711, the two codecs of telephony: 8 bit for 14 (µ-law) or 13 (A-law), 8 000 samples per second.

ITU-T Recommendation G.711 as tables, which numpy looks up: 2 µs for 20 ms of sound. Python has had no such codec since
``audioop`` left in 3.13.
"""

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Law = Literal["mulaw", "alaw"]

SILENCE: dict[Law, bytes] = {"mulaw": b"\xff", "alaw": b"\xd5"}
"""The code of silence; a zero byte is nearly as loud as can be."""


def decode(data: bytes, law: Law) -> bytes:
    """Return G.711 codes as PCM16, one sample per byte."""
    return _levels(law).take(np.frombuffer(data, np.uint8)).tobytes()


def encode(pcm: bytes, law: Law) -> bytes:
    """Return PCM16 as G.711 codes, one byte per sample."""
    return _codes(law).take(np.frombuffer(pcm, "<u2")).tobytes()


@cache
def _levels(law: Law) -> npt.NDArray[np.int16]:
    """Return the sample of every code."""
    codes = np.arange(256)
    bits = codes ^ (0xFF if law == "mulaw" else 0x55)
    segment, mantissa = (bits & 0x70) >> 4, bits & 0x0F
    if law == "mulaw":
        levels = (((mantissa << 3) + 0x84) << segment) - 0x84
        negative = (bits & 0x80) != 0
    else:
        levels = np.where(segment == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(segment - 1, 0))
        negative = (bits & 0x80) == 0
    return np.where(negative, -levels, levels).astype("<i2")


@cache
def _codes(law: Law) -> npt.NDArray[np.uint8]:
    """Return the code of every sample, in the order of the samples as unsigned numbers."""
    samples = np.arange(65_536).astype(np.uint16).view(np.int16).astype(np.int32)
    if law == "mulaw":
        sign_mask = np.where(samples < 0, 0x7F, 0xFF)
        magnitude = np.minimum(np.abs(samples >> 2), 8_159) + 33
        segment = np.searchsorted([0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF], magnitude)
        code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0F)
    else:
        sign_mask = np.where(samples < 0, 0x55, 0xD5)
        magnitude = np.where(samples < 0, -(samples >> 3) - 1, samples >> 3)
        segment = np.searchsorted([0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF], magnitude)
        code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 0x0F)
    return (np.where(segment > 7, 0x7F, code) ^ sign_mask).astype(np.uint8)
