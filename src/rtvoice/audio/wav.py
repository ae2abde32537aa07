"""WAV files in place of a microphone and a loudspeaker."""

import asyncio
import wave
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice, PlaybackPosition
from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE, SampleAligner, ms_to_samples, samples_in, silence
from rtvoice.audio.position import PlaybackClock
from rtvoice.audio.recording import RecordingWriter
from rtvoice.audio.resampling import RateConverter, to_mono, to_pcm16
from rtvoice.errors import AudioDeviceError, ConfigurationError

CHUNK_MS = 20
"""Length of the chunks, in milliseconds."""


def read_wav(path: str | Path) -> Iterator[bytes]:
    """Yield a WAV file as PCM16, 24 kHz, mono, about a second at a time. Blocks while it reads.

    Linear PCM of 8 to 32 bits, any rate and any number of channels.

    Raises:
        AudioDeviceError: The file cannot be read, or is not linear PCM.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            converter = RateConverter(rate, SAMPLE_RATE)
            while data := file.readframes(rate):
                yield converter.convert(to_mono(to_pcm16(data, width), channels))
            yield converter.finish()
    except (OSError, EOFError, wave.Error) as error:
        raise AudioDeviceError(f"cannot read {path} as a WAV file with linear PCM: {error}") from error


class WavFileInput(AudioInputDevice):
    """Plays WAV files as the user's audio; then the stream ends, and the session goes on without user audio.

    Args:
        path: A file or several, in this order. Linear PCM of any rate and any number of channels.
        realtime: Deliver at the pace of speech; ``False``: as fast as it is fetched.
        leading_silence_s: Seconds of silence before the first file.
        pause_s: Seconds of silence between two files: time for the assistant to answer.
        trailing_silence_s: Seconds of silence after the last file. The server needs it to notice the end of speech.
        loop: Begin again after the end, for ever.

    Raises:
        ConfigurationError: No file, or a negative duration.
    """

    def __init__(
        self,
        path: str | Path | Iterable[str | Path],
        *,
        realtime: bool = True,
        leading_silence_s: float = 0.0,
        pause_s: float = 1.0,
        trailing_silence_s: float = 3.0,
        loop: bool = False,
    ) -> None:
        self._paths = [path] if isinstance(path, str | Path) else list(path)
        if not self._paths:
            raise ConfigurationError("WavFileInput needs at least one file")
        if min(leading_silence_s, pause_s, trailing_silence_s) < 0:
            raise ConfigurationError("durations of silence must not be negative")
        self._realtime = realtime
        self._leading = ms_to_samples(leading_silence_s * 1000)
        self._pause = ms_to_samples(pause_s * 1000)
        self._trailing = ms_to_samples(trailing_silence_s * 1000)
        self._repeat = loop
        self._stopped: asyncio.Event | None = None

    async def start(self) -> None:
        """Check that every file can be read.

        Raises:
            AudioDeviceError: One cannot, or the device is already started.
        """
        if self.is_active:
            raise AudioDeviceError("this WAV file input is already started; call stop() before starting it again")
        stopped = self._stopped = asyncio.Event()
        try:
            await asyncio.to_thread(self._check)
        except BaseException:
            stopped.set()
            raise

    async def stop(self) -> None:
        """End ``stream_chunks()``. Idempotent."""
        if self._stopped is not None:
            self._stopped.set()

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        """Yield the audio in chunks of 20 ms; the last one may be shorter.

        Raises:
            AudioDeviceError: Not started, or a file became unreadable.
        """
        stopped = self._stopped
        if stopped is None:
            raise AudioDeviceError("the WAV file input is not started: call start() first")
        chunk_bytes = ms_to_samples(CHUNK_MS) * SAMPLE_BYTES
        began = asyncio.get_running_loop().time()
        sent = 0
        pieces = self._pieces()
        pending = b""
        more = True
        while more:
            piece = await asyncio.to_thread(next, pieces, None)
            more = piece is not None
            pending += piece or b""
            while len(pending) >= chunk_bytes or (pending and not more):
                chunk, pending = pending[:chunk_bytes], pending[chunk_bytes:]
                sent += len(chunk)
                await self._pace(stopped, began + sent / SAMPLE_BYTES / SAMPLE_RATE)
                if stopped.is_set():
                    return
                yield chunk

    @property
    def is_active(self) -> bool:
        """Whether it is started and not stopped."""
        return self._stopped is not None and not self._stopped.is_set()

    async def _pace(self, stopped: asyncio.Event, due: float) -> None:
        """Wait until the last sample of a chunk has been "spoken", or the device is stopped."""
        delay = due - asyncio.get_running_loop().time()
        if not self._realtime or delay <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(delay):
                await stopped.wait()
        except TimeoutError:
            return

    def _pieces(self) -> Iterator[bytes]:
        """Yield all audio of one stream, in pieces of at most about a second."""
        yield from _silence(self._leading)
        while True:
            for index, path in enumerate(self._paths):
                if index:
                    yield from _silence(self._pause)
                yield from read_wav(path)
            yield from _silence(self._trailing)
            if not self._repeat:
                return

    def _check(self) -> None:
        for path in self._paths:
            next(read_wav(path))


class WavFileOutput(AudioOutputDevice):
    """Writes what a listener would hear to a WAV file: in real time, with the silence in between.

    The file begins at ``start()`` and ends at ``stop()``, 24 kHz, mono, 16 bit. Audio that ``clear_buffer()`` drops
    is not in it.

    Args:
        path: The file; an old one is replaced, parent folders are created.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._writer: RecordingWriter | None = None
        self._clock = PlaybackClock()
        self._aligner = SampleAligner()
        self._accepted = 0
        self._discarded = 0

    async def start(self) -> None:
        """Create the file.

        Raises:
            AudioDeviceError: It cannot be created, or the device is already started.
        """
        if self._writer is not None:
            raise AudioDeviceError("this WAV file output is already started; call stop() before starting it again")
        writer = RecordingWriter(self._path, container="wav", stereo=False)
        try:
            await writer.start()
        except OSError as error:
            raise AudioDeviceError(f"cannot write {self._path}: {error}") from error
        self._writer = writer
        self._clock = PlaybackClock()
        self._aligner.reset()
        self._accepted = self._discarded = 0

    async def stop(self) -> None:
        """Complete the file. Idempotent.

        Raises:
            AudioDeviceError: It could not be written to its end.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            self._drop()
            await writer.close()
            self._raise_error_of(writer)

    async def play_chunk(self, chunk: bytes) -> None:
        """Queue audio; returns at once.

        Raises:
            AudioDeviceError: Not started, or the file can no longer be written.
        """
        if self._writer is None:
            raise AudioDeviceError("the WAV file output is not started: call start() first")
        self._raise_error_of(self._writer)
        now = asyncio.get_running_loop().time()
        pcm = self._aligner.take(chunk)
        self._writer.schedule(now, pcm)  # or when what was scheduled before has ended
        self._clock.accept(samples_in(pcm), now)
        self._accepted += samples_in(pcm)

    async def clear_buffer(self) -> None:
        """Drop what has not been heard."""
        self._aligner.reset()
        if self._writer is not None:
            self._writer.cut(asyncio.get_running_loop().time())
            self._drop()

    @property
    def is_playing(self) -> bool:
        """Whether accepted audio has not been heard yet."""
        return self._writer is not None and asyncio.get_running_loop().time() < self._clock.ends_at()

    def position(self) -> PlaybackPosition:
        """See ``SupportsPosition``; a file has no latency, so what is rendered is heard."""
        heard = self._clock.heard(asyncio.get_running_loop().time()) if self._accepted else 0
        return PlaybackPosition(accepted=self._accepted, rendered=heard, heard=heard, discarded=self._discarded)

    def _drop(self) -> None:
        self._discarded = self._accepted - self._clock.clear(asyncio.get_running_loop().time())

    def _raise_error_of(self, writer: RecordingWriter) -> None:
        if writer.error is not None:
            raise AudioDeviceError(f"cannot write {self._path}: {writer.error}") from writer.error


def _silence(samples: int) -> Iterator[bytes]:
    for start in range(0, samples, SAMPLE_RATE):
        yield silence(min(SAMPLE_RATE, samples - start))
