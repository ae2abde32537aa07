"""What a session has gone through, in figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStats:
    """Counts since the agent connected, over all sessions of the conversation.

    Attributes:
        frames_sent: Frames written to the server.
        frames_received: Frames read from it.
        frames_refused: ``error`` events: frames of ours that the server did not accept, or failures of its own.
        responses_retried: Responses that have failed for a reason that may pass, and were asked for once more.
        dropped_user_audio_ms: Microphone audio that could not be sent in time, in milliseconds.
        reconnects: Lost connections that were restored.
        rotations: New sessions that took over from one that still worked.
        watchdogs: How often each watchdog of the session has fired: ``answer``, ``response``, ``ping``, ``write``.
    """

    frames_sent: int = 0
    frames_received: int = 0
    frames_refused: int = 0
    responses_retried: int = 0
    dropped_user_audio_ms: int = 0
    reconnects: int = 0
    rotations: int = 0
    watchdogs: Mapping[str, int] = field(default_factory=dict)
