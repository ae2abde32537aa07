"""What the assistant says and what the user is taken to have said: the script of a test."""

import asyncio
import inspect
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from rtvoice.testing.audio_formats import load_pcm, placeholder_speech

UNSCRIPTED_REPLY = "This is the Realtime emulator. No further reply is scripted."
"""What the assistant says when the list of replies has run out."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call that the assistant makes.

    Attributes:
        name: Name of the function.
        arguments: Its arguments; a string is sent as it is, be it valid JSON or not.
        call_id: The call's id; made up when empty.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    call_id: str = ""

    @property
    def json_arguments(self) -> str:
        """The arguments as the wire carries them."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(dict(self.arguments), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class McpCall:
    """A call of a tool on an MCP server, which the Realtime service makes itself.

    Attributes:
        server_label: Label of the server in the session's tools.
        name: Name of the tool.
        arguments: Its arguments.
        output: What the tool returns.
        error: What went wrong instead, for example ``{"type": "tool_execution_error", "message": "..."}``.
    """

    server_label: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    error: Mapping[str, Any] | None = None


class Hold:
    """Freezes a reply at an exact point until the test lets it go on.

    Example::

        hold = Hold(after_ms=200)
        async with RealtimeEmulator(replies=[Reply("A long story ...", hold=hold)]) as server:
            ...
            await hold.reached()  # exactly 200 ms of audio have been sent
            server.current.speech_started()  # the user barges in

    Args:
        after_ms: Milliseconds of audio that are sent before the reply freezes. 0 freezes it before its first
            audio (and, in a reply of text only, before its first text).
    """

    def __init__(self, after_ms: int = 0) -> None:
        if after_ms < 0:
            raise ValueError(f"after_ms must be 0 or more, not {after_ms}")
        self.after_ms = after_ms
        self._reached = asyncio.Event()
        self._released = asyncio.Event()

    async def reached(self) -> None:
        """Wait until a reply stands at the point."""
        await self._reached.wait()

    def release(self) -> None:
        """Let the reply go on, or never stop if it has not come to the point yet."""
        self._released.set()

    async def wait_here(self) -> None:
        """Stand still until released (the emulator calls this)."""
        self._reached.set()
        await self._released.wait()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the assistant does in one response: MCP calls first, then speech or text, then function calls.

    Attributes:
        text: What it says; the transcript of the audio, or the text of a text-only response.
        audio: The sound: PCM16 24 kHz mono, or the path of such a WAV file. ``None`` lets the emulator hum for
            as long as the text would take to say.
        calls: Function calls and MCP calls.
        status: How the response ends.
        reason: For ``"incomplete"``: why. For ``"cancelled"`` the emulator knows.
        error: For ``"failed"``: the error object. A failed reply without text fails before any output.
        delay_s: Seconds between ``response.created`` and the first output: the model is thinking.
        pace: ``None`` sends as fast as it can, like the service; else the speed relative to real time: 1.0 sends
            one second of audio per second, 0.5 starves the player.
        delta_ms: Lengths of the audio deltas in milliseconds, repeated as needed; ``None``: 40 to 400 ms, unequal.
        hold: Freezes the reply at a point.
    """

    text: str = ""
    audio: bytes | str | Path | None = None
    calls: Sequence[ToolCall | McpCall] = ()
    status: Literal["completed", "incomplete", "failed"] = "completed"
    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"
    error: Mapping[str, Any] = field(
        default_factory=lambda: {
            "type": "server_error",
            "code": None,
            "message": "The server had an error while processing your request.",
        }
    )
    delay_s: float = 0.0
    pace: float | None = None
    delta_ms: Sequence[int] | None = None
    hold: Hold | None = None

    def __post_init__(self) -> None:
        if self.pace is not None and self.pace <= 0:
            raise ValueError(f"pace must be above 0 (1.0 is real time), not {self.pace}")
        if self.delta_ms is not None and (not self.delta_ms or min(self.delta_ms) < 1):
            raise ValueError(f"delta_ms needs lengths of at least 1 ms, not {self.delta_ms}")

    @property
    def speaks(self) -> bool:
        """Whether the reply contains a message."""
        return bool(self.text or self.audio)

    def pcm(self, *, seed: int, speed: float) -> bytes:
        """Return the sound as PCM16 24 kHz mono."""
        if self.audio is None:
            return placeholder_speech(self.text, seed=seed, speed=speed)
        return load_pcm(self.audio)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A piece of an answer, such as a sentence.

    Attributes:
        text: Its words, with the space that parts them from the piece before.
        audio: Their sound: PCM16 24 kHz mono. ``None`` lets the emulator hum; in a text response nobody asks for it.
    """

    text: str
    audio: bytes | None = None


class ReplyFailed(Exception):  # noqa: N818 - reads as what happened
    """Raised by the pieces of a ``StreamedReply``: the response ends as ``"failed"`` with this message."""


