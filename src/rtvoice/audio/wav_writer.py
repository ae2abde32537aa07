"""A WAV file that is valid while it grows: a crash leaves everything up to the last second."""

import os
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE
from rtvoice.private_files import open_private

RIFF_LIMIT = 0xFFFF_FFFF
"""The largest size a RIFF header can say, in bytes; beyond it the file becomes RF64."""

HEADER_BYTES = 80
_RIFF_OVERHEAD = HEADER_BYTES - 8
_FRAMES_PER_WRITE = 240_000


class AudioWriter(ABC):
    """A file of audio that is written piece by piece; leaving the ``with`` completes it."""

    @abstractmethod
    def write(self, pcm: bytes) -> None:
        """Append audio: PCM16, whole frames."""

    @abstractmethod
    def checkpoint(self) -> None:
        """Make what was written readable, should the program die now."""

    @abstractmethod
    def close(self) -> None:
        """Complete and close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PcmWriter(AudioWriter):
    """A file of raw PCM16 without a header.

    Args:
        path: The file; an old one is replaced.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(open_private(path), "wb", buffering=0)  # unbuffered: a crash loses nothing

    def write(self, pcm: bytes) -> None:
        """Append audio."""
        rest = memoryview(pcm)
        while rest:
            rest = rest[self._file.write(rest) :]

    def checkpoint(self) -> None:
        """Make what was written readable, should the program die now."""

    def close(self) -> None:
        """Complete and close the file."""
        try:
            self.checkpoint()
        finally:
            self._file.close()


class WavWriter(PcmWriter):
    """A PCM16 WAV file, of any length.

    The header has room for the RF64 form (EBU Tech 3306), which it takes on when the file passes 4 GiB: 12.4
    hours of 24 kHz stereo.

    Args:
        path: The file; an old one is replaced.
        channels: Interleaved channels.
        sample_rate: Frames per second.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, path: Path, *, channels: int = 1, sample_rate: int = SAMPLE_RATE) -> None:
        super().__init__(path)
        self._channels = channels
        self._sample_rate = sample_rate
        self._data_bytes = 0
        try:
            super().write(self._header())
        except OSError:
            self._file.close()
            raise

    def write(self, pcm: bytes) -> None:
        """Append audio: whole frames."""
        super().write(pcm)
        self._data_bytes += len(pcm)

    def checkpoint(self) -> None:
        """Bring the header up to date; about once a second is right."""
        self._file.seek(0)
        super().write(self._header())
        self._file.seek(0, os.SEEK_END)

    def _header(self) -> bytes:
        frame_bytes = self._channels * SAMPLE_BYTES
        data = self._data_bytes
        size = _RIFF_OVERHEAD + data
        if size <= RIFF_LIMIT:
            start = struct.pack("<4sI4s4sI28x", b"RIFF", size, b"WAVE", b"JUNK", 28)
        else:
            frames = data // frame_bytes
            start = struct.pack("<4sI4s4sIQQQI", b"RF64", 0xFFFF_FFFF, b"WAVE", b"ds64", 28, size, data, frames, 0)
        return start + struct.pack(
            "<4sIHHIIHH4sI",
            b"fmt ",
            16,
            1,  # WAVE_FORMAT_PCM
            self._channels,
            self._sample_rate,
            self._sample_rate * frame_bytes,
            frame_bytes,
            8 * SAMPLE_BYTES,
            b"data",
            min(data, 0xFFFF_FFFF) if size <= RIFF_LIMIT else 0xFFFF_FFFF,
        )
