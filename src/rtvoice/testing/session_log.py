"""Reads what `RealtimeAgent(session_log=...)` has written."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rtvoice.errors import ConfigurationError
from rtvoice.testing.event_log import JsonObject

NEWEST_VERSION: Final = 1
"""The newest format that can be read."""
_VERSION: Final = "rtvoice_session_log"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a session log: a frame, or a note.

    Attributes:
        number: Its number in the file, from 1.
        at: Seconds since the log began.
        event: What kind of note it is; ``""`` for a frame.
        to: Where a frame went: ``"server"`` or ``"agent"``; ``""`` for a note.
        connection: The connection, from 1; 0 if it is about none.
        frame: The frame; empty if it was no JSON object.
        text: A frame that was none, as it was.
        fields: The whole line.
    """

    number: int
    at: float
    event: str = ""
    to: str = ""
    connection: int = 0
    frame: JsonObject = field(default_factory=dict)
    text: str = ""
    fields: JsonObject = field(repr=False)

    @property
    def type(self) -> str:
        """The frame's type; ``""`` for anything else."""
        return str(self.frame.get("type", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecording:
    """A session log in memory.

    Attributes:
        path: The file.
        model: The model that the session was with.
        started: When it was made, ISO 8601, UTC; ``""`` if the log does not tell.
        made_by: The version of rtvoice.
        redacted: What was left out: ``"audio"``, ``"text"``.
        lines: All lines after the header.
        truncated: Whether the last line is incomplete, as after a crash; it is left out.
    """

    path: Path
    model: str
    started: str
    made_by: str
    redacted: frozenset[str]
    lines: tuple[LogLine, ...] = field(repr=False)
    truncated: bool

    @property
    def duration_s(self) -> float:
        """Seconds from the beginning to the last line."""
        return self.lines[-1].at if self.lines else 0.0

    @classmethod
    def read(cls, path: str | Path) -> "SessionRecording":
        """Read a session log.

        Raises:
            ConfigurationError: There is no such file, it is no session log, it is damaged, or it was made by a newer
                version of rtvoice.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
        whole, _, rest = content.rpartition(b"\n")
        header = _header(path, whole.split(b"\n", 1)[0])
        lines = tuple(_lines(path, whole))
        redacted = header.get("redacted")
        return cls(
            path=path,
            model=str(header.get("model", "")),
            started=str(header.get("started", "")),
            made_by=str(header.get("rtvoice", "")),
            redacted=frozenset(map(str, redacted)) if isinstance(redacted, list) else frozenset(),
            lines=lines,
            truncated=bool(rest),
        )


def _header(path: Path, line: bytes) -> JsonObject:
    header = _object(line)
    version = header.get(_VERSION) if header is not None else None
    if header is None or not isinstance(version, int):
        raise ConfigurationError(
            f'{path} is not a session log: those are written by RealtimeAgent(session_log="talk.jsonl")'
        )
    if version > NEWEST_VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer rtvoice ({header.get('rtvoice', 'unknown')}; format {version}): "
            f"this one reads formats up to {NEWEST_VERSION}, so update it"
        )
    return header


def _lines(path: Path, content: bytes) -> Iterator[LogLine]:
    for number, line in enumerate(content.split(b"\n")[1:], 2):
        fields = _object(line)
        at = fields.get("at") if fields is not None else None
        if fields is None or not isinstance(at, int | float):
            raise ConfigurationError(f"{path} is damaged: line {number} is no line of a session log")
        frame, connection = fields.get("frame"), fields.get("connection")
        yield LogLine(
            number=number,
            at=float(at),
            event=str(fields.get("event", "")),
            to=str(fields.get("to", "")),
            connection=connection if isinstance(connection, int) else 0,
            frame=frame if isinstance(frame, dict) else {},
            text=str(fields["text"]) if "text" in fields else "" if isinstance(frame, dict) else json.dumps(frame),
            fields=fields,
        )


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
