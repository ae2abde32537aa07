"""The protocol against a small server of our own, with everything in random order.

The server is written from the protocol's description alone, refuses what the service refuses, and
both sides see each other's frames late. What must hold is checked on the server's side.
"""

import json
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtvoice.events import (
    AssistantAudioReceivedEvent,
    AssistantInterruptedEvent,
    PlaybackCut,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SayCommand,
    SendMessageCommand,
    SpeakHoldingPhraseCommand,
    SpeakProgressCommand,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UpdateInstructionsCommand,
    UpdateSessionToolsCommand,
    UpdateSpeechSpeedCommand,
    UpdateToolChoiceCommand,
)
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.protocol import RealtimeProtocol
from rtvoice.realtime.responses import WAITING_INSTRUCTIONS
from rtvoice.settings import SemanticVAD

Json = dict[str, Any]

LATENCY_S = 3.0
"""A frame is on its way for this time and one step of the clock at most, so that no request stays unanswered."""


@dataclass
class Speech:
    """A response as the server sees it; ``own`` if nobody asked for it, ``says`` if beside the conversation."""

    id: str
    own: bool
    says: str | None = None
    calls: list[Json] = field(default_factory=list)
    items: list[str] = field(default_factory=list)


class Server:
    """A Realtime server that does what it is told to, in the order in which it gets it.

    Attributes:
        to_client: What it has said, yet to be heard.
        conversation: Its items, by what they are: ``("message", text)``, ``("output", call_id)`` …
        responses_began: For each response in the conversation, how many items there were when it began.
        refused: Requests for a response, and for another speed, that it refused with the response that was active.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.to_client: deque[tuple[float, Json]] = deque()
        self.conversation: list[tuple[str, str]] = []
        self.responses_began: list[int] = []
        self.accepted: list[Json] = []
        self.refused: list[tuple[str, Speech]] = []
        self.complaints: list[str] = []
        self.active: Speech | None = None
        self.beside: dict[str, Speech] = {}
        self.item_ids: set[str] = set()
        self.user_speaks = False
        self.owes_response = False
        self.open_calls: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.audio_ms: dict[str, int] = {}
        self.cut_ms: dict[str, int] = {}
        self.count = 0

    def new_id(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    def say(self, kind: str, **fields: Any) -> None:
        self.to_client.append((self.clock(), {"type": kind, "event_id": self.new_id("event"), **fields}))

    def object(self, code: str, event: Json, message: str = "") -> None:
        error = {"type": "invalid_request_error", "code": code, "message": message, "event_id": event["event_id"]}
        self.say("error", error=error)

    # --- what the client says ---

    def obey(self, event: Json) -> None:
        handler = getattr(self, "on_" + event["type"].replace(".", "_"))
        handler(event)

    def on_session_update(self, event: Json) -> None:
        if "audio" in event["session"] and "input" not in event["session"]["audio"] and self.active is not None:
            self.object("invalid_value", event, "Cannot update speed while a response is in progress.")
            self.refused.append((event["event_id"], self.active))
        else:
            self.say("session.updated", session={"id": "sess"})

    def on_conversation_item_create(self, event: Json) -> None:
        item = {"id": self.new_id("item")} | event["item"] | {"status": "completed"}
        if item["id"] in self.item_ids:
            self.complaints.append("an item id that was used before")
        self.item_ids.add(item["id"])
        if item["type"] == "function_call_output":
            if not self.open_calls[item["call_id"]]:
                self.complaints.append("an output for no call")
            self.answered[item["call_id"]] += 1
            self.conversation.append(("output", item["call_id"]))
        else:
            self.conversation.append(("message", item["content"][0]["text"]))
        for kind in ("added", "done"):
            self.say(f"conversation.item.{kind}", previous_item_id=None, item=item)

    def on_conversation_item_truncate(self, event: Json) -> None:
        item_id, end = event["item_id"], event["audio_end_ms"]
        if not self.audio_ms.get(item_id):
            self.complaints.append("a truncation of an item without audio")
        elif not 0 <= end <= self.cut_ms.get(item_id, self.audio_ms[item_id]):
            self.complaints.append("a truncation beyond the end")
        self.cut_ms[item_id] = end
        self.say("conversation.item.truncated", item_id=item_id, content_index=0, audio_end_ms=end)

    def on_conversation_item_delete(self, event: Json) -> None:
        if event["item_id"] not in self.item_ids:
            self.complaints.append("a deletion of no item")
        self.say("conversation.item.deleted", item_id=event["item_id"])

    def on_response_create(self, event: Json) -> None:
        if event.get("response", {}).get("conversation") == "none":
            speech = Speech(self.new_id("resp"), own=False, says=event["response"]["metadata"]["rtvoice_request"])
            self.beside[speech.id] = speech
            metadata = event["response"]["metadata"]
            response = {"id": speech.id, "status": "in_progress", "conversation_id": None, "metadata": metadata}
            self.say("response.created", response=response)
            return
        if self.active is not None:
            self.refused.append((event["event_id"], self.active))
            self.object("conversation_already_has_active_response", event)
        else:
            self.accepted.append(event)
            self.begin(own=False)

    def on_response_cancel(self, event: Json) -> None:
        if event.get("response_id") in self.beside:
            self.end_beside(event["response_id"], "cancelled")
        elif self.active is None or event.get("response_id") not in (None, self.active.id):
            self.object("response_cancel_not_active", event)
        else:
            self.end("cancelled", "client_cancelled")

    # --- what it does by itself ---

    def begin(self, *, own: bool) -> None:
        self.active = Speech(self.new_id("resp"), own)
        self.responses_began.append(len(self.conversation))
        self.say("response.created", response={"id": self.active.id, "status": "in_progress", "conversation_id": "c"})

    def speak(self, milliseconds: int, *, new_item: bool) -> None:
        assert self.active is not None
        if new_item or not self.active.items:
            self.active.items.append(self.new_id("item"))
        item_id = self.active.items[-1]
        self.audio_ms[item_id] = self.audio_ms.get(item_id, 0) + milliseconds
        self.say(
            "response.output_audio.delta",
            response_id=self.active.id,
            item_id=item_id,
            content_index=0,
            delta=b64encode(bytes(48 * milliseconds)).decode(),
        )

    def call(self, arguments: str, *, announced: bool, final: bool) -> None:
        assert self.active is not None
        call_id = self.new_id("call")
        item = {"id": self.new_id("item"), "type": "function_call", "call_id": call_id, "name": "tool"}
        self.open_calls[call_id] += 1
        self.conversation.append(("call", call_id))
        if announced:
            self.say("response.output_item.added", response_id=self.active.id, item=item | {"arguments": ""})
        self.say(
            "response.function_call_arguments.done",
            response_id=self.active.id,
            item_id=item["id"],
            call_id=call_id,
            arguments=arguments,
            **({} if announced else {"name": "tool"}),
        )
        item |= {"arguments": arguments, "status": "completed"}
        if final:
            self.say("response.output_item.done", response_id=self.active.id, item=item)
        self.active.calls.append(item)

    def end(self, status: str, reason: str | None = None) -> None:
        assert self.active is not None
        details = {"type": status, "reason": reason}
        response = {"id": self.active.id, "status": status, "status_details": details, "output": self.active.calls}
        self.say("response.done", response=response)
        self.active = None

    def speak_beside(self, response_id: str, milliseconds: int) -> None:
        speech = self.beside[response_id]
        if not speech.items:
            speech.items.append(self.new_id("item"))
            item = {"id": speech.items[0], "type": "message", "role": "assistant"}
            self.say("response.output_item.added", response_id=response_id, item=item)
        self.say(
            "response.output_audio.delta",
            response_id=response_id,
            item_id=speech.items[0],
            content_index=0,
            delta=b64encode(bytes(48 * milliseconds)).decode(),
        )

    def end_beside(self, response_id: str, status: str) -> None:
        del self.beside[response_id]
        self.say("response.done", response={"id": response_id, "status": status, "conversation_id": None})

    def hear_user(self) -> None:
        self.user_speaks, self.owes_response = True, False
        self.say("input_audio_buffer.speech_started", audio_start_ms=0, item_id="next")
        if self.active is not None:
            self.end("cancelled", "turn_detected")

    def hear_silence(self) -> None:
        self.user_speaks, self.owes_response = False, True
        item_id = self.new_id("item")
        self.conversation.append(("voice", item_id))
        self.say("input_audio_buffer.speech_stopped", audio_end_ms=1, item_id=item_id)
        self.say("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        self.say("conversation.item.added", item={"id": item_id, "type": "message", "role": "user"})


class Conversation(RuleBasedStateMachine):
    """Server, protocol and the other parts of an agent, each doing something at random."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.server = Server(lambda: self.now)
        self.protocol = RealtimeProtocol(SessionConfig(model="m", turn_detection=SemanticVAD()), lambda: self.now)
        self.to_server: deque[tuple[float, Json]] = deque()
        self.knew: dict[str, set[str]] = {}  # responses that the client had heard of when it asked
        self.heard_of: set[str] = set()
        self.running: dict[str, str] = {}  # tool calls, and their responses
        self.requested: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.wishes: list[str] = []  # instructions that must be heard by the model
        self.messages: list[str] = []  # messages that must be answered
        self.sayings: Counter[str] = Counter()  # words of the application's own, and how often they were begun
        self.received_ms: dict[str, int] = {}
        self.open_responses: set[str] = set()

    @initialize()
    def connect(self) -> None:
        self.protocol.start()
        self.server.say("session.created", session={"id": "sess"})
        self.flush()

    # --- the network ---

    def flush(self) -> None:
        for frame in self.protocol.frames():
            event = json.loads(frame)
            self.knew[event["event_id"]] = set(self.heard_of)
            self.to_server.append((self.now, event))
        deadline = self.protocol.deadline()
        assert deadline is None or deadline > self.now, "the writer would spin"

    def deliver_to_server(self) -> None:
        _, event = self.to_server.popleft()
        self.server.obey(event)

    def deliver_to_client(self) -> None:
        _, event = self.server.to_client.popleft()
        if event["type"] == "response.created":
            self.heard_of.add(event["response"]["id"])
        for fact in self.protocol.receive(json.dumps(event)):
            match fact:
                case ToolCallRequestedEvent(call_id=call_id, response_id=response_id):
                    self.requested[call_id] += 1
                    self.running[call_id] = response_id
                case AssistantAudioReceivedEvent(item_id=item_id, pcm=pcm):
                    self.received_ms[item_id] = self.received_ms.get(item_id, 0) + len(pcm) // 48
                case ResponseStartedEvent(response_id=response_id, request_id=request_id):
                    assert response_id not in self.open_responses
                    if request_id is not None:
                        assert not self.open_responses, "two voices at a time"
                        self.sayings[request_id] += 1
                    self.open_responses.add(response_id)
                case ResponseFinishedEvent(response_id=response_id):
                    self.open_responses.discard(response_id)

    @rule()
    def client_writes(self) -> None:
        self.flush()

    @precondition(lambda self: self.to_server)
    @rule(frames=st.integers(1, 5))
    def server_reads(self, frames: int) -> None:
        for _ in range(min(frames, len(self.to_server))):
            self.deliver_to_server()

    @precondition(lambda self: self.server.to_client)
    @rule(frames=st.integers(1, 20), then_write=st.booleans())
    def client_reads(self, frames: int, *, then_write: bool) -> None:
        for _ in range(min(frames, len(self.server.to_client))):
            self.deliver_to_client()
        if then_write:
            self.flush()

    @rule(seconds=st.sampled_from([0.02, 0.3, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        while self.to_server and self.now - self.to_server[0][0] > LATENCY_S:
            self.deliver_to_server()
        if self.server.active is not None:
            self.server.speak(20, new_item=False)
        for response_id in self.server.beside:
            self.server.speak_beside(response_id, 20)
        while self.server.to_client and self.now - self.server.to_client[0][0] > LATENCY_S:
            self.deliver_to_client()
        self.flush()

    # --- the server ---

    @precondition(lambda self: self.server.active is not None)
    @rule(milliseconds=st.integers(1, 60), new_item=st.booleans())
    def server_speaks(self, milliseconds: int, *, new_item: bool) -> None:
        self.server.speak(milliseconds, new_item=new_item)

    @precondition(lambda self: self.server.active is not None)
    @rule(arguments=st.sampled_from(["{}", '{"a": 1}', "{", "null"]), announced=st.booleans(), final=st.booleans())
    def server_calls(self, arguments: str, *, announced: bool, final: bool) -> None:
        self.server.call(arguments, announced=announced, final=final)

    @precondition(lambda self: self.server.active is not None)
    @rule(status=st.sampled_from(["completed", "completed", "failed", "incomplete"]))
    def server_ends(self, status: str) -> None:
        self.let_it_last()
        if self.server.active is not None:
            self.server.end(status)

    def let_it_last(self) -> None:
        """A response of the server's own lasts until the client knows of it, and what crossed it has arrived."""
        active = self.server.active
        if active is None or not active.own:
            return
        while active.id not in self.heard_of:
            self.deliver_to_client()
        while self.to_server:
            self.deliver_to_server()

    @precondition(lambda self: self.server.beside)
    @rule(data=st.data(), status=st.sampled_from(["completed", "failed"]))
    def server_ends_words_beside(self, data: st.DataObject, status: str) -> None:
        self.server.end_beside(data.draw(st.sampled_from(sorted(self.server.beside))), status)

    @precondition(lambda self: self.server.owes_response and self.server.active is None)
    @rule()
    def server_responds(self) -> None:
        self.server.owes_response = False
        self.server.begin(own=True)

    @precondition(lambda self: self.server.owes_response)
    @rule()
    def server_does_not_respond(self) -> None:
        self.server.owes_response = False

    # --- the user and the other parts ---

    @precondition(lambda self: not self.server.user_speaks)
    @rule()
    def user_starts(self) -> None:
        self.let_it_last()
        self.server.hear_user()

    @precondition(lambda self: self.server.user_speaks)
    @rule()
    def user_stops(self) -> None:
        self.server.hear_silence()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), respond=st.booleans(), instruction=st.sampled_from([None, "Be brief.", "Sing."]))
    def tool_finishes(self, data: st.DataObject, instruction: str | None, *, respond: bool) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[call_id]
        self.finished[call_id] += 1
        if not respond:
            self.silent.add(call_id)
        self.protocol.send(
            ToolCallFinishedEvent(
                call_id=call_id, name="tool", output="x", respond=respond, result_instruction=instruction
            )
        )

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def tool_takes_a_while(self, data: st.DataObject) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.running)))
        self.protocol.send(SpeakHoldingPhraseCommand(call_id=call_id, phrase="One moment."))

    @rule(respond=st.booleans())
    def message(self, *, respond: bool) -> None:
        text = f"message {len(self.messages)}"
        if respond:
            self.messages.append(text)
        self.protocol.send(SendMessageCommand(text=text, respond=respond))

    @precondition(lambda self: len(self.wishes) < WAITING_INSTRUCTIONS)
    @rule()
    def wish(self) -> None:
        self.wishes.append(f"wish {len(self.wishes)};")
        self.protocol.send(RequestResponseCommand(instructions=self.wishes[-1]))

    @rule()
    def say_words(self) -> None:
        request_id = f"say_{len(self.sayings)}"
        self.sayings[request_id] = 0
        self.protocol.send(SayCommand(text=f"words {request_id}", request_id=request_id))

    @rule(
        command=st.sampled_from(
            [
                RequestResponseCommand(),
                SpeakProgressCommand(phrase="Half."),
                UpdateSpeechSpeedCommand(1.25),
                UpdateInstructionsCommand("Be kind."),
                UpdateToolChoiceCommand("auto"),
                UpdateSessionToolsCommand([]),
            ]
        )
    )
    def command(self, command: Any) -> None:
        self.protocol.send(command)
        if isinstance(command, UpdateSessionToolsCommand):
            self.flush()  # a change of tools lets go what was asked for before; the writer fetches that at once

    @rule(data=st.data(), by_program=st.booleans())
    def interruption(self, data: st.DataObject, *, by_program: bool) -> None:
        cuts = data.draw(
            st.lists(
                st.tuples(
                    st.sampled_from([*sorted(self.received_ms), "item_unknown", ""]),
                    st.integers(-10, 200),
                    st.integers(0, 1),
                ),
                max_size=3,
            )
        )
        self.protocol.send(
            AssistantInterruptedEvent(
                cuts=tuple(
                    PlaybackCut(item_id=item_id, content_index=index, played_ms=played_ms, received_ms=200)
                    for item_id, played_ms, index in cuts
                ),
                by_program=by_program,
            )
        )

    # --- what must hold ---

    @invariant()
    def the_server_has_nothing_to_complain_about(self) -> None:
        assert self.server.complaints == []

    @invariant()
    def requests_are_refused_only_when_they_cross_a_response_of_the_servers_own(self) -> None:
        for event_id, active in self.server.refused:
            assert active.own, "two of the client's own"
            assert active.id not in self.knew[event_id], "it knew better"

    @invariant()
    def calls_are_run_once_and_answered_once_after_that(self) -> None:
        assert all(count == 1 for count in self.requested.values())
        assert all(count == 1 for count in self.server.answered.values())
        ran = {call_id for call_id in self.server.answered if call_id in self.requested}
        assert all(self.finished[call_id] for call_id in ran)

    def teardown(self) -> None:
        """Everybody comes to an end; then nothing may be left waiting."""
        self.everybody_finishes()
        for _ in range(200):
            self.flush()
            while self.to_server:
                self.deliver_to_server()
            if self.server.active is not None:
                self.server.end("completed")
            for response_id in list(self.server.beside):
                self.server.end_beside(response_id, "completed")
            while self.server.to_client:
                self.deliver_to_client()
            self.everybody_finishes()
            deadline = self.protocol.deadline()
            if deadline is not None:
                self.now = max(self.now, deadline)
            elif not (self.protocol.wants_to_send or self.server.to_client or self.to_server):
                break
        else:
            raise AssertionError("it never comes to rest")
        self.the_server_has_nothing_to_complain_about()
        self.requests_are_refused_only_when_they_cross_a_response_of_the_servers_own()
        self.calls_are_run_once_and_answered_once_after_that()
        assert not self.protocol.response_active
        assert self.protocol.open_calls == []
        assert self.open_responses == set()
        assert set(self.server.answered) >= set(self.finished)
        self.the_model_has_had_its_say()

    def everybody_finishes(self) -> None:
        if self.server.user_speaks:
            self.server.hear_silence()
        self.server.owes_response = False
        for call_id in list(self.running):
            del self.running[call_id]
            self.finished[call_id] += 1
            self.protocol.send(ToolCallFinishedEvent(call_id=call_id, name="tool", output="x"))

    def the_model_has_had_its_say(self) -> None:
        last = max(self.server.responses_began, default=0)
        for place, (kind, name) in enumerate(self.server.conversation):
            if (kind == "output" and name not in self.silent) or (kind == "message" and name in self.messages):
                assert last > place, f"nothing was said about {kind} {name}"
        assert all(self.sayings.values()), "words that were never said"
        said = " ".join(event.get("response", {}).get("instructions", "") for event in self.server.accepted)
        assert [wish for wish in self.wishes if wish not in said] == []


TestConversation = Conversation.TestCase
TestConversation.pytestmark = [pytest.mark.timeout(600)]  # shrinking a failure takes a while
TestConversation.settings = settings(deadline=None, max_examples=150, stateful_step_count=60, print_blob=True)
