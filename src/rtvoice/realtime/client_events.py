"""What we say to the server: every frame we write is made here.

Frames are UTF-8 JSON as bytes, ready for the socket. All but audio carry an ``event_id``, whose
prefix names its purpose, so that an ``error`` event can be matched to what caused it.
"""

import json
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rtvoice.realtime.audio_codec import AudioCodec
from rtvoice.settings import (
    ConversationSeed,
    NoiseReduction,
    OutputModality,
    ReasoningEffort,
    SemanticVAD,
    TurnDetection,
)

_APPEND_HEAD: Final = b'{"type":"input_audio_buffer.append","audio":"'
_APPEND_TAIL: Final = b'"}'

SAY_KEY: Final = "rtvoice_request"
"""Metadata by which a response beside the conversation is recognised."""

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Everything that the full ``session.update`` says; the agent has validated it.

    Attributes:
        model: The model of the session's URL.
        names_model: Whether to repeat it; where the URL names a deployment, the server would take it for a change.
        turn_detection: ``None`` switches it off: turns are committed by hand.
        judges_turns: Whether we decide, not the server, what the user's voice interrupts and which turns are answered.
        modalities: What the user asked for. The API takes one: ``["text", "audio"]`` is sent as audio,
            whose transcript brings the text.
        input_codec: What the user's audio is sent in; ``None``: as it is, PCM16 at 24 kHz.
        output_codec: What the assistant's audio is to come in; ``None``: the same.
        tools: Function tools (and server-side ``mcp`` entries), as the API wants them.
    """

    model: str
    names_model: bool = True
    instructions: str = ""
    voice: str = "marin"
    speech_speed: float = 1.0
    modalities: Sequence[OutputModality] = ("audio",)
    transcription_model: str | None = None
    noise_reduction: NoiseReduction | str | None = None
    turn_detection: TurnDetection | None = None
    judges_turns: bool = False
    input_codec: AudioCodec | None = None
    output_codec: AudioCodec | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str = "auto"
    reasoning_effort: ReasoningEffort | None = None
    seed: ConversationSeed | None = None

    @property
    def speaks(self) -> bool:
        """Whether the assistant answers in sound."""
        return "audio" in self.modalities


def append_audio(audio: bytes) -> bytes:
    """Return the frame for microphone audio, in the session's format; not empty: the server refuses that."""
    return _APPEND_HEAD + b2a_base64(audio, newline=False) + _APPEND_TAIL


def frame(kind: str, event_id: str, /, **fields: Any) -> bytes:
    """Return a frame of any type."""
    body: Fields = {"type": kind, "event_id": event_id, **fields}
    # Half a surrogate pair, as in the name of a file that is not UTF-8, becomes a question mark.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def session_update(event_id: str, **fields: Any) -> bytes:
    """Return a partial ``session.update``."""
    return frame("session.update", event_id, session={"type": "realtime", **fields})


def full_session_update(event_id: str, config: SessionConfig) -> bytes:
    """Return the first frame of a session."""
    audio_input: Fields = {
        "format": audio_format(config.input_codec),
        "turn_detection": turn_detection_fields(config.turn_detection, reports_only=config.judges_turns),
    }
    if config.transcription_model is not None:
        audio_input["transcription"] = {"model": str(config.transcription_model)}
    if config.noise_reduction is not None:
        audio_input["noise_reduction"] = {"type": str(config.noise_reduction)}
    fields: Fields = {
        **({"model": config.model} if config.names_model else {}),
        "instructions": config.instructions,
        "output_modalities": ["audio"] if config.speaks else ["text"],
        "max_output_tokens": "inf",
        "tool_choice": config.tool_choice,
        "tools": tool_schemas(config.tools),
        "audio": {
            "input": audio_input,
            "output": {
                "format": audio_format(config.output_codec),
                "voice": config.voice,
                "speed": config.speech_speed,
            },
        },
    }
    if config.reasoning_effort is not None:
        fields["reasoning"] = {"effort": str(config.reasoning_effort)}
    return session_update(event_id, **fields)


def audio_format(codec: AudioCodec | None) -> Fields:
    """Return the wire form of an audio format; without a codec it is PCM16 at 24 kHz."""
    return {"type": "audio/pcm", "rate": 24000} if codec is None else {"type": codec.name}


