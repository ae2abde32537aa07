"""Whether an agent says the same as in a recording: by meaning, not by ids and not to the millisecond."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rtvoice.testing.event_log import JsonObject
from rtvoice.testing.session_log import LogLine

_HIDDEN: Final = "[redacted]"
_UNCOMPARED: Final = frozenset({"input_audio_buffer.append"})
"""Frames that depend on the microphone alone."""
_ID_KEYS: Final = frozenset({"id", "event_id", "item_id", "previous_item_id", "client_event_id", "response_id"})
_SHOWN_CHARACTERS: Final = 160


def is_compared(line: LogLine) -> bool:
    """Whether the agent has to send this frame of the recording again."""
    return line.to == "server" and bool(line.type) and line.type not in _UNCOMPARED


def kind(frame: JsonObject) -> tuple[Any, ...]:
    """Return what kind of event a frame is: its type, and that of the item it adds."""
    item = _mapping(frame, "item")
    return frame.get("type"), item.get("type"), item.get("role")


@dataclass(slots=True)
class Ids:
    """What the agent now calls by another id than when it was recorded.

    Attributes:
        live: Its id by the recorded one.
    """

    live: dict[str, str] = field(default_factory=dict)

    def learn(self, recorded: JsonObject, replayed: JsonObject) -> None:
        """Take the ids that the agent chose from two frames that mean the same."""
        for then, now in (
            (recorded.get("event_id"), replayed.get("event_id")),
            (_mapping(recorded, "item").get("id"), _mapping(replayed, "item").get("id")),
        ):
            self._note(then, now)
        names = _mapping(_mapping(recorded, "response"), "metadata")
        for key, value in _mapping(_mapping(replayed, "response"), "metadata").items():
            self._note(names.get(key), value)

    def _note(self, then: Any, now: Any) -> None:
        if isinstance(then, str) and isinstance(now, str) and then not in (now, _HIDDEN):
            self.live[then] = now

    def translated(self, value: Any, key: str = "") -> Any:
        """Return a recorded JSON value with the ids that the agent now uses."""
        if isinstance(value, dict):
            return {name: self.translated(item, key if key == "metadata" else name) for name, item in value.items()}
        if isinstance(value, list):
            return [self.translated(item, key) for item in value]
        if isinstance(value, str) and (key in _ID_KEYS or key == "metadata"):
            return self.live.get(value, value)
        return value


@dataclass(frozen=True, slots=True)
class Comparison:
    """How alike a frame of the agent and one of the recording have to be.

    Attributes:
        same_outputs: Whether tools must return the same.
        played_tolerance_ms: By how much what was heard of an interrupted answer may differ.
    """

    same_outputs: bool
    played_tolerance_ms: int

    def difference(self, recorded: JsonObject, replayed: JsonObject) -> str:
        """Return what is different about two frames, in words; ``""`` if they mean the same.

        Args:
            recorded: The frame of the recording, with the ids that the agent now uses.
            replayed: What the agent has sent.
        """
        if kind(recorded) != kind(replayed):
            return "another kind of event"
        then, now = self._meaning(recorded), self._meaning(replayed)
        for name in then.keys() | now.keys():
            was, is_ = then.get(name), now.get(name)
            if name == "audio_end_ms" and isinstance(was, int) and isinstance(is_, int):
                if abs(was - is_) <= self.played_tolerance_ms:
                    continue
                return f"{is_} ms were heard instead of {was} ms"
            if not _alike(was, is_):
                return f"{name} is {_shown(is_)} instead of {_shown(was)}"
        return ""

    def _meaning(self, frame: JsonObject) -> JsonObject:
        """Return the parts of a frame that have to be the same; of settings only those that change what is said."""
        if frame["type"] == "session.update":
            session = _mapping(frame, "session")
            meaning: JsonObject = {}
            if "tools" in session:
                meaning["tools"] = sorted(str(tool.get("name", tool.get("server_label"))) for tool in session["tools"])
            if "output_modalities" in session:
                meaning["output_modalities"] = session["output_modalities"]
            if "turn_detection" in _mapping(_mapping(session, "audio"), "input"):
                detection = session["audio"]["input"]["turn_detection"]
                meaning["turn_detection"] = detection and detection.get("type")
            return meaning
        if frame["type"] == "response.create":
            response = _mapping(frame, "response")
            return {
                "conversation": response.get("conversation", "auto"),
                "tool_choice": response.get("tool_choice", "auto"),
            }
        if frame["type"] == "conversation.item.create":
            left_out = {"id"} if self.same_outputs else {"id", "output"}
            return {key: value for key, value in _mapping(frame, "item").items() if key not in left_out}
        return {key: value for key, value in frame.items() if key not in ("type", "event_id")}


def described(frame: JsonObject) -> str:
    """Return a frame in a line for a person, ids of events left out."""
    content = {key: value for key, value in frame.items() if key not in ("type", "event_id")}
    if frame.get("type") == "session.update":
        content = {"session": sorted(_mapping(frame, "session"))}
    return f"{frame.get('type')} {_shown(content)}" if content else str(frame.get("type"))


def _alike(then: Any, now: Any) -> bool:
    """Whether two values are the same; what is hidden in one of them may be anything."""
    if then == _HIDDEN or now == _HIDDEN:
        return True
    if isinstance(then, dict) and isinstance(now, dict):
        return then.keys() == now.keys() and all(_alike(then[key], now[key]) for key in then)
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(map(_alike, then, now))
    return bool(then == now)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}
