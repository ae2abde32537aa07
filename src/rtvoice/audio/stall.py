"""When an input device that delivers nothing stands still, and when it only has nothing to say."""

import math
from typing import Final

STEADY_S: Final = 10.0
"""How long a device must deliver without a pause until a pause is taken for a fault, in seconds."""

PAUSE_S: Final = 1.0
"""What counts as a pause, in seconds."""


class StallWatch:
    """Says until when a device has to deliver again.

    A live microphone delivers all the time. Other devices, such as a walkie-talkie or a browser that detects speech
    by itself, deliver when somebody speaks; a device that has ever paused is one of those, and is never said to
    stand still.

    Args:
        limit_s: How long a steady device may deliver nothing, in seconds; ``None``: for ever.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = math.inf if limit_s is None else limit_s
        self._opened_at = 0.0
        self._last_at: float | None = None
        self._pauses = False
        self._steady = False

    def opened(self, now: float) -> float | None:
        """Note that the device was opened; return the time by which it has to deliver, or ``None`` for no limit."""
        self._opened_at = now
        self._last_at = now
        return self._deadline(now)

    def delivered(self, now: float) -> float | None:
        """Note that it delivered audio; return as `opened` does."""
        if not self._steady:
            if self._last_at is not None and now - self._last_at > PAUSE_S:
                self._pauses = True
            self._steady = not self._pauses and now - self._opened_at >= STEADY_S
        self._last_at = now
        return self._deadline(now)

    def _deadline(self, now: float) -> float | None:
        return now + self._limit_s if self._steady and self._limit_s < math.inf else None
