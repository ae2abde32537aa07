"""How far the clocks of microphone and loudspeaker run apart."""

from typing import Final

import numpy as np

from rtvoice.audio.echo.adaptive_filter import Block

_GAIN: Final = 1e-7
"""Drift per sample of lateness and block: finds 100 ppm in 5 s, 300 ppm in 10 s, and is calm at none."""
_MEMORY: Final = 0.98
"""Part of the sums that counts on a block later: half a second."""
_LIMIT: Final = 5e-4
"""Cheap crystals are within 100 ppm; two at their worst are 200 apart."""
_SMALL: Final = 1e-6


class DriftMeter:
    """A delay-locked loop on the echo itself.

    A filter that has to follow an echo that moves is always a little late. What it leaves of the echo is then
    proportional to the slope of the echo; the factor is how late it is, and its sum is the drift. The user's voice has
    nothing to do with that slope, and averages out.
    """

    def __init__(self) -> None:
        self.drift = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget what the filter was late by; the clocks are still the same."""
        self._product = 0.0
        self._energy = 0.0

    def feed(self, error: Block, echo: Block) -> None:
        """Take in what the filter left, and what it took away."""
        slope = np.gradient(echo)
        self._product = _MEMORY * self._product + float(error @ slope)
        self._energy = _MEMORY * self._energy + float(slope @ slope)
        late = self._product / (self._energy + _SMALL)
        self.drift = min(max(self.drift + _GAIN * late, -_LIMIT), _LIMIT)
