"""The suppressor behind the adaptive filter: it lowers what is left of the echo, frequency by frequency."""

from typing import Final

import numpy as np

from rtvoice.audio.echo.adaptive_filter import BLOCK, Block

_BINS: Final = BLOCK + 1
_WINDOW: Final = np.sqrt(np.hanning(2 * BLOCK + 1)[:-1]).astype(np.float32)
"""Used before and after, its squares add up to 1 over the halves that overlap."""
_SMALL: Final = np.float32(1e-9)
_HEARD: Final = 1e-6
"""Power of the echo in one frequency from which it says something about the leakage."""

_OVERESTIMATE: Final = 4.0
"""The leakage is followed at its lowest; where there is echo it is higher."""
_MIN_GAIN: Final = 0.03
_FALL: Final = 0.1
_RISE: Final = 0.002


class Suppressor:
    """Lowers the frequencies in which what is left resembles the echo that was taken away; delays by one block.

    For each frequency it follows how much of the echo leaks through, quickly down and slowly up, so that the user's
    voice, which comes and goes, hardly counts.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._last_error = self._last_echo = self._overlap = np.zeros(BLOCK, np.float32)
        self._leakage = np.ones(_BINS, np.float32)

    def process(self, error: Block, echo: Block) -> Block:
        """Return the previous block without the residual echo.

        Args:
            error: What the filter left of the microphone, 240 samples.
            echo: What it took away.
        """
        spectrum = np.fft.rfft(np.concatenate((self._last_error, error)) * _WINDOW)
        echo_spectrum = np.fft.rfft(np.concatenate((self._last_echo, echo)) * _WINDOW)
        self._last_error, self._last_echo = error, echo
        power = np.abs(spectrum) ** 2 + _SMALL
        echo_power = np.abs(echo_spectrum) ** 2
        leakage = np.minimum(power / (echo_power + _SMALL), 1.0)
        pace = np.where(leakage < self._leakage, np.float32(_FALL), np.float32(_RISE)) * (echo_power > _HEARD)
        self._leakage += pace * (leakage - self._leakage)
        gain = np.maximum(1 - _OVERESTIMATE * self._leakage * echo_power / power, _MIN_GAIN)
        frame = np.fft.irfft(spectrum * gain).astype(np.float32) * _WINDOW
        cleaned: Block = self._overlap + frame[:BLOCK]
        self._overlap = frame[BLOCK:]
        return cleaned
