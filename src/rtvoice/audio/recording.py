"""Recording a conversation while it happens: both sides on one real-time line, in constant memory.

One thread does the placing, mixing and writing. The event loop's part is to put blocks into a list, and to tell
once a second how late it is. Silence is written only when the loop has said so, twice: after a stall of the
loop, what the stall held back comes before the next tick.
"""

import asyncio
import errno
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from rtvoice.audio.pcm import SAMPLE_RATE, SampleAligner
from rtvoice.audio.recording_file import Container, container_of, create
from rtvoice.audio.recording_track import RecordingTrack
from rtvoice.audio.resampling import interleave, mix
from rtvoice.audio.wav_writer import AudioWriter

logger = logging.getLogger(__name__)

Track: TypeAlias = Literal["user", "assistant"]

TICK_S = 1.0
"""Seconds between the event loop's ticks."""

HORIZON = SAMPLE_RATE
"""Samples that the written line stays behind the present: what is late by less is placed exactly."""

MEMORY_LIMIT = 64 * 2**20
"""Bytes of audio that may be held: about 20 minutes scheduled ahead, and as much for a disk that does not write."""

OPEN_TIMEOUT_S = 5.0
"""Seconds to wait for the disk at the start: the conversation waits, too."""

CLOSE_TIMEOUT_S = 10.0
"""Seconds to wait for the disk at the end."""

_PIECE = 10 * SAMPLE_RATE


