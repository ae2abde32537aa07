"""One PortAudio stream that calls back with session audio, watched so that it never ends in silence.

The microphone and the speaker share what is hard about a stream: opening and closing without blocking the
event loop, the device's own rate, PortAudio's clock, errors inside the callback, and devices that go away.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rtvoice.audio.detached import run_detached
from rtvoice.audio.devices import AudioStats
from rtvoice.audio.pcm import SAMPLE_BYTES, samples_in
from rtvoice.audio.portaudio import (
    Kind,
    OpenedStream,
    close_stream,
    find_device,
    load_sounddevice,
    one_at_a_time,
    open_stream,
)
from rtvoice.errors import AudioDeviceError

if TYPE_CHECKING:
    from rtvoice.audio.resampling import RateConverter

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10.0
"""Seconds that opening may take; Bluetooth and CoreAudio need up to 2."""

CLOSE_TIMEOUT_S = 2.0
"""Seconds to wait for closing; after that the thread that closes is left behind."""

WATCH_INTERVAL_S = 0.5
"""Seconds between looks at whether the stream still calls back."""

SILENT_LOOKS = 4
"""Looks in a row without a callback after which the device counts as lost; one alone may be a blocked interpreter."""

SILENT_LOOKS_AT_START = 10
"""The same before the first callback."""


class DeviceStream(ABC):
    """One opened stream.

    Args:
        device: An index, a part of the device's name, or ``None`` for the system's default.
        sample_rate: Rate of the audio on our side, in Hz; the device may work at another one.
        block_ms: Length of a block, in milliseconds.
        latency: ``"low"``, ``"high"`` or seconds, as sounddevice takes it.
        on_lost: Called in the event loop, once, when the stream ended although nobody asked.
    """

    kind: Kind

    def __init__(
        self,
        device: int | str | None,
        *,
        sample_rate: int,
        block_ms: float,
        latency: float | str,
        on_lost: Callable[[AudioDeviceError], None],
    ) -> None:
        self._wanted = device
        self._sample_rate = sample_rate
        self._block_ms = block_ms
        self._latency = latency
        self._on_lost = on_lost
        self._opened: OpenedStream | None = None  # as the event loop sees it
        self._live: OpenedStream  # as the device's thread sees it, which is called back before open() returns
        self._converter: RateConverter | None = None
        self._lost = False
        self._ending = False  # an end of the stream is our own doing
        self._callbacks = 0
        self._callbacks_seen = 0
        self._silent_looks = 0
        self._watch: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._abort: type[Exception]

    async def open(self) -> None:
        """Open the device and start it. Once per object.

        Raises:
            AudioExtraMissingError: sounddevice or PortAudio is missing.
            AudioDeviceError: The device does not exist, refuses, or does not answer.
        """
        self._loop = asyncio.get_running_loop()
        try:
            opened = await run_detached(self._open, timeout_s=OPEN_TIMEOUT_S, undo=self._discard)
        except TimeoutError as error:
            raise AudioDeviceError(
                f"the {self.kind} device {self._wanted!r} did not open within {OPEN_TIMEOUT_S:g} s. Reconnect it, or "
                "choose another with device=."
            ) from error
        self._opened = opened
        self._watch = self._loop.call_later(WATCH_INTERVAL_S, self._look)
        stats = self.stats()
        logger.info(
            "Opened %s device %s: %d Hz, %.0f ms latency.", self.kind, stats.device, stats.device_rate, stats.latency_ms
        )

    async def close(self) -> None:
        """End the stream at once. Idempotent; waits for the device at most ``CLOSE_TIMEOUT_S``."""
        opened, self._opened = self._opened, None
        if opened is not None:
            self._stop_watching()
            await self._unhurried("close", lambda: self._discard(opened))

    async def flush(self, when_silent: Callable[[], None]) -> None:
        """Drop what the device has buffered, by ending and restarting the stream.

        Args:
            when_silent: Called at the moment it has ended, from another thread.
        """
        opened = self._opened
        if opened is None or self._lost:
            return

        def restart() -> None:
            self._ending = True
            opened.stream.abort()
            when_silent()
            opened.stream.start()
            self._ending = self._opened is None

        await self._unhurried("restart", restart)

    @property
    def is_open(self) -> bool:
        """Whether the stream is open and alive."""
        return self._opened is not None and not self._lost

    def stats(self) -> AudioStats:
        """Return what the device says about itself, without counters."""
        if self._opened is None:
            return AudioStats(device="", device_rate=0, latency_ms=0.0)
        opened = self._opened
        return AudioStats(
            device=opened.device.name, device_rate=opened.rate, latency_ms=round(opened.latency_s * 1000, 1)
        )

    @abstractmethod
    def _rates(self, device_rate: int) -> tuple[int, int]:
        """Return the (source, target) rates of the conversion, in Hz."""

    @abstractmethod
    def _handle(self, data: Any, frames: int, time_info: Any, status: Any) -> None:
        """Handle one block, in PortAudio's thread: no waiting, no logging."""

    def _open(self) -> OpenedStream:
        """Open and start the stream; blocks."""
        sd = load_sounddevice()
        self._abort = sd.CallbackAbort
        with one_at_a_time:
            opened = open_stream(
                sd,
                find_device(sd, self._wanted, self.kind),
                self.kind,
                sample_rate=self._sample_rate,
                block_ms=self._block_ms,
                latency=self._latency,
                callback=self._callback,
                finished_callback=self._finished,
            )
        self._live = opened
        try:
            if (opened.rate, opened.channels) != (self._sample_rate, 1):
                from rtvoice.audio.resampling import RateConverter

                self._converter = RateConverter(*self._rates(opened.rate))
            opened.stream.start()
        except sd.PortAudioError as error:
            self._discard(opened)
            raise AudioDeviceError(f"the {self.kind} device {opened.device} does not start: {error}") from error
        except BaseException:
            self._discard(opened)
            raise
        return opened

    def _discard(self, opened: OpenedStream) -> None:
        self._ending = True
        close_stream(opened.stream)

    async def _unhurried(self, what: str, call: Callable[[], None]) -> None:
        """Run a call to the device in its own thread, and go on without it if it hangs."""
        try:
            await run_detached(call, timeout_s=CLOSE_TIMEOUT_S)
        except TimeoutError:
            logger.warning(
                "The %s device did not %s within %g s; going on without it.", self.kind, what, CLOSE_TIMEOUT_S
            )

    def _callback(self, data: Any, frames: int, time_info: Any, status: Any) -> None:
        self._callbacks += 1
        try:
            self._handle(data, frames, time_info, status)
        except Exception as error:
            self._lose(f"failed in its callback: {error!r}", error)
            raise self._abort from error

    def _finished(self) -> None:
        """PortAudio says that the stream has ended; it does so for every end."""
        if not self._ending:
            self._lose("ended by itself: the device was removed, or the sound server stopped")

    def _look(self) -> None:
        """Check that the stream still calls back: some hosts just fall silent when a device goes."""
        if self._callbacks != self._callbacks_seen:
            self._silent_looks = 0
        else:
            self._silent_looks += 1
        self._callbacks_seen = self._callbacks
        if self._silent_looks >= (SILENT_LOOKS if self._callbacks else SILENT_LOOKS_AT_START):
            self._lose(f"has been dead for {self._silent_looks * WATCH_INTERVAL_S:g} s")
        else:
            self._watch = self._loop.call_later(WATCH_INTERVAL_S, self._look)

    def _lose(self, what: str, cause: Exception | None = None) -> None:
        """Report the end of the stream, once; from any thread."""
        if self._lost:
            return
        self._lost = True
        error = AudioDeviceError(f"the {self.kind} device {self._live.device} {what}")
        error.__cause__ = cause
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._report, error)

    def _report(self, error: AudioDeviceError) -> None:
        self._stop_watching()
        if not self._ending:
            self._on_lost(error)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _clock_offset(self) -> float:
        """Return what to add to a time of PortAudio's clock to get the event loop's; taken anew for every block."""
        return self._loop.time() - self._live.stream.time


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
    ) -> None:
        super().__init__(device, sample_rate=sample_rate, block_ms=block_ms, latency=latency, on_lost=on_lost)
        self._on_block = on_block

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
