"""A microphone for tests, in a room where the test plays clips."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from rtvoice.audio.devices import AudioInputDevice
from rtvoice.errors import AudioDeviceError
from rtvoice.testing.audio_formats import PCM_BYTES_PER_MS, SAMPLE_RATE, load_pcm


class Clip:
    """Something that a microphone says.

    Attributes:
        pcm: PCM16, 24 kHz, mono.
        started_at: Loop time of its first sample, once it has been streamed.
    """

    def __init__(self, pcm: bytes) -> None:
        self.pcm = pcm
        self.started_at: float | None = None
        self._done = asyncio.Event()

    async def done(self) -> None:
        """Wait until all of it has been streamed."""
        await self._done.wait()

    def finish(self) -> None:
        """Note that it is over (the microphone calls this)."""
        self._done.set()


class VirtualMicrophone(AudioInputDevice):
    """A microphone in a silent room, in which the test plays clips.

    Example::

        microphone = VirtualMicrophone()
        agent = RealtimeAgent(audio_input=microphone, ...)
        ...
        await microphone.say("tests/fixtures/audio/hello.wav").done()

    Args:
        realtime: Stream at the pace of the loop's clock, with silence between clips, as a real microphone does. If
            not: stream clips as fast as they are fetched, and nothing between them.
        chunk_ms: Length of a chunk, in milliseconds.

    Attributes:
        streamed_samples: Samples handed out so far.
        surroundings: What else there is to be heard in the room: called with the loop time at which a chunk begins and
            its number of samples, returns as many; ``None``: nothing. Only with ``realtime``. See `EchoingRoom`.
    """

    def __init__(self, *, realtime: bool = True, chunk_ms: int = 20) -> None:
        if chunk_ms < 1:
            raise ValueError(f"chunk_ms must be 1 or more, not {chunk_ms}")
        self.streamed_samples = 0
        self.surroundings: Callable[[float, int], bytes] | None = None
        self._realtime = realtime
        self._chunk_bytes = chunk_ms * PCM_BYTES_PER_MS
        self._clips: deque[Clip] = deque()
        self._position = 0
        self._active = False
        self._ended = False
        self._failure: Exception | None = None
        self._changed = asyncio.Event()

    def say(self, audio: bytes | str | Path) -> Clip:
        """Say something, after all that is still to be said.

        Args:
            audio: PCM16 24 kHz mono, or the path of such a WAV file.

        Raises:
            ValueError: It has another format.
        """
        clip = Clip(load_pcm(audio))
        self._clips.append(clip)
        self._changed.set()
        return clip

    def pause(self, milliseconds: int) -> Clip:
        """Say nothing for so long; for exact gaps between clips."""
        return self.say(bytes(milliseconds * PCM_BYTES_PER_MS))

    def end(self) -> None:
        """End the stream once everything is said, like a file that is over."""
        self._ended = True
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """Let the stream raise, like a device that was unplugged."""
        self._failure = error
        self._changed.set()

    async def start(self) -> None:
        """Open the microphone."""
        self._active = True

    async def stop(self) -> None:
        """Close it; the stream ends."""
        self._active = False
        self._changed.set()

    @property
    def is_active(self) -> bool:
        """Whether it is open."""
        return self._active

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        """Yield the room's sound, chunk by chunk.

        Raises:
            AudioDeviceError: The microphone is not open.
            Exception: What was given to ``fail()``.
        """
        if not self._active:
            raise AudioDeviceError("the virtual microphone is closed: call start() first")
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self._chunk_bytes / PCM_BYTES_PER_MS / 1000
            if not await self._wait_for_chunk(due):
                return
            chunk = self._next_chunk(due if self._realtime else loop.time())
            self.streamed_samples += len(chunk) // 2
            yield chunk

    async def _wait_for_chunk(self, due: float) -> bool:
        """Wait until a chunk is there; return whether the stream goes on."""
        loop = asyncio.get_running_loop()
        while True:
            if self._failure is not None:
                raise self._failure
            if not self._active or (self._ended and not self._clips):
                return False
            remaining = due - loop.time() if self._realtime else 0.0
            if remaining <= 0 and (self._realtime or self._clips):
                return True
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), remaining if self._realtime else None)
            except TimeoutError:
                return True

    def _next_chunk(self, end_time: float) -> bytes:
        """Return the sound up to ``end_time``: pieces of clips, filled up with silence."""
        chunk = bytearray()
        while len(chunk) < self._chunk_bytes and self._clips:
            clip = self._clips[0]
            if clip.started_at is None:
                missing_ms = (self._chunk_bytes - len(chunk)) / PCM_BYTES_PER_MS
                clip.started_at = end_time - missing_ms / 1000
            piece = clip.pcm[self._position : self._position + self._chunk_bytes - len(chunk)]
            chunk += piece
            self._position += len(piece)
            if self._position == len(clip.pcm):
                self._clips.popleft().finish()
                self._position = 0
        if self._realtime:
            chunk += bytes(self._chunk_bytes - len(chunk))
            if self.surroundings is not None:
                return self._in_its_surroundings(bytes(chunk), end_time, self.surroundings)
        return bytes(chunk)

    def _in_its_surroundings(self, chunk: bytes, end_time: float, surroundings: Callable[[float, int], bytes]) -> bytes:
        from rtvoice.audio.resampling import mix  # it needs numpy, which only sound needs

        samples = len(chunk) // 2
        return mix(chunk, surroundings(end_time - samples / SAMPLE_RATE, samples))
