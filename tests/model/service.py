"""A small model of the Realtime service, moved by hand, event by event.

It shares no code with the emulator: a second, much smaller reading of the protocol. Whatever a client must never do
is a `Violation`; what it may do although it comes to nothing (a race) is answered as the service answers it.
Nothing here does I/O or waits: `Session.take` gets what the client has sent, `Session.say` hands out what it hears.
"""

import base64
import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, Any]

BYTES_PER_MS = 48
RESPONSE_SILENCE_S = 29.0
"""A client may do something about a response when the service has been silent about it for half a minute."""

FAILURES = (
    ("server_error", None, "The server had an error."),
    ("tokens", "rate_limit_exceeded", "Rate limit reached. Please try again in 1.5s."),
    ("tokens", "inference_rate_limit_exceeded", "Too many tokens."),
    ("invalid_request_error", "strange", "It will fail again."),
)
"""How responses fail: type, code, message."""


class Violation(AssertionError):  # noqa: N818 - it is one
    """The client did what it must never do."""


@dataclass(slots=True, eq=False)
class Item:
    """A conversation item."""

    id: str
    type: str
    role: str | None = None
    text: str = ""
    call_id: str | None = None
    output: str = ""
    complete: bool = False
    audio_ms: float = 0.0

    def wire(self) -> Fields:
        if self.type == "message":
            return {"id": self.id, "type": "message", "role": self.role, "content": []}
        if self.type == "function_call":
            status = "completed" if self.complete else "in_progress"
            return {"id": self.id, "type": self.type, "call_id": self.call_id, "name": self.text, "status": status}
        return {"id": self.id, "type": self.type, "call_id": self.call_id}


@dataclass(slots=True, eq=False)
class Response:
    """A response in the making."""

    id: str
    mark: int  # its number, which is also the value of all its samples
    metadata: Fields | None
    out_of_band: bool
    script: Iterator[None] = field(default_factory=lambda: iter(()))
    open_item: Item | None = None
    finished: list[Item] = field(default_factory=list)
    told_at: float | None = None  # when the client heard of its beginning
    over: bool = False
    given_up: bool = False  # the client may have taken it as over, because the service was silent for so long


class Service:
    """What all sessions share: names, and what becomes known over a whole conversation.

    Attributes:
        words: What the user and the assistant said whose words the client was told: item, role, words.
        completed: The responses, by their marks, that the client was told of as completed.
        unwanted: The responses, by their marks, that the client has called off by name: it plays nothing of them.
        over_user: The responses, by their marks, that began while the user spoke, because the client's request came
            late: it need not play them.
        asides: Which of these items stand beside the conversation.
        truncated: To how many milliseconds items were cut.
        marks: The response of each item with sound.
    """

    def __init__(self) -> None:
        self.words: dict[str, tuple[str, str]] = {}
        self.completed: set[int] = set()
        self.unwanted: set[int] = set()
        self.over_user: set[int] = set()
        self.asides: set[str] = set()
        self.truncated: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        self._numbers = itertools.count(1)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers)}"

    def new_number(self) -> int:
        return next(self._numbers)


