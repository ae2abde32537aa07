"""Time stamps inside the audio, so that a piece of sound tells how long it was on its way.

Every period of a stream begins with eight bytes: ``time.perf_counter_ns()`` at the moment it was captured or sent. On
Linux that clock is the same for all processes. The reader finds the stamps by counting bytes, so a library may cut
and join chunks as it likes, but must not change the sound.
"""

import struct
import time
from array import array
from typing import Final

MICROPHONE_PERIOD: Final = 960
"""Bytes of a microphone chunk: 20 ms of PCM16, 24 kHz, mono."""
STAMP: Final = struct.Struct("<q")

_PLAUSIBLE_NS: Final = 60_000_000_000


def stamp() -> bytes:
    """Return the current time as eight bytes of sound."""
    return STAMP.pack(time.perf_counter_ns())


class StampReader:
    """Collects the stamps of one stream.

    Args:
        period: Bytes from one stamp to the next.

    Attributes:
        sent_ns: The stamps.
        delays_ns: How long ago each was when it arrived.
        unreadable: Periods that began with no stamp: somebody changed the sound.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._until_next = 0
        self.sent_ns = array("q")
        self.delays_ns = array("q")
        self.unreadable = 0

    def feed(self, pcm: bytes) -> None:
        """Take in the next piece of the stream."""
        now = time.perf_counter_ns()
        offset = self._until_next
        while offset + STAMP.size <= len(pcm):
            (sent,) = STAMP.unpack_from(pcm, offset)
            if 0 <= now - sent < _PLAUSIBLE_NS:
                self.sent_ns.append(sent)
                self.delays_ns.append(now - sent)
            else:
                self.unreadable += 1
            offset += self._period
        self._until_next = max(0, offset - len(pcm))

    def clear(self) -> None:
        """Forget what was collected, not the place in the stream."""
        self.sent_ns, self.delays_ns = array("q"), array("q")
        self.unreadable = 0

    def as_lists(self) -> dict[str, list[int]]:
        """Return stamps and delays, ready for JSON."""
        return {"sent_ns": self.sent_ns.tolist(), "delays_ns": self.delays_ns.tolist()}
