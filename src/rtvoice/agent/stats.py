"""What an agent counts while it runs, for dashboards and for the question what went wrong."""

from dataclasses import dataclass, field

from rtvoice.audio.devices import AudioStats
from rtvoice.realtime.stats import SessionStats

_NO_DEVICE = AudioStats(device="", device_rate=0, latency_ms=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStats:
    """Counters of one conversation, as of now. All of them only grow, but for ``events_waiting``.

    In a conversation that is well, everything but the frames stays at or near zero.

    Attributes:
        session: The connection: frames, lost audio, reconnects, rotations, watchdogs.
        microphone: The input device.
        loudspeaker: The output device.
        events_waiting: Events that wait in the inboxes of all parts of the agent. An inbox holds 20,000.
        events_dropped: Events that full inboxes have dropped: a part hangs, a handler is too slow, or audio of the
            microphone could not be sent in time (then ``session.dropped_user_audio_ms`` grows, too).
    """

    session: SessionStats = field(default_factory=SessionStats)
    microphone: AudioStats = _NO_DEVICE
    loudspeaker: AudioStats = _NO_DEVICE
    events_waiting: int = 0
    events_dropped: int = 0