class Session:
    """One session.

    Args:
        service: The service.
        send: Puts an event on its way to the client.
        clock: The time.
    """

    def __init__(self, service: Service, send: Callable[[Fields], None], clock: Callable[[], float]) -> None:
        self.service = service
        self._send = send
        self._clock = clock
        self.items: dict[str, Item] = {}
        self.active: Response | None = None
        self.beside: Response | None = None
        self.responses: dict[str, Response] = {}
        self.turn: str | None = None  # the item that the user's utterance will become
        self.unheard: list[Item] = []  # user items without transcript
        self.owes_response = False
        self.refuse_creates = 0
        self.detects_turns = True
        self.configured = False
        self.buffer_ms = 0.0
        self.audio_at = 0.0  # when the last audio came
        self.silent_since = clock()
        self.answers_wanted = 0  # responses asked for since the last one began
        self.say("session.created", session={"id": service.new_id("sess"), "expires_at": None})

    # --- to the client ---

    def say(self, event_type: str, **fields: Any) -> None:
        self._send({"type": event_type, "event_id": self.service.new_id("ev"), **fields})

    def error(self, code: str, event_id: str | None, kind: str = "invalid_request_error") -> None:
        error = {"type": kind, "code": code, "message": code, "param": None, "event_id": event_id}
        self.say("error", error=error)

    def heard(self, event: Fields) -> None:
        """Note that the client has taken in an event."""
        if self._clock() - self.silent_since >= RESPONSE_SILENCE_S:
            for response in self.responses.values():
                if response.told_at is not None and not response.over:
                    response.told_at, response.given_up = None, True
        self.silent_since = self._clock()
        kind = event["type"]
        if kind == "response.created":
            self.responses[event["response"]["id"]].told_at = self._clock()
        elif kind == "response.done" and event["response"]["status"] == "completed":
            self.service.completed.add(self.responses[event["response"]["id"]].mark)
        elif kind == "conversation.item.input_audio_transcription.completed":
            self.service.words[event["item_id"]] = ("user", event["transcript"])
        elif kind == "response.output_audio_transcript.done":
            self.service.words[event["item_id"]] = ("assistant", event["transcript"])
            if self.responses[event["response_id"]].out_of_band:
                self.service.asides.add(event["item_id"])

    # --- the user ---

    def user_starts(self, *, cancel_first: bool) -> None:
        self.turn = self.service.new_id("item")
        if cancel_first:
            self._interrupt()
        self.say("input_audio_buffer.speech_started", item_id=self.turn, audio_start_ms=0)
        if not cancel_first:
            self._interrupt()

    def _interrupt(self) -> None:
        self.owes_response = False
        if self.active is not None:
            self.cancel(self.active, "turn_detected")

    def user_stops(self, *, answer_at_once: bool) -> None:
        assert self.turn is not None
        self.say("input_audio_buffer.speech_stopped", item_id=self.turn, audio_end_ms=0)
        self._commit(self.turn)
        self.turn = None
        self.owes_response = True
        if answer_at_once:
            self.answer()

    def _commit(self, item_id: str) -> None:
        previous = next(reversed(self.items), None)
        self.say("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        item = Item(item_id, "message", "user")
        self._add(item)
        self.unheard.append(item)
        self.buffer_ms = 0.0

    def answer(self) -> None:
        """Open the response that the service owes the user after a turn."""
        self.owes_response = False
        if self.active is None:
            self._begin(None, out_of_band=False)

    def transcribe(self, index: int, *, fails: bool) -> None:
        item = self.unheard.pop(index % len(self.unheard))
        prefix = "conversation.item.input_audio_transcription"
        if fails:
            self.say(f"{prefix}.failed", item_id=item.id, error={"type": "transcription_error", "code": "x"})
            return
        item.text = f"user words {item.id}"
        self.say(f"{prefix}.delta", item_id=item.id, delta=item.text)
        self.say(f"{prefix}.completed", item_id=item.id, transcript=item.text)

    # --- responses ---

    def _begin(self, metadata: Fields | None, *, out_of_band: bool) -> Response:
        mark = self.service.new_number() % 32_000
        response = Response(f"resp_{self.service.new_number()}", mark, metadata, out_of_band)
        if out_of_band:
            self.beside = response
        else:
            self.active = response
        self.responses[response.id] = response
        if self.turn is not None:
            self.service.over_user.add(response.mark)
        self.say("response.created", response=self._wire(response, "in_progress"))
        return response

    def _wire(self, response: Response, status: str, **more: Any) -> Fields:
        return {
            "id": response.id,
            "status": status,
            "conversation_id": None if response.out_of_band else "conv",
            "metadata": response.metadata,
            "output": [item.wire() for item in response.finished],
            "usage": None,
            **more,
        }

    def plan(self, response: Response, kind: int) -> None:
        """Decide what a response says and calls."""
        response.script = self._produce(response, kind)

    def _produce(self, response: Response, kind: int) -> Iterator[None]:
        if kind == 0:  # fails before it begins
            self._fail(response, FAILURES[response.mark % len(FAILURES)])
            return
        calls = 0 if response.out_of_band else (0, 0, 0, 1, 2, 1)[kind % 6]
        if kind % 6 != 5 or response.out_of_band:
            for _ in self._speak(response, 1 + kind % 4):
                yield
        for number in range(calls):
            for _ in self._call(response, ("work", "quick", "quiet", "held")[(kind + number) % 4]):
                yield
        if kind % 11 == 10:
            self._end(response, "incomplete", reason="max_output_tokens")
        elif kind % 11 == 9:
            self._fail(response, FAILURES[response.mark % len(FAILURES)])
        else:
            self._end(response, "completed")

    def _speak(self, response: Response, deltas: int) -> Iterator[None]:
        item = Item(self.service.new_id("item"), "message", "assistant")
        place = {"response_id": response.id, "item_id": item.id, "output_index": 0, "content_index": 0}
        self.service.marks[item.id] = response.mark
        response.open_item = item
        self.say("response.output_item.added", response_id=response.id, output_index=0, item=item.wire())
        if not response.out_of_band:
            self._add(item, done=False)
        self.say("response.content_part.added", **place, part={"type": "audio", "transcript": ""})
        for number in range(deltas):
            text = f"words {number} of {item.id} "
            item.text += text
            self.say("response.output_audio_transcript.delta", **place, delta=text)
            milliseconds = 60 * (number + 1)
            pcm = struct.pack("<h", response.mark) * (milliseconds * BYTES_PER_MS // 2)
            item.audio_ms += milliseconds
            self.say("response.output_audio.delta", **place, delta=base64.b64encode(pcm).decode())
            yield
        self._close_item(response, complete=True)
        yield

    def _call(self, response: Response, name: str) -> Iterator[None]:
        item = Item(self.service.new_id("item"), "function_call", text=name, call_id=self.service.new_id("call"))
        arguments = f'{{"n": {self.service.new_number()}}}' if name == "work" else "{}"
        response.open_item = item
        self.say("response.output_item.added", response_id=response.id, output_index=1, item=item.wire())
        self._add(item, done=False)
        yield
        place = {"response_id": response.id, "item_id": item.id, "output_index": 1, "call_id": item.call_id}
        self.say("response.function_call_arguments.done", **place, name=name, arguments=arguments)
        item.complete = True
        response.open_item = None
        response.finished.append(item)
        done = {**item.wire(), "arguments": arguments}
        self.say("response.output_item.done", response_id=response.id, output_index=1, item=done)
        yield

    def _close_item(self, response: Response, *, complete: bool) -> None:
        item, response.open_item = response.open_item, None
        assert item is not None
        item.complete = complete
        status = "completed" if complete else "incomplete"
        if item.type == "message":
            place = {"response_id": response.id, "item_id": item.id, "output_index": 0, "content_index": 0}
            self.say("response.output_audio.done", **place)
            self.say("response.output_audio_transcript.done", **place, transcript=item.text.strip())
        item_done = {**item.wire(), "status": status}
        self.say("response.output_item.done", response_id=response.id, output_index=0, item=item_done)
        if complete:
            response.finished.append(item)

    def cancel(self, response: Response, reason: str) -> None:
        if response.open_item is not None:
            self._close_item(response, complete=False)
        self._end(response, "cancelled", reason=reason)

    def _fail(self, response: Response, failure: tuple[str, str | None, str]) -> None:
        kind, code, message = failure
        self._end(response, "failed", error={"type": kind, "code": code, "message": message})

    def _end(self, response: Response, status: str, **details: Any) -> None:
        response.over = True
        response.script = iter(())
        if response is self.active:
            self.active = None
        if response is self.beside:
            self.beside = None
        status_details = {"type": status, **details} if details else None
        self.say("response.done", response=self._wire(response, status, status_details=status_details))

    # --- items ---

    def _add(self, item: Item, after: str | None = None, *, done: bool = True) -> None:
        if item.id in self.items:
            raise Violation(f"item id {item.id} is used twice")
        previous: str | None
        if after is None:
            previous = next(reversed(self.items), None)
            self.items[item.id] = item
        else:
            previous = None if after == "root" else after
            others = list(self.items.items())
            index = 0 if after == "root" else [key for key, _ in others].index(after) + 1
            self.items = dict([*others[:index], (item.id, item), *others[index:]])
        self.say("conversation.item.added", previous_item_id=previous, item=item.wire())
        if done:
            self.say("conversation.item.done", previous_item_id=previous, item=item.wire())

    # --- from the client ---

    def sent(self, event: Fields) -> None:
        """Note that the client has sent something, which may never arrive."""
        if event["type"] == "response.cancel" and event.get("response_id") in self.responses:
            self.service.unwanted.add(self.responses[event["response_id"]].mark)

    def take(self, event: Fields, sent_at: float) -> None:
        """Handle what the client has sent.

        Raises:
            Violation: It must never do that.
        """
        if not self.configured and event["type"] != "session.update":
            raise Violation(f"{event['type']} came before the configuration")
        handler = getattr(self, "_" + event["type"].replace(".", "_"), None)
        if handler is None:
            raise Violation(f"unknown event {event['type']!r}")
        handler(event, sent_at)

    def _knew_of(self, response: Response | None, sent_at: float) -> bool:
        """Whether the client knew that this response runs when it sent something."""
        if response is None or response.told_at is None or sent_at - self.silent_since >= RESPONSE_SILENCE_S:
            return False
        return response.told_at < sent_at

    def _session_update(self, event: Fields, sent_at: float) -> None:
        session = event["session"]
        if session.get("type") != "realtime":
            raise Violation("session.update without its type")
        speed = session.get("audio", {}).get("output", {}).get("speed")
        if self.configured and speed is not None and self._knew_of(self.active, sent_at):
            raise Violation("the speed is changed while a response runs")
        if not self.configured:
            self.detects_turns = session["audio"]["input"]["turn_detection"] is not None
        self.configured = True
        if self.active is not None and speed is not None:
            self.error("cannot_update_speed", event.get("event_id"))
            return
        self.say("session.updated", session={"expires_at": None})

    def _input_audio_buffer_append(self, event: Fields, _: float) -> None:
        if not event["audio"]:
            raise Violation("an empty piece of audio")
        self.audio_at = self._clock()
        self.buffer_ms += len(base64.b64decode(event["audio"])) / BYTES_PER_MS

    def _input_audio_buffer_commit(self, _: Fields, __: float) -> None:
        if self.detects_turns:
            raise Violation("a commit by hand although turn detection is on")
        if self.buffer_ms < 100:
            raise Violation(f"a commit of {self.buffer_ms} ms")
        self._commit(self.service.new_id("item"))

    def _conversation_item_create(self, event: Fields, _: float) -> None:
        data = event["item"]
        item_id = data.get("id") or self.service.new_id("item")
        if len(item_id) > 32:
            raise Violation(f"an item id of {len(item_id)} characters")
        after = event.get("previous_item_id")
        if after not in (None, "root") and after not in self.items:
            raise Violation(f"an item is to follow {after}, which is not there")
        text = " ".join(part.get("text", "") for part in data.get("content", ()))
        item = Item(item_id, data["type"], data.get("role"), text, data.get("call_id"), complete=True)
        if item.type == "function_call_output":
            self._check_output(item)
            item.output = data["output"]
        self._add(item, after)

    def _check_output(self, item: Item) -> None:
        calls = [known for known in self.items.values() if known.call_id == item.call_id]
        if not any(known.type == "function_call" for known in calls):
            raise Violation(f"an output for the unknown call {item.call_id}")
        if any(known.type == "function_call_output" for known in calls):
            raise Violation(f"the call {item.call_id} is answered twice")

    def _conversation_item_truncate(self, event: Fields, _: float) -> None:
        item = self.items.get(event["item_id"])
        if item is None:
            raise Violation(f"truncates the unknown item {event['item_id']}")
        if item.role != "assistant" or not 0 <= event["audio_end_ms"] <= item.audio_ms:
            raise Violation(f"truncates {item.id} ({item.audio_ms} ms) to {event['audio_end_ms']} ms")
        self.service.truncated[item.id] = event["audio_end_ms"]
        self.say("conversation.item.truncated", item_id=item.id, content_index=0, audio_end_ms=event["audio_end_ms"])

    def _conversation_item_delete(self, event: Fields, _: float) -> None:
        if self.items.pop(event["item_id"], None) is None:
            raise Violation(f"deletes the unknown item {event['item_id']}")
        self.say("conversation.item.deleted", item_id=event["item_id"])

    def _response_create(self, event: Fields, sent_at: float) -> None:
        overrides = event.get("response", {})
        if overrides.get("conversation") == "none":
            if self.beside is not None and self._knew_of(self.beside, sent_at):
                raise Violation("asks for words of its own while others are being said")
            if self.beside is None:
                self.plan(self._begin(overrides.get("metadata"), out_of_band=True), 1 + self.service.new_number() % 4)
            return
        if self.active is not None:
            if self._knew_of(self.active, sent_at):
                raise Violation("asks for a response although it knows that one is running")
            self.error("conversation_already_has_active_response", event.get("event_id"))
        elif self.refuse_creates:
            self.refuse_creates -= 1
            self.error("server_error", event.get("event_id"), "server_error")
        else:
            self._begin(None, out_of_band=False)

    def _response_cancel(self, event: Fields, _: float) -> None:
        wanted = event.get("response_id")
        for response in (self.active, self.beside):
            if response is not None and (response.id == wanted or (wanted is None and response is self.active)):
                self.cancel(response, "client_cancelled")
                return
        self.error("response_cancel_not_active", event.get("event_id"))
