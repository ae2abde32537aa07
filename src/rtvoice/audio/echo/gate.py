"""The gate behind the adaptive filter: it lets through only what the echo cannot explain."""

import math
from typing import Final

import numpy as np

from rtvoice.audio.echo.adaptive_filter import BLOCK, Block

_QUIET_DB: Final = -60.0
"""Level of the reference, in dBFS, under which nothing is to be heard of it."""
_DECAY_DB: Final = 1.2
"""Fall of the envelopes per block: slower than a room's reverberation."""
_MARGIN_DB: Final = 4.0
"""How far above what the echo explains a voice must be."""
_FAINTEST_DB: Final = -56.0
"""What is fainter than this opens nothing."""
_OPEN_AFTER: Final = 2
"""Blocks in a row that make it a voice, not a click."""
_HOLD: Final = 40
"""Blocks that it stays open after the last that opened it: the pauses within a sentence."""
_CLOSED: Final = 10 ** (-50 / 20)

_QUANTILE: Final = 0.95
"""The residue is followed where this part of its blocks lies below."""
_STEP_DB: Final = 0.2
_STEP_OPEN_DB: Final = 0.02
_LOWEST_DB: Final = -14.0
_HIGHEST_DB: Final = 4.0
"""A residue louder than the echo that the filter knows of: it has lost the room, or follows a drift."""

_LEARNING_BLOCKS: Final = 200
"""Blocks with something played during which the filter's echo is not yet to be trusted."""
_COUPLING_STEP_DB: Final = 0.5


class Gate:
    """Follows how much of the echo the filter leaves, and closes unless there is more than that.

    The measure is the echo that the filter takes away, not what is played: so it knows the room, and a user who is
    8 dB louder than the echo is never kept out. In the first two seconds of speech the filter knows little; then only
    what is louder than the echo may be passes. While nothing is played the gate is open.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._played_db = self._echo_db = -100.0  # envelopes
        self._residue_db = _HIGHEST_DB  # relative to the echo
        self._coupling_db = 0.0  # of the microphone to what is played
        self._learned = 0
        self._above = 0
        self._hold = 0
        self._gain = 1.0

    def process(self, sound: Block, echo: Block, reference: Block, microphone: Block) -> Block:
        """Return ``sound``, or next to nothing of it.

        Args:
            sound: What filter and suppressor have left, 240 samples.
            echo: What the filter took away at that time.
            reference: What was played then.
            microphone: What was captured then.
        """
        reference_db, level_db = _level_db(reference), _level_db(sound)
        self._played_db = max(reference_db, self._played_db - _DECAY_DB)
        self._echo_db = max(_level_db(echo), self._echo_db - _DECAY_DB)
        if self._played_db < _QUIET_DB:
            self._above = self._hold = 0
            return self._pass(sound, 1.0)
        explained_db = self._echo_db + self._residue_db
        if self._learned < _LEARNING_BLOCKS:
            self._learned += reference_db > _QUIET_DB
            explained_db = max(explained_db, self._played_db + self._coupling_db)
            coupling_db = _level_db(microphone) - self._played_db
            self._coupling_db += _toward_quantile(self._coupling_db, coupling_db, _COUPLING_STEP_DB)
        self._above = self._above + 1 if level_db > max(explained_db + _MARGIN_DB, _FAINTEST_DB) else 0
        self._hold = _HOLD if self._above >= _OPEN_AFTER else max(0, self._hold - 1)
        step_db = _STEP_OPEN_DB if self._hold else _STEP_DB
        self._residue_db += _toward_quantile(self._residue_db, level_db - self._echo_db, step_db)
        self._residue_db = min(max(self._residue_db, _LOWEST_DB), _HIGHEST_DB)
        return self._pass(sound, 1.0 if self._hold else _CLOSED)

    def _pass(self, sound: Block, gain: float) -> Block:
        before, self._gain = self._gain, gain
        if before == gain == 1.0:
            return sound
        return sound * np.linspace(before, gain, BLOCK, dtype=np.float32)


def _toward_quantile(estimate: float, value: float, step: float) -> float:
    """Return the step of a quantile's estimate: in balance, ``_QUANTILE`` of the values lie below."""
    return step * (_QUANTILE if value > estimate else _QUANTILE - 1)


def _level_db(block: Block) -> float:
    return 10 * math.log10(float(block @ block) / BLOCK + 1e-10)
