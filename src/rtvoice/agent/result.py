"""What ``run()`` returns."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from rtvoice.conversation import ConversationTurn
from rtvoice.usage import LatencyReport, UsageReport


class AgentResult(BaseModel):
    """A conversation that is over.

    Attributes:
        turns: What was said in this session, in conversation order, without seeds. Without user
            transcription only the assistant's turns.
        recording_path: The recording, as the path was given; ``None`` without one, or if writing it failed.
        usage: Tokens, transcription and, where prices are known, cost.
        latency: How long the user waited for answers.
        stop_reason: Why the conversation ended, in a few words for a person.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    turns: list[ConversationTurn]
    recording_path: Path | None = None
    usage: UsageReport = UsageReport()
    latency: LatencyReport = LatencyReport()
    stop_reason: str = ""
