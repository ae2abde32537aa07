"""One connection's session: what the client asks for, and what comes of it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal

from rtvoice.testing.arbiter import ResponseArbiter
from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.client_events import check_event, parse_event
from rtvoice.testing.conversation import Conversation, Item, id_taken
from rtvoice.testing.event_log import JsonObject, brief
from rtvoice.testing.faults import Delays, FrameFault
from rtvoice.testing.item_rules import decode_audio, item_from
from rtvoice.testing.link import Link
from rtvoice.testing.mcp import McpTools
from rtvoice.testing.responses import Response
from rtvoice.testing.session_rules import (
    SessionKind,
    default_config,
    updated_config,
)
from rtvoice.testing.session_setup import SessionSetup
from rtvoice.testing.turns import UserTurns
from rtvoice.testing.validation import RequestRefused


class _ConnectionEnded(Exception):  # noqa: N818 - not an error: it ends the session's task group
    """The client or the server has closed the connection."""


class EmulatedSession:
    """A session as the server keeps it. Tests look at it and can act on it.

    Attributes:
        id: The session's id.
        conversation_id: Id of its default conversation.
        config: The settings in force, as ``session.updated`` shows them.
        conversation: The items, in order, with their audio.
        received: Client events, in order, audio shortened.
        sent: Events that went out, in order, audio shortened.
        exchanged: Both in one order: ``("received", event)`` and ``("sent", event)``.
        path: Path and query of the request.
        headers: HTTP headers of the request, names in lower case.
        user_audio: All audio the client has written, in the session's input format.
        closed: Whether the connection has ended.
        close_code: Then: the WebSocket close code (1006 without close frames).
        close_reason: Then: the close reason.
    """

    def __init__(
        self,
        setup: SessionSetup,
        link: Link,
        *,
        kind: SessionKind,
        model: str,
        expires_at: int,
        path: str,
        headers: Mapping[str, str],
    ) -> None:
        self._setup = setup
        self._link = link
        self.id = setup.new_id("sess")
        self.conversation_id = setup.new_id("conv")
        self.config = default_config(
            kind,
            session_id=self.id,
            model=model,
            expires_at=expires_at,
            silence_duration_ms=setup.quirks.silence_duration_ms,
        )
        self.path = path
        self.headers = dict(headers)
        self.conversation = Conversation()
        self._announced_ids: set[str] = set()
        self.received: list[JsonObject] = []
        self.sent: list[JsonObject] = []
        self.exchanged: list[tuple[Literal["received", "sent"], JsonObject]] = []
        self.user_audio = bytearray()
        self.closed = False
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self.script = setup.script
        self.seed = setup.seed
        self.mcp = McpTools(self, setup.mcp_servers)
        self.turns = UserTurns(self, voice_activity=setup.voice_activity)
        self.responses = ResponseArbiter(self, setup.quirks, setup.faults)
        self._refused_update = setup.faults.refuse_session_updates
        self._tasks: asyncio.TaskGroup | None = None
        link.on_sent = self._note_sent
        self._ended = asyncio.Event()
        self._audio_came = asyncio.Event()
        self._handlers: dict[str, Callable[[JsonObject], None]] = {
            "session.update": self._update_session,
            "input_audio_buffer.append": self._append_audio,
            "input_audio_buffer.commit": lambda _event: self.turns.commit(),
            "input_audio_buffer.clear": self._clear_audio,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "conversation.item.delete": self._delete_item,
            "response.create": self.responses.create,
            "response.cancel": self.responses.cancel,
        }

    # --- what tests do ------------------------------------------------------------------------------------------

    @property
    def items(self) -> list[JsonObject]:
        """The conversation's items as events show them."""
        return [item.wire() for item in self.conversation]

    @property
    def input_format(self) -> AudioFormat:
        """Format of the client's audio."""
        return AudioFormat.of(self.config["audio"]["input"]["format"])

    @property
    def active_response(self) -> Response | None:
        """The running response of the default conversation."""
        return self.responses.active

    @property
    def audio_clock_ms(self) -> int:
        """Milliseconds of audio that the client has written."""
        return self.turns.buffer.clock_ms

    def types(self, direction: str = "sent") -> list[str]:
        """Return the types of the events ``"sent"`` or ``"received"``, in order."""
        events = self.sent if direction == "sent" else self.received
        return [str(event.get("type")) for event in events]

    def speech_started(self, audio_start_ms: int | None = None) -> None:
        """Act as if turn detection had noticed speech (audio clock; default: now less the prefix padding).

        Raises:
            RuntimeError: Turn detection is off.
        """
        self.turns.speech_started(audio_start_ms)

    def speech_stopped(self, audio_end_ms: int | None = None) -> None:
        """Act as if turn detection had noticed the end: the turn is committed, and answered if so configured.

        Raises:
            RuntimeError: Turn detection is off, or nobody speaks.
        """
        self.turns.speech_stopped(audio_end_ms)

    def transcribe_early(self, text: str) -> None:
        """Send a piece of transcript before the commit, as streaming transcription models do."""
        self.turns.transcribe_early(text)

    def send(self, event: Mapping[str, Any] | str) -> None:
        """Send anything: an event of your own, or a raw text frame that may be no JSON at all."""
        self._link.send(event)

    def send_error(
        self, code: str | None, message: str, *, param: str | None = None, event_id: str | None = None,
        error_type: str = "invalid_request_error",
    ) -> None:  # fmt: skip
        """Send an ``error`` event."""
        error = {"type": error_type, "code": code, "message": message, "param": param, "event_id": event_id}
        self.emit("error", error=error)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket, after everything that was sent so far."""
        self._link.close(code, reason)

    def drop(self) -> None:
        """Cut the TCP connection at once; what is on its way is lost."""
        self._link.drop()

    def reset(self) -> None:
        """Reset the TCP connection (RST), as a host does that has lost its memory of it."""
        self._link.reset()

    def distort(self, *faults: FrameFault) -> None:
        """Send frames from now on as these faults make them, in order; none: as they are."""
        self._link.distort(*faults)

    def delay(self, delays: Delays) -> None:
        """Send events late from now on; ``Delays()`` ends it."""
        self._link.delay(delays)

    def refuse_updates(self, error: Mapping[str, Any] | None) -> None:
        """Answer every ``session.update`` from now on with this error object; ``None`` ends it."""
        self._refused_update = error

    def fail_responses(self, error: Mapping[str, Any], *, times: int = 1) -> None:
        """Let the next responses fail with this error object, before any output and without asking the script."""
        self.responses.failures += [error] * times

    def stall(self, *, reading: bool = True, writing: bool = True) -> None:
        """Stop reading events, sending them, or both, until ``resume()``; pings are still answered."""
        self._link.stall(reading=reading, writing=writing)

    def resume(self) -> None:
        """Go on after ``stall()``."""
        self._link.resume()

    def go_silent(self) -> None:
        """Be a dead peer: nothing goes out any more, not even pongs, and nothing is read."""
        self._link.go_silent()

    def dribble(self, bytes_per_write: int | None = 1) -> None:
        """Send byte by byte (or in pieces of this size) from now on; ``None`` ends it."""
        self._link.dribble(bytes_per_write)

    def expire(self) -> None:
        """Reach the maximum duration now: ``session_expired``, then close 1001."""
        message = f"Your session hit the maximum duration of {self._setup.length_s / 60:g} minutes."
        self.send_error("session_expired", message)
        self.close(1001, message)

    async def audio_received(self, milliseconds: float, *, timeout: float = 5.0) -> None:
        """Wait until the client has written so much audio since the session began.

        Raises:
            TimeoutError: It has not within ``timeout`` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while self.audio_clock_ms < milliseconds:
                    self._audio_came.clear()
                    await self._audio_came.wait()
        except TimeoutError:
            raise TimeoutError(
                f"only {self.audio_clock_ms} ms of audio from the client within {timeout} s, not {milliseconds} ms"
            ) from None

    async def wait_closed(self) -> None:
        """Wait until the connection has ended."""
        await self._ended.wait()

    # --- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection until it ends."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self.emit("session.created", session=self.config)
                if self._setup.quirks.conversation_created:
                    conversation = {"id": self.conversation_id, "object": "realtime.conversation"}
                    self.emit("conversation.created", conversation=conversation)
                tasks.create_task(self._link.write())
                tasks.create_task(self._expire())
                await self._link.read(self._handle)
                raise _ConnectionEnded  # noqa: TRY301 - it cancels the other tasks of the group
        except* _ConnectionEnded:
            pass
        finally:
            self.closed = True
            self.close_code = self._link.connection.close_code
            self.close_reason = self._link.connection.close_reason
            self._ended.set()

    async def _expire(self) -> None:
        await asyncio.sleep(self._setup.length_s)
        self.expire()

    def start_soon(self, work: Coroutine[Any, Any, None]) -> Callable[[], object]:
        """Run something beside the rest; it ends with the session at the latest. Returns how to cancel it."""
        if self._tasks is None or self.closed:
            work.close()
            raise RuntimeError("the session is over: its connection is closed")
        return self._tasks.create_task(work).cancel

    # --- what goes out ------------------------------------------------------------------------------------------

    def emit(self, event_type: str, **fields: Any) -> None:
        """Send an event of the protocol."""
        event = {"type": event_type, "event_id": self.new_id("event"), **fields}
        for outgoing in self._setup.quirks.apply(event):
            self._link.send(outgoing)

    def new_id(self, prefix: str) -> str:
        """Return a new id; one for an item belongs to nobody else, even before the item is there."""
        made = self._setup.new_id(prefix)
        if prefix == "item":
            while self.conversation.find(made) is not None:
                made = self._setup.new_id(prefix)
            self._announced_ids.add(made)
        return made

    def add_item(self, item: Item, after: str | None = None) -> None:
        """Put an item into the conversation and tell the client.

        Raises:
            RequestRefused: The place or the id is impossible.
        """
        self.conversation.add(item, after)
        self._announced_ids.discard(item.id)
        self._emit_item("conversation.item.added", item)

    def emit_item_done(self, item: Item) -> None:
        """Tell the client that an item is final."""
        self._emit_item("conversation.item.done", item)

    def _emit_item(self, event_type: str, item: Item) -> None:
        self.emit(event_type, previous_item_id=self.conversation.previous_id(item), item=item.wire())

    def _note_sent(self, event: JsonObject) -> None:
        if self._setup.keeps_records:
            self.sent.append(event)
            self.exchanged.append(("sent", event))
            self._setup.on_sent(event)

    # --- what comes in ------------------------------------------------------------------------------------------

    def _handle(self, frame: str | bytes) -> None:
        event_id: object = None
        try:
            event = parse_event(frame)
            event_id = event.get("event_id")
            if self._setup.keeps_records:
                self.received.append(brief(event))
                self.exchanged.append(("received", self.received[-1]))
                self._setup.on_received(self.received[-1])
            check_event(event)
            self._handlers[event["type"]](event)
        except RequestRefused as refusal:
            known_id = event_id if isinstance(event_id, str) and refusal.names_event else None
            self.send_error(
                refusal.code,
                refusal.message,
                param=refusal.param,
                event_id=known_id,
                error_type=refusal.error_type,
            )

    def _update_session(self, event: JsonObject) -> None:
        if self._refused_update is not None:
            error = {"param": None, **self._refused_update, "event_id": event.get("event_id")}
            self.emit("error", error=error)
            return
        before = self.config
        self.config = updated_config(
            before,
            event["session"],
            silence_duration_ms=self._setup.quirks.silence_duration_ms,
            voice_locked=self.conversation.has_assistant_audio,
            responding=self.responses.any_running,
        )
        if before["audio"]["input"] != self.config["audio"]["input"]:
            self.turns.reconfigure()
        self.emit("session.updated", session=self.config)
        self.mcp.import_tools(self.config.get("tools", ()))

    def _append_audio(self, event: JsonObject) -> None:
        self.turns.append(event["audio"])
        if self._setup.keeps_records:
            self.user_audio += decode_audio(event["audio"], "audio")
        self._audio_came.set()

    def _clear_audio(self, _event: JsonObject) -> None:
        self.turns.clear()
        self.emit("input_audio_buffer.cleared")

    def _create_item(self, event: JsonObject) -> None:
        if event["item"].get("id") in self._announced_ids:
            raise id_taken(event["item"]["id"])
        item = item_from(event["item"], self.new_id, self.input_format)
        output_for = item.data["call_id"] if item.data["type"] == "function_call_output" else None
        if output_for is not None and not any(
            known.data["type"] == "function_call" and known.data["call_id"] == output_for for known in self.conversation
        ):
            raise RequestRefused(
                "invalid_tool_call_id", f"Tool call ID '{output_for}' not found in conversation.", "item.call_id"
            )
        self.add_item(item, event.get("previous_item_id"))
        self.emit_item_done(item)
        if item.data["type"] == "mcp_approval_response":
            reply = self.mcp.answer(item.data)
            if reply is not None:
                self.responses.approved(reply, item.data["approval_request_id"])

    def _retrieve_item(self, event: JsonObject) -> None:
        item = self.conversation.retrieve(event["item_id"])
        self.emit("conversation.item.retrieved", item=item.wire(with_audio=True))

    def _truncate_item(self, event: JsonObject) -> None:
        place = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self.conversation.truncate(**place)
        self.emit("conversation.item.truncated", **place)

    def _delete_item(self, event: JsonObject) -> None:
        self.conversation.delete(event["item_id"])
        self.emit("conversation.item.deleted", item_id=event["item_id"])
