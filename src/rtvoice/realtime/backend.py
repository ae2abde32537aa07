"""What the session component needs of a protocol, so that another one can stand beside Realtime."""

from collections.abc import Sequence
from typing import Protocol

from rtvoice.errors import RtvoiceError, SessionError
from rtvoice.events import Event, RestoredConversation
from rtvoice.realtime.successor import Successor


class SessionBackend(Protocol):
    """A protocol as a state machine without I/O; `rtvoice.realtime.protocol.RealtimeProtocol` is one."""

    refusal: RtvoiceError | None
    """The exception that ends the session, once the server has refused its settings."""
    heard_from_server: bool
    """Whether the server has said anything but an error."""
    errors: int
    """Number of errors that the server has reported."""

    def start(self) -> None:
        """Prepare the first frames."""
        ...

    def connection_lost(self) -> Sequence[Event]:
        """Take in that the connection is gone, return what follows from it."""
        ...

    def restart(self) -> RestoredConversation:
        """Prepare the first frames of a new connection, which tell the conversation again; may be called repeatedly."""
        ...

    def prepare_successor(self) -> Successor:
        """Return a new session that can take over from this one, which goes on."""
        ...

    def hand_over(self, successor: Successor) -> RestoredConversation | None:
        """Go on in the new session; ``None``, and all stays as it is, if it is out of date or the moment not quiet."""
        ...

    @property
    def quiet(self) -> bool:
        """Whether nothing is going on that a new session would interrupt."""
        ...

    @property
    def revision(self) -> object:
        """What changes whenever a new session would have to be told something different."""
        ...

    @property
    def given_up(self) -> str | None:
        """Why the connection is of no use any more, although it is open."""
        ...

    @property
    def completed_responses(self) -> int:
        """Number of responses that the server has completed: a sign that it works."""
        ...

    @property
    def retried_responses(self) -> int:
        """Number of responses that have failed, and were asked for once more."""
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

    def facts(self) -> Sequence[Event]:
        """Return what has followed from the passing of time, after a call of `frames`."""
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
