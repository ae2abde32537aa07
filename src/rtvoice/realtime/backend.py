"""What the session component needs of a protocol, so that another one can stand beside Realtime."""

from collections.abc import Sequence
from typing import Protocol

from rtvoice.errors import RtvoiceError, SessionError
from rtvoice.events import Event, RestoredConversation


class SessionBackend(Protocol):
    """A protocol as a state machine without I/O; `rtvoice.realtime.protocol.RealtimeProtocol` is one."""

    refusal: RtvoiceError | None
    """The exception that ends the session, once the server has refused its settings."""
    heard_from_server: bool
    """Whether the server has said anything but an error."""

    def start(self) -> None:
        """Prepare the first frames."""
        ...

    def connection_lost(self) -> Sequence[Event]:
        """Take in that the connection is gone, return what follows from it."""
        ...

    def restart(self) -> RestoredConversation:
        """Prepare the first frames of a new connection, which tell the conversation again; may be called repeatedly."""
        ...

    def receive(self, frame: str | bytes) -> Sequence[Event]:
        """Take in a frame, return what it means; never raises."""
        ...

    def send(self, event: Event) -> None:
        """Take in what another part says to the server."""
        ...

    def append_audio(self, pcm: bytes) -> bytes:
        """Return the frame for microphone audio."""
        ...

    def frames(self) -> Sequence[bytes]:
        """Return the frames that may be sent now."""
        ...

    @property
    def wants_to_send(self) -> bool:
        """Whether `frames` may have something, or `deadline` may have moved."""
        ...

    def deadline(self) -> float | None:
        """Return when `frames` should be asked again even if nothing happens."""
        ...

    def connection_failure(self, close_code: int | None, reason: str) -> SessionError | None:
        """Return why the session could not begin, or ``None`` if it had."""
        ...

    def is_final(self, close_code: int | None, reason: str) -> bool:
        """Return whether a close means that connecting again cannot help."""
        ...

    @property
    def last_error_code(self) -> str | None:
        """Code of the last error that the server reported."""
        ...
