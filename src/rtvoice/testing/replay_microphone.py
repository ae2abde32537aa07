"""The microphone of a replay: what the user said when the session was recorded."""

import asyncio
from collections.abc import AsyncIterator, Callable

from rtvoice.audio.devices import AudioInputDevice
from rtvoice.testing.recorded_sound import WireFormats, recorded_audio
from rtvoice.testing.session_log import SessionRecording


class RecordedVoice(AudioInputDevice):
    """A microphone that delivers the recorded user's chunks when they were delivered.

    Args:
        recording: The session.
        when: Returns the loop time of a second of the recording.
    """

    def __init__(self, recording: SessionRecording, when: Callable[[float], float]) -> None:
        self._lines = recording.lines
        self._when = when
        self._closed = asyncio.Event()
        self._closed.set()

    async def start(self) -> None:
        """Open the microphone."""
        self._closed.clear()

    async def stop(self) -> None:
        """Close it; the stream ends."""
        self._closed.set()

    @property
    def is_active(self) -> bool:
        """Whether it is open."""
        return not self._closed.is_set()

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        """Yield what the user said; then nothing more, until the microphone is closed."""
        formats = WireFormats()
        for line in self._lines:
            formats = formats.after(line.frame)
            if line.type != "input_audio_buffer.append":
                continue
            if await self._closed_before(self._when(line.at)):
                return
            pcm = recorded_audio(line, formats.user)
            if pcm:
                yield pcm
        await self._closed.wait()

    async def _closed_before(self, at: float) -> bool:
        """Wait until a loop time; return early, and true, if the microphone is closed."""
        try:
            async with asyncio.timeout_at(at):
                await self._closed.wait()
        except TimeoutError:
            return False
        return True
