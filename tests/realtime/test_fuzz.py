"""Spoiled server frames by the ten thousand: nothing raises, nothing grows, and nothing takes long.

The frames are those of the examples in tests/fixtures/events, in their order, each perhaps spoiled: in its structure
(values of other types, from elsewhere, missing, nested a hundred deep) or in its bytes (bits, cuts, wrong
encodings). In between the other parts of an agent do what they do.

``RTVOICE_FUZZ_FRAMES=1000000`` makes it a million frames, ``RTVOICE_FUZZ_SEED=7`` other ones.
"""

import copy
import json
import logging
import os
import random
import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
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
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UpdateInstructionsCommand,
    UpdateSpeechSpeedCommand,
)
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.protocol import RealtimeProtocol
from rtvoice.realtime.server_events import parse
from rtvoice.settings import SemanticVAD

EXAMPLES = Path(__file__).parents[1] / "fixtures" / "events"
FRAMES = int(os.environ.get("RTVOICE_FUZZ_FRAMES", "50000"))
SEED = int(os.environ.get("RTVOICE_FUZZ_SEED", "0"))
LARGEST = 2_100
"""No container of the protocol may hold more: its memories are bounded at 1,000 items, and some count in two ways."""

Json = Any


def _server_events(path: Path) -> list[Json]:
    if path.suffix == ".json":
        return [json.loads(path.read_text())]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["event"] for line in lines if line["dir"] == "server" and "event" in line]


SEQUENCES = [
    events
    for pattern in ("sequences/*.jsonl", "server/*.json", "variants/server.*")
    for path in sorted(EXAMPLES.glob(pattern))
    if (events := _server_events(path))
]
EVENTS = [event for events in SEQUENCES for event in events]
ODD_VALUES: list[Json] = [
    None, True, False, 0, -1, 1e308, 2**63, 10**400, "", "x", "\ud800", "\x00", "NaN", [], {}, [[]], {"type": {}},
    float("nan"), float("inf"), "AAAA", "====", "A" * 5_000, ["x"] * 500,
]  # fmt: skip


def told_anew(events: list[Json], number: int) -> list[Json]:
    """Return the events with ids that were not used before, so that everything that is remembered by id may grow."""
    told: list[Json] = json.loads(re.sub(r'"(item|resp|call)_', rf'"\1_{number}_', json.dumps(events)))
    return told


# --- spoiling the structure ---


def places(value: Json) -> Iterator[tuple[Any, Any]]:
    """Yield the place of every value inside, as a container and a key or index."""
    containers = [value]
    while containers:
        container = containers.pop()
        for key in container if isinstance(container, dict) else range(len(container)):
            yield container, key
            if isinstance(container[key], dict | list):
                containers.append(container[key])


PLACES = [place for event in EVENTS for place in places(event)]


def set_odd(choice: random.Random, container: Any, key: Any) -> None:
    container[key] = copy.deepcopy(choice.choice(ODD_VALUES))


def drop(_: random.Random, container: Any, key: Any) -> None:
    del container[key]


def take_from_elsewhere(choice: random.Random, container: Any, key: Any) -> None:
    other, there = choice.choice(PLACES)
    container[key] = copy.deepcopy(other[there])


def nest(choice: random.Random, container: Any, key: Any) -> None:
    for _ in range(choice.choice((1, 2, 100))):
        container[key] = choice.choice(([container[key]], {"type": container[key]}))


def rename(choice: random.Random, container: Any, key: Any) -> None:
    if isinstance(container, dict):
        container[choice.choice(("type", "id", "item", "response", "error", "delta", "é"))] = container.pop(key)


SPOILERS: list[Callable[[random.Random, Any, Any], None]] = [set_odd, drop, take_from_elsewhere, nest, rename]


def spoil_structure(choice: random.Random, event: Json, times: int) -> str:
    event = json.loads(json.dumps(event))
    for _ in range(times):
        inside = list(places(event))
        if inside:
            choice.choice(SPOILERS)(choice, *choice.choice(inside))
    return json.dumps(event)


# --- spoiling the bytes ---


