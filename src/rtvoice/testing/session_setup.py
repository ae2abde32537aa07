"""What an emulator gives each of its sessions."""

from collections.abc import Callable
from dataclasses import dataclass, field

from rtvoice.testing.event_log import JsonObject
from rtvoice.testing.faults import Faults
from rtvoice.testing.input_audio import VoiceActivity, energy_detector
from rtvoice.testing.mcp import McpServers
from rtvoice.testing.quirks import Quirks
from rtvoice.testing.script import Script


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSetup:
    """What an emulator gives each of its sessions.

    Attributes:
        script: Replies and transcripts.
        faults: What goes wrong.
        quirks: What varies.
        mcp_servers: MCP servers that can be "reached".
        voice_activity: Makes what finds speech in the audio; ``None``: nobody listens.
        keeps_records: Whether sessions remember all events and all audio of the user.
        length_s: Seconds until the session expires.
        seed: Seed of everything that is made up.
        new_id: Makes ids that are unique over all sessions.
        on_received: Told of every client event.
        on_sent: Told of every event that went out.
    """

    script: Script
    faults: Faults = field(default_factory=Faults)
    quirks: Quirks = field(default_factory=Quirks)
    mcp_servers: McpServers = field(default_factory=dict)
    voice_activity: VoiceActivity | None = energy_detector
    keeps_records: bool = True
    length_s: float = 3600.0
    seed: int = 0
    new_id: Callable[[str], str]
    on_received: Callable[[JsonObject], None]
    on_sent: Callable[[JsonObject], None]
