"""The server process: as little of the Realtime protocol as a measure needs.

``python -m benchmarks.server`` listens on a port of its own choice and is led by its stdin, a JSON object per line:
``{"script": NAME, "options": {...}}`` says what new connections play, ``{"report": true}`` asks what was
observed. It answers each with one line, and ends with its stdin.
"""

import asyncio
import base64
import gc
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import scripts
from benchmarks.responses import event
from benchmarks.stamps import MICROPHONE_PERIOD, StampReader
from benchmarks.websocket import WebSocket

logger = logging.getLogger(__name__)

_SESSION = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_bench",
    "model": "gpt-realtime",
    "output_modalities": ["audio"],
    "instructions": "You are a helpful assistant. " * 20,
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "tracing": None,
    "expires_at": int(time.time()) + 3600,
    "audio": {
        "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": {"type": "semantic_vad"}},
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
    },
}


class Connection(WebSocket):
    """One client.

    Args:
        start: Starts the script, once the client has sent its first audio.
        log_audio: Whether to read the stamps of the microphone.
    """

    def __init__(self, start: Callable[["Connection"], None], *, log_audio: bool) -> None:
        super().__init__()
        self.gone = False
        self.first_audio_ns: int | None = None
        self.microphone = StampReader(MICROPHONE_PERIOD)
        self.observed: list[dict[str, Any]] = []
        self._start = start
        self._log_audio = log_audio
        self._inbox: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    def opened(self) -> None:
        """Greet the client."""
        self.send(event("session.created", session=_SESSION))

    def closed(self) -> None:
        """End what waits for the client."""
        self.gone = True
        self._changed.set()

    def message(self, payload: bytes) -> None:
        """Take in an event of the client."""
        body = json.loads(payload)
        kind = body["type"]
        if kind == "input_audio_buffer.append":
            if self.first_audio_ns is None:
                self.first_audio_ns = time.perf_counter_ns()
                self._start(self)
            if self._log_audio:
                self.microphone.feed(base64.b64decode(body["audio"]))
            return
        if kind == "session.update":
            self.send(event("session.updated", session=_SESSION))
        elif kind == "conversation.item.create":
            self.send(event("conversation.item.added", previous_item_id=None, item={"id": "item_x", **body["item"]}))
        self._inbox.append({**body, "at_ns": time.perf_counter_ns()})
        self._changed.set()

    async def received(self, kind: str, timeout_s: float = 5.0) -> dict[str, Any] | None:
        """Return the client's next event of this type, ``None`` if none comes in time or the client is gone."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.gone:
                    for index, body in enumerate(self._inbox):
                        if body["type"] == kind:
                            del self._inbox[: index + 1]
                            return body
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return None

    def report(self) -> dict[str, Any]:
        """Return what was observed."""
        return {
            "first_audio_ns": self.first_audio_ns,
            "microphone": self.microphone.as_lists(),
            "observed": self.observed,
        }


class Server:
    """All connections, and what they play.

    Args:
        group: Runs the scripts.
    """

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._connections: list[Connection] = []
        self._script: scripts.Script = scripts.listen
        self._options: dict[str, Any] = {}
        self._log_audio = True

    def accept(self) -> Connection:
        """Return the protocol of a new connection."""
        connection = Connection(self._start, log_audio=self._log_audio)
        self._connections.append(connection)
        return connection

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out a command of the driver."""
        if "report" in command:
            return {"connections": [connection.report() for connection in self._connections]}
        self._script = scripts.SCRIPTS[command["script"]]
        self._options = command["options"]
        self._log_audio = command["log_audio"]
        self._connections.clear()
        gc.collect()
        return {}

    def _start(self, connection: Connection) -> None:
        self._group.create_task(self._script(connection, **self._options))


async def serve() -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with asyncio.TaskGroup() as group:
        server = Server(group)
        listener = await loop.create_server(server.accept, "127.0.0.1", 0, backlog=512)
        _say({"port": listener.sockets[0].getsockname()[1]})
        while line := await commands.readline():
            _say(server.obey(json.loads(line)))
        listener.close()
        raise _End


class _End(Exception):  # noqa: N818 - ends the task group
    """Stdin has ended."""


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    gc.disable()  # its pauses would be taken for the client's; collected between measures
    try:
        asyncio.run(serve())
    except* _End:
        pass
