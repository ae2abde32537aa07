"""The sound in a session log: in the format in which it went over the wire, or only its length."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rtvoice.testing.audio_formats import PCM_BYTES_PER_MS, AudioFormat
from rtvoice.testing.event_log import JsonObject
from rtvoice.testing.session_log import LogLine

PCM: Final = AudioFormat("audio/pcm")
_KNOWN: Final = frozenset({"audio/pcm", "audio/pcmu", "audio/pcma"})


@dataclass(frozen=True, slots=True)
class WireFormats:
    """How sound goes over the wire.

    Attributes:
        user: The user's.
        assistant: The assistant's.
    """

    user: AudioFormat = PCM
    assistant: AudioFormat = PCM

    def after(self, frame: JsonObject) -> "WireFormats":
        """Return the formats after a frame of the agent, which may be a ``session.update`` that changes them."""
        if frame.get("type") != "session.update":
            return self
        audio = _mapping(_mapping(frame, "session"), "audio")
        return WireFormats(
            _format(_mapping(audio, "input"), self.user),
            _format(_mapping(audio, "output"), self.assistant),
        )


def recorded_audio(line: LogLine, wire: AudioFormat = PCM) -> bytes:
    """Return the sound of a frame or note as PCM16, 24 kHz, mono; silence if it was left out of the log.

    Args:
        line: The line.
        wire: The format of a frame; notes are always PCM.
    """
    holder = line.frame or line.fields
    return _sound(holder, wire if line.frame else PCM)


def in_format(frame: JsonObject, recorded: AudioFormat, wanted: AudioFormat) -> JsonObject:
    """Return a frame with the assistant's sound in another format; silence if it was left out of the log."""
    if frame.get("type") != "response.output_audio.delta" or (recorded == wanted and frame.get("delta")):
        return frame
    kept = {key: value for key, value in frame.items() if key != "audio_bytes"}
    return kept | {"delta": b64encode(wanted.from_pcm(_sound(frame, recorded))).decode()}


def _sound(holder: Mapping[str, Any], wire: AudioFormat) -> bytes:
    sound, count = holder.get("audio", holder.get("delta")), holder.get("audio_bytes")
    if not sound and isinstance(count, int):
        return bytes(count * PCM_BYTES_PER_MS // wire.bytes_per_ms // 2 * 2)
    try:
        audio = b64decode(sound) if isinstance(sound, str) else b""
    except ValueError:
        return b""
    return wire.to_pcm(audio)


def _format(side: Mapping[str, Any], otherwise: AudioFormat) -> AudioFormat:
    name = _mapping(side, "format").get("type")
    return AudioFormat(name) if name in _KNOWN else otherwise


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}
