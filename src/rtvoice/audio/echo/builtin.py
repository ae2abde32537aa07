"""The canceller that comes with rtvoice: adaptive filter, residual suppressor, gate."""

from typing import Final

import numpy as np

from rtvoice.audio.echo.adaptive_filter import BLOCK, AdaptiveFilter, Block
from rtvoice.audio.echo.drift import DriftMeter
from rtvoice.audio.echo.gate import Gate
from rtvoice.audio.echo.suppressor import Suppressor

_LOST_FACTOR: Final = 1.25
"""A filter that makes this much more energy than it takes away has lost the room."""
_LOST_MEMORY: Final = 0.95
_LOST_FLOOR: Final = 1e-6 * BLOCK
_LOST_AFTER: Final = 200
"""Blocks (2 s) that it has to learn before that is asked."""
_FULL_SCALE: Final = np.float32(32768)


class BuiltinCanceller:
    """Cancels echo with numpy alone; about 2.5 % of a core, and 10 ms of delay.

    An adaptive filter learns the room and takes its echo away; the user's voice passes it unharmed. A suppressor lowers
    what is left, and a gate keeps the rest out unless somebody speaks. Clocks that run apart by up to 500 ppm are
    noticed. ``benchmarks/echo.py`` measures all this.

    Args:
        tail_ms: Length of the room's response that can be learned, in milliseconds: the delay of the devices and the
            first part of the reverberation. CPU grows with it.

    Raises:
        ValueError: ``tail_ms`` is under 10.
    """

    delay_ms = 10.0

    def __init__(self, tail_ms: int = 320) -> None:
        self._filter = AdaptiveFilter(tail_ms)
        self._suppressor = Suppressor()
        self._gate = Gate()
        self._drift = DriftMeter()
        self.reset()

    def reset(self) -> None:
        """Forget the room, but not how far the clocks run apart."""
        self._filter.reset()
        self._suppressor.reset()
        self._gate.reset()
        self._drift.reset()
        self._age = 0
        self._error_energy = self._captured_energy = 0.0
        silence = np.zeros(BLOCK, np.float32)
        self._before = (silence, silence, silence)

    @property
    def drift(self) -> float:
        """See `MeasuresDrift`."""
        return self._drift.drift

    def process(self, microphone: bytes, reference: bytes) -> bytes:
        """See `EchoCanceller`."""
        captured, rendered = _to_block(microphone), _to_block(reference)
        error, echo = self._filter.process(captured, rendered)
        if self._has_lost_the_room(captured, error):
            self.reset()
            error, echo = self._filter.process(captured, rendered)
        self._drift.feed(error, echo)
        sound = self._suppressor.process(error, echo)
        before, self._before = self._before, (echo, rendered, captured)  # the suppressor is one block late
        sound = self._gate.process(sound, *before)
        return (sound * _FULL_SCALE).round().clip(-32768, 32767).astype("<i2").tobytes()

    def _has_lost_the_room(self, captured: Block, error: Block) -> bool:
        """Whether the filter adds an echo instead of taking one away: a door was opened, a laptop turned round."""
        self._captured_energy = _LOST_MEMORY * self._captured_energy + float(captured @ captured)
        self._error_energy = _LOST_MEMORY * self._error_energy + float(error @ error)
        self._age += 1
        if self._age < _LOST_AFTER or self._captured_energy < _LOST_FLOOR:
            return False
        return self._error_energy > _LOST_FACTOR * self._captured_energy


def _to_block(pcm: bytes) -> Block:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / _FULL_SCALE
