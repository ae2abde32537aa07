"""A device that has failed is opened again: once, within a bound."""

import asyncio
import logging
from dataclasses import replace
from typing import Final

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice, AudioStats, ReportsStats, SupportsReopen
from rtvoice.cancellation import is_being_cancelled, run_apart
from rtvoice.errors import AudioDeviceError

logger = logging.getLogger(__name__)

REOPEN_TIMEOUT_S: Final = 10.0
"""How long a device may take to come back, in seconds."""

SAME_LOSS_S: Final = 10.0
"""A device that is lost again so soon after it came back, in seconds, is not worth another attempt."""

STOP_TIMEOUT_S: Final = 1.0
"""How long a failed device may take to stop before it is started all the same, in seconds."""


class DeviceRecovery:
    """Opens one device again when it was lost.

    Args:
        device: The device; it has been started.
    """

    def __init__(self, device: AudioInputDevice | AudioOutputDevice) -> None:
        self._device = device
        self._reopenings = 0
        self._reopened_at: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = False

    def may_reopen(self, *, has_worked: bool) -> bool:
        """Whether `reopen` would try, rather than take this for the loss that was mended before.

        Args:
            has_worked: Whether the device has done anything since it was opened.
        """
        if self._reopened_at is None:
            return True
        return has_worked and asyncio.get_running_loop().time() - self._reopened_at >= SAME_LOSS_S

    async def reopen(self, *, has_worked: bool = True) -> None:
        """Open the device again.

        Args:
            has_worked: See `may_reopen`.

        Raises:
            AudioDeviceError: It cannot be opened, or not within `REOPEN_TIMEOUT_S`, or it was opened again only
                just now; or `end` was called.
        """
        if self._ended:
            raise AudioDeviceError("it is being stopped")
        if not self.may_reopen(has_worked=has_worked):
            raise AudioDeviceError("it was opened again only just now, and has failed again")
        self._idle.clear()
        try:
            async with asyncio.timeout(REOPEN_TIMEOUT_S) as self._patience:
                await self._open()
        except TimeoutError as error:
            raise AudioDeviceError(f"it could not be opened again within {REOPEN_TIMEOUT_S:g} s") from error
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            raise AudioDeviceError(f"it could not be opened again: {describe(error)}") from error
        finally:
            self._patience = None
            self._idle.set()
        self._reopenings += 1
        self._reopened_at = asyncio.get_running_loop().time()

    async def end(self) -> None:
        """Give up an attempt that is under way, and make no other: the device is about to be stopped."""
        self._ended = True
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())
        await self._idle.wait()

    def stats(self) -> AudioStats:
        """Return the device's counters, as far as it has any, and how often it was opened again."""
        stats = self._reported() or AudioStats(type(self._device).__name__, device_rate=0, latency_ms=0.0)
        return replace(stats, reopenings=self._reopenings)

    @property
    def device_name(self) -> str:
        """The name of the device as it reports it; empty if it does not."""
        stats = self._reported()
        return stats.device if stats is not None else ""

    def _reported(self) -> AudioStats | None:
        if not isinstance(self._device, ReportsStats):
            return None
        try:
            return self._device.stats()
        except Exception as error:  # noqa: BLE001 - code of others, which must not end a conversation for a number
            logger.warning("stats() of %s failed: %s", type(self._device).__name__, describe(error))
            return None

    async def _open(self) -> None:
        if isinstance(self._device, SupportsReopen):
            await run_apart("reopen()", self._device.reopen)
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await run_apart("stop() of a failed device", self._device.stop)
        except Exception as error:  # noqa: BLE001 - it has failed already; what counts is whether it starts
            logger.debug("The failed device could not be stopped: %s", describe(error))
        await run_apart("start() of a lost device", self._device.start)


def describe(error: BaseException) -> str:
    """Return what an exception says, or at least what it is."""
    return str(error) or type(error).__name__