def spoil_bytes(choice: random.Random, frame: bytes) -> bytes:
    at = choice.randrange(len(frame) + 1)
    match choice.randrange(8):
        case 0:
            return frame[:at]
        case 1:
            return frame[at:]
        case 2:  # one bit
            at = min(at, len(frame) - 1)
            return frame[:at] + bytes([frame[at] ^ 1 << choice.randrange(8)]) + frame[at + 1 :]
        case 3:
            return frame[:at] + choice.randbytes(choice.randrange(1, 9)) + frame[at:]
        case 4:
            return frame[:at] + frame[at // 2 : at] + frame[at:]
        case 5:
            return frame.decode().encode(choice.choice(("utf-16", "utf-32", "latin-1", "utf-7")), "replace")
        case 6:
            return b"\xef\xbb\xbf" + frame
        case _:
            return b"[" * choice.choice((1, 50, 5_000)) + frame


def spoiled(choice: random.Random, event: Json) -> str | bytes:
    kind = choice.random()
    if kind < 0.35:
        return json.dumps(event)
    if kind < 0.75:
        return spoil_structure(choice, event, choice.choice((1, 1, 2, 4)))
    return spoil_bytes(choice, json.dumps(event).encode())


# --- what is around the protocol ---


class Surroundings:
    """The other parts of an agent: they run tools, interrupt, ask and write, and now and then the session is lost."""

    def __init__(self, choice: random.Random, **config: Any) -> None:
        self.choice = choice
        self.now = 0.0
        self.calls: deque[str] = deque()
        self.protocol = RealtimeProtocol(SessionConfig(model="m", **config), lambda: self.now)
        self.protocol.start()

    def hear(self, frame: str | bytes) -> None:
        for fact in self.protocol.receive(frame):
            assert isinstance(fact, Event)
            if isinstance(fact, ToolCallRequestedEvent):
                self.calls.append(fact.call_id)

    def act(self) -> None:
        choice = self.choice
        self.now += choice.choice((0.0, 0.02, 1.0, 20.0))
        action = choice.randrange(60)
        if action < len(self.ACTIONS):
            self.protocol.send(self.ACTIONS[action](choice))
        elif action == 59 and choice.random() < 0.1:
            self.protocol.connection_lost()
            self.protocol.restart()
        while len(self.calls) > 3:
            self.protocol.send(ToolCallFinishedEvent(call_id=self.calls.popleft(), name="tool", output="done"))
        self.write()
        if self.protocol.refusal is not None or self.protocol.given_up is not None:  # the session is over: the next one
            self.protocol.connection_lost()
            self.protocol.restart()

    def write(self) -> None:
        """Do what the session's writer does until it may wait."""
        for _ in range(5):
            for frame in self.protocol.frames():
                json.loads(frame)
            deadline = self.protocol.deadline()
            if deadline is None or deadline > self.now:
                return
        raise AssertionError("the writer would spin")

    ACTIONS: tuple[Callable[[random.Random], Event], ...] = (
        lambda _: RequestResponseCommand(),
        lambda _: SendMessageCommand(text="Hello."),
        lambda choice: SayCommand(text="Words.", request_id=f"say_{choice.random()}"),
        lambda choice: SpeakHoldingPhraseCommand(call_id=f"call_{choice.randrange(9)}", phrase="One moment."),
        lambda choice: UpdateSpeechSpeedCommand(speed=choice.choice((0.5, 1.5))),
        lambda choice: UpdateInstructionsCommand(instructions=str(choice.random())),
        lambda _: CommitUserTurnCommand(),
        lambda choice: AssistantInterruptedEvent(
            by_program=choice.random() < 0.5,
            cuts=(PlaybackCut(item_id=choice.choice(ITEM_IDS), content_index=0, played_ms=500, received_ms=900),),
        ),
    )  # fmt: skip


ITEM_IDS = sorted({event["item_id"] for event in EVENTS if isinstance(event.get("item_id"), str)})


# --- the tests ---


@pytest.mark.timeout(0 if FRAMES > 50_000 else 300)
def test_spoiled_frames_by_the_ten_thousand(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="rtvoice")  # else it is all kept
    choice = random.Random(SEED)
    surroundings = [
        Surroundings(choice, turn_detection=SemanticVAD()),
        Surroundings(choice, turn_detection=None),
        Surroundings(choice, turn_detection=SemanticVAD(), modalities=("text",)),
    ]
    heard = 0
    while heard < FRAMES:
        around = choice.choice(surroundings)
        for event in told_anew(choice.choice(SEQUENCES), heard):
            frame = spoiled(choice, event)
            try:
                around.hear(frame)
                around.act()
            except Exception as error:
                error.add_note(f"frame {heard} with seed {SEED}: {frame[:500]!r}")
                raise
            heard += 1
    for around in surroundings:
        too_large = {path: size for path, size in sizes(around.protocol, "protocol").items() if size > LARGEST}
        assert too_large == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def spoiled_events(draw: st.DrawFn) -> str:
    """An example of the service's events with values that hypothesis has chosen, so that it can make them small."""
    event = json.loads(json.dumps(draw(st.sampled_from(EVENTS))))
    for _ in range(draw(st.integers(0, 3))):
        inside = list(places(event))
        container, key = draw(st.sampled_from(inside))
        container[key] = draw(json_values)
    return json.dumps(event)


@given(st.lists(spoiled_events() | st.binary(max_size=30), max_size=12))
@settings(max_examples=300, deadline=None, print_blob=True)
def test_a_few_spoiled_frames(frames: list[str | bytes]) -> None:
    around = Surroundings(random.Random(0), turn_detection=SemanticVAD())
    for frame in frames:
        around.hear(frame)
        around.act()


@pytest.mark.parametrize("depth", [100, 10_000, 1_000_000])
def test_depth_does_not_overflow_the_stack(depth: int) -> None:
    assert parse('{"type":"response.done","response":' + "[" * depth) is None
    assert parse("[" * depth + "]" * depth) is None
    assert parse('{"type":"x","x":' + '{"a":' * depth + "1" + "}" * depth + "}") is None


def test_sixteen_megabytes_in_every_place() -> None:
    huge = "x" * (16 * 1024 * 1024)
    around = Surroundings(random.Random(0), turn_detection=SemanticVAD())
    for event in (
        {"type": huge},
        {"type": "response.done", "response": huge},
        {"type": "error", "error": {"code": huge}},
    ):
        around.hear(json.dumps(event))
    assert all(size < LARGEST for size in sizes(around.protocol, "protocol").values())
