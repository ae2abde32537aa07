"""What a session log must not tell: credentials never, sound and words if the user says so."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

HIDDEN: Final = "[redacted]"
"""Stands where words were."""
SECRET: Final = "[secret]"  # noqa: S105 - it stands where a secret was
"""Stands where a credential was."""

_CREDENTIAL_KEYS: Final = frozenset({"authorization", "headers", "client_secret", "api_key", "api-key"})
"""Fields of frames that carry credentials: an MCP tool's, and those of a session made for a browser."""
_KEY_SHAPE: Final = re.compile(r"\b(?:[a-z]k[-_][\w*-]{8,}|Bearer [^\s\"\\]+)")
"""How OpenAI's keys look, also half masked in an error message, and a bearer token."""
_SHORTEST_SECRET: Final = 8
_PLAIN_QUERY: Final = frozenset({"model", "deployment", "api-version"})

_AUDIO_FRAMES: Final = {
    "input_audio_buffer.append": "audio",
    "response.output_audio.delta": "delta",
    "response.audio.delta": "delta",
}
_STRUCTURE: Final = frozenset(
    {
        "action", "audio", "by", "call_id", "client_event_id", "code", "content_index", "conversation",
        "conversation_id", "detail", "eagerness", "effort", "event", "event_id", "id", "item_id", "kind",
        "mime_type", "modalities", "model", "name", "object", "output_modalities", "param", "previous_item_id",
        "response_id", "role", "status", "to", "tool_choice", "type", "voice", "watchdog",
    }
)  # fmt: skip
"""Fields whose text says nothing about what was talked of; everything else is hidden, also what is yet unknown."""
_OURS: Final = frozenset({"metadata", "format"})
"""Objects that are kept whole: ids of requests of our own, and names of audio formats."""
_SPELLED_OUT: Final = frozenset({"logprobs", "bytes"})
"""Lists that spell words out in numbers."""


def secrets_of_url(url: str) -> set[str]:
    """Return what may be a credential in a URL: a password, a query."""
    parts = urlsplit(url)
    values = [
        parts.username,
        parts.password,
        *(value for key, value in parse_qsl(parts.query) if key not in _PLAIN_QUERY),
    ]
    return {value for value in values if value and len(value) >= _SHORTEST_SECRET}


def secrets_of_headers(headers: Mapping[str, str]) -> set[str]:
    """Return what may be a credential in HTTP headers: every longer value, and every longer word of one."""
    return {part for value in headers.values() for part in (value, *value.split()) if len(part) >= _SHORTEST_SECRET}


def public_url(url: str) -> str:
    """Return scheme, host and path: a URL without anything that could be a credential."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def without_credentials(value: Any) -> Any:
    """Return a JSON value without the fields that carry credentials."""
    if isinstance(value, dict):
        return {
            key: SECRET if key.lower() in _CREDENTIAL_KEYS and item is not None else without_credentials(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_credentials(item) for item in value]
    return value


def scrubbed(text: str) -> str:
    """Return text without anything that looks like a key."""
    return _KEY_SHAPE.sub(SECRET, text)


def carries_audio(frame: Mapping[str, Any]) -> bool:
    """Whether a frame is nothing but a piece of sound: it holds no text, and there are many."""
    return frame.get("type") in _AUDIO_FRAMES


def without_audio(value: Any) -> Any:
    """Return a JSON value without sound; ``audio_bytes`` tells how much it was."""
    if isinstance(value, list):
        return [without_audio(item) for item in value]
    if not isinstance(value, dict):
        return value
    key = _AUDIO_FRAMES.get(str(value.get("type")), "audio")
    kept = {name: without_audio(item) for name, item in value.items()}
    sound = value.get(key)
    if isinstance(sound, str):
        kept |= {key: "", "audio_bytes": len(sound) // 4 * 3 - sound[-2:].count("=")}
    return kept


def without_text(value: Any, key: str = "") -> Any:
    """Return a JSON value without words; what belongs to the protocol, such as types and ids, stays."""
    if isinstance(value, dict):
        if key in _OURS:
            return value
        kept = {name: without_text(item, name) for name, item in value.items()}
        audio = _AUDIO_FRAMES.get(str(value.get("type")))
        return kept if audio is None or audio not in value else kept | {audio: value[audio]}
    if isinstance(value, list):
        return [] if key in _SPELLED_OUT else [without_text(item, key) for item in value]
    if not isinstance(value, str) or not value or key in _STRUCTURE:
        return value
    return "{}" if key == "arguments" else HIDDEN
