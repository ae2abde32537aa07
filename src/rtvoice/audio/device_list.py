"""PortAudio's list of devices: a snapshot that is renewed when a device was lost.

PortAudio lists the devices when it is initialised and never again, so a device that was plugged in later is unknown,
and an index may mean another device by now. Only ending and initialising PortAudio anew renews the list (31 ms
measured), and that ends every stream of the process. So streams of our own step aside for the moment, and while the
application has a stream of its own the list is left as it is.
"""

import gc
import logging
from contextlib import suppress
from typing import Any, Protocol

from rtvoice.audio.portaudio import load_sounddevice, one_at_a_time
from rtvoice.errors import AudioDeviceError

logger = logging.getLogger(__name__)


class Stream(Protocol):
    """A stream of ours that can step aside; its members are called under `one_at_a_time`, and may block."""

    def step_aside(self) -> None:
        """Give the device back."""
        ...

    def step_back(self, sd: Any) -> None:
        """Open the device again; a failure is reported as its loss, not raised."""
        ...


_streams: dict[Stream, None] = {}
"""The open streams; guarded by `one_at_a_time`."""


def register(stream: Stream) -> None:
    """Note that a stream is open; under `one_at_a_time`."""
    _streams[stream] = None


def forget(stream: Stream) -> None:
    """Note that a stream is not open any more; under `one_at_a_time`."""
    _streams.pop(stream, None)


def renew() -> bool:
    """Have PortAudio list the devices anew; blocks.

    Returns:
        Whether it did: not while the application has a stream of its own.

    Raises:
        AudioDeviceError: PortAudio cannot be initialised just now; until that works, all streams of ours are lost.
    """
    sd = load_sounddevice()
    with one_at_a_time:
        ours = list(_streams)
        for stream in ours:
            stream.step_aside()
        try:
            if _has_open_streams(sd):
                logger.warning("The list of audio devices is not renewed: the application has a stream of its own")
                return False
            with suppress(sd.PortAudioError):  # it is not initialised: that has failed the last time
                sd._terminate()  # the way that sounddevice's own documentation gives
            sd._initialize()
        except sd.PortAudioError as error:
            raise AudioDeviceError(f"PortAudio cannot look for devices: {error}") from error
        finally:
            for stream in ours:
                stream.step_back(sd)
    return True


def _has_open_streams(sd: Any) -> bool:
    """Whether any stream of sounddevice is open; it keeps no list of them, but the garbage collector does.

    One that could not be opened has no latency, although it does not call itself closed.
    """
    streams = (each for each in gc.get_objects() if issubclass(type(each), sd._StreamBase))
    return any(hasattr(each, "latency") and not each.closed for each in streams)
