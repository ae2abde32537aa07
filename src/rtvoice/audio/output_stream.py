"""A PortAudio stream that plays."""

from collections.abc import Callable
from typing import Any

from rtvoice.audio.device_stream import DeviceStream
from rtvoice.audio.pcm import SAMPLE_BYTES, samples_in
from rtvoice.errors import AudioDeviceError


class OutputStream(DeviceStream):
    """A stream that plays.

    Args:
        device: As in ``DeviceStream``, as are the other unnamed ones.
        sample_rate: See there.
        block_ms: See there.
        latency: See there.
        on_lost: See there.
        render: Called in PortAudio's thread with a number of samples and the loop's time at which the first will
            be heard; returns exactly that many samples of PCM16 mono.
    """

    kind = "output"

    def __init__(
        self,
        device: int | str | None,
        *,
        sample_rate: int,
        block_ms: float,
        latency: float | str,
        on_lost: Callable[[AudioDeviceError], None],
        render: Callable[[int, float], bytes],
    ) -> None:
        super().__init__(device, sample_rate=sample_rate, block_ms=block_ms, latency=latency, on_lost=on_lost)
        self._render = render
        self._block = round(sample_rate * block_ms / 1000)
        self._converted = b""

    def _rates(self, device_rate: int) -> tuple[int, int]:
        return self._sample_rate, device_rate

    def _handle(self, data: Any, frames: int, time_info: Any, status: Any) -> None:
        audible = time_info.outputBufferDacTime
        if audible <= time_info.currentTime:  # some drivers report nonsense
            audible = time_info.currentTime + self._live.latency_s
        at = audible + self._clock_offset()
        if self._converter is None:
            data[:] = self._render(frames, at)
            return
        # Converted here and not in play_chunk(): so the buffer and its counts stay in samples of the session, and
        # the one resampler runs through silence, clears and pauses without a seam. It costs 0.1 ms per block.
        wanted = frames * SAMPLE_BYTES
        while len(self._converted) < wanted:
            held_s = samples_in(self._converted) / self._live.rate + self._converter.delay_s
            self._converted += self._converter.convert(self._render(self._block, at + held_s))
        data[:] = self._converter.to_device(self._converted[:wanted], self._live.channels)
        self._converted = self._converted[wanted:]
