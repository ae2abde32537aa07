"""What the server says: frames into typed events, in one pass.

Only the fields that the protocol uses are declared; everything else is skipped while parsing.
Audio arrives as bytes: pydantic undoes the base64 while it parses the JSON, several times faster than
``json`` and ``base64`` one after the other.

Parsing is lenient, because the service changes under its clients: unknown types and fields are
ignored, and a field that is missing, null or of the wrong type becomes its default. Only a frame
whose very subject cannot be read (the item, the response, the audio) is skipped. The names of the
retired beta interface are understood where only the name changed.
"""

import logging
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _OrElse:
    """Annotation of a field whose malformed values become ``default``, within pydantic's compiled core."""

    default: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=self.default, on_error="default")


Text: TypeAlias = Annotated[str, _OrElse("")]
OptionalText: TypeAlias = Annotated[str | None, _OrElse(None)]
Index: TypeAlias = Annotated[int, _OrElse(0)]
OptionalInt: TypeAlias = Annotated[int | None, _OrElse(None)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", val_json_bytes="base64", coerce_numbers_to_str=True)


class Error(_Wire):
    """The ``error`` object; every field of it has been seen missing or null."""

    type: Text = ""
    code: OptionalText = None
    message: Text = ""
    param: OptionalText = None
    event_id: OptionalText = None


class Item(_Wire):
    """A conversation item, as far as we look into it."""

    id: Text = ""
    type: Text = ""
    role: OptionalText = None
    status: OptionalText = None
    name: OptionalText = None
    call_id: OptionalText = None
    arguments: OptionalText = None


class StatusDetails(_Wire):
    """Why a response did not complete."""

    reason: OptionalText = None
    error: Annotated[Error | None, _OrElse(None)] = None


class Response(_Wire):
    """A response, in ``response.created`` and ``response.done``.

    Attributes:
        conversation_id: ``None`` if the response is not part of the conversation.
    """

    id: Text = ""
    conversation_id: Annotated[str | None, _OrElse("")] = ""
    status: Text = ""
    metadata: Annotated[dict[str, Any] | None, _OrElse(None)] = None
    status_details: Annotated[StatusDetails | None, _OrElse(None)] = None
    output: Annotated[tuple[Annotated[Item | None, _OrElse(None)], ...], _OrElse(())] = ()
    usage: Annotated[dict[str, Any] | None, _OrElse(None)] = None


class Session(_Wire):
    """The session object."""

    id: OptionalText = None
    expires_at: OptionalInt = None


class SessionCreated(_Wire):
    """First event of a connection."""

    type: Literal["session.created"]
    session: Annotated[Session, _OrElse(Session())] = Session()


class SessionUpdated(_Wire):
    """A ``session.update`` was accepted."""

    type: Literal["session.updated"]
    session: Annotated[Session, _OrElse(Session())] = Session()


class ErrorReceived(_Wire):
    """The server refused something or is about to close."""

    type: Literal["error"]
    error: Annotated[Error, _OrElse(Error())] = Error()


class SpeechStarted(_Wire):
    """Turn detection heard speech."""

    type: Literal["input_audio_buffer.speech_started"]
    audio_start_ms: OptionalInt = None
    item_id: OptionalText = None


class SpeechStopped(_Wire):
    """Turn detection heard the end of it."""

    type: Literal["input_audio_buffer.speech_stopped"]
    audio_end_ms: OptionalInt = None


class Committed(_Wire):
    """The input buffer became a user item."""

    type: Literal["input_audio_buffer.committed"]
    item_id: Text = ""
    previous_item_id: OptionalText = None


class ItemAdded(_Wire):
    """An item entered the conversation; ``created`` is the older name."""

    type: Literal["conversation.item.added", "conversation.item.created", "conversation.item.done"]
    previous_item_id: OptionalText = None
    item: Item


class UserTranscriptDelta(_Wire):
    """A piece of the user's transcript."""

    type: Literal["conversation.item.input_audio_transcription.delta"]
    item_id: Text = ""
    delta: Text = ""


class UserTranscriptCompleted(_Wire):
    """The user's transcript."""

    type: Literal["conversation.item.input_audio_transcription.completed"]
    item_id: Text = ""
    transcript: Text = ""
    usage: Annotated[dict[str, Any] | None, _OrElse(None)] = None


class UserTranscriptFailed(_Wire):
    """The user's words could not be written down."""

    type: Literal["conversation.item.input_audio_transcription.failed"]
    item_id: Text = ""
    error: Annotated[Error, _OrElse(Error())] = Error()


class ResponseCreated(_Wire):
    """A response began."""

    type: Literal["response.created"]
    response: Response


class ResponseDone(_Wire):
    """A response is over, whatever happened to it."""

    type: Literal["response.done"]
    response: Response


class OutputItem(_Wire):
    """An output item began or is final."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    response_id: Text = ""
    item: Item


class AudioDelta(_Wire):
    """A piece of the assistant's speech, decoded."""

    type: Literal["response.output_audio.delta", "response.audio.delta"]
    response_id: Text = ""
    item_id: Text = ""
    content_index: Index = 0
    delta: bytes


class AudioDone(_Wire):
    """No more speech in this content part."""

    type: Literal["response.output_audio.done", "response.audio.done"]
    response_id: Text = ""
    item_id: Text = ""
    content_index: Index = 0


class TextDelta(_Wire):
    """A piece of the assistant's words: its speech's transcript, or text output."""

    type: Literal[
        "response.output_audio_transcript.delta",
        "response.audio_transcript.delta",
        "response.output_text.delta",
        "response.text.delta",
    ]
    response_id: Text = ""
    item_id: Text = ""
    output_index: Index = 0
    content_index: Index = 0
    delta: Text = ""


class TranscriptDone(_Wire):
    """The whole transcript of a content part of speech."""

    type: Literal["response.output_audio_transcript.done", "response.audio_transcript.done"]
    response_id: Text = ""
    item_id: Text = ""
    output_index: Index = 0
    content_index: Index = 0
    transcript: Text = ""


class TextDone(_Wire):
    """The whole text of a content part of text."""

    type: Literal["response.output_text.done", "response.text.done"]
    response_id: Text = ""
    item_id: Text = ""
    output_index: Index = 0
    content_index: Index = 0
    text: Text = ""


class FunctionCallDone(_Wire):
    """All arguments of a function call; also sent, possibly cut, when the response was cancelled."""

    type: Literal["response.function_call_arguments.done"]
    response_id: Text = ""
    item_id: Text = ""
    call_id: OptionalText = None
    name: OptionalText = None
    arguments: OptionalText = None


class _Unused(_Wire):
    """What every response has and we have no use for: known, it is skipped three times as fast as the unknown."""

    type: Literal[
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "rate_limits.updated",
    ]


ServerEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | ErrorReceived
    | SpeechStarted
    | SpeechStopped
    | Committed
    | ItemAdded
    | UserTranscriptDelta
    | UserTranscriptCompleted
    | UserTranscriptFailed
    | ResponseCreated
    | ResponseDone
    | OutputItem
    | AudioDelta
    | AudioDone
    | TextDelta
    | TranscriptDone
    | TextDone
    | FunctionCallDone
)

_adapter: Final[TypeAdapter[ServerEvent | _Unused]] = TypeAdapter(
    Annotated[ServerEvent | _Unused, Field(discriminator="type")]
)


def parse(frame: str | bytes) -> ServerEvent | None:
    """Return the event in a frame, or ``None`` if there is none that we use.

    Never raises: what cannot be read is described at DEBUG, without its content.
    """
    try:
        event = _adapter.validate_json(frame)
        return None if isinstance(event, _Unused) else event
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] != "union_tag_invalid":  # else a type that we do not need, or do not know yet
            place = ".".join(str(part) for part in first["loc"]) or "frame"
            logger.debug("Skipped a server frame of %d bytes: %s: %s", len(frame), place, first["type"])
        return None
