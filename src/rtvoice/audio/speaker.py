"""The loudspeaker: a PortAudio callback that pulls from our own buffer, so that every sample is counted."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from rtvoice.audio.devices import AudioOutputDevice, AudioStats, PlaybackPosition
from rtvoice.audio.output_stream import OutputStream
from rtvoice.audio.pcm import SAMPLE_RATE
from rtvoice.audio.playback_buffer import PlaybackBuffer
from rtvoice.audio.portaudio import choose_device
from rtvoice.audio.reopening import reopen
from rtvoice.audio.taps import Tap, Taps
from rtvoice.errors import AudioDeviceError, ConfigurationError

_DRAIN_LOOK_S = 0.01
"""Least time between two looks at whether all has been heard, in seconds."""


class SpeakerOutput(AudioOutputDevice):
    """A loudspeaker, through PortAudio. Needs the ``audio`` extra.

    Offers every optional protocol for outputs: exact positions, ``finish_response()``, pause, drain, taps,
    statistics, ``reopen()``, ``when_lost()``.

    Args:
        device_index: Index of the device in PortAudio's list (``python -m sounddevice``); indices move when devices
            come and go.
        sample_rate: Samples per second of the chunks; the Realtime API sends 24 000. A device that cannot do it is
            opened at its own rate and resampled.
        device: Instead of ``device_index``: an index, or a part of the device's name. ``None``: the system's default.
        latency: ``"low"``, ``"high"`` or seconds, as sounddevice takes it. ``"low"`` is about two blocks. Choose 0.1
            where other Python code holds the interpreter for tens of milliseconds and speech stutters.
        block_ms: Length of the device's blocks, in milliseconds.
        prebuffer_ms: Audio to gather before a response begins to sound, in milliseconds.
        hard_clear: On ``clear_buffer()`` also drop what the device has buffered. Worth it where its latency is long
            (Bluetooth); costs the fade and restarts the stream.

    Raises:
        ConfigurationError: Both ``device_index`` and ``device`` are given, or a number is out of range.
    """

    def __init__(
        self,
        device_index: int | None = None,
        sample_rate: int = SAMPLE_RATE,
        *,
        device: int | str | None = None,
        latency: float | str = "low",
        block_ms: float = 20,
        prebuffer_ms: float = 60,
        hard_clear: bool = False,
    ) -> None:
        self._device = choose_device(device_index, device)
        if sample_rate < 1 or block_ms < 1 or prebuffer_ms < 0:
            raise ConfigurationError("sample_rate and block_ms must be at least 1, prebuffer_ms at least 0")
        self._sample_rate = sample_rate
        self._latency = latency
        self._block_ms = block_ms
        self._prebuffer_ms = prebuffer_ms
        self._hard_clear = hard_clear
        self._taps = Taps()
        self._stream: OutputStream | None = None
        self._lost: AudioDeviceError | None = None
        self._when_lost: list[Callable[[Exception], None]] = []
        self._underruns = 0  # before the device was opened the last time
        self._buffer = self._new_buffer()
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Open the loudspeaker; counts begin at 0.

        Raises:
            AudioExtraMissingError: sounddevice or PortAudio is not installed.
            AudioDeviceError: The device does not exist or cannot be opened, or is already started.
        """
        if self._stream is not None:
            raise AudioDeviceError("this speaker is already started; call stop() before starting it again")
        self._underruns = 0
        await self._open(self._device)

    async def reopen(self) -> None:
        """Open the loudspeaker again after it was lost, or the system's default in its place.

        What was not heard is dropped; positions begin at 0 again, other counters go on. Waits up to about eight
        seconds for it to come back. Other streams of rtvoice in this process fall silent for a tenth of a second if
        PortAudio has to look for devices.

        Raises:
            AudioDeviceError: It did not come back, and there is no default device either.
        """
        await self.stop()
        self._underruns += self._buffer.underruns
        self._buffer = self._new_buffer()
        await reopen(self._open, self._device)

    async def _open(self, device: int | str | None) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._lost = None
        self._buffer = buffer = self._new_buffer()

        def render(samples: int, at: float) -> bytes:
            pcm = buffer.render(samples, at)
            self._taps.send(pcm, at, loop)
            return pcm

        stream = OutputStream(
            device,
            sample_rate=self._sample_rate,
            block_ms=self._block_ms,
            latency=self._latency,
            on_lost=self._lose,
            render=render,
        )
        self._stream = stream
        try:
            await stream.open()
        except BaseException:
            self._stream = None
            raise
        if self._stream is not stream:  # stopped while it was opening
            await stream.close()

    async def stop(self) -> None:
        """Close the loudspeaker; what is not yet audible is dropped. Idempotent."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._buffer.recall(self._loop.time())
            await stream.close()

    async def play_chunk(self, chunk: bytes) -> None:
        """Queue audio; returns at once.

        Raises:
            AudioDeviceError: The speaker is not started or was lost, or ten minutes of audio are waiting already.
        """
        if self._lost is not None:
            raise self._lost
        if self._stream is None:
            raise AudioDeviceError("the speaker is not started: call start() first")
        self._buffer.accept(chunk)

    async def finish_response(self) -> None:
        """Play what is held back, however short it is: the response has no further audio."""
        self._buffer.finish_response()

    async def clear_buffer(self) -> None:
        """Drop what is not yet audible. ``position().rendered`` read after it is exactly what the user gets to hear."""
        self._buffer.clear()
        if self._hard_clear and self._stream is not None:
            await self._stream.flush(lambda: self._buffer.recall(self._loop.time()))

    async def pause(self) -> None:
        """Fall silent; queued audio and counts stand still."""
        self._buffer.pause()

    async def resume(self) -> None:
        """Go on where ``pause()`` stopped."""
        self._buffer.resume()

    async def drain(self) -> None:
        """Wait until everything accepted so far has been heard, or dropped; returns at once if the device is gone.

        Call ``finish_response()`` first, or a last piece may be held back for a moment. While it is paused, this waits.
        """
        target = self.position().accepted
        buffer = self._buffer
        while buffer is self._buffer and self._lost is None and self._stream is not None:
            position = self.position()
            left = target - position.heard - position.discarded
            if left <= 0:
                return
            await asyncio.sleep(max(_DRAIN_LOOK_S, left / self._sample_rate))

    @property
    def sample_rate(self) -> int:
        """Samples per second of the chunks."""
        return self._sample_rate

    @property
    def is_playing(self) -> bool:
        """Whether there is accepted audio that has not been heard yet; also true while it is paused."""
        if self._stream is None or self._lost is not None:
            return False
        position = self.position()
        return position.heard + position.discarded < position.accepted

    def position(self) -> PlaybackPosition:
        """See ``SupportsPosition``; exact to about a millisecond, as far as the device knows its latency."""
        return self._buffer.position(0.0 if self._stream is None else self._loop.time())

    def add_tap(self, tap: Tap) -> Callable[[], None]:
        """See ``SupportsTap``: ``tap(pcm, at)`` gets all that is rendered, silence too, from the device's thread."""
        return self._taps.add(tap)

    def when_lost(self, call: Callable[[Exception], None]) -> Callable[[], None]:
        """See ``ReportsLoss``: ``call(reason)`` within a second after the device has gone."""
        self._when_lost.append(call)
        return lambda: self._when_lost.remove(call)

    def stats(self) -> AudioStats:
        """Return the counters since ``start()``; the device's name is empty while it is closed."""
        stats = AudioStats(device="", device_rate=0, latency_ms=0.0) if self._stream is None else self._stream.stats()
        return replace(stats, underruns=self._underruns + self._buffer.underruns)

    def _new_buffer(self) -> PlaybackBuffer:
        return PlaybackBuffer(sample_rate=self._sample_rate, prebuffer_ms=self._prebuffer_ms)

    def _lose(self, error: AudioDeviceError) -> None:
        self._lost = error
        self._buffer.recall(self._loop.time())  # what it had not played yet is not heard
        for call in tuple(self._when_lost):
            call(error)
