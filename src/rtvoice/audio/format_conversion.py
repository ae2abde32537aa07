"""Devices that speak another format, made to speak the session's."""

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Final

from rtvoice.audio.devices import (
    AudioInputDevice,
    AudioOutputDevice,
    PlaybackPosition,
    ReportsLoss,
    ReportsStats,
    SupportsDrain,
    SupportsFinishResponse,
    SupportsPause,
    SupportsPosition,
    SupportsReopen,
    SupportsTap,
)
from rtvoice.audio.formats import AudioFormat
from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE, SampleAligner, samples_in
from rtvoice.audio.resampling import RateConverter
from rtvoice.audio.wire_codec import G711Codec

_GROUP_BYTES: Final = 3 * SAMPLE_BYTES
"""Bytes of PCM16 at 24 kHz for one sample of G.711."""


class Decoder:
    """Turns one stream of a format into PCM16 at 24 kHz; PCM with a constant delay of up to 4 ms, G.711 with none.

    Args:
        audio_format: The format.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._codec = G711Codec(audio_format) if audio_format.is_g711 else None
        self._aligner = SampleAligner()
        self._converter = RateConverter(audio_format.rate, SAMPLE_RATE)

    def take(self, data: bytes) -> bytes:
        """Return what is ready."""
        if self._codec is not None:
            return self._codec.decode(data)
        return self._converter.convert(self._aligner.take(data))


class Encoder:
    """Turns one stream of PCM16 at 24 kHz into a format; PCM with a constant delay of up to 4 ms, G.711 with none.

    Args:
        audio_format: The format.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._codec = G711Codec(audio_format) if audio_format.is_g711 else None
        self._aligner = SampleAligner()
        self._converter = RateConverter(SAMPLE_RATE, audio_format.rate)
        self._rest = b""  # samples of a group of three that is not complete

    def take(self, pcm: bytes) -> bytes:
        """Return what is ready."""
        pcm = self._aligner.take(pcm)
        if self._codec is None:
            return self._converter.convert(pcm)
        pcm = self._rest + pcm
        whole = len(pcm) // _GROUP_BYTES * _GROUP_BYTES
        self._rest = pcm[whole:]
        return self._codec.encode(pcm[:whole]) if whole else b""

    def finish(self) -> bytes:
        """Return the rest; the stream has ended, and this object with it."""
        if self._codec is None:
            return self._converter.finish()
        return self._codec.encode(self._rest) if self._rest else b""


class ConvertedInput(AudioInputDevice):
    """An input device in the session's format. Has the optional members that the device has.

    Args:
        device: The device.
        audio_format: Its format.
    """

    def __init__(self, device: AudioInputDevice, audio_format: AudioFormat) -> None:
        self._device = device
        self._format = audio_format
        _pass_on(device, self)

    async def start(self) -> None:
        """Open the device."""
        await self._device.start()

    async def stop(self) -> None:
        """Close the device."""
        await self._device.stop()

    @property
    def is_active(self) -> bool:
        """Whether the device is open."""
        return self._device.is_active

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        """Yield its audio."""
        decoder = Decoder(self._format)
        chunks = self._device.stream_chunks()
        try:
            async for chunk in chunks:
                yield decoder.take(bytes(chunk))
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()


class ConvertedOutput(AudioOutputDevice):
    """An output device in the session's format. Has the optional members that the device has.

    Args:
        device: The device.
        audio_format: Its format.
    """

    def __init__(self, device: AudioOutputDevice, audio_format: AudioFormat) -> None:
        self._device = device
        self._format = audio_format
        self._encoder = Encoder(audio_format)
        self._finished = True  # the encoder holds nothing back
        self._accepted = self._discarded = 0  # samples of the session
        self._session_base = self._device_base = 0  # counts of the same moment, in samples of each
        _pass_on(device, self)
        if isinstance(device, SupportsPosition):
            self._counter: SupportsPosition | None = device
            self.position = partial(self._position, device)
        else:
            self._counter = None
        if isinstance(device, SupportsReopen):
            self.reopen = partial(self._reopen, device)

    async def start(self) -> None:
        """Open the device."""
        await self._device.start()
        self._begin()

    async def stop(self) -> None:
        """Close the device."""
        await self._device.stop()

    @property
    def is_playing(self) -> bool:
        """The device's hint."""
        return self._device.is_playing

    async def play_chunk(self, chunk: bytes) -> None:
        """Hand audio over; the last 4 ms wait for what follows, or for ``finish_response()``."""
        self._accepted += samples_in(chunk)
        self._finished = False
        await self._hand_over(self._encoder.take(chunk))

    async def finish_response(self) -> None:
        """Hand over the rest, and tell the device if it wants to know."""
        rest, self._encoder = self._encoder.finish(), Encoder(self._format)
        await self._hand_over(rest)
        self._finished = True
        if isinstance(self._device, SupportsFinishResponse):
            await self._device.finish_response()

    async def clear_buffer(self) -> None:
        """Drop what is not audible yet."""
        self._encoder = Encoder(self._format)  # the old one still knows what was dropped
        self._finished = True
        await self._device.clear_buffer()
        if self._counter is not None:
            counted = self._counter.position().rendered
            rendered = self._to_session(counted)
            self._discarded = self._accepted - rendered
            self._session_base, self._device_base = rendered, counted

    async def _reopen(self, device: SupportsReopen) -> None:
        await device.reopen()
        self._begin()

    async def _hand_over(self, data: bytes) -> None:
        if data:
            await self._device.play_chunk(data)

    def _begin(self) -> None:
        self._encoder = Encoder(self._format)
        self._finished = True
        self._accepted = self._discarded = self._session_base = 0
        if self._counter is not None:
            self._device_base = self._counter.position().heard

    def _position(self, counter: SupportsPosition) -> PlaybackPosition:
        counted = counter.position()
        if self._finished and counted.heard == counted.accepted - counted.discarded:
            # All is heard: a good moment to forget what the two counts differ by, a sample for each response.
            self._session_base, self._device_base = self._accepted - self._discarded, counted.heard
        return PlaybackPosition(
            accepted=self._accepted,
            rendered=self._to_session(counted.rendered),
            heard=self._to_session(counted.heard),
            discarded=self._discarded,
        )

    def _to_session(self, count: int) -> int:
        """Return a count of the device in samples of the session, within what is possible."""
        samples = self._session_base + (count - self._device_base) * SAMPLE_RATE // self._format.rate
        return min(max(samples, 0), self._accepted - self._discarded)


_OPTIONAL: Final = (
    (SupportsPause, ("pause", "resume")),
    (SupportsDrain, ("drain",)),
    (SupportsTap, ("add_tap",)),
    (ReportsStats, ("stats",)),
    (ReportsLoss, ("when_lost",)),
    (SupportsReopen, ("reopen",)),
)
"""Optional members that mean the same in every format."""


def _pass_on(device: object, converted: object) -> None:
    for protocol, members in _OPTIONAL:
        if isinstance(device, protocol):
            for member in members:
                setattr(converted, member, getattr(device, member))
