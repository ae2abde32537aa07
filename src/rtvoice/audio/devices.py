"""What an audio device is: the two base classes that users implement, and what a device may offer on top.

All PCM is 16-bit signed little-endian, mono, 24 000 samples per second: 48 bytes are one millisecond.
Chunks may have any size; an odd number of bytes is allowed, the spare byte belongs to the next chunk.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class AudioInputDevice(ABC):
    """A source of the user's audio.

    The agent calls ``start()`` once, after the session is configured, then iterates
    ``stream_chunks()``, and calls ``stop()`` once if ``start()`` was attempted. A device that fails in between is
    stopped and started once more; see ``stream_chunks()``.
    """

    @abstractmethod
    async def start(self) -> None:
        """Open the source. Whatever this raises ends ``run()`` with that error."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the source. A pending ``stream_chunks()`` should end."""

    @abstractmethod
    def stream_chunks(self) -> AsyncIterator[bytes]:
        """Return the audio, chunk by chunk.

        When the iterator ends, no more user audio is sent and the session stays open.
        When it raises, or yields nothing for ``WatchdogPolicy.capture_s``, the device counts as lost: it is opened
        anew (``reopen()`` if it has that, else ``stop()`` and ``start()``) and this is called again. If that
        fails, or the device is lost again within ten seconds, ``on_agent_error`` fires (``type="audio_error"``)
        and the agent stops, or goes on without it (``on_device_lost="continue"``).
        """

    @property
    @abstractmethod
    def is_active(self) -> bool:
        """Whether the source is open."""


class AudioOutputDevice(ABC):
    """A sink for the assistant's audio.

    The agent calls ``start()`` once, ``play_chunk()`` for every piece of audio in order, and
    ``stop()`` once if ``start()`` was attempted. ``clear_buffer()`` may be called while a
    ``play_chunk()`` is still waiting. A device that fails in between is stopped and started once more; see
    ``play_chunk()``.
    """

    @abstractmethod
    async def start(self) -> None:
        """Open the sink. Whatever this raises ends ``run()`` with that error."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the sink; what is not yet audible may be dropped."""

    @abstractmethod
    async def play_chunk(self, chunk: bytes) -> None:
        """Take audio. It may return at once and queue the audio, or wait until there is room for it.

        When it raises, or does not return for ``WatchdogPolicy.playback_s`` longer than the audio lasts, the device
        counts as lost: it is opened anew (``reopen()`` if it has that, else ``stop()`` and ``start()``) and gets
        again what was not heard. If that fails, or the device is lost again within ten seconds,
        ``on_agent_error`` fires (``type="audio_error"``) and the agent stops, or goes on without it
        (``on_device_lost="continue"``).
        """

    @abstractmethod
    async def clear_buffer(self) -> None:
        """Drop everything that is not yet audible, at once: the user has interrupted."""

    @property
    @abstractmethod
    def is_playing(self) -> bool:
        """A hint whether audio is still audible.

        ``False`` is believed. ``True`` is not: playback also counts as finished when the audio
        handed over must have ended by its duration.
        """


@dataclass(frozen=True, slots=True)
class PlaybackPosition:
    """How far an output device is, in samples of the session's audio since ``start()``.

    ``accepted == rendered + queued + discarded`` holds at every moment.

    Attributes:
        accepted: Samples taken by ``play_chunk()``.
        rendered: Samples given to the hardware; nothing can take them back.
        heard: Samples that have left the loudspeaker (``rendered`` less the device's latency).
        discarded: Samples dropped by ``clear_buffer()``.
    """

    accepted: int
    rendered: int
    heard: int
    discarded: int


@runtime_checkable
class SupportsPosition(Protocol):
    """An output device that counts what it has played, so that interruptions are exact."""

    def position(self) -> PlaybackPosition:
        """Return the counts as of now; cheap, does not wait."""
        ...


@runtime_checkable
class SupportsFinishResponse(Protocol):
    """An output device that wants to know that a response has no further audio."""

    async def finish_response(self) -> None:
        """Called after the last chunk of a response; a jitter buffer plays out what it holds back."""
        ...


@runtime_checkable
class SupportsPause(Protocol):
    """An output device that can stand still and go on from the same sample."""

    async def pause(self) -> None:
        """Fall silent; queued audio and counts stand still."""
        ...

    async def resume(self) -> None:
        """Go on where ``pause()`` stopped."""
        ...


@runtime_checkable
class SupportsDrain(Protocol):
    """An output device that can say when everything has been heard; for applications, the agent does not use it."""

    async def drain(self) -> None:
        """Wait until all audio that was accepted has been heard, or dropped."""
        ...


@runtime_checkable
class SupportsTap(Protocol):
    """A device that shows the audio as it was really rendered or captured."""

    def add_tap(self, tap: Callable[[bytes, float], None]) -> Callable[[], None]:
        """Have ``tap(pcm, at)`` called for every block, from the device's own thread.

        Args:
            tap: Receives PCM16 24 kHz mono and the event loop's time of its first sample, in seconds.
                It must not block.

        Returns:
            A function that removes the tap.
        """
        ...


@runtime_checkable
class SupportsReopen(Protocol):
    """A device that knows better than ``stop()`` and ``start()`` how it is brought back after a failure."""

    async def reopen(self) -> None:
        """Close what is left of the device and open it again, or another one in its place; counts begin at 0.

        May take up to ten seconds, so it may wait for the device to come back.

        Raises:
            AudioDeviceError: There is no way; or any other exception.
        """
        ...


@runtime_checkable
class ReportsLoss(Protocol):
    """An output device that notices by itself that it has gone, even while nothing is played."""

    def when_lost(self, call: Callable[[Exception], None]) -> Callable[[], None]:
        """Have ``call(reason)`` called, in the event loop, each time the device has stopped working.

        Returns:
            A function that removes ``call``.
        """
        ...


@dataclass(frozen=True, slots=True)
class AudioStats:
    """Counters of a device since ``start()``; a reopening does not set them back.

    Attributes:
        device: Name of the device, as the host reports it.
        device_rate: Its own sample rate, in Hz.
        latency_ms: The latency it reports, in milliseconds.
        overflows: Times the hardware had to drop captured audio (input).
        dropped_ms: Audio dropped because nobody fetched it, in milliseconds (input).
        underruns: Times the buffer ran dry inside a response (output).
        reopenings: Times it was lost and opened anew.
    """

    device: str
    device_rate: int
    latency_ms: float
    overflows: int = 0
    dropped_ms: int = 0
    underruns: int = 0
    reopenings: int = 0


@runtime_checkable
class ReportsStats(Protocol):
    """A device that counts what went wrong."""

    def stats(self) -> AudioStats:
        """Return the counters as of now."""
        ...
