"""Play a chirp and listen for it: does the microphone work, does it hear the loudspeaker, how late and how loud?"""

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice
from rtvoice.audio.pcm import FULL_SCALE, SAMPLE_RATE

_QUIET_S: Final = 0.6
"""Listening before the chirp: the room's noise, and time for the devices to settle."""
_CHIRP_S: Final = 0.5
_CHIRP_PEAK: Final = 0.35
_CHIRP_HZ: Final = (400.0, 3500.0)
"""The band that telephones, laptops and headsets transmit."""
_FADE_S: Final = 0.02
_AFTER_S: Final = 1.2
"""Listening after the chirp: Bluetooth may take half a second."""
_PATIENCE_S: Final = 1.0
_HEARD: Final = 9.0
"""How far the chirp's correlation peak stands above everything else, when it was heard; noise alone stays below 6."""
_CLIPPED: Final = 32_700

Signal = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopbackReport:
    """What was heard.

    Attributes:
        captured_ms: Audio that the microphone delivered, in milliseconds.
        noise_dbfs: RMS level before the chirp, in dB relative to full scale; ``-inf`` for digital silence.
        clipped_share: Share of samples at full scale, 0 to 1.
        heard: Whether the chirp was found in what the microphone delivered.
        latency_ms: From handing the chirp to the loudspeaker until the microphone's samples of it were here, in
            milliseconds; ``None`` if it was not heard.
        echo_db: Level of the chirp in the microphone relative to what was played; ``None`` if it was not heard.
    """

    captured_ms: int
    noise_dbfs: float
    clipped_share: float
    heard: bool
    latency_ms: float | None
    echo_db: float | None


async def measure_loopback(microphone: AudioInputDevice, loudspeaker: AudioOutputDevice) -> LoopbackReport:
    """Open both devices, play a chirp of half a second, listen for about two seconds, and close them.

    Args:
        microphone: Gives PCM16, 24 kHz, mono.
        loudspeaker: Takes the same.

    Raises:
        AudioDeviceError: A device cannot be opened, or fails.
    """
    await loudspeaker.start()
    try:
        await microphone.start()
        try:
            return await _measure(microphone, loudspeaker)
        finally:
            await microphone.stop()
    finally:
        await loudspeaker.stop()


async def _measure(microphone: AudioInputDevice, loudspeaker: AudioOutputDevice) -> LoopbackReport:
    loop = asyncio.get_running_loop()
    chirp = _chirp()
    arrivals: list[tuple[float, bytes]] = []
    began, played_at = loop.time(), math.inf
    stream = aiter(microphone.stream_chunks())
    try:
        async with asyncio.timeout(_QUIET_S + _CHIRP_S + _AFTER_S + _PATIENCE_S):
            while loop.time() < played_at + _CHIRP_S + _AFTER_S:
                chunk = await anext(stream, b"")
                if not chunk:
                    break  # it has ended
                arrivals.append((loop.time(), chunk))
                if played_at == math.inf and loop.time() >= began + _QUIET_S:
                    played_at = loop.time()
                    await loudspeaker.play_chunk(_pcm(chirp))
    except TimeoutError:
        pass  # it gives no sound; the report says so
    if isinstance(stream, AsyncGenerator):
        await stream.aclose()
    return _judge(arrivals, played_at, chirp)


def _judge(arrivals: list[tuple[float, bytes]], played_at: float, chirp: Signal) -> LoopbackReport:
    heard = np.frombuffer(b"".join(pcm for _, pcm in arrivals), "<i2").astype(np.float64)
    before = np.frombuffer(b"".join(pcm for at, pcm in arrivals if at <= played_at), "<i2").astype(np.float64)
    begin, strength, gain = _find(heard, chirp)
    found = strength >= _HEARD
    return LoopbackReport(
        captured_ms=len(heard) * 1000 // SAMPLE_RATE,
        noise_dbfs=_dbfs(before),
        clipped_share=float(np.mean(np.abs(heard) >= _CLIPPED)) if len(heard) else 0.0,
        heard=found,
        latency_ms=round((_arrival(arrivals, begin) - played_at) * 1000, 1) if found else None,
        echo_db=round(20 * math.log10(gain), 1) if found else None,
    )


def _find(heard: Signal, chirp: Signal) -> tuple[int, float, float]:
    """Return where the chirp begins, how clearly it stands out, and its gain."""
    if len(heard) < len(chirp) or not heard.any():
        return 0, 0.0, 0.0
    size = 1 << (len(heard) + len(chirp)).bit_length()
    matched = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(chirp, size)), size)
    matched = np.abs(matched[: len(heard) - len(chirp) + 1])
    peak = int(np.argmax(matched))
    strength = matched[peak] / (float(np.sqrt(np.mean(matched**2))) + 1e-12)
    return peak, float(strength), float(matched[peak] / (chirp @ chirp))


def _arrival(arrivals: list[tuple[float, bytes]], sample: int) -> float:
    """Return when a sample would have been here, had it not waited for the rest of its block."""
    seen = 0
    for at, pcm in arrivals:
        seen += len(pcm) // 2
        if seen > sample:
            return at - (seen - sample) / SAMPLE_RATE
    raise ValueError(f"there is no sample {sample}")


def _chirp() -> Signal:
    count = round(_CHIRP_S * SAMPLE_RATE)
    at = np.arange(count) / SAMPLE_RATE
    low, high = _CHIRP_HZ
    sound = np.sin(2 * np.pi * (low * at + (high - low) / (2 * _CHIRP_S) * at**2))
    fade = round(_FADE_S * SAMPLE_RATE)
    sound[:fade] *= np.linspace(0, 1, fade)
    sound[-fade:] *= np.linspace(1, 0, fade)
    return np.asarray(sound * _CHIRP_PEAK * FULL_SCALE, dtype=np.float64)


def _pcm(sound: Signal) -> bytes:
    return sound.astype("<i2").tobytes()


def _dbfs(sound: Signal) -> float:
    energy = float(np.mean(sound**2)) if len(sound) else 0.0
    return -math.inf if energy == 0 else round(10 * math.log10(energy / FULL_SCALE**2), 1)
