"""A room that is computed: what a microphone hears of a loudspeaker, for tests and measurements."""

import numpy as np
import numpy.typing as npt

from rtvoice.audio.pcm import SAMPLE_RATE, ms_to_samples

_DECAY_60_DB = 6.91
"""Natural logarithm of the amplitude that is 60 dB down."""


class Room:
    """The way from a loudspeaker to a microphone: delay, level, reverberation, and a loudspeaker that distorts.

    The impulse response is noise that decays exponentially, the usual model of a room's diffuse sound. It is linear
    but for ``drive``, and passes streams of any chunk size without seams.

    Args:
        delay_ms: Time until the first sound, in milliseconds: distance and devices together.
        level_db: Energy of the echo relative to what was played, in dB: -12 for a laptop, 0 for a loud speakerphone.
        rt60_s: Reverberation time in seconds, the time to fall by 60 dB: 0.2 a furnished room, 0.5 a bare one.
        drive: How far the loudspeaker is driven into its limits: 0 is linear; at 1 full scale comes out 2.4 dB lower
            (a hyperbolic tangent).
        seed: Which room it is.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self, *, delay_ms: float = 40, level_db: float = -12, rt60_s: float = 0.25, drive: float = 0.0, seed: int = 0
    ) -> None:
        if delay_ms < 0 or rt60_s <= 0 or drive < 0:
            raise ValueError("delay_ms and drive must be at least 0, rt60_s greater than 0")
        length = ms_to_samples(1000 * rt60_s)
        noise = np.random.default_rng(seed).standard_normal(length)
        tail = noise * np.exp(-_DECAY_60_DB * np.arange(length) / (rt60_s * SAMPLE_RATE))
        tail *= 10 ** (level_db / 20) / np.linalg.norm(tail)
        self._response = np.concatenate((np.zeros(ms_to_samples(delay_ms)), tail))
        self._drive = drive
        self._spectra: dict[int, npt.NDArray[np.complex128]] = {}  # of the response, by length of the transform
        self._ringing = np.zeros(len(self._response) - 1)

    def echo(self, pcm: bytes) -> bytes:
        """Return what the microphone hears meanwhile: as many samples as went in.

        Args:
            pcm: What the loudspeaker plays: PCM16, 24 kHz, mono; silence counts.
        """
        played = np.frombuffer(pcm, "<i2") / 32768
        if self._drive:
            played = np.tanh(played * self._drive) / self._drive
        total = len(played) + len(self._ringing)
        size = 1 << (total - 1).bit_length()
        if size not in self._spectra:
            self._spectra[size] = np.fft.rfft(self._response, size)
        heard = np.fft.irfft(np.fft.rfft(played, size) * self._spectra[size], size)[:total]
        heard[: len(self._ringing)] += self._ringing
        self._ringing = heard[len(played) :]
        return (heard[: len(played)] * 32768).round().clip(-32768, 32767).astype("<i2").tobytes()
