"""Commands: what somebody wants done. Exactly one part of the agent obeys each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from rtvoice.events.facts import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAgentCommand(Event):
    """End the conversation.

    Attributes:
        reason: Why, in a few words, for the log.
        exception: What ``run()`` should raise instead of returning a result (start-up failures only).
    """

    urgent: ClassVar[bool] = True

    reason: str
    exception: BaseException | None = None


@dataclass(frozen=True, slots=True)
class InterruptCommand(Event):
    """Silence the assistant now.

    Attributes:
        by_user: The user's voice does it, as ``Interruption`` has judged; else the application.
        item_id: Then the turn of the user's.
    """

    urgent: ClassVar[bool] = True

    by_user: bool = field(default=False, kw_only=True)
    item_id: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class PausePlaybackCommand(Event):
    """Let the output device stand still."""


@dataclass(frozen=True, slots=True)
class ResumePlaybackCommand(Event):
    """Let it go on where it stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptUserTurnCommand(Event):
    """Answer the user's turn, as soon as it is complete; where the server does not decide that by itself.

    Attributes:
        item_id: The turn.
    """

    item_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissUserTurnCommand(Event):
    """Do not answer the user's turn.

    Attributes:
        item_id: The turn.
        forget: Whether it is also taken out of the conversation, because nobody said anything.
    """

    item_id: str | None = None
    forget: bool = True


@dataclass(frozen=True, slots=True)
class UpdateSpeechSpeedCommand(Event):
    """Speak faster or slower, 0.25 to 1.5 times; held back until no response is running."""

    speed: float


@dataclass(frozen=True, slots=True)
class UpdateInstructionsCommand(Event):
    """Replace the session's instructions."""

    instructions: str


@dataclass(frozen=True, slots=True)
class UpdateToolChoiceCommand(Event):
    """Set whether the model may, must or must not call tools."""

    tool_choice: Literal["none", "auto", "required"]


@dataclass(frozen=True, slots=True)
class UpdateSessionToolsCommand(Event):
    """Replace the session's tools on the wire.

    Attributes:
        tools: Function-tool schemas: mappings, or objects with ``model_dump()``.
    """

    tools: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMessageCommand(Event):
    """Add a user message to the conversation and let the assistant answer.

    Attributes:
        text: The text part; empty for none.
        image_url: An image as data URL or https URL; ``None`` for none.
        respond: Whether to ask for a response.
    """

    text: str = ""
    image_url: str | None = None
    respond: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResponseCommand(Event):
    """Let the assistant speak when the line is free.

    Attributes:
        instructions: Added to the session's instructions for this response.
    """

    instructions: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SayCommand(Event):
    """Say something word for word, beside the conversation; the model is told afterwards what was heard of it.

    Attributes:
        text: To be spoken verbatim.
        request_id: Comes back in `ResponseStartedEvent`.
    """

    text: str
    request_id: str


@dataclass(frozen=True, slots=True)
class CommitUserTurnCommand(Event):
    """The user's turn is over (push-to-talk, without turn detection)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakHoldingPhraseCommand(Event):
    """Say something while a tool is running.

    Attributes:
        call_id: The call that takes a while; its output is sent after the phrase was requested.
        phrase: To be spoken verbatim.
    """

    call_id: str
    phrase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakProgressCommand(Event):
    """Say how a long task is getting on, if nobody is speaking; otherwise it is not worth saying.

    Attributes:
        phrase: To be spoken verbatim.
    """

    phrase: str


@dataclass(frozen=True, slots=True)
class CancelSupervisorCommand(Event):
    """Give up the supervisor's task."""


@dataclass(frozen=True, slots=True)
class UpdateSupervisorCommand(Event):
    """Tell the running supervisor something new."""

    message: str
