"""FLAC and Ogg Opus files that can be read back after a crash, written by libsndfile (package ``soundfile``)."""

import errno
import os
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE
from rtvoice.audio.wav_writer import AudioWriter
from rtvoice.private_files import open_private

SUBTYPES: Final = {"FLAC": "PCM_16", "OGG": "OPUS"}
"""What libsndfile calls the encodings we use: lossless, and speech at about 36 kbit/s a channel."""

_FLAC_BLOCK: Final = 4096
"""Frames in a block of libFLAC at the compression level libsndfile chooses; one more completes it."""
_TOTAL_SAMPLES_AT: Final = 18
"""Where the 64 bits begin that end with the 36-bit number of samples (RFC 9639, section 8.2)."""
_FRAMES_PER_WRITE: Final = SAMPLE_RATE


def can_compress() -> bool:
    """Return whether the package ``soundfile`` is installed."""
    return find_spec("soundfile") is not None


class CompressedWriter(AudioWriter):
    """A FLAC or Ogg Opus file.

    Killed at any moment, a FLAC file keeps all but the last fifth of a second before the last checkpoint, an Ogg file
    all but about the last second.

    Args:
        path: The file; an old one is replaced.
        container: ``"FLAC"`` or ``"OGG"``.
        channels: Interleaved channels.

    Raises:
        OSError: The file cannot be created.
        ImportError: ``soundfile`` is not installed.
    """

    def __init__(self, path: Path, container: str, *, channels: int) -> None:
        import soundfile

        self._container = container
        self._frame_bytes = channels * SAMPLE_BYTES
        self._frames = 0
        self._descriptor = open_private(path)
        try:
            self._file: Any = soundfile.SoundFile(
                self._descriptor,
                "w",
                samplerate=SAMPLE_RATE,
                channels=channels,
                format=container,
                subtype=SUBTYPES[container],
                closefd=False,
            )
        except BaseException as error:
            os.close(self._descriptor)
            if isinstance(error, soundfile.LibsndfileError):
                raise OSError(errno.EIO, f"libsndfile cannot begin it ({error})", str(path)) from error
            raise

    def write(self, pcm: bytes) -> None:
        """Append audio: whole frames."""
        rest = memoryview(pcm)
        while rest:
            piece, rest = rest[: _FRAMES_PER_WRITE * self._frame_bytes], rest[_FRAMES_PER_WRITE * self._frame_bytes :]
            self._file.buffer_write(piece, "int16")
            self._frames += len(piece) // self._frame_bytes

    def checkpoint(self) -> None:
        """Make what was written readable, should the program die now."""
        self._file.flush()
        if self._container == "FLAC" and self._frames and hasattr(os, "pwrite"):
            # libFLAC says how long the file is when it closes it; until then readers would find no audio at all
            complete = max(0, self._frames - 1) // _FLAC_BLOCK * _FLAC_BLOCK
            (fixed,) = struct.unpack(">Q", os.pread(self._descriptor, 8, _TOTAL_SAMPLES_AT))
            os.pwrite(self._descriptor, struct.pack(">Q", fixed >> 36 << 36 | complete), _TOTAL_SAMPLES_AT)

    def close(self) -> None:
        """Complete and close the file."""
        try:
            self._file.close()
        finally:
            os.close(self._descriptor)
