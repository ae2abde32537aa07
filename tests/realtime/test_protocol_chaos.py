"""The protocol against a server that has lost its mind: nothing raises, nothing grows, nothing stays stuck."""

import json
import random
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.realtime.container_sizes import sizes

from rtvoice.events import (
    AssistantInterruptedEvent,
    CommitUserTurnCommand,
    Event,
    PlaybackCut,
    RequestResponseCommand,
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
from rtvoice.settings import SemanticVAD

Json = dict[str, Any]

# --- frames of every kind, with few ids so that they meet, and with nonsense in any place ---

junk = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([]), st.just({}), st.just([None])
)
ids = st.sampled_from(["a", "b", "c", ""])
event_ids = st.sampled_from(["config_1", "create_2", "create_3", "output_3", "message_2", "speed_2"])
codes = st.sampled_from(
    [
        "conversation_already_has_active_response",
        "response_cancel_not_active",
        "invalid_api_key",
        "session_expired",
        "invalid_value",
        None,
    ]
)
audio = st.sampled_from([0, 1, 47, 48, 480, 4_801]).map(lambda length: b64encode(bytes(length)).decode())
base64ish = audio | st.sampled_from(["A", "AA", "AAA", "====", "😀", "AAAA\n"])
items = st.fixed_dictionaries(
    {},
    optional={
        "id": ids | junk,
        "type": st.sampled_from(["message", "function_call", "function_call_output"]) | junk,
        "role": st.sampled_from(["user", "assistant"]) | junk,
        "status": st.sampled_from(["completed", "incomplete"]) | junk,
        "call_id": ids | junk,
        "name": st.just("tool") | junk,
        "arguments": st.sampled_from(["{}", "{", "null"]) | junk,
    },
)
responses = st.fixed_dictionaries(
    {},
    optional={
        "id": ids | junk,
        "status": st.sampled_from(["completed", "cancelled", "failed", "incomplete"]) | junk,
        "status_details": st.fixed_dictionaries({}, optional={"reason": junk, "error": junk}) | junk,
        "conversation_id": st.just("conv") | junk,
        "metadata": st.fixed_dictionaries({}, optional={"rtvoice_request": ids | junk}) | junk,
        "output": st.lists(items | junk, max_size=3) | junk,
        "usage": junk,
    },
)
kinds = st.sampled_from(
    [
        "session.created",
        "session.updated",
        "error",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
        "response.created",
        "response.created",
        "response.created",
        "response.done",
        "response.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.function_call_arguments.done",
        "response.function_call_arguments.done",
        "some.thing.else",
    ]
)
events = st.fixed_dictionaries(
    {"type": kinds},
    optional={
        "session": st.fixed_dictionaries({}, optional={"id": junk, "expires_at": junk}) | junk,
        "error": st.fixed_dictionaries({"code": codes}, optional={"event_id": event_ids | junk, "message": junk})
        | junk,
        "item": items | junk,
        "item_id": ids | junk,
        "previous_item_id": ids | junk,
        "response": responses | junk,
        "response_id": ids | junk,
        "content_index": st.integers(0, 1) | junk,
        "output_index": junk,
        "delta": base64ish | junk,
        "call_id": ids | junk,
        "name": st.just("tool") | junk,
        "arguments": st.sampled_from(["{}", "{", "[]"]) | junk,
        "transcript": junk,
        "audio_start_ms": junk,
    },
)
frames = events.map(json.dumps) | st.binary(max_size=20) | junk.map(json.dumps) | st.lists(events).map(json.dumps)
commands = st.one_of(
    st.builds(RequestResponseCommand, instructions=st.none() | st.text(max_size=3)),
    st.builds(
        SendMessageCommand, text=st.text(max_size=3), image_url=st.none() | st.just("data:"), respond=st.booleans()
    ),
    st.builds(SpeakHoldingPhraseCommand, call_id=ids, phrase=st.text(max_size=3)),
    st.builds(SpeakProgressCommand, phrase=st.just("Half.")),
    st.builds(SayCommand, text=st.text(max_size=3), request_id=ids),
    st.builds(
        ToolCallFinishedEvent,
        call_id=ids,
        name=st.just("tool"),
        output=st.text(max_size=3),
        respond=st.booleans(),
        result_instruction=st.none() | st.just("Sing."),
    ),
    st.builds(
        AssistantInterruptedEvent,
        by_program=st.booleans(),
        cuts=st.lists(
            st.builds(
                PlaybackCut,
                item_id=ids,
                content_index=st.integers(0, 1),
                played_ms=st.integers(-5, 500),
                received_ms=st.just(0),
            ),
            max_size=2,
        ).map(tuple),
    ),
    st.builds(UpdateSpeechSpeedCommand, speed=st.floats(0.25, 1.5)),
    st.builds(UpdateInstructionsCommand, instructions=st.text(max_size=3)),
    st.builds(UpdateToolChoiceCommand, tool_choice=st.just("auto")),
    st.builds(UpdateSessionToolsCommand, tools=st.just([])),
    st.builds(CommitUserTurnCommand),
)
seconds = st.sampled_from([0.0, 1.0, 4.0, 15.0, 60.0, 300.0])


