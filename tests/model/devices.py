"""A microphone that speaks when it is told to, and a loudspeaker that knows whose samples it plays. Both stay small."""

import asyncio
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice, PlaybackPosition

SAMPLE_RATE = 24_000


class Mouth(AudioInputDevice):
    """The user's side: chunks come when the test puts them."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._active = False

    def put(self, chunk: bytes | Exception | None) -> None:
        """Give a chunk, a failure, or the end of the stream."""
        self._chunks.put_nowait(chunk)

    async def start(self) -> None:
        self._chunks = asyncio.Queue()
        self._active = True

    async def stop(self) -> None:
        self._active = False
        self._chunks.put_nowait(None)

    @property
    def is_active(self) -> bool:
        return self._active

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


class Ear(AudioOutputDevice):
    """The loudspeaker, in the loop's time.

    Attributes:
        taken: When a chunk of which response (the value of its samples) was taken; the last 1,000.
        failure: Raised by the next ``play_chunk()``.
        heard_marks: The responses of which something was heard; the last 1,000.
        heard_samples: How much was heard of each response.
    """

    def __init__(self) -> None:
        self.taken: deque[tuple[float, int]] = deque(maxlen=1_000)
        self.heard_marks: deque[int] = deque(maxlen=1_000)
        self.heard_samples: Counter[int] = Counter()
        self.failure: Exception | None = None
        self._queue: deque[tuple[int, int]] = deque()  # mark, samples
        self._accepted = self._heard = self._discarded = 0
        self._since = 0.0
        self._active = False

    async def start(self) -> None:
        self._active = True

    async def stop(self) -> None:
        await self.clear_buffer()
        self._active = False

    async def play_chunk(self, chunk: bytes) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        assert self._active, "a chunk for a loudspeaker that is closed"
        self._play_on()
        (mark,) = struct.unpack_from("<h", chunk)
        now = asyncio.get_running_loop().time()
        if not self._queue:
            self._since = now
        self._queue.append((mark, len(chunk) // 2))
        self._accepted += len(chunk) // 2
        self.taken.append((now, mark))

    async def clear_buffer(self) -> None:
        self._play_on()
        self._discarded += sum(samples for _, samples in self._queue)
        self._queue.clear()

    @property
    def is_playing(self) -> bool:
        self._play_on()
        return bool(self._queue)

    def position(self) -> PlaybackPosition:
        self._play_on()
        return PlaybackPosition(
            accepted=self._accepted, rendered=self._heard, heard=self._heard, discarded=self._discarded
        )

    def _play_on(self) -> None:
        """Hear what must have been heard by now."""
        now = asyncio.get_running_loop().time()
        due = round((now - self._since) * SAMPLE_RATE)
        while self._queue and due > 0:
            mark, samples = self._queue.popleft()
            part = min(due, samples)
            if not self.heard_marks or self.heard_marks[-1] != mark:
                self.heard_marks.append(mark)
            if part < samples:
                self._queue.appendleft((mark, samples - part))
            self._heard += part
            self.heard_samples[mark] += part
            self._since += part / SAMPLE_RATE
            due -= part
        if not self._queue:
            self._since = now
