"""What an application may hear of a conversation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtvoice.events.facts import AgentError, RestoredConversation


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolApprovalRequest:
    """A tool call that waits for a person's consent.

    Attributes:
        call_id: The model's id of the call.
        name: The tool.
        arguments: What it would be called with.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolApproval:
    """A person's decision about a tool call.

    Attributes:
        approved: Whether the tool may run.
        reason: Told to the model if it may not.
    """

    approved: bool
    reason: str | None = None


class AgentListener:
    """Override the callbacks you care about; all are async and do nothing by default.

    Guarantees: one callback at a time, in the order in which things happened. The conversation never
    waits for a callback, except for `on_agent_starting` before it and `on_agent_stopped` after it. A
    callback that raises is logged and changes nothing. A slow one only delays later ones.

    A listener need not inherit from this class; methods that it lacks count as empty.
    """

    async def on_agent_starting(self) -> None:
        """``run()`` has begun; connecting waits until this returns."""

    async def on_agent_session_connected(self) -> None:
        """The session is open, configured and seeded."""

    async def on_agent_stopped(self) -> None:
        """Everything is closed and the recording is complete. Once, and last of all."""

    async def on_user_started_speaking(self) -> None:
        """The server's turn detection heard the user begin."""

    async def on_user_stopped_speaking(self) -> None:
        """The server's turn detection heard the user's turn end."""

    async def on_user_transcript(self, transcript: str) -> None:
        """What the user said is known. Needs a ``transcription_model``; often comes after the answer has begun."""

    async def on_assistant_started_responding(self) -> None:
        """The assistant can be heard (text mode: its text begins). Not for responses that only call tools."""

    async def on_assistant_stopped_responding(self) -> None:
        """The assistant was heard to the end, or was cut. Once per `on_assistant_started_responding`."""

    async def on_assistant_transcript(self, transcript: str) -> None:
        """The whole text of a message of the assistant, audio or text."""

    async def on_assistant_transcript_delta(self, delta: str) -> None:
        """A piece of the assistant's text. Needs ``"text"`` in ``output_modalities``."""

    async def on_agent_interrupted(self) -> None:
        """The assistant was cut short."""

    async def on_interruption_dismissed(self, reason: str) -> None:
        """Something that sounded like an interruption was none; needs ``interruption=InterruptionPolicy()``.

        Args:
            reason: ``too_short``, ``nothing_said``, ``backchannel`` or ``self_echo``; see
                `rtvoice.events.InterruptionDismissedEvent`.
        """

    async def on_agent_error(self, error: AgentError) -> None:
        """The server, the connection, a device or the recording reported an error."""

    async def on_agent_reconnecting(self, attempt: int, reason: str) -> None:
        """The connection was lost and is being restored.

        Args:
            attempt: Number of the attempt that follows, from 1.
            reason: What went wrong: the loss, then why the attempt before failed.
        """

    async def on_agent_reconnected(self, restored: RestoredConversation) -> None:
        """There is a connection again, and the new session knows the conversation.

        Args:
            restored: How much of it.
        """

    async def on_session_rotated(self, restored: RestoredConversation) -> None:
        """The conversation goes on in a new session: the service ends each after an hour, or `restart` was called.

        Unlike a lost connection this cannot be heard.

        Args:
            restored: How much of the conversation the new session knows.
        """

    async def on_watchdog_fired(self, watchdog: str, waited_s: float, action: str) -> None:
        """Something stood still for too long, and the agent mends it.

        Args:
            watchdog: What: ``answer``, ``response``, ``ping``, ``write``, ``capture`` or ``playback``; see
                `rtvoice.events.WatchdogFiredEvent`.
            waited_s: For how long, in seconds.
            action: ``retry``, ``reconnect`` or ``stop``.
        """

    async def on_audio_device_lost(self, direction: str, reason: str) -> None:
        """The microphone or the loudspeaker stopped working, and is opened anew.

        Args:
            direction: ``input`` or ``output``.
            reason: What went wrong.
        """

    async def on_audio_device_restored(self, direction: str, device: str) -> None:
        """A lost device works again, or the system's default device in its place.

        Args:
            direction: ``input`` or ``output``.
            device: Name of the device that is used now; empty if it does not say.
        """

    async def on_tool_executed(self, name: str, action_kind: str | None, silent: bool) -> None:
        """A tool call was answered.

        Args:
            name: The tool.
            action_kind: The tool's ``kind=``, if it has one.
            silent: The assistant says nothing about it.
        """

    async def on_tool_approval_requested(self, request: ToolApprovalRequest) -> ToolApproval | bool:
        """A tool with ``needs_approval=True`` waits for a person's consent.

        Unlike the other callbacks this one may take its time: it runs beside them, and the conversation
        goes on meanwhile. Without it, such tools are refused.

        Returns:
            Whether the tool may run: a `ToolApproval`, or just ``True`` or ``False``.
        """
        return ToolApproval(False, "nobody is there to approve it")

    async def on_supervisor_started(self) -> None:
        """The supervisor began to work."""

    async def on_supervisor_finished(self) -> None:
        """The supervisor is done, has failed, was cancelled, or waits for an answer of the user."""

    async def on_user_inactivity_countdown(self, remaining_seconds: int) -> None:
        """Nobody has spoken for a while; the agent stops in this many seconds (5 to 1)."""
