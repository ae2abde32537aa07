"""What an echo canceller is. A user may bring one: ``RealtimeAgent(echo=MyCanceller())``."""

from typing import Final, Protocol, runtime_checkable

FRAME_SAMPLES: Final = 240
"""Samples that a canceller gets at a time: 10 ms."""

FRAME_BYTES: Final = 2 * FRAME_SAMPLES


class EchoCanceller(Protocol):
    """Takes out of the microphone what it hears of the loudspeaker.

    Everything is PCM16 little-endian, 24 kHz, mono, in frames of exactly 480 bytes (10 ms). A frame is to be done in
    well under 2 ms: it runs in the event loop. What it raises ends the cancelling, not the conversation.
    """

    @property
    def delay_ms(self) -> float:
        """How much later than it went in the microphone's sound comes out, in milliseconds."""
        ...

    def process(self, microphone: bytes, reference: bytes) -> bytes:
        """Return the next 10 ms without echo.

        Args:
            microphone: What was captured.
            reference: What was rendered 0 to 250 ms before its echo can be heard in ``microphone``; silence while
                nothing is played.
        """
        ...

    def reset(self) -> None:
        """Forget the room; called at the start, and when audio is missing or a device was changed."""
        ...


@runtime_checkable
class MeasuresDrift(Protocol):
    """A canceller that notices when the clocks of microphone and loudspeaker run apart."""

    @property
    def drift(self) -> float:
        """Samples rendered per sample captured, less one; within 0.0005. The reference then follows it."""
        ...
