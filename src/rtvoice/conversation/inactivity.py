"""How long nobody has spoken."""

import asyncio
import math
import time

from rtvoice.errors import ConfigurationError


class ConversationInactivityTimer:
    """Measures the time since the last sign of life.

    Inside a running event loop it goes by the loop's clock, elsewhere by the monotonic clock.

    Args:
        timeout_seconds: The time that counts as too long, in seconds, greater than 0.

    Raises:
        ConfigurationError: ``timeout_seconds`` is not positive.
    """

    def __init__(self, timeout_seconds: float) -> None:
        if not timeout_seconds > 0:
            raise ConfigurationError(f"timeout_seconds must be greater than 0, not {timeout_seconds!r}")
        self._timeout = timeout_seconds
        self._reset_at: float | None = None

    def reset(self) -> None:
        """Start anew from now."""
        self._reset_at = _now()

    def elapsed(self) -> float:
        """Return the seconds since the last `reset`, 0.0 before the first."""
        return 0.0 if self._reset_at is None else _now() - self._reset_at

    def remaining(self) -> int:
        """Return the whole seconds left, at least 0."""
        return max(0, math.floor(self._timeout - self.elapsed()))

    def has_timed_out(self) -> bool:
        """Return whether the time is over."""
        return self.elapsed() >= self._timeout


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
