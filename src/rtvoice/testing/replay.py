"""Replay a recorded session: a server that says what the recorded one said, and compares what the agent answers."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from rtvoice.errors import ConfigurationError
from rtvoice.testing.emulator import DEFAULT_KEY, EmulatorProvider
from rtvoice.testing.event_log import JsonObject
from rtvoice.testing.recorded_sound import WireFormats, in_format
from rtvoice.testing.rehearsal import Devices
from rtvoice.testing.replay_match import Comparison, Ids, described, is_compared, kind
from rtvoice.testing.replay_microphone import RecordedVoice
from rtvoice.testing.session_log import LogLine, SessionRecording
from rtvoice.testing.speaker import PositionedSpeaker

if TYPE_CHECKING:
    from rtvoice.agent import RealtimeAgent
    from rtvoice.agent.result import AgentResult
    from rtvoice.realtime import RealtimeProvider

_DIVERGED: Final = 4500
"""Close code that no client takes for a reason to connect again."""
_NOT_SENT: Final = frozenset({1005, 1006, 1015})
"""Close codes that stand for the lack of one (RFC 6455, section 7.4.1)."""
_CLOSE_TIMEOUT_S: Final = 1.0
_REDIAL_S: Final = 10.0
"""What an agent may wait longer than it did before it dials again: reconnect delays are random."""
_MAX_FRAME_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that an agent did otherwise than in the recording.

    Attributes:
        at: Seconds since the log began.
        line: The line of the file up to which everything was the same.
        recorded: What it did when it was recorded; ``None``: nothing like it.
        replayed: What it did now; ``None``: nothing.
        problem: What is different, in words.
    """

    at: float
    line: int
    recorded: JsonObject | None
    replayed: JsonObject | None
    problem: str

    def __str__(self) -> str:
        return (
            f"at {self.at:.2f} s (line {self.line}): {self.problem}\n"
            f"  recorded: {described(self.recorded) if self.recorded is not None else 'nothing like it'}\n"
            f"  replayed: {described(self.replayed) if self.replayed is not None else 'nothing'}"
        )


class ReplayDiverged(AssertionError):  # noqa: N818 - reads as what happened
    """The agent did something else than in the recording.

    Attributes:
        difference: The first difference.
    """

    def __init__(self, path: Path, difference: Difference) -> None:
        super().__init__(f"The agent departs from {path} {difference}")
        self.difference = difference


