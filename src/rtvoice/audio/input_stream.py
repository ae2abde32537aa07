"""A PortAudio stream that captures."""

import sys
from collections.abc import Callable
from typing import Any

from rtvoice.audio.device_stream import DeviceStream
from rtvoice.audio.pulse import MonitorWatch
from rtvoice.errors import AudioDeviceError

MONITOR_LOOK_S = 0.5
"""How long to wait for the sound server to say where it takes our audio from, in seconds."""


class InputStream(DeviceStream):
    """A stream that captures.

    Args:
        device: As in ``DeviceStream``, as are the other unnamed ones.
        sample_rate: See there.
        block_ms: See there.
        latency: See there.
        on_lost: See there.
        on_block: Called in PortAudio's thread with PCM16 mono, the loop's time of its first sample, and whether the
            hardware lost audio before it.
        may_be_monitor: Whether a device that turns out to be the monitor of a loudspeaker is accepted; one that is
            moved to a monitor is not, unless ``device`` asks for a monitor by name. See `rtvoice.audio.pulse`.
    """

    kind = "input"

    def __init__(
        self,
        device: int | str | None,
        *,
        sample_rate: int,
        block_ms: float,
        latency: float | str,
        on_lost: Callable[[AudioDeviceError], None],
        on_block: Callable[[bytes, float, bool], None],
        may_be_monitor: bool = True,
    ) -> None:
        super().__init__(device, sample_rate=sample_rate, block_ms=block_ms, latency=latency, on_lost=on_lost)
        self._on_block = on_block
        wants_monitor = isinstance(device, str) and "monitor" in device.casefold()
        self._watch_moves = sys.platform == "linux" and not wants_monitor
        self._may_be_monitor = may_be_monitor
        self._monitor_watch = MonitorWatch(self._moved_to_monitor)

    def _opened_up(self) -> None:
        if not self._watch_moves:
            return
        self._monitor_watch.start()
        monitor = None if self._may_be_monitor else self._monitor_watch.monitor_at_first(MONITOR_LOOK_S)
        if monitor is not None:
            raise AudioDeviceError(f"there is no microphone: the sound server gives us the loudspeaker ({monitor})")

    def _closing(self) -> None:
        self._monitor_watch.stop()

    def _moved_to_monitor(self, name: str) -> None:
        self._lose(f"was removed: the sound server now gives us what the loudspeaker plays ({name})")

    def _rates(self, device_rate: int) -> tuple[int, int]:
        return device_rate, self._sample_rate

    def _handle(self, data: Any, frames: int, time_info: Any, status: Any) -> None:
        captured = time_info.inputBufferAdcTime
        if not 0 < captured <= time_info.currentTime:  # some drivers report nonsense
            captured = time_info.currentTime - self._live.latency_s
        at = captured + self._clock_offset()
        pcm = bytes(data)  # a copy: PortAudio uses its buffer again
        if self._converter is not None:
            at -= self._converter.delay_s
            pcm = self._converter.from_device(pcm, self._live.channels)
        self._on_block(pcm, at, bool(status.input_overflow))
