"""The session log: everything that went over the wire, one JSON object a line, written beside the conversation.

The first line is the header, the others have ``at``, the seconds since the log began:

* ``{"at": 0.3, "connection": 1, "to": "server", "frame": {...}}``: a frame; ``to`` is ``server`` or ``agent``.
  ``text`` stands in place of ``frame`` if it was no JSON.
* ``{"at": 0.1, "connection": 1, "event": "opened", "url": "wss://..."}`` and ``"closed"`` with ``by``, ``code`` and
  ``reason``: a connection. They count from 1; a session that is restored has several.
* ``{"at": 2.0, "event": "heard", ...}``: what the wire does not tell; see `rtvoice.components.session_log`.
"""

import asyncio
import errno
import json
import logging
import os
import threading
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from rtvoice.private_files import open_private
from rtvoice.realtime import redaction
from rtvoice.settings import SessionLog

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 1
"""Version of the file's format, in the header as ``rtvoice_session_log``."""
MEMORY_LIMIT: Final = 64 * 2**20
"""Bytes that may wait for a disk that does not write; beyond it the log ends. About ten minutes of conversation."""
CLOSE_TIMEOUT_S: Final = 10.0
"""Seconds to wait for the disk at the end."""
_OWN_BYTES: Final = 300
"""What an entry takes beside its frame, about."""


class SessionLogWriter:
    """Writes a session log in a thread of its own: the event loop only puts entries into a list.

    Lines reach the file at once, so that after a crash all but the last few are there. The file's mode is 0600; an old
    one is replaced, parent folders are made. After an error, such as a full disk, nothing more is written.

    Args:
        settings: Where to, and what to leave out.
        header: Further fields of the first line.
        on_error: Called in the event loop, at most once, when writing fails.
    """

    def __init__(self, settings: SessionLog, *, header: dict[str, Any], on_error: Callable[[Exception], None]) -> None:
        self._path = Path(settings.path)
        self._settings = settings
        self._header = header
        self._on_error = on_error
        self._changed = threading.Condition()  # guards what follows, up to the empty line
        self._entries: list[tuple[dict[str, Any], bytes | None]] = []
        self._waiting_bytes = 0
        self._secrets: frozenset[str] = frozenset()
        self._accepting = False
        self._error: Exception | None = None

        self._thread: threading.Thread | None = None
        self._connections = 0
        self._loop: asyncio.AbstractEventLoop
        self._zero: float

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def start(self) -> None:
        """Create the file and begin to count the time; once per object. A failure is told like any other."""
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()
        self._accepting = True
        self._thread = threading.Thread(target=self._run, name="rtvoice-session-log", daemon=True)
        self._thread.start()

    def keep_secret(self, values: Iterable[str]) -> None:
        """Never write these texts, wherever they occur from now on."""
        with self._changed:
            self._secrets |= {form for value in values for form in (value, json.dumps(value)[1:-1])}

    def open_connection(self, url: str) -> int:
        """Note that a connection was opened, and return its number, from 1."""
        self._connections += 1
        self.note("opened", connection=self._connections, url=redaction.public_url(url))
        return self._connections

    def note(self, event: str, /, **fields: Any) -> None:
        """Add a line that is no frame."""
        self._put({"event": event, **fields}, None)

    def heard(self, at: float, pcm: bytes) -> None:
        """Add a line about audio of the assistant (PCM16, 24 kHz, mono) that is heard at a loop time."""
        self._put({"event": "heard", "starts_at": self.seconds(at), "audio": pcm}, None)

    def frame(self, connection: int, to: Literal["server", "agent"], frame: str | bytes) -> None:
        """Add a frame."""
        self._put({"connection": connection, "to": to}, frame.encode() if isinstance(frame, str) else frame)

    def seconds(self, at: float) -> float:
        """Return a loop time as seconds since the log began."""
        return round(at - self._zero, 6)

    async def close(self) -> None:
        """Write what waits and complete the file; idempotent."""
        if self._thread is None:
            return
        with self._changed:
            self._accepting = False
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._fail(TimeoutError(errno.ETIMEDOUT, "the disk did not take the end of the log", str(self._path)))
        await asyncio.sleep(0)  # on_error, if the thread has called for it

    def _put(self, fields: dict[str, Any], frame: bytes | None) -> None:
        with self._changed:
            if not self._accepting:
                return
            self._entries.append(({"at": self.seconds(self._loop.time()), **fields}, frame))
            self._waiting_bytes += _OWN_BYTES + len(fields.get("audio", b"") if frame is None else frame)
            full = self._waiting_bytes > MEMORY_LIMIT
            self._changed.notify()
        if full:
            self._fail(OSError(errno.ENOBUFS, "more is waiting to be written than memory is kept for", str(self._path)))

    def _fail(self, error: Exception) -> None:
        """End the log, from any thread; the first error is told to the owner."""
        with self._changed:
            if self._error is not None:
                return
            self._error = error
            self._accepting = False
            self._entries.clear()
            self._changed.notify()
        logger.warning("The session log %s ended: %s", self._path, error)
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._on_error, error)

    # --- the writer's thread ---

    def _run(self) -> None:
        try:
            with self._create() as file:
                file.write(self._line(self._first_line(), None))
                self._write_entries(file)
        except Exception as error:  # noqa: BLE001 - told to the owner: a log must not end unnoticed
            self._fail(error)

    def _create(self) -> BinaryIO:
        return os.fdopen(open_private(self._path), "wb")

    def _write_entries(self, file: BinaryIO) -> None:
        while True:
            file.flush()
            with self._changed:
                self._changed.wait_for(lambda: self._entries or not self._accepting)
                entries, self._entries = self._entries, []
                self._waiting_bytes = 0
            if not entries:
                return
            file.writelines(self._line(fields, frame) for fields, frame in entries)

    def _first_line(self) -> dict[str, Any]:
        redacted = [
            name for name, on in (("audio", self._settings.redact_audio), ("text", self._settings.redact_text)) if on
        ]
        started = datetime.now(UTC).isoformat(timespec="seconds")
        return {"rtvoice_session_log": FORMAT_VERSION, **self._header, "started": started, "redacted": redacted}

    def _line(self, fields: dict[str, Any], frame: bytes | None) -> bytes:
        is_sound = False
        if "audio" in fields:
            is_sound = True
            fields = {**fields, "audio": b2a_base64(fields["audio"], newline=False).decode()}
        if frame is not None:
            try:
                content = json.loads(frame)
                is_sound = isinstance(content, dict) and redaction.carries_audio(content)
                fields = {**fields, "frame": content}
            except ValueError:
                fields = {**fields, "text": frame.decode(errors="replace")}
        if self._settings.redact_audio:
            fields = redaction.without_audio(fields)
        if self._settings.redact_text and "at" in fields:  # the header says nothing about what was talked of
            fields = redaction.without_text(fields)
        if not is_sound:
            fields = redaction.without_credentials(fields)
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        if not is_sound:
            line = redaction.scrubbed(line)
        for secret in self._secrets:
            line = line.replace(secret, redaction.SECRET)
        return line.encode(errors="replace") + b"\n"
