"""What the bytes of a device mean, if they are not the session's: PCM16 at 24 kHz, mono."""

from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice

if TYPE_CHECKING:
    from rtvoice.audio.wire_codec import G711Codec


class AudioFormat(Enum):
    """Format of a device's audio, mono: the value is the name of the encoding and the samples per second.

    PCM16 is signed 16-bit, little-endian. G.711 is telephony's: one byte per sample; its silence is 0xFF in µ-law and
    0xD5 in A-law, never 0.
    """

    PCM16_8K = ("pcm16", 8_000)
    PCM16_16K = ("pcm16", 16_000)
    PCM16_24K = ("pcm16", 24_000)
    PCM16_48K = ("pcm16", 48_000)
    MULAW = ("mulaw", 8_000)
    ALAW = ("alaw", 8_000)

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.value[1]

    @property
    def is_g711(self) -> bool:
        """Whether it is one of telephony's codecs."""
        return self in (AudioFormat.MULAW, AudioFormat.ALAW)

    @property
    def sample_bytes(self) -> int:
        """Bytes per sample."""
        return 1 if self.is_g711 else 2


@runtime_checkable
class HasAudioFormat(Protocol):
    """A device that speaks another format; rtvoice converts, in both directions as a stream, without clicks.

    All that goes through ``stream_chunks()`` or ``play_chunk()`` is in that format, and ``position()`` counts its
    samples. Taps stay PCM16 at 24 kHz.
    """

    @property
    def audio_format(self) -> AudioFormat:
        """The format; asked once, when the agent is made."""
        ...


def converted_input(device: AudioInputDevice) -> AudioInputDevice:
    """Return the device itself, or one around it that speaks the session's format."""
    audio_format = _other_format(device)
    if audio_format is None:
        return device
    from rtvoice.audio.format_conversion import ConvertedInput  # it needs numpy, which few devices do

    return ConvertedInput(device, audio_format)


def converted_output(device: AudioOutputDevice) -> AudioOutputDevice:
    """Return the device itself, or one around it that speaks the session's format."""
    audio_format = _other_format(device)
    if audio_format is None:
        return device
    from rtvoice.audio.format_conversion import ConvertedOutput  # it needs numpy, which few devices do

    return ConvertedOutput(device, audio_format)


def wire_codec(device: object) -> "G711Codec | None":
    """Return how the session is to speak with a device of telephony, so that its samples pass through untouched.

    ``None`` for every other device: the session then speaks PCM16 at 24 kHz.
    """
    audio_format = _other_format(device)
    if audio_format is None or not audio_format.is_g711:
        return None
    from rtvoice.audio.wire_codec import G711Codec  # it needs numpy, which few devices do

    return G711Codec(audio_format)


def _other_format(device: object) -> AudioFormat | None:
    """Return the format of a device that does not speak the session's.

    Raises:
        TypeError: ``audio_format`` is no ``AudioFormat``.
    """
    audio_format: object = getattr(device, "audio_format", AudioFormat.PCM16_24K)
    if not isinstance(audio_format, AudioFormat):
        raise TypeError(f"audio_format of {type(device).__name__} must be an AudioFormat, not {audio_format!r}")
    return None if audio_format is AudioFormat.PCM16_24K else audio_format