class Chaos:
    """A protocol in the middle of it."""

    def __init__(self, **config: Any) -> None:
        self.now = 0.0
        self.protocol = RealtimeProtocol(SessionConfig(model="m", **config), lambda: self.now)
        self.protocol.start()
        self.requested: Counter[str] = Counter()
        self.finished: set[str] = set()
        self.outputs: Counter[str] = Counter()
        self.sent: list[Json] = []

    def hear(self, frame: str | bytes) -> None:
        for fact in self.protocol.receive(frame):
            assert isinstance(fact, Event)
            if isinstance(fact, ToolCallRequestedEvent):
                self.requested[fact.call_id] += 1

    def do(self, event: Event) -> None:
        if isinstance(event, ToolCallFinishedEvent):
            if event.call_id not in self.requested:
                return
            self.finished.add(event.call_id)
        self.protocol.send(event)

    def write(self) -> list[Json]:
        sent = [json.loads(frame) for frame in self.protocol.frames()]
        for frame in sent:
            if frame["type"] == "conversation.item.create" and frame["item"]["type"] == "function_call_output":
                self.outputs[frame["item"]["call_id"]] += 1
        assert sum(frame["type"] == "response.create" for frame in sent) <= 1
        assert len({frame["event_id"] for frame in sent}) == len(sent)
        deadline = self.protocol.deadline()
        assert deadline is None or deadline > self.now, "the writer would spin"
        self.sent += sent
        return sent

    def reconnect(self) -> None:
        """Do as the session does when the protocol has given up; what is told again has been said before."""
        for fact in self.protocol.connection_lost():
            assert not isinstance(fact, ToolCallRequestedEvent)
        self.protocol.restart()
        self.protocol.frames()

    def come_to_rest(self) -> None:
        """The server behaves from now on: it accepts every request, answers it and is silent otherwise.

        It gives no metadata back.
        """
        for turn in range(100):
            for frame in self.write():
                if frame["type"] == "response.create":
                    response = {"id": f"sane_{turn}", "status": "completed"}
                    self.hear(json.dumps({"type": "response.created", "response": response}))
                    self.hear(json.dumps({"type": "response.done", "response": response}))
            for call_id in set(self.requested) - self.finished:
                self.do(ToolCallFinishedEvent(call_id=call_id, name="tool", output="x"))
            deadline = self.protocol.deadline()
            if self.protocol.given_up is not None:
                self.reconnect()
            elif deadline is not None:
                self.now = deadline
            elif not self.protocol.wants_to_send:
                return
        raise AssertionError("it never comes to rest")