@dataclass(frozen=True, slots=True)
class StreamedReply:
    """A reply that is still being made while its beginning is sent.

    Attributes:
        pieces: An async generator of what is said and which functions are called, in order. It is closed when the
            response is over, also when the user interrupts it.
    """

    pieces: AsyncGenerator[Spoken | ToolCall, None]


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """What the model knows when it is asked for a response.

    Attributes:
        session: The session's settings, as ``session.updated`` shows them.
        instructions: The instructions in force for this response.
        tools: Its tools.
        tool_choice: Its tool choice.
        output_modalities: ``["audio"]`` or ``["text"]``.
        items: Its context: the items of the conversation, or those of ``response.create``'s ``input``.
        user_text: The last thing the user said or wrote, "" if nothing.
        function_outputs: Outputs by ``call_id`` that no response has seen yet.
        metadata: The request's metadata.
        out_of_band: Whether the response stays outside the conversation.
        event: The client's ``response.create``, or ``None`` if turn detection made the response.
        session_id: Id of the session.
    """

    session: Mapping[str, Any]
    instructions: str
    tools: Sequence[Mapping[str, Any]]
    tool_choice: Any
    output_modalities: Sequence[str]
    items: Sequence[Mapping[str, Any]]
    user_text: str
    function_outputs: Mapping[str, str]
    metadata: Mapping[str, str]
    out_of_band: bool
    event: Mapping[str, Any] | None
    session_id: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the user said in one turn, and how the transcription of it goes.

    Attributes:
        text: The words; "" for a turn without any.
        delay_s: Seconds from the commit to the first transcription event. It does not delay the reply.
        error: Let the transcription fail with this error object instead, for example
            ``{"type": "transcription_error", "code": "audio_unintelligible", "message": "..."}``.
        language: Language code that ``gpt-transcribe`` reports.
        segments: Speaker segments (of ``gpt-4o-transcribe-diarize``): ``{"text", "speaker", "start", "end"}``.
    """

    text: str = ""
    delay_s: float = 0.0
    error: Mapping[str, Any] | None = None
    language: str | None = None
    segments: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class UserTurn:
    """A committed stretch of the user's audio.

    Attributes:
        audio: PCM16 24 kHz mono.
        item_id: Id of the item it became.
        session_id: Id of the session.
    """

    audio: bytes
    item_id: str
    session_id: str


ReplyLike: TypeAlias = Reply | StreamedReply | str
Replies: TypeAlias = Iterable[ReplyLike] | Callable[[ReplyRequest], ReplyLike | Awaitable[ReplyLike]]
TranscriptLike: TypeAlias = Transcript | str | None
Transcripts: TypeAlias = Iterable[TranscriptLike] | Callable[[UserTurn], TranscriptLike | Awaitable[TranscriptLike]]


_T = TypeVar("_T")


class _Queue(Generic[_T]):
    """What a test listed, lazily (the list may be endless), and what it appended later."""

    def __init__(self, listed: Iterable[_T]) -> None:
        self._listed = iter(listed)
        self.appended: deque[_T] = deque()

    def take(self, default: _T) -> _T:
        """Return the next one, or ``default`` if there is none."""
        for value in self._listed:
            return value
        return self.appended.popleft() if self.appended else default


class Script:
    """The replies and transcripts of one emulator, handed out in order over all its sessions."""

    def __init__(self, replies: Replies, transcripts: Transcripts) -> None:
        for name, value in (("replies", replies), ("transcripts", transcripts)):
            if isinstance(value, str):
                raise TypeError(f"{name} must be a list or a function, not a single str: write [{value!r}]")
        self._replies = replies if callable(replies) else _Queue(replies)
        self._transcripts = transcripts if callable(transcripts) else _Queue(transcripts)

    def add_replies(self, *replies: ReplyLike) -> None:
        """Append to the list of replies.

        Raises:
            TypeError: The replies come from a function.
        """
        if not isinstance(self._replies, _Queue):
            raise TypeError("replies is a function here: it decides alone")
        self._replies.appended.extend(replies)

    def add_transcripts(self, *transcripts: TranscriptLike) -> None:
        """Append to the list of transcripts.

        Raises:
            TypeError: The transcripts come from a function.
        """
        if not isinstance(self._transcripts, _Queue):
            raise TypeError("transcripts is a function here: it decides alone")
        self._transcripts.appended.extend(transcripts)

    async def reply(self, request: ReplyRequest) -> Reply | StreamedReply:
        """Return the next reply.

        Raises:
            TypeError: The script holds something else.
        """
        reply: object
        if isinstance(self._replies, _Queue):
            reply = self._replies.take(UNSCRIPTED_REPLY)
        else:
            reply = await _result(self._replies(request))
        if isinstance(reply, str):
            return Reply(reply)
        if not isinstance(reply, Reply | StreamedReply):
            raise TypeError(f"replies must give a Reply, a StreamedReply or a str, not {reply!r}")
        return reply

    async def transcript(self, turn: UserTurn) -> Transcript:
        """Return what the user is taken to have said.

        Raises:
            TypeError: The script holds something else.
        """
        transcript: object
        if isinstance(self._transcripts, _Queue):
            transcript = self._transcripts.take(None)
        else:
            transcript = await _result(self._transcripts(turn))
        if transcript is None or isinstance(transcript, str):
            return Transcript(transcript or "")
        if not isinstance(transcript, Transcript):
            raise TypeError(f"transcripts must give a Transcript, a str or None, not {transcript!r}")
        return transcript


async def _result(value: object) -> object:
    return await value if inspect.isawaitable(value) else value
