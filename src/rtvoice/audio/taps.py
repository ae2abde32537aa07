"""The list of listeners that see a device's audio from the device's own thread."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)

Tap = Callable[[bytes, float], None]
"""Called with PCM16 and the event loop's time of its first sample."""


class Taps:
    """Passes blocks on; a tap that raises is removed and reported, it never silences the device."""

    def __init__(self) -> None:
        self._taps: tuple[Tap, ...] = ()  # replaced, never changed: the device's thread reads it at any time

    def add(self, tap: Tap) -> Callable[[], None]:
        """Add ``tap``; the returned function removes it, and may be called twice."""
        self._taps = (*self._taps, tap)

        def remove() -> None:
            self._taps = tuple(other for other in self._taps if other is not tap)

        return remove

    def send(self, pcm: bytes, at: float, loop: asyncio.AbstractEventLoop) -> None:
        """Call every tap; ``loop`` logs the error of one that raises."""
        for tap in self._taps:
            try:
                tap(pcm, at)
            except Exception as error:  # noqa: BLE001 - somebody else's code in the audio thread; logged below
                self._taps = tuple(other for other in self._taps if other is not tap)
                with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                    loop.call_soon_threadsafe(_report, tap, error)


def let_go(remove: Callable[[], None] | None) -> None:
    """Remove a tap by what ``add_tap()`` returned, if it did; a device that has forgotten it may raise."""
    if remove is not None:
        try:
            remove()
        except Exception:
            logger.exception("Removing an audio tap failed")


def _report(tap: Tap, error: Exception) -> None:
    logger.error("The audio tap %r raised and was removed.", tap, exc_info=error)
