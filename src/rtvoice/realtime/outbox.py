"""Frames that wait for the socket, in order, and the ids by which the server refers to them."""


class Outbox:
    """What is to be sent next.

    Every frame carries an ``event_id`` of its own, ``<purpose>_<number>``, so that an ``error`` event
    can be matched to what caused it.
    """

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._frames)

    def new_id(self, purpose: str) -> str:
        """Return an ``event_id`` that was not used before."""
        self._count += 1
        return f"{purpose}_{self._count}"

    def put(self, frame: bytes) -> None:
        """Add a frame."""
        self._frames.append(frame)

    def take(self) -> list[bytes]:
        """Return all that waits, oldest first."""
        frames, self._frames = self._frames, []
        return frames
