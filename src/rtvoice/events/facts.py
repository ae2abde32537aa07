"""Facts: what has happened. Anyone may hear a fact.

``pcm`` always means 16-bit little-endian PCM, 24 kHz, mono: 48 bytes per millisecond.
``loop time`` is the running event loop's ``time()``, in seconds.
The fields that rtvoice 0.7 had come first, in its order; what we add is keyword-only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from rtvoice.usage import UsageReport


_CHARACTERS_PER_SECOND = 15
"""How fast the assistant speaks, roughly, at speed 1."""


class Event:
    """Base of all events and commands; only carries how they travel.

    Attributes:
        urgent: Urgent events overtake the others in every inbox that is not kept in order.
    """

    __slots__ = ()
    urgent: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class AgentError:
    """What went wrong, for people and for programs. It is a record, not an exception.

    Attributes:
        type: Kind of error: the server's own type, or ``connection_closed``, ``audio_error``,
            ``recording_error``, ``response_failed``, ``internal_error``.
        message: A sentence for a person.
        code: The server's error code, if it gave one.
        event_id: The client event that the server complains about, if it said so.
        param: The parameter that the server complains about, if it said so.
    """

    type: str
    message: str
    code: str | None = None
    event_id: str | None = None
    param: str | None = None

    def __str__(self) -> str:
        return f"[{self.type}] {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredConversation:
    """What the new session knows of a conversation whose connection was lost.

    Attributes:
        items: Number of messages, tool calls and tool outputs that were told again.
        lost_user_turns: Number of the user's turns that were not, because their words are not known: no
            transcription, or the connection was lost before it arrived.
    """

    items: int
    lost_user_turns: int


# --- the agent ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentStartingEvent(Event):
    """``run()`` has begun; nothing is connected yet."""


@dataclass(frozen=True, slots=True)
class AgentSessionConnectedEvent(Event):
    """The session is open, configured and seeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReconnectingEvent(Event):
    """The connection was lost, or an attempt to restore it has failed: the next attempt follows.

    Attributes:
        attempt: Number of the attempt, from 1.
        reason: What went wrong, for a person.
    """

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReconnectedEvent(Event):
    """There is a connection again, and the new session knows the conversation.

    Attributes:
        restored: What it knows.
    """

    restored: RestoredConversation


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRotatedEvent(Event):
    """The conversation goes on in a new session, which took over while the old one still worked.

    Attributes:
        restored: What it knows.
    """

    restored: RestoredConversation


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogFiredEvent(Event):
    """Something stood still for longer than `rtvoice.WatchdogPolicy` allows, and is being mended.

    Attributes:
        watchdog: What stands still:
            ``answer``, the user's turn is over and the server neither answers nor says why not;
            ``response``, the server works on a response and nothing comes of it;
            ``ping``, the connection answers no ping, and nothing else arrives;
            ``write``, the network takes nothing;
            ``capture``, the input device delivers nothing; ``playback``, the output device takes nothing.
        waited_s: For how long, in seconds.
        action: What is done about it: ``retry``, a first and mild attempt (ask again, cancel the response, ping again,
            go on waiting, open the device anew); ``reconnect``, that did not help and a new session is opened;
            ``stop``, nothing helps and the conversation ends.
    """

    watchdog: Literal["answer", "response", "ping", "write", "capture", "playback"]
    waited_s: float
    action: Literal["retry", "reconnect", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDeviceLostEvent(Event):
    """An audio device stopped working. It is opened anew; `AudioDeviceRestoredEvent` or `AgentErrorEvent` follows.

    Attributes:
        direction: ``input``, the microphone; ``output``, the loudspeaker.
        reason: What went wrong, for a person.
    """

    direction: Literal["input", "output"]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDeviceRestoredEvent(Event):
    """A lost audio device works again, or another one in its place.

    Attributes:
        direction: ``input`` or ``output``, as in `AudioDeviceLostEvent`.
        device: Name of the device that is used now; empty if it does not say.
        gap_ms: How long there was none, in milliseconds. What the user said meanwhile is lost; what the assistant
            said is played from where it broke off.
    """

    direction: Literal["input", "output"]
    device: str
    gap_ms: int


@dataclass(frozen=True, slots=True)
class AgentStoppedEvent(Event):
    """Socket and devices are closed, the recording is complete."""


@dataclass(frozen=True, slots=True)
class AgentErrorEvent(Event):
    """Something failed that the user should know of."""

    error: AgentError
    event_id: str | None = None


# --- the user ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAudioCapturedEvent(Event):
    """The microphone delivered a chunk.

    Attributes:
        pcm: The audio, an even number of bytes, never empty.
        captured_at: Loop time at which it was delivered, so about the time of its last sample.
    """

    pcm: bytes
    captured_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAudioDroppedEvent(Event):
    """Microphone audio could not be sent for so long that the oldest was given up.

    Attributes:
        dropped_ms: Length of the audio lost since the last such event.
    """

    dropped_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechDetectedEvent(Event):
    """The server's turn detection heard the user begin to speak; playback now judges what that interrupts.

    Attributes:
        item_id: The conversation item that the utterance will become.
        audio_start_ms: Where it begins, in milliseconds of audio sent in this session.
    """

    urgent: ClassVar[bool] = True

    item_id: str | None = None
    audio_start_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UserStartedSpeakingEvent(Event):
    """The user speaks. If that was an interruption, ``AssistantInterruptedEvent`` came just before."""


@dataclass(frozen=True, slots=True)
class UserStoppedSpeakingEvent(Event):
    """The user's turn has ended.

    ``audio_end_ms`` is where it ends, in milliseconds of audio sent in this session, if the server says so; the
    silence that turn detection waited for is included.
    """

    audio_end_ms: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptionDismissedEvent(Event):
    """What the server took for an interruption was none (see `rtvoice.InterruptionPolicy`): the assistant speaks on.

    Attributes:
        reason: ``too_short``, the sound did not last; ``nothing_said``, there are no words in it; ``backchannel``,
            the user only showed to be listening; ``self_echo``, it was the assistant's own voice from the loudspeaker.
        item_id: The turn. It stays in the conversation after a backchannel, else it is taken out.
        paused_ms: For how long the assistant was silent because of it, in milliseconds.
    """

    reason: Literal["too_short", "nothing_said", "backchannel", "self_echo"]
    item_id: str | None = None
    paused_ms: int = 0

    @property
    def was_speech(self) -> bool:
        """Whether the user has said something after all."""
        return self.reason == "backchannel"


@dataclass(frozen=True, slots=True)
class UserTranscriptChunkReceivedEvent(Event):
    """A piece of what the user said."""

    chunk: str
    item_id: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class UserTranscriptCompletedEvent(Event):
    """All that the user said in one turn.

    ``usage`` is what the transcription used, as the server reports it; empty if it reports nothing.
    """

    transcript: str
    item_id: str
    usage: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessageAddedEvent(Event):
    """Something the user wrote rather than said has its place in the conversation.

    Attributes:
        text: The words; empty for an image alone.
        item_id: The item.
    """

    text: str
    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTranscriptFailedEvent(Event):
    """The server could not write down what the user said; the turn itself goes on."""

    item_id: str
    error: AgentError


# --- the conversation on the server ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItemAddedEvent(Event):
    """An item got its place in the server's conversation.

    Attributes:
        item_id: The item.
        previous_item_id: The item before it; ``None`` if it is the first or the server did not say.
        role: ``"user"``, ``"assistant"`` or ``"system"`` for messages, else ``None``.
    """

    item_id: str
    previous_item_id: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseStartedEvent(Event):
    """The server began a response.

    Attributes:
        response_id: The response.
        request_id: Whose request it answers (``SayCommand.request_id``), if one of ours asked by name.
    """

    response_id: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFinishedEvent(Event):
    """The server has generated all it will of a response; its sound may still be playing.

    Attributes:
        response_id: The response.
        status: ``completed``, ``cancelled``, ``incomplete`` or ``failed``.
        reason: Why it did not complete, in the server's word (``turn_detected``, ``max_output_tokens`` …).
        has_audio: Whether audio of it was received.
        usage: Token counts as the server reports them; empty if it reports none.
    """

    response_id: str
    status: str
    reason: str | None = None
    has_audio: bool = False
    usage: Mapping[str, Any] = field(default_factory=dict)


# --- the assistant -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantAudioReceivedEvent(Event):
    """A piece of the assistant's speech arrived."""

    pcm: bytes
    response_id: str
    item_id: str
    content_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantAudioCompletedEvent(Event):
    """No more audio will come for this item."""

    response_id: str
    item_id: str
    content_index: int = 0


@dataclass(frozen=True, slots=True)
class AssistantTranscriptChunkReceivedEvent(Event):
    """A piece of what the assistant says; the same as ``AssistantTranscriptDeltaEvent`` without its place."""

    chunk: str


@dataclass(frozen=True, slots=True)
class AssistantTranscriptDeltaEvent(Event):
    """A piece of what the assistant says, ahead of its sound."""

    delta: str
    item_id: str
    output_index: int
    content_index: int
    response_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class AssistantTranscriptCompletedEvent(Event):
    """All that the assistant has generated of one message, whether or not it was heard."""

    transcript: str
    item_id: str
    output_index: int
    content_index: int
    response_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class AssistantStartedRespondingEvent(Event):
    """The assistant can be heard (text mode: its text has begun)."""

    response_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class AssistantStoppedRespondingEvent(Event):
    """The assistant has been heard to the end, or was cut (text mode: its text has ended)."""

    response_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackCut:
    """How much of one item was heard before it was cut.

    Attributes:
        item_id: The assistant item.
        content_index: Its content part.
        played_ms: What was heard, to the nearest millisecond; never more than ``received_ms``.
        received_ms: What the server had sent of it, rounded down.
        complete: Whether that was all of it.
    """

    item_id: str
    content_index: int
    played_ms: int
    received_ms: int
    complete: bool = False

    def heard_of(self, text: str) -> str:
        """Return the words of the item that were heard: an estimate, since sound and words are not aligned.

        Args:
            text: The item's words as far as they are known.
        """
        if self.complete and self.received_ms:
            length = len(text) * self.played_ms / self.received_ms
        else:  # the words run ahead of the sound
            length = self.played_ms / 1000 * _CHARACTERS_PER_SECOND
        if length >= len(text):
            return text
        return text[: int(length) + 1].rpartition(" ")[0].rstrip()


@dataclass(frozen=True, slots=True)
class AssistantInterruptedEvent(Event):
    """The assistant was cut short, and the device is silent.

    Attributes:
        item_id: The item that was being heard, if any.
        played_ms: What was heard of it.
        cuts: Every item with audio that was not heard to its end, in playing order.
        response_ids: The responses that these items belong to, and those that had no audio yet.
        by_program: ``agent.interrupt()`` did it, not the user's voice.
        cut_at: Loop time of the cut.
    """

    urgent: ClassVar[bool] = True

    item_id: str | None = None
    played_ms: int | None = None
    cuts: tuple[PlaybackCut, ...] = field(default=(), kw_only=True)
    response_ids: tuple[str, ...] = field(default=(), kw_only=True)
    by_program: bool = field(default=False, kw_only=True)
    cut_at: float | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantAudioPlayedEvent(Event):
    """Audio was handed to the output device.

    Attributes:
        pcm: The audio.
        starts_at: Loop time at which its first sample is (or will be) heard.
    """

    pcm: bytes
    starts_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantPausedEvent(Event):
    """The output device stands still until it is certain whether the user interrupts.

    Attributes:
        paused_at: Loop time.
    """

    paused_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantResumedEvent(Event):
    """The output device goes on where it stopped, or is free for the next answer.

    Attributes:
        resumed_at: Loop time.
    """

    resumed_at: float


@dataclass(frozen=True, slots=True)
class AudioPlaybackCompletedEvent(Event):
    """Everything handed to the output device has been heard."""


# --- tools and supervisor ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallRequestedEvent(Event):
    """The model calls a tool. Reported once per ``call_id``.

    Attributes:
        call_id: The model's id of this call.
        name: The tool.
        arguments: The decoded JSON object.
        response_id: The response that contains the call.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]
    response_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallFinishedEvent(Event):
    """A tool call has its output. Exactly one per ``ToolCallRequestedEvent``.

    Attributes:
        call_id: The call.
        name: The tool.
        output: What the model is told.
        success: Whether the tool did what it was asked.
        respond: Whether the model should say something about it.
        result_instruction: How the model should present it.
        kind: The tool's ``kind``, if it has one.
    """

    call_id: str
    name: str
    output: str
    success: bool = True
    respond: bool = True
    result_instruction: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolApprovalRequestedEvent(Event):
    """A tool that needs a person's consent waits for it; a `ToolApprovalResolvedEvent` follows.

    Attributes:
        call_id: The call that waits.
        name: The tool.
        arguments: What it would be called with.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolApprovalResolvedEvent(Event):
    """A person has decided whether a tool may run.

    Attributes:
        call_id: The call, from `ToolApprovalRequestedEvent`.
        approved: Whether it may run.
        reason: Told to the model if it may not.
    """

    call_id: str
    approved: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageUpdatedEvent(Event):
    """The conversation has used more tokens or transcription.

    Attributes:
        usage: The totals so far.
    """

    usage: "UsageReport"


@dataclass(frozen=True, slots=True)
class SupervisorStartedEvent(Event):
    """The supervisor's loop began to run."""


@dataclass(frozen=True, slots=True)
class SupervisorFinishedEvent(Event):
    """The supervisor's loop ended: done, failed, cancelled, or waiting for an answer."""


# --- inactivity --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UserInactivityCountdownEvent(Event):
    """The agent will stop in so many seconds unless somebody speaks."""

    remaining_seconds: int


@dataclass(frozen=True, slots=True)
class UserInactivityTimeoutEvent(Event):
    """Nobody spoke for ``timeout_seconds``; the agent stops."""

    timeout_seconds: float
