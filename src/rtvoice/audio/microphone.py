"""The microphone: a PortAudio callback stream, and the queue between its thread and the event loop."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace

from rtvoice.audio.devices import AudioInputDevice, AudioStats
from rtvoice.audio.input_stream import InputStream
from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE, ms_to_samples, samples_in, samples_to_ms
from rtvoice.audio.portaudio import choose_device
from rtvoice.audio.reopening import reopen
from rtvoice.audio.taps import Tap, Taps
from rtvoice.errors import AudioDeviceError, ConfigurationError

logger = logging.getLogger(__name__)

BLOCK_MS = 20
"""Length of the blocks the device delivers, in milliseconds: half of it is the average delay, and PortAudio sizes
the device's buffer in multiples of it."""

REPORT_INTERVAL_S = 10.0
"""Least time between two log lines about lost audio."""


class _Capture:
    """What one run of the stream has captured; written by the device's thread, read by the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, overflows: int, dropped: int) -> None:
        self.wake = asyncio.Event()
        self.ended = False
        self.error: AudioDeviceError | None = None
        self.overflows = overflows
        self.dropped = dropped  # samples
        self._loop = loop
        self._limit = limit
        self._lock = threading.Lock()
        self._blocks: deque[bytes] = deque()
        self._samples = 0

    def put(self, pcm: bytes, overflowed: bool) -> None:
        """Queue a block; the oldest one goes when nobody fetches them."""
        with self._lock:
            self.overflows += overflowed
            self._blocks.append(pcm)
            self._samples += samples_in(pcm)
            while self._samples > self._limit:
                lost = samples_in(self._blocks.popleft())
                self._samples -= lost
                self.dropped += lost
        with suppress(RuntimeError):  # the loop is closed: nobody will fetch it
            self._loop.call_soon_threadsafe(self.wake.set)

    def take(self) -> bytes:
        """Return everything that waits."""
        with self._lock:
            taken = b"".join(self._blocks)
            self._blocks.clear()
            self._samples = 0
        return taken

    def end(self, error: AudioDeviceError | None = None) -> None:
        """Let the reader come to its end, or fail, once it has fetched what waits. In the event loop."""
        self.ended = True
        self.error = self.error or error
        self.wake.set()


class MicrophoneInput(AudioInputDevice):
    """A microphone, through PortAudio. Needs the ``audio`` extra; also offers taps, ``stats()`` and ``reopen()``.

    Args:
        device_index: Index of the device in PortAudio's list (``python -m sounddevice``); indices move when devices
            come and go.
        sample_rate: Samples per second of the chunks; the Realtime API takes 24 000. A device that cannot do it is
            opened at its own rate and resampled.
        chunk_size: Samples per chunk of ``stream_chunks()``; 480 are 20 ms. The device delivers 20 ms blocks in any
            case, so a larger value only delays the audio.
        device: Instead of ``device_index``: an index, or a part of the device's name. ``None``: the system's default.
        latency: ``"low"``, ``"high"`` or seconds, as sounddevice takes it.
        buffer_s: Seconds of audio to keep while nobody fetches it; then the oldest is dropped, counted and reported.

    Raises:
        ConfigurationError: Both ``device_index`` and ``device`` are given, or a number is out of range.
    """

    def __init__(
        self,
        device_index: int | None = None,
        sample_rate: int = SAMPLE_RATE,
        chunk_size: int = 480,
        *,
        device: int | str | None = None,
        latency: float | str = "low",
        buffer_s: float = 5.0,
    ) -> None:
        self._device = choose_device(device_index, device)
        if sample_rate < 1 or chunk_size < 1 or buffer_s < 0.1:
            raise ConfigurationError("sample_rate and chunk_size must be at least 1, buffer_s at least 0.1")
        self._sample_rate = sample_rate
        self._chunk_size = chunk_size
        self._limit = ms_to_samples(1000 * buffer_s, sample_rate)
        self._latency = latency
        self._taps = Taps()
        self._stream: InputStream | None = None
        self._capture: _Capture | None = None
        self._losses = (0, 0)  # overflows and samples dropped before the device was opened the last time
        self._reported = (0, 0)
        self._reported_at = -REPORT_INTERVAL_S

    async def start(self) -> None:
        """Open the microphone.

        Raises:
            AudioExtraMissingError: sounddevice or PortAudio is not installed.
            AudioDeviceError: The device does not exist or cannot be opened, or is already started.
        """
        if self._stream is not None:
            raise AudioDeviceError("this microphone is already started; call stop() before starting it again")
        self._losses = self._reported = (0, 0)
        await self._open(self._device)

    async def reopen(self) -> None:
        """Open the microphone again after it was lost, or the system's default in its place; counters go on.

        Waits up to about eight seconds for it to come back. Other streams of rtvoice in this process fall silent for
        a tenth of a second if PortAudio has to look for devices.

        Raises:
            AudioDeviceError: It did not come back, and there is no default device either.
        """
        await self.stop()
        if self._capture is not None:
            self._losses = (self._capture.overflows, self._capture.dropped)
        await reopen(lambda device: self._open(device, may_be_monitor=False), self._device)

    async def _open(self, device: int | str | None, *, may_be_monitor: bool = True) -> None:
        loop = asyncio.get_running_loop()
        capture = _Capture(loop, self._limit, *self._losses)

        def on_block(pcm: bytes, at: float, overflowed: bool) -> None:
            capture.put(pcm, overflowed)
            self._taps.send(pcm, at, loop)

        stream = InputStream(
            device,
            sample_rate=self._sample_rate,
            block_ms=BLOCK_MS,
            latency=self._latency,
            on_lost=capture.end,
            on_block=on_block,
            may_be_monitor=may_be_monitor,
        )
        self._stream, self._capture = stream, capture
        try:
            await stream.open()
        except BaseException:
            self._stream = None
            raise
        if self._stream is not stream:  # stopped while it was opening
            await stream.close()

    async def stop(self) -> None:
        """Close the microphone; ``stream_chunks()`` ends after the audio captured so far. Idempotent."""
        stream, self._stream = self._stream, None
        if stream is None or self._capture is None:
            return
        try:
            await stream.close()
        finally:
            self._capture.end()
            self._report_losses(self._capture)

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        """Yield the captured audio in chunks of ``chunk_size`` samples; for one reader at a time.

        Raises:
            AudioDeviceError: The microphone is not started, or was lost.
        """
        capture = self._capture
        if capture is None:
            raise AudioDeviceError("the microphone is not started: call start() first")
        chunk_bytes = self._chunk_size * SAMPLE_BYTES
        pending = b""
        while True:
            if not capture.ended:
                await capture.wake.wait()
                capture.wake.clear()
            ended = capture.ended
            pending += capture.take()
            self._report_losses(capture, at_most_every_s=REPORT_INTERVAL_S)
            whole = len(pending) - len(pending) % chunk_bytes
            for start in range(0, whole, chunk_bytes):
                yield pending[start : start + chunk_bytes]
            pending = pending[whole:]
            if ended:
                break
        if pending:
            yield pending
        if capture.error is not None:
            raise capture.error

    @property
    def sample_rate(self) -> int:
        """Samples per second of the chunks."""
        return self._sample_rate

    @property
    def is_active(self) -> bool:
        """Whether the microphone is open and alive."""
        return self._stream is not None and self._stream.is_open

    def add_tap(self, tap: Tap) -> Callable[[], None]:
        """See ``SupportsTap``: ``tap(pcm, at)`` gets every block at ``sample_rate``, from the device's thread."""
        return self._taps.add(tap)

    def stats(self) -> AudioStats:
        """Return the counters since ``start()``; the device's name is empty while it is closed."""
        stats = AudioStats(device="", device_rate=0, latency_ms=0.0) if self._stream is None else self._stream.stats()
        if self._capture is None:
            return stats
        return replace(
            stats,
            overflows=self._capture.overflows,
            dropped_ms=samples_to_ms(self._capture.dropped, self._sample_rate),
        )

    def _report_losses(self, capture: _Capture, at_most_every_s: float = 0.0) -> None:
        losses = (capture.overflows, capture.dropped)
        now = asyncio.get_running_loop().time()
        if losses == self._reported or now - self._reported_at < at_most_every_s:
            return
        logger.warning(
            "Lost microphone audio: %d ms were not fetched in time, and the device overflowed %d times.",
            samples_to_ms(losses[1] - self._reported[1], self._sample_rate),
            losses[0] - self._reported[0],
        )
        self._reported, self._reported_at = losses, now
