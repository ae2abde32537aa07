"""A loudspeaker for tests, which knows what was heard."""

import asyncio
from dataclasses import dataclass, field

from rtvoice.audio.devices import AudioOutputDevice, PlaybackPosition
from rtvoice.errors import AudioDeviceError
from rtvoice.testing.audio_formats import SAMPLE_RATE

_ALMOST = 1e-7
"""Seconds (a four-hundredth of a sample) by which a sum of float times may miss a whole sample."""


@dataclass(slots=True)
class Played:
    """A piece of sound on its way out of a loudspeaker.

    Attributes:
        started_at: Loop time of its first sample at the device.
        pcm: Its sound; cut when it was cleared in the middle.
    """

    started_at: float
    pcm: bytes

    @property
    def ends_at(self) -> float:
        """Loop time at which its last sample is over."""
        return self.started_at + len(self.pcm) / 2 / SAMPLE_RATE

    def samples_until(self, now: float) -> int:
        """Return how many of its samples are over at a time."""
        return max(0, min(len(self.pcm) // 2, int((now - self.started_at + _ALMOST) * SAMPLE_RATE)))


@dataclass(frozen=True, slots=True)
class Cleared:
    """One call of ``clear_buffer()``.

    Attributes:
        at: Its loop time.
        heard_samples: All samples heard until then.
        dropped_samples: Samples that it dropped.
    """

    at: float
    heard_samples: int
    dropped_samples: int


@dataclass(slots=True, kw_only=True, eq=False)
class VirtualSpeaker(AudioOutputDevice):
    """A loudspeaker that plays by the loop's clock and knows, to the sample, what was heard and when.

    It has no position protocol, as most users' devices; see ``PositionedSpeaker``.

    Attributes:
        realtime: Play at the pace of the clock; if not, everything is heard the moment it arrives.
        buffer_ms: ``None``: ``play_chunk()`` queues and returns at once. Else it waits until no more than this is
            still to be played, itself included: 0 waits until the chunk is over.
        latency_ms: Time from the device to the ear; what has left the buffer can no longer be cleared.
        stuck_playing: Claim for ever to be playing, as some devices do.
        failure: Raised by ``play_chunk()``, if set.
        cleared: Every ``clear_buffer()``.
        accepted_samples: Samples taken by ``play_chunk()``.
        discarded_samples: Samples dropped by ``clear_buffer()``.
        underruns: Times the buffer had run dry when a chunk came, the first chunk not counted.
        chunks: Chunks taken.
    """

    realtime: bool = True
    buffer_ms: int | None = None
    latency_ms: float = 0.0
    stuck_playing: bool = False
    failure: Exception | None = None
    cleared: list[Cleared] = field(default_factory=list, init=False)
    accepted_samples: int = field(default=0, init=False)
    discarded_samples: int = field(default=0, init=False)
    underruns: int = field(default=0, init=False)
    chunks: int = field(default=0, init=False)
    _played: list[Played] = field(default_factory=list, init=False)
    _over: int = field(default=0, init=False)
    _over_samples: int = field(default=0, init=False)
    _spare: bytes = field(default=b"", init=False)
    _active: bool = field(default=False, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def start(self) -> None:
        """Open the loudspeaker."""
        self._active = True

    async def stop(self) -> None:
        """Close it; what is not yet audible is dropped."""
        await self.clear_buffer()
        self._active = False

    async def play_chunk(self, chunk: bytes) -> None:
        """Take a chunk.

        Raises:
            AudioDeviceError: The loudspeaker is closed.
            Exception: ``failure``.
        """
        if self.failure is not None:
            raise self.failure
        if not self._active:
            raise AudioDeviceError("the virtual loudspeaker is closed: call start() first")
        pcm = self._spare + chunk
        whole = len(pcm) // 2 * 2
        self._spare = pcm[whole:]
        now = asyncio.get_running_loop().time()
        begin = now
        if self._played:
            begin = max(now, self._played[-1].ends_at) if self.realtime else now
            self.underruns += self.realtime and self._played[-1].ends_at < now - _ALMOST
        self._played.append(Played(begin, pcm[:whole]))
        self.accepted_samples += whole // 2
        self.chunks += 1
        self._wake()
        if self.buffer_ms is not None and self.realtime:
            await self._wait_for_room(self.buffer_ms / 1000)

    async def _wait_for_room(self, allowed_s: float) -> None:
        cleared = len(self.cleared)
        loop = asyncio.get_running_loop()
        until = self._played[-1].ends_at - allowed_s
        while until - loop.time() > _ALMOST and len(self.cleared) == cleared:
            await self._wait_for_change(until - loop.time())

    async def clear_buffer(self) -> None:
        """Drop everything that has not been played by now."""
        now = asyncio.get_running_loop().time()
        heard = self.heard_samples
        dropped = 0
        if self.realtime:
            for piece in self._played:
                kept = piece.samples_until(now)
                dropped += len(piece.pcm) // 2 - kept
                piece.pcm = piece.pcm[: kept * 2]
                piece.started_at = min(piece.started_at, now)
        self._spare = b""
        self.discarded_samples += dropped
        self.cleared.append(Cleared(now, heard, dropped))
        self._wake()

    @property
    def is_playing(self) -> bool:
        """Whether something is audible (or it is stuck)."""
        return self.stuck_playing or self.heard_samples < self.accepted_samples - self.discarded_samples

    @property
    def cleared_at(self) -> list[float]:
        """Loop times of all ``clear_buffer()`` calls."""
        return [cleared.at for cleared in self.cleared]

    @property
    def rendered_samples(self) -> int:
        """Samples that have left the buffer."""
        return self._samples_until(asyncio.get_running_loop().time())

    @property
    def heard_samples(self) -> int:
        """Samples that were heard until now."""
        self._settle()
        return self._samples_until(asyncio.get_running_loop().time() - self.latency_ms / 1000)

    @property
    def heard_ms(self) -> float:
        """The same in milliseconds."""
        return self.heard_samples * 1000 / SAMPLE_RATE

    @property
    def heard_pcm(self) -> bytes:
        """Everything heard until now, without the pauses: PCM16, 24 kHz, mono."""
        now = asyncio.get_running_loop().time() - self.latency_ms / 1000
        return b"".join(piece.pcm[: 2 * self._of(piece, now)] for piece in self._played)

    @property
    def pieces(self) -> list[Played]:
        """What was or will be played, piece by piece, with times."""
        return list(self._played)

    def sound_between(self, starts_at: float, samples: int) -> bytes:
        """Return what sounds at the device from a loop time on, its pauses included: PCM16, 24 kHz, mono.

        Args:
            starts_at: The time; what is later than now may still be cleared.
            samples: How many samples.
        """
        sound = bytearray(2 * samples)
        for piece in reversed(self._played):
            offset = round((piece.started_at - starts_at) * SAMPLE_RATE)
            length = len(piece.pcm) // 2
            if offset + length <= 0:
                break  # they are in order: all others are over
            begin, end = max(0, offset), min(samples, offset + length)
            if begin < end:
                sound[2 * begin : 2 * end] = piece.pcm[2 * (begin - offset) : 2 * (end - offset)]
        return bytes(sound)

    def _samples_until(self, now: float) -> int:
        return self._over_samples + sum(self._of(piece, now) for piece in self._played[self._over :])

    def _settle(self) -> None:
        """Count the pieces that have been heard to their end once and for all."""
        heard_until = asyncio.get_running_loop().time() - self.latency_ms / 1000
        while self._over < len(self._played) and self._of(self._played[self._over], heard_until) * 2 == len(
            self._played[self._over].pcm
        ):
            self._over_samples += len(self._played[self._over].pcm) // 2
            self._over += 1

    def _of(self, piece: Played, now: float) -> int:
        return piece.samples_until(now) if self.realtime else len(piece.pcm) // 2

    async def wait_until_heard(self, milliseconds: float) -> None:
        """Wait until so much has been heard since ``start()``."""
        wanted = round(milliseconds * SAMPLE_RATE / 1000)
        while self.heard_samples < wanted:
            missing = (wanted - self.heard_samples) / SAMPLE_RATE
            queued = self.heard_samples < self.accepted_samples - self.discarded_samples
            await self._wait_for_change(missing if queued else None)

    async def wait_until_silent(self) -> None:
        """Wait until nothing is audible any more."""
        while (left := self.accepted_samples - self.discarded_samples - self.heard_samples) > 0:
            await self._wait_for_change(left / SAMPLE_RATE)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_for_change(self, timeout: float | None) -> None:
        """Wait for the next chunk or clearing, at most for so many seconds."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except TimeoutError:
            return


class PositionedSpeaker(VirtualSpeaker):
    """A ``VirtualSpeaker`` that reports its position (``rtvoice.audio.devices.SupportsPosition``)."""

    def position(self) -> PlaybackPosition:
        """Return the counts as of now."""
        return PlaybackPosition(
            accepted=self.accepted_samples,
            rendered=self.rendered_samples,
            heard=self.heard_samples,
            discarded=self.discarded_samples,
        )