class Replay:
    """A recorded session as a server on loopback: the same conversation again, without network, microphone or key.

    The server says what the recorded one said, when it said it; but what followed something that the agent did waits
    until the agent does it again. Ids that the agent chooses may be others. On a ``VirtualClockLoop`` the conversation
    takes milliseconds, on any other loop as long as it took.

    Example::

        async def test_that_conversation():
            replay = Replay("talk.jsonl")
            result = await replay.run(make_agent(**replay.devices))
            assert "Berlin" in result.turns[-1].text

    What the *application* did in the recording (``send_message()``, ``say()``, ``interrupt()`` ...) it has to do again:
    then use it as a server, ``async with Replay(path) as replay``, and run the agent yourself. A recording without
    words has no arguments for its tools either, so tools that need some fail in its replay.

    Args:
        path: The session log, from ``RealtimeAgent(session_log=...)``.
        patience: Seconds that the agent may be late with something; and early.
        same_outputs: Whether tools have to return the same as they did.
        played_tolerance_ms: By how much what was heard of an interrupted answer may differ, in milliseconds.

    Attributes:
        recording: What is replayed.
        speaker: The loudspeaker in ``devices``.
        difference: The first difference, ``None`` so far.

    Raises:
        ConfigurationError: It is no session log that can be read, or has no session in it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        patience: float = 5.0,
        same_outputs: bool = True,
        played_tolerance_ms: int = 250,
    ) -> None:
        self.recording = SessionRecording.read(path)
        self.speaker = PositionedSpeaker()
        self.difference: Difference | None = None
        self._patience = patience
        self._comparison = Comparison(same_outputs, played_tolerance_ms)
        opened = {line.connection for line in self.recording.lines if line.event == "opened"}
        if not opened or not opened >= {line.connection for line in self.recording.lines if line.connection}:
            raise ConfigurationError(f"{path} has no session that could be replayed: the agent did not connect")
        stops = (n for n, line in enumerate(self.recording.lines) if line.event == "stopping")
        lines = self.recording.lines[: next(stops, None)]  # what the agent does after that is not compared
        self._lines = _greeted_first(lines)
        self._ends_at = self._lines[-1].at if self._lines else 0.0
        self._expected = [line for line in self._lines if is_compared(line)]
        self._ids = Ids()
        self._recorded = self._replayed = WireFormats()
        self._shift = 0.0  # loop time of the recording's second 0
        self._position = 0.0  # second of the recording
        self._line = 1
        self._connections: dict[int, ServerConnection] = {}
        self._arrivals: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self._received = asyncio.Event()
        self._over = asyncio.Event()
        self._stack = AsyncExitStack()
        self._server: Server | None = None

    # --- where it is ---

    @property
    def url(self) -> str:
        """Address of the endpoint; clients add ``?model=``."""
        if self._server is None:
            raise RuntimeError("the replay has no address yet: async with Replay(...) or replay.run(agent) comes first")
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}/v1/realtime"

    @property
    def provider(self) -> "RealtimeProvider":
        """A provider for a ``RealtimeAgent``; it may be made before the server is there."""
        return cast("RealtimeProvider", _Provider(self))  # it has the methods, which is all that is asked for

    @property
    def devices(self) -> Devices:
        """What the agent can be made with: this server, the recorded user, and a loudspeaker that counts samples."""
        voice = RecordedVoice(self.recording, lambda at: at + self._shift)
        return Devices(provider=self.provider, audio_input=voice, audio_output=self.speaker)

    # --- replaying ---

    async def run(self, agent: "RealtimeAgent[Any]") -> "AgentResult":
        """Run an agent through the recorded conversation, and stop it where it stopped.

        Args:
            agent: An agent that was made with ``devices``.

        Returns:
            What ``agent.run()`` returned.

        Raises:
            ReplayDiverged: It did something else.
            Exception: What ``agent.run()`` raises.
        """
        async with self, asyncio.TaskGroup() as group:
            stopping = group.create_task(self._stop_at_the_end(agent))
            try:
                result = await agent.run()
                self._agent_has_ended()
                return result
            except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
                failure = error
            finally:
                stopping.cancel()
        raise failure

    async def _stop_at_the_end(self, agent: "RealtimeAgent[Any]") -> None:
        await self._over.wait()
        await agent.stop()

    async def finished(self) -> None:
        """Wait until all is replayed, or the agent has departed from it."""
        await self._over.wait()

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            max_size=_MAX_FRAME_BYTES,
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_S,
        )
        self._stack.push_async_callback(self._shut_down, self._server)
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.callback(group.create_task(self._play(), name="replay").cancel)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if self.difference is not None:
            raise ReplayDiverged(self.recording.path, self.difference) from exc

    async def _shut_down(self, server: Server) -> None:
        server.close()
        await server.wait_closed()

    # --- the server's side ---

    async def _play(self) -> None:
        """Do everything that the recorded server did, line by line."""
        try:
            for line in self._lines:
                self._position, self._line = line.at, line.number
                if not await self._do(line):
                    return
            await self._until(self._ends_at)
        finally:
            self._over.set()
            if self.difference is not None:
                for connection in self._connections.values():
                    await connection.close(_DIVERGED, "the agent departs from the recording")

    async def _do(self, line: LogLine) -> bool:
        """Do what a line tells; return whether the agent still follows."""
        if line.event == "opened":
            return await self._open(line)
        if line.event == "closed":
            await self._close(line)
        elif line.to == "agent":
            await self._until(line.at)
            frame = in_format(line.frame, self._recorded.assistant, self._replayed.assistant)
            text = line.text or json.dumps(self._ids.translated(frame), ensure_ascii=False)
            with suppress(ConnectionClosed):  # the agent has left this connection sooner than it did
                await self._connections[line.connection].send(text)
        elif is_compared(line):
            self._recorded = self._recorded.after(line.frame)
            return await self._wait_for(line)
        return self.difference is None

    async def _open(self, line: LogLine) -> bool:
        loop = asyncio.get_running_loop()
        is_first = not self._connections
        latest = None if is_first else line.at + self._shift + self._patience + _REDIAL_S
        try:
            async with asyncio.timeout_at(latest):
                connection = await self._arrivals.get()
        except TimeoutError:
            self._diverge(None, None, "the agent has not connected again")
            return False
        self._connections[line.connection] = connection
        late_s = loop.time() - self._shift - line.at
        self._shift += late_s if is_first else max(0.0, late_s)  # others may be early: what follows is not
        return True

    async def _close(self, line: LogLine) -> None:
        connection = self._connections[line.connection]
        if line.fields.get("by") == "agent":
            return
        await self._until(line.at)
        code = line.fields.get("code")
        if line.fields.get("by") == "server" and isinstance(code, int) and code not in _NOT_SENT:
            await connection.close(code, str(line.fields.get("reason", "")))
        else:
            connection.transport.abort()

    async def _until(self, at: float) -> None:
        """Wait for a moment of the recording, or until the agent has departed from it."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(at + self._shift):
                await self._over.wait()

    async def _wait_for(self, line: LogLine) -> bool:
        """Wait until the agent has sent what it sent when it was recorded; return whether it has."""
        loop = asyncio.get_running_loop()
        latest = line.at + self._shift + self._patience
        while any(expected is line for expected in self._expected):
            if self.difference is not None:
                return False
            self._received.clear()
            try:
                async with asyncio.timeout_at(latest):
                    await self._received.wait()
            except TimeoutError:
                self._diverge(line.frame, None, f"the agent did not do this, nor within {self._patience:g} s")
                return False
        self._shift += max(0.0, loop.time() - self._shift - line.at)  # it was late, and so is what follows
        return True

    # --- the agent's side ---

    async def _serve(self, connection: ServerConnection) -> None:
        self._arrivals.put_nowait(connection)
        try:
            async for text in connection:
                self._take(json.loads(text), connection)
        except ConnectionClosed:
            return

    def _take(self, frame: JsonObject, connection: ServerConnection) -> None:
        """Look for what the agent has sent in the recording."""
        if frame.get("type") == "input_audio_buffer.append" or self._over.is_set() or self.difference is not None:
            return
        near = [line for line in self._expected if line.at <= self._position + self._patience]
        problems: list[tuple[JsonObject, str]] = []
        for line in near:
            recorded = self._ids.translated(line.frame)
            problem = self._comparison.difference(recorded, frame)
            if not problem and self._connections.get(line.connection, connection) is connection:
                self._ids.learn(line.frame, frame)
                self._replayed = self._replayed.after(frame)
                self._expected.remove(line)
                self._received.set()
                return
            if kind(line.frame) == kind(frame):
                problems.append((recorded, problem or "another connection"))
        if problems:
            self._diverge(problems[0][0], frame, problems[0][1])
        else:
            following = self._expected[0].frame if self._expected else None
            then = f"; what it did next was {described(following)}" if following is not None else ""
            self._diverge(None, frame, f"the agent did not do this when it was recorded{then}")
        self._received.set()

    def _agent_has_ended(self) -> None:
        """Note that the agent has stopped by itself, which is right only where it stopped when it was recorded."""
        early_s = self._ends_at + self._shift - asyncio.get_running_loop().time()
        if not self._over.is_set() and (self._expected or early_s > self._patience):
            recorded = self._expected[0].frame if self._expected else None
            self._diverge(recorded, None, "the agent ended the conversation, which went on when it was recorded")

    def _diverge(self, recorded: JsonObject | None, replayed: JsonObject | None, problem: str) -> None:
        self.difference = Difference(self._position, self._line, recorded, replayed, problem)
        self._over.set()


def _greeted_first(lines: Sequence[LogLine]) -> list[LogLine]:
    """Return the lines with the server's greeting right after each connection, which waits for no client."""
    greetings = {line.connection: line for line in lines if line.type == "session.created"}
    ordered = []
    for line in lines:
        if line.type != "session.created":
            ordered.append(line)
        if line.event == "opened" and line.connection in greetings:
            ordered.append(greetings[line.connection])
    return ordered


class _Provider:
    """Leads to a replay that may not be there yet when the agent is made."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def build_url(self, model: str) -> str:
        return EmulatorProvider(self._replay.url, DEFAULT_KEY).build_url(model)

    def build_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {DEFAULT_KEY}"}
