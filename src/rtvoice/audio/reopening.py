"""How a PortAudio device that was lost comes back: the same one, or else the system's default."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from rtvoice.audio import device_list
from rtvoice.audio.detached import run_detached
from rtvoice.errors import AudioDeviceError

logger = logging.getLogger(__name__)

PAUSES_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 2.0)
"""Pauses before the attempts, in seconds: a sound server that was restarted needs a moment."""

DEFAULT_AFTER: Final = 3
"""Attempts before the default device is taken for one that was asked for: it may be about to come back."""

RENEW_TIMEOUT_S: Final = 5.0
"""How long renewing PortAudio's list of devices may take, in seconds."""


async def reopen(open_device: Callable[[int | str | None], Awaitable[None]], wanted: int | str | None) -> None:
    """Open a device again, with patience.

    Each attempt tries the device as it was asked for, then with a renewed list of devices; the later ones also the
    system's default.

    Args:
        open_device: Opens the device with that index or name; ``None`` for the default.
        wanted: The device as it was asked for. An index is not tried after the list was renewed: it may mean another
            device by then.

    Raises:
        AudioDeviceError: No attempt succeeded; what the first one met.
    """
    failure: AudioDeviceError | None = None
    for attempt, pause_s in enumerate(PAUSES_S):
        await asyncio.sleep(pause_s)
        try:
            return await open_device(wanted)
        except AudioDeviceError as error:
            failure = failure or error
        try:
            await run_detached(device_list.renew, timeout_s=RENEW_TIMEOUT_S)
        except TimeoutError:
            logger.warning("PortAudio did not renew its list of devices within %g s", RENEW_TIMEOUT_S)
        except AudioDeviceError as error:
            logger.debug("The list of devices could not be renewed: %s", error)
        again = [] if isinstance(wanted, int) else [wanted]
        default = [None] if attempt >= DEFAULT_AFTER or isinstance(wanted, int) else []
        for device in dict.fromkeys([*again, *default]):
            try:
                await open_device(device)
            except AudioDeviceError as error:
                logger.debug("The device %r cannot be opened: %s", device, error)
            else:
                if device != wanted:
                    logger.warning("The device %r is gone; the system's default device takes its place", wanted)
                return None
    raise failure or AudioDeviceError("no attempt was made")
