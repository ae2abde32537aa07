"""Which kind of file a recording becomes: its name decides."""

from pathlib import Path
from typing import Final, Literal, TypeAlias

from rtvoice.audio.compressed_writer import CompressedWriter, can_compress
from rtvoice.audio.wav_writer import AudioWriter, PcmWriter, WavWriter

Container: TypeAlias = Literal["wav", "flac", "ogg", "pcm"]
"""RIFF/WAVE with PCM16, FLAC, Ogg with Opus, or PCM16 without any header."""

_CONTAINERS: Final[dict[str, Container]] = {".wav": "wav", ".wave": "wav", ".flac": "flac", ".ogg": "ogg"}


def container_of(path: Path) -> Container:
    """Return the container that the name means; names that say nothing mean raw PCM."""
    return _CONTAINERS.get(path.suffix.lower(), "pcm")


def check_recording_path(path: Path) -> None:
    """Tell early that a recording of this name cannot be made.

    Raises:
        ValueError: It needs the package ``soundfile``, which is not installed, or it is a folder.
    """
    if path.is_dir():
        raise ValueError(f"recording_path={str(path)!r} is a folder; name a file in it, such as {path / 'session.wav'}")
    container = container_of(path)
    if container in ("flac", "ogg") and not can_compress():
        raise ValueError(
            f"recording_path={str(path)!r}: .{container} files need the package soundfile; "
            "run: pip install 'rtvoice[recording]', or record to a .wav file"
        )


def create(path: Path, container: Container, *, channels: int) -> AudioWriter:
    """Create the file.

    Raises:
        OSError: It cannot be created.
        ImportError: It needs the package ``soundfile``.
    """
    match container:
        case "wav":
            return WavWriter(path, channels=channels)
        case "flac" | "ogg":
            return CompressedWriter(path, container.upper(), channels=channels)
        case "pcm":
            return PcmWriter(path)