@settings(deadline=None, max_examples=250, print_blob=True)
@given(st.lists(frames | commands | seconds, max_size=40), st.none() | st.just(SemanticVAD()), st.booleans())
@example(['{"type":"response.created","response":{"id":null}}'], None, True)
def test_nothing_raises_and_nothing_stays_stuck(
    happenings: list[str | bytes | float | Event], turn_detection: SemanticVAD | None, speaks: bool
) -> None:
    chaos = Chaos(turn_detection=turn_detection, modalities=("audio",) if speaks else ("text",))
    for happening in happenings:
        match happening:
            case float():
                chaos.write()  # nothing is held up on our side of the network
                chaos.now += happening
                chaos.write()
            case str() | bytes():
                chaos.hear(happening)
            case _:
                chaos.do(happening)

    chaos.do(RequestResponseCommand(instructions="Still there?"))
    chaos.come_to_rest()

    assert any(
        "Still there?" in frame.get("response", {}).get("instructions", "")
        for frame in chaos.sent
        if frame["type"] == "response.create"
    )
    assert not chaos.protocol.response_active
    assert all(count == 1 for count in chaos.requested.values())
    assert all(count == 1 for count in chaos.outputs.values())
    assert set(chaos.outputs) >= chaos.finished, "a call without its output"


# --- a hundred thousand events ---


def flood(choice: random.Random, number: int) -> Json:
    """Return a server event whose ids are new each time or have been used lately."""
    response_id, item_id, call_id = (f"{kind}{number - choice.randrange(4)}" for kind in ("r", "i", "c"))
    kind = choice.choice(
        [
            "response.created",
            "response.done",
            "response.output_item.added",
            "response.output_audio.delta",
            "response.output_text.delta",
            "response.function_call_arguments.done",
            "conversation.item.added",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "error",
        ]
    )
    return {
        "type": kind,
        "response_id": response_id,
        "item_id": item_id,
        "call_id": call_id,
        "name": "tool",
        "arguments": choice.choice(["{}", "{"]),
        "delta": "AAAA" * 20,
        "response": {"id": response_id, "status": choice.choice(["completed", "cancelled"])},
        "item": {
            "id": item_id,
            "type": choice.choice(["message", "function_call", "function_call_output"]),
            "role": choice.choice(["user", "assistant"]),
            "call_id": call_id,
        },
        "error": {"code": "conversation_already_has_active_response"},
    }


def all_of_it(_: str) -> bool:
    return True


@pytest.mark.parametrize("modalities", [("audio",), ("text",)])
@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(all_of_it, id="all"),
        pytest.param(lambda kind: kind != "response.done", id="no response ends"),
        pytest.param(lambda kind: kind not in ("response.done", "response.created"), id="no response is reported"),
        pytest.param(lambda kind: kind != "input_audio_buffer.speech_stopped", id="the user never stops"),
        pytest.param(lambda kind: kind != "conversation.item.added", id="nothing is acknowledged"),
    ],
)
def test_nothing_grows_without_bound(heard: Callable[[str], bool], modalities: tuple[Any, ...]) -> None:
    """Ten runs of 10,000 server events, each with something of ours in between."""
    choice = random.Random(7)
    chaos = Chaos(turn_detection=SemanticVAD(), modalities=modalities)
    running: deque[str] = deque()
    for number in range(10_000):
        event = flood(choice, number)
        if heard(event["type"]):
            for fact in chaos.protocol.receive(json.dumps(event)):
                if isinstance(fact, ToolCallRequestedEvent):
                    running.append(fact.call_id)
                    chaos.protocol.send(SpeakHoldingPhraseCommand(call_id=fact.call_id, phrase=f"phrase {number}"))
        match number % 10:
            case 0:
                chaos.protocol.send(SendMessageCommand(text="x"))
            case 1:
                chaos.protocol.send(RequestResponseCommand(instructions=f"sentence {number}"))
            case 2:
                chaos.protocol.send(SayCommand(text="words", request_id=f"say_{number}"))
                cut = PlaybackCut(item_id=event["item_id"], content_index=0, played_ms=1, received_ms=1)
                chaos.protocol.send(AssistantInterruptedEvent(cuts=(cut,)))
        while len(running) > 5:
            chaos.protocol.send(ToolCallFinishedEvent(call_id=running.popleft(), name="tool", output="x"))
        chaos.now += 0.1
        chaos.protocol.frames()

    too_large = {path: size for path, size in sizes(chaos.protocol).items() if size > 1_000}
    assert too_large == {}
