"""The microphone of a scripted user: silence, and what the user says from the very moment it is said."""

import asyncio
import functools
import math
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable

from rtvoice.audio.devices import AudioInputDevice
from rtvoice.errors import AudioDeviceError
from rtvoice.testing.audio_formats import CHARACTERS_PER_SECOND, PCM_BYTES_PER_MS, SAMPLE_RATE

CHUNK_MS = 100
"""Length of a chunk. A real microphone delivers 20 ms; five times fewer make a rehearsal three times faster."""
_CHUNK_BYTES = CHUNK_MS * PCM_BYTES_PER_MS
_BYTES_PER_SECOND = 2 * SAMPLE_RATE
_PITCH_HZ = 150
_SHORTEST_MS = 400


class UserVoice(AudioInputDevice):
    """A microphone at the pace of the loop's clock, in a room where only the scripted user makes a sound.

    Unlike ``VirtualMicrophone`` it keeps no raster: a chunk of silence ends as soon as the user opens the mouth, so
    that an interruption begins at exactly the time that the script says.

    Attributes:
        on_start: Called when the microphone is opened.
    """

    def __init__(self) -> None:
        self.on_start: Callable[[], None] = lambda: None
        self._active = False
        self._clips: deque[bytes] = deque()
        self._waiting: asyncio.Future[bool] | None = None

    def say(self, pcm: bytes) -> None:
        """Say something (PCM16, 24 kHz, mono): now, or after what is being said."""
        self._clips.append(pcm)
        self._wake(True)

    async def start(self) -> None:
        """Open the microphone."""
        self._active = True
        self.on_start()

    async def stop(self) -> None:
        """Close it; the stream ends."""
        self._active = False
        self._wake(True)

    @property
    def is_active(self) -> bool:
        """Whether it is open."""
        return self._active

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        """Yield the room's sound.

        Raises:
            AudioDeviceError: The microphone is not open.
        """
        if not self._active:
            raise AudioDeviceError("the scripted user's microphone is closed: call start() first")
        loop = asyncio.get_running_loop()
        heard_until = loop.time()
        while self._active:
            if not self._clips:
                await self._woken_before(heard_until + CHUNK_MS / 1000)
                samples = round((loop.time() - heard_until) * SAMPLE_RATE)
                heard_until += samples / SAMPLE_RATE
                if samples:
                    yield bytes(2 * samples)
                continue
            clip = self._clips.popleft()
            for start in range(0, len(clip), _CHUNK_BYTES):
                piece = clip[start : start + _CHUNK_BYTES]
                heard_until += len(piece) / _BYTES_PER_SECOND
                while await self._woken_before(heard_until):
                    if not self._active:
                        return
                yield piece

    async def _woken_before(self, until: float) -> bool:
        """Wait until this loop time; return early, and true, if something is said or the microphone is closed."""
        if not self._active:
            return True
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = loop.call_at(until, self._wake, False)
        try:
            return await self._waiting
        finally:
            timer.cancel()

    def _wake(self, early: bool) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(early)


def murmur(words: str) -> bytes:
    """Return a sound that lasts as long as the words would take to say, and that turn detection takes for speech.

    A sawtooth, which like a voice is rich in harmonics, swells five times a second, as syllables do.

    Args:
        words: What is "said", at 15 characters per second; but at least 0.4 s.

    Returns:
        PCM16, 24 kHz, mono: whole syllables of 200 ms.
    """
    milliseconds = max(_SHORTEST_MS, len(words) * 1000 / CHARACTERS_PER_SECOND)
    return _syllable() * math.ceil(milliseconds / 200)


@functools.cache
def _syllable() -> bytes:
    count = SAMPLE_RATE // 5
    return array(
        "h",
        [
            int(5000 * (1 - math.cos(2 * math.pi * n / count)) * (2 * (n * _PITCH_HZ / SAMPLE_RATE % 1) - 1))
            for n in range(count)
        ],
    ).tobytes()
