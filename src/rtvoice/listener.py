"""What an application may hear of a conversation."""

from rtvoice.events.facts import AgentError


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

    async def on_agent_error(self, error: AgentError) -> None:
        """The server, the connection, a device or the recording reported an error."""

    async def on_supervisor_started(self) -> None:
        """The supervisor began to work."""

    async def on_supervisor_finished(self) -> None:
        """The supervisor is done, has failed, was cancelled, or waits for an answer of the user."""

    async def on_user_inactivity_countdown(self, remaining_seconds: int) -> None:
        """Nobody has spoken for a while; the agent stops in this many seconds (5 to 1)."""
