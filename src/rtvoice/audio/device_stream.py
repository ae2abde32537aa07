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

from rtvoice.audio import device_list
from rtvoice.audio.detached import run_detached
from rtvoice.audio.devices import AudioStats
from rtvoice.audio.portaudio import (
    Kind,
    OpenedStream,
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

WATCH_INTERVAL_S = 0.3
"""Seconds between looks at whether the stream still calls back."""

SILENT_LOOKS = 3
"""Looks in a row without a callback after which the device counts as lost; one alone may be a blocked interpreter."""

SILENT_LOOKS_AT_START = 16
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
        self._discarded = False  # it has ended for good
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
            await run_detached(self._open, timeout_s=OPEN_TIMEOUT_S, undo=lambda _: self._discard())
        except TimeoutError as error:
            raise AudioDeviceError(
                f"the {self.kind} device {self._wanted!r} did not open within {OPEN_TIMEOUT_S:g} s. Reconnect it, or "
                "choose another with device=."
            ) from error
        self._opened = self._live  # which may have stepped aside since it was opened
        self._watch = self._loop.call_later(WATCH_INTERVAL_S, self._look)
        stats = self.stats()
        logger.info(
            "Opened %s device %s: %d Hz, %.0f ms latency.", self.kind, stats.device, stats.device_rate, stats.latency_ms
        )

    async def close(self) -> None:
        """End the stream at once. Idempotent; waits for the device at most ``CLOSE_TIMEOUT_S``."""
        opened, self._opened = self._opened, None
        if opened is not None:
            self._ending = True
            self._stop_watching()
            await self._unhurried("close", self._discard)

    async def flush(self, when_silent: Callable[[], None]) -> None:
        """Drop what the device has buffered, by ending and restarting the stream.

        Args:
            when_silent: Called at the moment it has ended, from another thread.
        """
        if not self.is_open:
            return

        def restart() -> None:
            with one_at_a_time:
                self._ending = True
                self._live.stream.abort()
                when_silent()
                try:
                    self._live.stream.start()
                finally:
                    self._ending = self._discarded

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

    def step_aside(self) -> None:
        """Give the device back while PortAudio looks for devices; see `device_list.renew`."""
        self._ending = True
        self._live.stream.abort()
        self._live.stream.close()

    def step_back(self, sd: Any) -> None:
        """Open the device again after `step_aside`; if that fails, it is lost."""
        wanted = None if self._wanted is None else self._live.device.name  # its index may have changed
        try:
            opened = self._connect(sd, wanted)
            opened.stream.start()
        except (AudioDeviceError, sd.PortAudioError) as error:
            self._ending = self._discarded
            self._lose(f"did not come back when PortAudio had looked for devices: {error}")
            return
        if self._opened is not None:
            self._opened = opened
        self._ending = self._discarded

    def _open(self) -> OpenedStream:
        """Open and start the stream; blocks."""
        sd = load_sounddevice()
        self._abort = sd.CallbackAbort
        with one_at_a_time:
            opened = self._connect(sd, self._wanted)
            try:
                opened.stream.start()
            except sd.PortAudioError as error:
                self._abandon()
                message = f"the {self.kind} device {opened.device} does not start: {error}"
                raise AudioDeviceError(message) from error
            device_list.register(self)
        try:
            self._opened_up()
        except BaseException:
            self._discard()
            raise
        return opened

    def _connect(self, sd: Any, wanted: int | str | None) -> OpenedStream:
        """Open the stream without starting it; under `one_at_a_time`."""
        self._live = opened = open_stream(
            sd,
            find_device(sd, wanted, self.kind),
            self.kind,
            sample_rate=self._sample_rate,
            block_ms=self._block_ms,
            latency=self._latency,
            callback=self._callback,
            finished_callback=self._finished,
        )
        self._converter = None
        if (opened.rate, opened.channels) != (self._sample_rate, 1):
            try:
                from rtvoice.audio.resampling import RateConverter
            except BaseException:
                self._abandon()
                raise
            self._converter = RateConverter(*self._rates(opened.rate))
        return opened

    def _abandon(self) -> None:
        """Give back what was opened in vain; under `one_at_a_time`."""
        self._ending = True
        self._live.stream.abort()
        self._live.stream.close()

    def _discard(self) -> None:
        """End the stream for good; blocks."""
        self._closing()
        with one_at_a_time:  # also to abort it: it may just be stepping aside
            self._ending = self._discarded = True
            device_list.forget(self)
            self._live.stream.abort()
            self._live.stream.close()

    def _opened_up(self) -> None:  # noqa: B027 - few have anything to do
        """Do what else is to be done when the stream has begun; may block, and refuse the device."""

    def _closing(self) -> None:  # noqa: B027
        """Undo it; may block."""

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
