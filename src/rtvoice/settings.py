"""What a user chooses: models, voices, turn detection, seeds.

Every enum is a ``StrEnum``, and wherever a member is accepted its plain string is accepted too.
"""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class RealtimeModel(StrEnum):
    """Speech-to-speech models of the Realtime API. Any other model name may be given as a string."""

    GPT_REALTIME = "gpt-realtime"
    GPT_REALTIME_MINI = "gpt-realtime-mini"
    GPT_REALTIME_1_5 = "gpt-realtime-1.5"
    GPT_REALTIME_2 = "gpt-realtime-2"
    GPT_REALTIME_2_1 = "gpt-realtime-2.1"
    GPT_REALTIME_2_1_MINI = "gpt-realtime-2.1-mini"


class AssistantVoice(StrEnum):
    """Voices. ``marin`` and ``cedar`` are OpenAI's recommendation."""

    ALLOY = "alloy"
    ASH = "ash"
    BALLAD = "ballad"
    CORAL = "coral"
    ECHO = "echo"
    FABLE = "fable"
    ONYX = "onyx"
    NOVA = "nova"
    SAGE = "sage"
    SHIMMER = "shimmer"
    VERSE = "verse"
    CEDAR = "cedar"
    MARIN = "marin"


class TranscriptionModel(StrEnum):
    """Models that write down what the user says."""

    WHISPER_1 = "whisper-1"
    GPT_TRANSCRIBE = "gpt-transcribe"
    GPT_4O_TRANSCRIBE = "gpt-4o-transcribe"
    GPT_4O_MINI_TRANSCRIBE = "gpt-4o-mini-transcribe"


class NoiseReduction(StrEnum):
    """Noise reduction that the server applies before its turn detection."""

    NEAR_FIELD = "near_field"
    FAR_FIELD = "far_field"


class SemanticEagerness(StrEnum):
    """How soon semantic turn detection decides that the user is done.

    The longest wait is 8 s (low), 4 s (medium and auto) or 2 s (high).
    """

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    AUTO = "auto"


class ReasoningEffort(StrEnum):
    """How much the ``gpt-realtime-2`` models think before they speak."""

    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"


OutputModality: TypeAlias = Literal["text", "audio"]


class SemanticVAD(BaseModel):
    """A model decides from what is said whether the user has finished; it seldom cuts in mid-sentence.

    Attributes:
        eagerness: How soon it decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eagerness: SemanticEagerness = SemanticEagerness.AUTO


class ServerVAD(BaseModel):
    """Loudness and silence decide; the delay is predictable.

    Attributes:
        threshold: Loudness that counts as speech, 0 to 1.
        prefix_padding_ms: Audio kept from before the speech was noticed, in milliseconds.
        silence_duration_ms: Silence that ends the user's turn, in milliseconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    prefix_padding_ms: int = Field(default=300, ge=0)
    silence_duration_ms: int = Field(default=500, ge=0)


TurnDetection: TypeAlias = SemanticVAD | ServerVAD


class ReconnectPolicy(BaseModel):
    """How hard the agent tries to restore a lost connection.

    The first attempt follows the loss nearly at once, the others after pauses that double.

    Attributes:
        max_attempts: Attempts in a row, at least 1. A connection that is lost again sooner than after
            ``max_delay_s`` counts as a failed attempt.
        initial_delay_s: Pause before the second attempt, in seconds, greater than 0.
        max_delay_s: Longest pause, in seconds, greater than 0.
        jitter: Share of a pause by which it varies at random, 0 to 1, so that many agents do not
            return in the same moment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(default=8, ge=1)
    initial_delay_s: float = Field(default=0.25, gt=0.0)
    max_delay_s: float = Field(default=10.0, gt=0.0)
    jitter: float = Field(default=0.2, ge=0.0, le=1.0)

    def delay_s(self, attempt: int) -> float:
        """Return the pause before an attempt, in seconds; attempts count from 1."""
        if attempt == 1:
            return self.initial_delay_s * random.uniform(0, self.jitter)
        pause = min(self.max_delay_s, self.initial_delay_s * 2.0 ** min(attempt - 2, 60))
        return pause * random.uniform(1 - self.jitter, 1 + self.jitter)


@dataclass(frozen=True, slots=True)
class SeedMessage:
    """One message that the model takes as already said.

    Attributes:
        role: ``"user"`` or ``"assistant"``.
        text: What was said.
    """

    role: Literal["user", "assistant"]
    text: str

    def __post_init__(self) -> None:
        if self.role not in ("user", "assistant"):
            raise ValueError(f"SeedMessage.role must be 'user' or 'assistant', not {self.role!r}")
        if not isinstance(self.text, str):
            raise TypeError(f"SeedMessage.text must be a str, not {type(self.text).__name__}")

    @classmethod
    def user(cls, text: str) -> Self:
        """Return a message of the user."""
        return cls("user", text)

    @classmethod
    def assistant(cls, text: str) -> Self:
        """Return a message of the assistant."""
        return cls("assistant", text)


@dataclass(frozen=True, slots=True)
class ConversationSeed:
    """A conversation that the session starts with.

    Attributes:
        messages: The messages, oldest first.
    """

    messages: list[SeedMessage]

    def __post_init__(self) -> None:
        for message in self.messages:
            if not isinstance(message, SeedMessage):
                raise TypeError(f"ConversationSeed.messages must hold SeedMessage objects, not {message!r}")

    @classmethod
    def from_pairs(cls, *pairs: tuple[str, str]) -> Self:
        """Return a seed of ``(user_text, assistant_text)`` pairs, in order."""
        return cls([m for user, assistant in pairs for m in (SeedMessage.user(user), SeedMessage.assistant(assistant))])


InjectedConversation = ConversationSeed
"""The name of `ConversationSeed` in rtvoice 0.8 and later."""
InjectedUserMessage = SeedMessage.user
"""The name of `SeedMessage.user` in rtvoice 0.8 and later."""
InjectedAssistantMessage = SeedMessage.assistant
"""The name of `SeedMessage.assistant` in rtvoice 0.8 and later."""