def turn_detection_fields(turn_detection: TurnDetection | None, *, reports_only: bool = False) -> Fields | None:
    """Return the wire form of a turn detection setting; ``None`` switches it off.

    Args:
        turn_detection: The setting.
        reports_only: Whether the server shall neither cancel a response nor open one by itself.
    """
    if turn_detection is None:
        return None
    kind = "semantic_vad" if isinstance(turn_detection, SemanticVAD) else "server_vad"
    fields = turn_detection.model_dump(mode="json")
    return {"type": kind, **fields, "create_response": not reports_only, "interrupt_response": not reports_only}


def tool_schemas(tools: Iterable[Any]) -> list[Fields]:
    """Return tools as the API wants them, from mappings or objects with ``model_dump()``."""
    return [dict(tool) if isinstance(tool, Mapping) else tool.model_dump(exclude_none=True) for tool in tools]


def speed_update(event_id: str, speed: float) -> bytes:
    """Return the partial update for the speech speed."""
    return session_update(event_id, audio={"output": {"speed": speed}})


def user_message(event_id: str, text: str, image_url: str | None = None) -> bytes:
    """Return the frame that adds a user message of text, an image, or both."""
    content: list[Fields] = []
    if text:
        content.append({"type": "input_text", "text": text})
    if image_url is not None:
        content.append({"type": "input_image", "image_url": image_url})
    return _item(event_id, {"type": "message", "role": "user", "content": content})


def seed_message(event_id: str, role: Literal["user", "assistant"], text: str) -> bytes:
    """Return the frame that adds a message as already said."""
    kind = "input_text" if role == "user" else "output_text"
    return _item(event_id, {"type": "message", "role": role, "content": [{"type": kind, "text": text}]})


def function_call_output(event_id: str, call_id: str, output: str) -> bytes:
    """Return the frame that answers a function call."""
    return _item(event_id, {"type": "function_call_output", "call_id": call_id, "output": output})


def retold_item(event_id: str, item: Fields, previous_item_id: str | None = None) -> bytes:
    """Return the frame that adds an item of a conversation whose session is gone; ``None`` adds it at the end."""
    place = {"previous_item_id": previous_item_id} if previous_item_id is not None else {}
    return frame("conversation.item.create", event_id, **place, item=item)


def _item(event_id: str, item: Fields) -> bytes:
    return frame("conversation.item.create", event_id, item=item)


def response_create(event_id: str, *, instructions: str | None = None, tool_choice: str | None = None) -> bytes:
    """Return the frame that asks for a response."""
    overrides: Fields = {}
    if instructions is not None:
        overrides["instructions"] = instructions
    if tool_choice is not None:
        overrides["tool_choice"] = tool_choice
    return frame("response.create", event_id, **({"response": overrides} if overrides else {}))


def say(event_id: str, instructions: str, request_id: str) -> bytes:
    """Return the frame for a response beside the conversation, which it neither sees nor joins."""
    response = {
        "conversation": "none",
        "input": [],
        "instructions": instructions,
        "tool_choice": "none",
        "metadata": {SAY_KEY: request_id},
    }
    return frame("response.create", event_id, response=response)


def assistant_message(event_id: str, item_id: str, text: str) -> bytes:
    """Return the frame that adds words of the assistant under an id of our own (32 characters at most)."""
    content = [{"type": "output_text", "text": text}]
    return _item(event_id, {"id": item_id, "type": "message", "role": "assistant", "content": content})


def delete_item(event_id: str, item_id: str) -> bytes:
    """Return the frame that takes an item out of the conversation."""
    return frame("conversation.item.delete", event_id, item_id=item_id)


def response_cancel(event_id: str, response_id: str | None = None) -> bytes:
    """Return the frame that stops a response; without an id the running one."""
    return frame("response.cancel", event_id, **({"response_id": response_id} if response_id else {}))


def truncate(event_id: str, item_id: str, content_index: int, audio_end_ms: int) -> bytes:
    """Return the frame that tells the server how much of an item was heard."""
    return frame(
        "conversation.item.truncate",
        event_id,
        item_id=item_id,
        content_index=content_index,
        audio_end_ms=audio_end_ms,
    )


def commit_audio(event_id: str) -> bytes:
    """Return the frame that ends the user's turn by hand."""
    return frame("input_audio_buffer.commit", event_id)
