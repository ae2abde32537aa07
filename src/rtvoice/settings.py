"""What a user chooses: models, voices, turn detection, seeds.

Every enum is a ``StrEnum``, and wherever a member is accepted its plain string is accepted too.
"""

import random
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


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


class InterruptionPolicy(BaseModel):
    """What it takes to interrupt the assistant: without a policy, any sound that the server takes for speech.

    With a policy the server only reports speech, and the agent decides what follows: whether the response is cancelled,
    and whether the turn is answered. That costs a round trip to the server at the end of every turn.

    Attributes:
        min_speech_ms: How long the user has to speak, in milliseconds, 0 to 1500: a cough or a click does not count.
        ignore_backchannels: Whether "mhm" and "yeah" leave the assistant speaking: ``True`` for the words that
            `rtvoice.conversation.backchannels.BACKCHANNELS` lists, or words and phrases of your own. Needs a
            ``transcription_model``.
        resume_after_false_alarm: Fall silent as soon as there is a sound, and go on from the same sample if it was
            nothing. ``False``: speak on until it is certain that it is something. An output device that cannot pause
            (`rtvoice.audio.devices.SupportsPause`) speaks on in any case.
        ignore_self_echo: Do not take the assistant's own voice, which the microphone hears from the loudspeaker, for
            the user's. Needs an output device with a tap (`rtvoice.audio.devices.SupportsTap`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_speech_ms: int = Field(default=250, ge=0, le=1_500)
    ignore_backchannels: bool | tuple[str, ...] = True
    resume_after_false_alarm: bool = True
    ignore_self_echo: bool = True

    @field_validator("ignore_backchannels")
    @classmethod
    def _has_words(cls, value: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
        if isinstance(value, tuple) and not all(any(map(str.isalnum, phrase)) for phrase in value):
            raise ValueError("every phrase of ignore_backchannels needs a letter")
        return value


class RotationPolicy(BaseModel):
    """When the agent moves to a new session, because the service ends every session after a while.

    The new session is opened first, configured, and told the conversation; then it takes over, and the old one is
    closed. A quiet moment is waited for: nobody speaks, nothing plays, no tool works.

    Attributes:
        after_s: Age of a session from which a quiet moment is waited for, in seconds, greater than 0.
        latest_s: Age at which no quiet moment is waited for any more, in seconds, at least ``after_s``. It has to be
            less than the service's limit: OpenAI and Azure end a session after 3,600 s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    after_s: float = Field(default=3_300.0, gt=0.0)
    latest_s: float = Field(default=3_570.0, gt=0.0)

    @model_validator(mode="after")
    def _latest_comes_last(self) -> Self:
        if self.latest_s < self.after_s:
            raise ValueError(f"latest_s ({self.latest_s:g}) must be at least after_s ({self.after_s:g})")
        return self


class WatchdogPolicy(BaseModel):
    """How long something may stand still before the agent mends it; in seconds, greater than 0, ``None`` for ever.

    Each limit holds twice: when it is over for the first time, something mild is tried; for the second time, the
    session reconnects. `rtvoice.events.WatchdogFiredEvent` reports either.

    Attributes:
        answer_s: From the end of the user's turn, or from a request for a response, to the beginning of the response.
        response_s: From one sign of progress to the next while the server works on a response.
        ping_s: From a ping to its answer, or to anything else that arrives.
        write_s: While the network takes nothing.
        capture_s: While the input device delivers nothing, although it has delivered without a pause until then.
            Devices that deliver only when somebody speaks are left alone, and so is push-to-talk.
        playback_s: While the output device takes nothing, or its position stands still, although there is audio.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer_s: float | None = Field(default=15.0, gt=0.0)
    response_s: float | None = Field(default=30.0, gt=0.0)
    ping_s: float | None = Field(default=15.0, gt=0.0)
    write_s: float | None = Field(default=10.0, gt=0.0)
    capture_s: float | None = Field(default=5.0, gt=0.0)
    playback_s: float | None = Field(default=5.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class SessionLog:
    """A file with everything that a session sent and received, for ``rtvoice replay`` and `rtvoice.testing.Replay`.

    Credentials are never in it.

    Attributes:
        path: The file, one JSON object a line. About 65 kB a second, 115 while the assistant speaks.
        redact_audio: Leave the sound out; its duration stays.
        redact_text: Leave the words out: instructions, transcripts, messages, images, tool arguments and results.
    """

    path: str | Path
    redact_audio: bool = False
    redact_text: bool = False


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
