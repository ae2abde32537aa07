"""How much later than it was rendered the echo comes, when the devices' times do not tell."""

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

from rtvoice.audio.echo.adaptive_filter import BLOCK, Block

_DECIMATION: Final = 4
"""It works at 6 kHz."""
_RATE: Final = 24_000 // _DECIMATION
_BLOCKS: Final = 137
"""Blocks of the microphone that are looked at: 1.4 s."""
_LONGER: Final = 80
"""Blocks of the reference before that. So delays are found up to 0.8 s; Bluetooth takes up to 0.3 s."""
_SHIFT: Final = _LONGER * BLOCK // _DECIMATION
_FFT: Final = 16_384
_BAND: Final = slice(_FFT * 200 // _RATE, _FFT * 2_500 // _RATE)
_MEMORY: Final = 0.7
"""Part of a look that counts in the next."""
_EVERY: Final = 50
"""Blocks with something played between two looks."""
_QUIET: Final = 1e-6
"""Power (-60 dBFS) of the reference under which nothing is heard of it."""
_CLEAR_PEAK: Final = 8.0
"""How far the peak must stand out of the correlation's root mean square."""
_AGREEMENT_S: Final = 0.02
_LOOKS: Final = 3
"""Looks in a row that must agree."""


class DelaySearch:
    """Compares what is heard with what was played before (generalised cross-correlation with phase transform)."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._heard: deque[Block] = deque(maxlen=_BLOCKS)
        self._played: deque[Block] = deque(maxlen=_LONGER + _BLOCKS)
        self._since_look = 0
        self._cross: npt.NDArray[np.complex64] = np.zeros(_FFT // 2 + 1, np.complex64)
        self._found: list[float] = []

    def feed(self, microphone: Block, reference: Block) -> float | None:
        """Return the delay in seconds when several looks have agreed on it, and at each further look; else ``None``.

        Args:
            microphone: What was captured, 240 samples.
            reference: What is taken to have been played then.
        """
        self._heard.append(microphone.reshape(-1, _DECIMATION).mean(axis=1))
        self._played.append(reference.reshape(-1, _DECIMATION).mean(axis=1))
        self._since_look += float(reference @ reference) > _QUIET * BLOCK
        if self._since_look < _EVERY or len(self._played) < _LONGER + _BLOCKS:
            return None
        self._since_look = 0
        return self._look(np.concatenate(self._heard), np.concatenate(self._played))

    def _look(self, heard: Block, played: Block) -> float | None:
        cross = np.fft.rfft(heard, _FFT) * np.fft.rfft(played, _FFT).conj()
        cross[_BAND] /= np.abs(cross[_BAND]) + 1e-12
        cross[: _BAND.start] = cross[_BAND.stop :] = 0
        self._cross = (_MEMORY * self._cross + cross).astype(np.complex64)
        correlation = np.abs(np.fft.irfft(self._cross))
        # The longer one began _SHIFT samples before: an echo without delay is found at lag -_SHIFT.
        by_delay = np.roll(correlation, _SHIFT)[:_SHIFT]
        peak = int(np.argmax(by_delay))
        clear = float(by_delay[peak]) > _CLEAR_PEAK * float(np.sqrt(np.mean(correlation**2)))
        self._found = [*self._found, peak / _RATE][-_LOOKS:] if clear else []
        if len(self._found) < _LOOKS or max(self._found) - min(self._found) > _AGREEMENT_S:
            return None
        return min(self._found)