class RecordingWriter:
    """Writes user and assistant audio to a file, each where it belongs in time.

    All times are of the event loop's clock, in seconds; all audio is PCM16, 24 kHz, mono. The line begins at
    ``start()`` and ends at ``close()``: the file is exactly as long as the conversation. It is readable at any
    time, also after a crash, up to about the last two and a half seconds. Its mode is 0600.

    ``place()`` may be called from any thread, one thread per track; everything else from the event loop. Per track use
    either ``place()`` or ``schedule()``. None of them waits. After an error they do nothing.

    Args:
        path: The file. Names ending in ``.wav`` or ``.wave`` get a WAV file, ``.flac`` and ``.ogg`` compressed
            ones (with the package ``soundfile``), all stereo: the user on the left, the assistant on the right.
            Others get raw PCM16, mono, both sides mixed with saturation. An old file is replaced; parent folders
            are created.
        container: Overrides the container that the name means.
        stereo: Overrides the layout that the name means.
        before_tick: Called in the event loop once a second and at the end: the last opportunity to place what belongs
            to the time before. Collecting audio until then is cheaper than placing it piece by piece as it comes.
        on_error: Called in the event loop, at most once, when writing fails after ``start()``; nothing more will be
            written then.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        container: Container | None = None,
        stereo: bool | None = None,
        before_tick: Callable[[], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self._path = Path(path)
        self._container = container if container is not None else container_of(self._path)
        self._stereo = self._container != "pcm" if stereo is None else stereo
        self._before_tick = before_tick
        self._on_error = on_error
        self._tracks: dict[Track, RecordingTrack] = {"user": RecordingTrack(), "assistant": RecordingTrack()}
        self._aligners: dict[Track, SampleAligner] = {"user": SampleAligner(), "assistant": SampleAligner()}
        self._changed = threading.Condition()  # guards what follows, up to the empty line
        self._inbox: list[tuple[Callable[[int, bytes], None], int, bytes]] = []
        self._inbox_bytes = 0
        self._present = 0  # sample
        self._end: int | None = None  # sample
        self._accepting = False
        self._news = False

        self._thread: threading.Thread | None = None
        self._open_error: OSError | ImportError | None = None
        self._opened = threading.Event()
        self._error: Exception | None = None
        self._ticked_at = 0.0
        self._tick_timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._start: float

    @property
    def error(self) -> Exception | None:
        """What ended the recording before its time, if anything."""
        return self._error

    async def start(self, at: float | None = None) -> None:
        """Create the file and begin the line; once per object.

        Args:
            at: The time of the line's first sample; now by default.

        Raises:
            OSError: The file cannot be created, or not within 5 s.
            ImportError: It needs the package ``soundfile``.
        """
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._start = now if at is None else at
        self._thread = threading.Thread(target=self._run, name="rtvoice-recording", daemon=True)
        self._thread.start()
        try:
            in_time = await asyncio.to_thread(self._opened.wait, OPEN_TIMEOUT_S)
        except asyncio.CancelledError:
            self._finish(0)
            raise
        if not in_time:
            self._finish(0)  # should it be created after all
            raise TimeoutError(errno.ETIMEDOUT, "the disk does not answer", str(self._path))
        if self._open_error is not None:
            raise self._open_error
        with self._changed:
            self._accepting = True
        self._ticked_at = now
        self._tick()

    def place(self, track: Track, at: float, pcm: bytes) -> None:
        """Add audio as it was captured or rendered.

        Jitter, bursts after a stall and drift of the device's clock are evened out. Audio that comes faster than
        real time is kept, one block after the other.

        Args:
            track: Whose audio it is.
            at: The time of its first sample; may be late (the time of arrival), but not early.
            pcm: The audio; an odd last byte waits for the next call.
        """
        self._put(track, self._tracks[track].place, at, pcm)

    def schedule(self, at: float, pcm: bytes) -> None:
        """Add assistant audio that will be heard at ``at``, up to minutes from now, or after what was scheduled."""
        self._put("assistant", self._tracks["assistant"].schedule, at, pcm)

    def cut(self, at: float) -> None:
        """Drop the assistant's scheduled audio from ``at`` on: an interruption. At most a second may have passed."""
        with self._changed:
            if self._accepting:
                self._aligners["assistant"].reset()
                self._inbox.append((self._cut_track, self._sample(at), b""))

    async def close(self, at: float | None = None) -> None:
        """End the line and complete the file; idempotent. A failure is told as any other (``on_error``, ``error``).

        Args:
            at: The time of the line's end, at most a second ago; now by default. Shorter audio is padded.
        """
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        if self._thread is None:
            return
        if self._before_tick is not None:
            self._before_tick()
        self._finish(max(0, self._sample(self._loop.time() if at is None else at)))
        await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._fail(TimeoutError(errno.ETIMEDOUT, "the disk did not take the end of the recording", str(self._path)))
        await asyncio.sleep(0)  # on_error, if the thread has called for it

    def _put(self, track: Track, add: Callable[[int, bytes], None], at: float, pcm: bytes) -> None:
        with self._changed:
            if not self._accepting:
                return
            whole = self._aligners[track].take(pcm)
            self._inbox.append((add, round((at - self._start) * SAMPLE_RATE), whole))
            self._inbox_bytes += len(whole)
            too_much = self._inbox_bytes > MEMORY_LIMIT
        if too_much:
            self._fail(self._overflow())

    def _cut_track(self, at: int, _: bytes) -> None:
        self._tracks["assistant"].cut(at)

    def _overflow(self) -> OSError:
        reason = "more audio is waiting to be recorded than memory is kept for"
        return OSError(errno.ENOBUFS, reason, str(self._path))

    def _tick(self) -> None:
        """Tell the writer what time it is, unless this tick is late: then wait for what else is late."""
        now = self._loop.time()
        punctual = now - self._ticked_at <= 2 * TICK_S
        self._ticked_at = now
        if self._before_tick is not None:
            self._before_tick()
        if punctual:
            with self._changed:
                self._present = self._sample(now)
                self._tell()
        self._tick_timer = self._loop.call_later(TICK_S, self._tick)

    def _finish(self, end: int) -> None:
        with self._changed:
            self._accepting = False
            if self._end is None:
                self._end = end
            self._tell()

    def _fail(self, error: Exception) -> None:
        """End the recording, from any thread; the first error is told to the owner."""
        with self._changed:
            if self._error is not None:
                return
            self._error = error
            self._accepting = False
            self._inbox.clear()
            self._tell()
        logger.error("The recording %s ended: %s", self._path, error)
        if self._on_error is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._on_error, error)

    def _tell(self) -> None:
        """Wake the writer; the lock must be held."""
        self._news = True
        self._changed.notify()

    def _sample(self, at: float) -> int:
        return round((at - self._start) * SAMPLE_RATE)

    def _run(self) -> None:
        """Write until the end; the writer's thread."""
        try:
            file = create(self._path, self._container, channels=2 if self._stereo else 1)
        except (OSError, ImportError) as error:
            self._open_error = error
            return
        finally:
            self._opened.set()
        try:
            with file:
                self._write_line(file)
        except Exception as error:  # noqa: BLE001 - told to the owner: a recording must not end unnoticed
            self._fail(error)

    def _write_line(self, file: AudioWriter) -> None:
        written = 0
        while self._error is None:
            with self._changed:
                self._changed.wait_for(lambda: self._news)
                self._news = False
                inbox, self._inbox = self._inbox, []
                self._inbox_bytes = 0
                present, end = self._present, self._end
            for add, at, pcm in inbox:
                add(at, pcm)
            tracks = self._tracks.values()
            if sum(track.held for track in tracks) > MEMORY_LIMIT:
                raise self._overflow()
            for track in tracks:
                track.settle(present if end is None else None)
            until = end if end is not None else min(track.ready(present - HORIZON) for track in tracks)
            while written < until:
                piece_end = min(until, written + _PIECE)
                left, right = (track.take(piece_end) for track in tracks)
                file.write(interleave(left, right) if self._stereo else mix(left, right))
                written = piece_end
            file.checkpoint()
            if end is not None:
                return
