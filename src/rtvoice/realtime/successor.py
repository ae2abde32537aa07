"""A new session that gets ready while the old one still works."""

from rtvoice.errors import RtvoiceError
from rtvoice.realtime import refusals, server_events
from rtvoice.realtime.memory import Retelling


class Successor:
    """What a new session is told, and what it says before it takes over.

    Args:
        frames: Its configuration and the conversation so far.
        retelling: That conversation.
        revision: The state of the configuration and the conversation that the frames tell.

    Attributes:
        greeted: Whether the server has opened the session.
        ready: Whether it has accepted the configuration.
        failure: Why the session is of no use, if so.
        session_id: The server's id of the session.
        expires_at: When the server will end it, as Unix time, if it said so.
    """

    def __init__(self, frames: list[bytes], retelling: Retelling, revision: tuple[int, int]) -> None:
        self.frames = frames
        self.retelling = retelling
        self.revision = revision
        self.greeted = False
        self.ready = False
        self.failure: RtvoiceError | None = None
        self.session_id: str | None = None
        self.expires_at: int | None = None

    def receive(self, frame: str | bytes) -> None:
        """Take in one frame from the server."""
        match server_events.parse(frame):
            case server_events.SessionCreated() as created:
                self.greeted = True
                self.session_id, self.expires_at = created.session.id, created.session.expires_at
            case server_events.SessionUpdated() as updated:
                self.ready = True
                self.expires_at = updated.session.expires_at or self.expires_at
            case server_events.ErrorReceived() as received:
                self.failure = refusals.close_refusal(received.error, None, "")
            case _:
                pass
