"""What the session needs of a codec, if it does not speak PCM16 at 24 kHz on the wire."""

from typing import Protocol


class AudioCodec(Protocol):
    """Translates one direction of a session's audio; inside, all audio is PCM16 at 24 kHz, mono."""

    @property
    def name(self) -> str:
        """The API's name of the format on the wire: ``audio/pcmu`` or ``audio/pcma``."""
        ...

    def encode(self, pcm: bytes) -> bytes:
        """Return audio for the wire, at least a byte of it for each non-empty ``pcm``."""
        ...

    def decode(self, audio: bytes, stream: object) -> bytes:
        """Return audio from the wire.

        Args:
            audio: A piece of it.
            stream: What it is a piece of.
        """
        ...
