"""A microphone and a loudspeaker, opened and closed together."""

from collections.abc import AsyncIterator

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice


class AudioSession:
    """A pair of devices with one life.

    Args:
        input_device: Where the user's audio comes from.
        output_device: Where the assistant's audio goes.
    """

    def __init__(self, input_device: AudioInputDevice, output_device: AudioOutputDevice) -> None:
        self._input = input_device
        self._output = output_device
        self._input_attempted = False
        self._output_attempted = False

    @property
    def is_playing(self) -> bool:
        """The output device's hint whether audio is still audible."""
        return self._output.is_playing

    async def start(self) -> None:
        """Open the output, then the input. If one fails, both are closed and its error is raised."""
        try:
            self._output_attempted = True
            await self._output.start()
            self._input_attempted = True
            await self._input.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the input, then the output, each if it was attempted to open it. Idempotent.

        An error of one does not keep the other open.
        """
        input_attempted, self._input_attempted = self._input_attempted, False
        output_attempted, self._output_attempted = self._output_attempted, False
        try:
            if input_attempted:
                await self._input.stop()
        finally:
            if output_attempted:
                await self._output.stop()

    async def play_chunk(self, chunk: bytes) -> None:
        """Hand assistant audio to the output."""
        await self._output.play_chunk(chunk)

    async def clear_output_buffer(self) -> None:
        """Drop what is not yet audible."""
        await self._output.clear_buffer()

    def stream_input_chunks(self) -> AsyncIterator[bytes]:
        """Return the user's audio, chunk by chunk."""
        return self._input.stream_chunks()
