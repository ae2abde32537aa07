import asyncio
import functools
import struct
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvoice import eager
from rtvoice.audio.devices import PlaybackPosition
from rtvoice.components import playback
from rtvoice.components.playback import Playback
from rtvoice.errors import AudioDeviceError
from rtvoice.events import (
    AcceptUserTurnCommand,
    AgentErrorEvent,
    AssistantAudioCompletedEvent,
    AssistantAudioPlayedEvent,
    AssistantAudioReceivedEvent,
    AssistantInterruptedEvent,
    AssistantPausedEvent,
    AssistantResumedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AudioDeviceLostEvent,
    AudioDeviceRestoredEvent,
    AudioPlaybackCompletedEvent,
    EventBus,
    InterruptCommand,
    PausePlaybackCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    ResumePlaybackCommand,
    SpeechDetectedEvent,
    StopAgentCommand,
    UserStartedSpeakingEvent,
    WatchdogFiredEvent,
)
from rtvoice.testing import PausableSpeaker, PositionedSpeaker, VirtualSpeaker
from rtvoice.testing.clock import run

pytestmark = pytest.mark.virtual_clock


def start_by_hand(coroutine: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
    """What `eager.start` does, in so far as the tests can do it with Python 3.11."""
    loop = asyncio.get_running_loop()

    @types.coroutine
    def go_on(waited_for: Any) -> Generator[Any, Any, None]:
        while True:
            try:
                step = functools.partial(coroutine.send, (yield waited_for))
            except BaseException as error:
                step = functools.partial(coroutine.throw, error)
            try:
                waited_for = step()
            except StopIteration:
                return

    async def rest(waited_for: Any) -> None:
        await go_on(waited_for)

    done: asyncio.Future[None] = loop.create_future()
    try:
        return loop.create_task(rest(coroutine.send(None)))
    except StopIteration:
        done.set_result(None)
    except Exception as error:
        done.set_exception(error)
    return done


@pytest.fixture(autouse=True, params=["at once", "a turn later"])
def sound_is_handed_over(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which sound comes to the device, whatever Python can do."""
    if not eager.START_AT_ONCE:
        monkeypatch.setattr(eager, "start", start_by_hand)
    monkeypatch.setattr(eager, "START_AT_ONCE", request.param == "at once")
    return str(request.param)


MS = 24
"""Samples."""


class LoggingBus(EventBus):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[float, Any]] = []

    def publish(self, event: object) -> None:
        self.log.append((asyncio.get_running_loop().time(), event))
        super().publish(event)


class Speech:
    """Audio whose every sample says where it belongs."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, milliseconds: float) -> bytes:
        count = round(milliseconds * MS)
        values = [(self._next + index) % 65_536 for index in range(count)]
        self._next += count
        return struct.pack(f"<{count}H", *values)


class Bench:
    """A playback with a device; the test plays the server."""

    def __init__(self, device: VirtualSpeaker, **settings: Any) -> None:
        self.device = device
        self.bus = LoggingBus()
        self.playback = Playback(self.bus, device, **settings)
        self.speech = Speech()
        self.received: dict[str, bytes] = {}

    # --- the server ---

    def begin(self, response_id: str) -> None:
        self.received.setdefault(response_id, b"")
        self.bus.publish(ResponseStartedEvent(response_id=response_id))

    def audio(self, response_id: str, milliseconds: float, item_id: str = "", late: bool = False) -> bytes:
        pcm = self.speech.take(milliseconds)
        if not late:
            self.received[response_id] += pcm
        self.send(response_id, pcm, item_id)
        return pcm

    def send(self, response_id: str, pcm: bytes, item_id: str = "") -> None:
        item_id = item_id or f"item of {response_id}"
        self.bus.publish(AssistantAudioReceivedEvent(pcm=pcm, response_id=response_id, item_id=item_id))

    def audio_done(self, response_id: str, item_id: str = "") -> None:
        item_id = item_id or f"item of {response_id}"
        self.bus.publish(AssistantAudioCompletedEvent(response_id=response_id, item_id=item_id))

    def done(self, response_id: str, status: str = "completed") -> None:
        if status == "completed" and self.received[response_id]:
            self.audio_done(response_id)
        self.bus.publish(ResponseFinishedEvent(response_id=response_id, status=status, has_audio=True))

    def respond(self, response_id: str, *lengths_ms: float, done: bool = True) -> None:
        self.begin(response_id)
        for length in lengths_ms:
            self.audio(response_id, length)
        if done:
            self.done(response_id)

    def user_speaks(self) -> None:
        self.bus.publish(SpeechDetectedEvent())

    # --- what came of it ---

    def of(self, *kinds: type) -> list[Any]:
        return [event for _, event in self.bus.log if type(event) in kinds]

    def when(self, kind: type) -> list[float]:
        return [at for at, event in self.bus.log if type(event) is kind]

    @property
    def interruption(self) -> AssistantInterruptedEvent:
        (event,) = self.of(AssistantInterruptedEvent)
        assert isinstance(event, AssistantInterruptedEvent)
        return event

    def story(self) -> list[str]:
        """The assistant's and the user's side as the listener hears of it."""
        names = {
            AssistantStartedRespondingEvent: "started",
            AssistantStoppedRespondingEvent: "stopped",
            AssistantInterruptedEvent: "interrupted",
            UserStartedSpeakingEvent: "user",
            AudioPlaybackCompletedEvent: "silent",
            AgentErrorEvent: "error",
        }
        return [
            f"{names[type(event)]} {getattr(event, 'response_id', '')}".strip()
            for _, event in self.bus.log
            if type(event) in names
        ]

    def assert_alternating(self) -> None:
        events = self.of(AssistantStartedRespondingEvent, AssistantStoppedRespondingEvent)
        assert [type(event) for event in events[::2]] == [AssistantStartedRespondingEvent] * ((len(events) + 1) // 2)
        assert [type(event) for event in events[1::2]] == [AssistantStoppedRespondingEvent] * (len(events) // 2)
        for started, stopped in zip(events[::2], events[1::2], strict=False):
            assert started.response_id == stopped.response_id


@asynccontextmanager
async def playing(device: VirtualSpeaker, **settings: Any) -> AsyncIterator[Bench]:
    bench = Bench(device, **settings)
    await bench.playback.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.playback.run())
        try:
            yield bench
        finally:
            await bench.playback.stop()


class FinishingSpeaker(VirtualSpeaker):
    """Wants to know when a response has no more audio."""

    async def finish_response(self) -> None:
        finished.append((asyncio.get_running_loop().time(), self.accepted_samples))


finished: list[tuple[float, int]] = []

DEVICES: dict[str, Callable[[], VirtualSpeaker]] = {
    "queues": VirtualSpeaker,
    "blocks until heard": lambda: VirtualSpeaker(buffer_ms=0),
    "blocks for room": lambda: VirtualSpeaker(buffer_ms=250),
    "stuck": lambda: VirtualSpeaker(stuck_playing=True),
    "blocks and stuck": lambda: VirtualSpeaker(buffer_ms=0, stuck_playing=True),
    "counts": PositionedSpeaker,
    "counts and blocks": lambda: PositionedSpeaker(buffer_ms=0),
}
every_device = pytest.mark.parametrize("make_device", DEVICES.values(), ids=DEVICES.keys())


def exactness_ms(device: VirtualSpeaker) -> int:
    return 0 if isinstance(device, PositionedSpeaker) else 2


# --- plain playing -----------------------------------------------------------------------------------


@every_device
async def test_a_response_is_heard_in_full(make_device: Callable[[], VirtualSpeaker]) -> None:
    loop = asyncio.get_running_loop()
    async with playing(make_device()) as bench:
        await asyncio.sleep(3)
        bench.respond("r1", 100, 90.5, 400, 7)
        await asyncio.sleep(2)
        assert bench.device.heard_pcm == bench.received["r1"]
        assert bench.story() == ["started r1", "stopped r1", "silent"]
        assert bench.when(AssistantStartedRespondingEvent) == [3]
        (stopped_at,) = bench.when(AssistantStoppedRespondingEvent)
        assert 3.5975 - 0.002 <= stopped_at <= 3.5975 + 0.3
        assert loop.time() == 5


async def test_the_end_is_exact_on_a_device_that_counts() -> None:
    async with playing(PositionedSpeaker(latency_ms=80)) as bench:
        bench.respond("r1", 500)
        await asyncio.sleep(2)
        (stopped_at,) = bench.when(AssistantStoppedRespondingEvent)
        assert stopped_at == pytest.approx(0.58, abs=0.002)


async def test_a_device_that_says_it_still_plays_is_believed_for_a_moment() -> None:
    async with playing(VirtualSpeaker(latency_ms=120)) as bench:
        bench.respond("r1", 500)
        await asyncio.sleep(2)
        (stopped_at,) = bench.when(AssistantStoppedRespondingEvent)
        assert 0.62 <= stopped_at <= 0.68


async def test_but_not_for_long() -> None:
    async with playing(VirtualSpeaker(latency_ms=5_000)) as bench:
        bench.respond("r1", 500)
        await asyncio.sleep(2)
        (stopped_at,) = bench.when(AssistantStoppedRespondingEvent)
        assert 0.5 <= stopped_at <= 0.8


async def test_a_device_that_plays_faster_is_believed() -> None:
    async with playing(VirtualSpeaker(realtime=False)) as bench:
        bench.respond("r1", 5_000)
        await asyncio.sleep(1)
        (stopped_at,) = bench.when(AssistantStoppedRespondingEvent)
        assert stopped_at <= 0.2


@every_device
async def test_two_responses_queued_behind_each_other_alternate(make_device: Callable[[], VirtualSpeaker]) -> None:
    async with playing(make_device()) as bench:
        bench.respond("r1", 300)
        bench.respond("r2", 400)
        await asyncio.sleep(2)
        story = [line for line in bench.story() if line != "silent"]  # a blocking device is silent in between
        assert story == ["started r1", "stopped r1", "started r2", "stopped r2"]
        assert bench.device.heard_pcm == bench.received["r1"] + bench.received["r2"]
        first, second = bench.when(AssistantStoppedRespondingEvent)
        assert 0.3 - 0.001 <= first <= 0.6
        assert 0.7 - 0.001 <= second <= 1.0


async def test_a_response_that_pauses_has_not_ended() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1", 100, done=False)
        await asyncio.sleep(5)
        assert bench.story() == ["started r1"]
        bench.audio("r1", 100)
        bench.done("r1")
        await asyncio.sleep(1)
        assert bench.story() == ["started r1", "stopped r1", "silent"]
        assert bench.device.underruns == 1


@pytest.mark.parametrize("status", ["incomplete", "failed"])
async def test_a_response_that_broke_off_is_heard_to_its_end(status: str) -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1", 100, done=False)
        bench.done("r1", status)
        await asyncio.sleep(1)
        assert bench.story() == ["started r1", "stopped r1", "silent"]


async def test_a_response_without_audio_is_not_announced() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1")
        await asyncio.sleep(1)
        assert bench.story() == []


async def test_audio_without_a_beginning_is_played_too() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.received["r1"] = b""
        bench.audio("r1", 100)
        bench.done("r1")
        await asyncio.sleep(1)
        assert bench.story() == ["started r1", "stopped r1", "silent"]


async def test_odd_chunks_lose_no_byte() -> None:
    async with playing(VirtualSpeaker()) as bench:
        pcm = bench.speech.take(100)
        bench.begin("r1")
        bench.send("r1", pcm[:1])
        bench.send("r1", pcm[1:2])
        bench.send("r1", pcm[2:1001])
        bench.send("r1", pcm[1001:])
        bench.received["r1"] = pcm
        bench.done("r1")
        await asyncio.sleep(1)
        assert bench.device.heard_pcm == pcm


async def test_a_spare_byte_does_not_spoil_the_next_item() -> None:
    async with playing(VirtualSpeaker()) as bench:
        first, second = bench.speech.take(10), bench.speech.take(10)
        bench.begin("r1")
        bench.send("r1", first + b"!", "item 1")
        bench.send("r1", second, "item 2")
        bench.done("r1", "incomplete")
        await asyncio.sleep(1)
        assert bench.device.heard_pcm == first + second


async def test_sound_need_not_wait_for_the_feeder(sound_is_handed_over: str) -> None:
    async with playing(device := PositionedSpeaker()) as bench:
        bench.begin("r1")
        await asyncio.sleep(0.01)
        bench.audio("r1", 100)
        bench.audio("r1", 100)
        handed_over_ms = device.position().accepted / MS
        assert handed_over_ms == (200 if sound_is_handed_over == "at once" else 0)
        bench.audio_done("r1")
        bench.audio("r1", 100, "another item")  # it must not overtake
        assert device.position().accepted / MS == handed_over_ms
        bench.done("r1")
        await asyncio.sleep(1)
        assert device.heard_pcm == bench.received["r1"]


class PacedSpeaker(PositionedSpeaker):
    """Takes a moment for every chunk."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.calls = self.most_calls = 0
        self.cancelled = 0

    async def play_chunk(self, chunk: bytes) -> None:
        self.calls += 1
        self.most_calls = max(self.calls, self.most_calls)
        try:
            await asyncio.sleep(self.seconds)
            await super().play_chunk(chunk)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.calls -= 1


async def test_a_device_that_makes_one_wait_gets_one_chunk_after_the_other() -> None:
    async with playing(device := PacedSpeaker(0.03)) as bench:
        bench.begin("r1")
        for _ in range(10):
            await asyncio.sleep(0.01)
            bench.audio("r1", 20)
        bench.done("r1")
        await asyncio.sleep(2)
        assert device.most_calls == 1
        assert device.heard_pcm == bench.received["r1"]
        assert bench.story() == ["started r1", "stopped r1", "silent"]


async def test_an_interruption_while_the_device_makes_one_wait() -> None:
    async with playing(device := PacedSpeaker(0.2)) as bench:
        bench.begin("r1")
        await asyncio.sleep(0.01)
        bench.audio("r1", 100)
        bench.user_speaks()  # before the feeder has noticed that it has to wait
        bench.audio("r1", 100, late=True)
        await asyncio.sleep(0.01)
        assert bench.interruption.played_ms == 0
        bench.done("r1", "cancelled")
        bench.respond("r2", 100, 100)
        await asyncio.sleep(2)
        assert device.most_calls == 1
        assert device.heard_pcm.endswith(bench.received["r2"])
        assert bench.story()[-3:] == ["started r2", "stopped r2", "silent"]


async def test_nothing_is_left_of_a_device_that_makes_one_wait_for_ever() -> None:
    bench = Bench(device := PacedSpeaker(3_600))
    await bench.playback.start()
    running = asyncio.ensure_future(bench.playback.run())
    await asyncio.sleep(0.01)
    bench.begin("r1")
    await asyncio.sleep(0.01)
    bench.audio("r1", 100)
    bench.audio("r1", 100)
    await asyncio.sleep(0.1)
    assert device.calls == 1
    running.cancel()
    await asyncio.wait([running])
    assert (device.calls, device.cancelled) == (0, 1)
    await bench.playback.stop()


async def test_huge_chunks_are_handed_over_in_pieces_that_can_be_cut() -> None:
    async with playing(VirtualSpeaker(buffer_ms=0)) as bench:
        bench.respond("r1", 60_000)
        await asyncio.sleep(10)
        assert bench.device.chunks == pytest.approx(100, abs=1)
        bench.user_speaks()
        await asyncio.sleep(10)
        assert bench.device.heard_samples == 10_000 * MS
        assert bench.interruption.played_ms == 10_000
        assert bench.interruption.cuts[0].received_ms == 60_000


async def test_a_device_that_counts_gets_chunks_whole() -> None:
    async with playing(PositionedSpeaker()) as bench:
        bench.respond("r1", 60_000)
        await asyncio.sleep(1)
        assert bench.device.chunks == 1


async def test_the_recorder_learns_what_is_heard_when() -> None:
    async with playing(VirtualSpeaker()) as bench:
        inbox = bench.bus.open_inbox(AssistantAudioPlayedEvent)
        await asyncio.sleep(1)
        bench.respond("r1", 300, 100)
        await asyncio.sleep(1)
        events = list(inbox.take_all())
        assert b"".join(event.pcm for event in events) == bench.received["r1"]
        assert [event.starts_at for event in events] == pytest.approx([1, 1.1, 1.2, 1.3])


async def test_nobody_is_told_what_nobody_wants_to_hear() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1", 300)
        await asyncio.sleep(1)
        assert bench.of(AssistantAudioPlayedEvent) == []


async def test_a_device_is_told_that_a_response_has_no_more_audio() -> None:
    finished.clear()
    async with playing(FinishingSpeaker()) as bench:
        bench.respond("r1", 300, 100)
        bench.respond("no audio")
        await asyncio.sleep(1)
    assert finished == [(0, 400 * MS)]


async def test_audio_for_ten_minutes_may_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert playback.UNPLAYED_AUDIO_LIMIT_MS == 10 * 60 * 1_000
    monkeypatch.setattr(playback, "UNPLAYED_AUDIO_LIMIT_MS", 60_000)
    async with playing(VirtualSpeaker(buffer_ms=0)) as bench:
        bench.begin("r1")
        pcm = bytes(10_000 * 48)
        for _ in range(20):
            bench.send("r1", pcm)
        bench.done("r1", "incomplete")
        await asyncio.sleep(3_600)
        assert bench.device.heard_ms == pytest.approx(60_000, abs=10_001)
        assert bench.story() == ["started r1", "stopped r1", "silent"]


# --- interruptions -----------------------------------------------------------------------------------


@every_device
@pytest.mark.parametrize("variant", ["while generating", "after response.done", "after an underrun", "second of two"])
async def test_barge_in(make_device: Callable[[], VirtualSpeaker], variant: str) -> None:
    loop = asyncio.get_running_loop()
    async with playing(make_device()) as bench:
        heard_before = 0
        match variant:
            case "while generating":
                bench.respond("r1", 150, 180, 400, 270, done=False)
            case "after response.done":
                bench.respond("r1", 150, 180, 400, 270)
            case "after an underrun":
                bench.respond("r1", 150, done=False)
                await asyncio.sleep(1)
                bench.audio("r1", 1_000)
            case "second of two":
                bench.respond("r0", 250)
                bench.respond("r1", 700)
                heard_before = 250
        await asyncio.sleep(0.437)
        expected_ms = {"after an underrun": 150 + 437, "second of two": 437 - 250}.get(variant, 437)

        spoke_at = loop.time()
        bench.user_speaks()
        bench.audio("r1", 333, late=True)
        if variant in ("while generating", "after an underrun"):
            bench.audio_done("r1")
            bench.done("r1", "cancelled")
        bench.audio("r1", 40, late=True)  # after the end: no server should, but who knows
        await asyncio.sleep(0.5)
        bench.respond("r2", 220, 330)
        await asyncio.sleep(2)

        # silence at once, nothing old afterwards, the next answer in full
        assert bench.device.cleared_at == [spoke_at]
        old = bench.received["r1"][: round(expected_ms * MS) * 2]
        heard = bench.device.heard_pcm[len(bench.received.get("r0", b"")) :]
        assert heard[-len(bench.received["r2"]) :] == bench.received["r2"]
        assert len(heard[: -len(bench.received["r2"])]) == pytest.approx(len(old), abs=2)
        # the position is right
        cut = bench.interruption
        assert cut.item_id == "item of r1"
        assert cut.played_ms == pytest.approx(expected_ms, abs=exactness_ms(bench.device))
        assert cut.cut_at == spoke_at
        assert not cut.by_program
        assert [part.item_id for part in cut.cuts] == ["item of r1"]
        assert cut.cuts[0].received_ms == len(bench.received["r1"]) // 48
        # the order of the story
        story = bench.story()
        if heard_before:
            assert story[:2] == ["started r0", "stopped r0"]
            story = story[3:] if story[2] == "silent" else story[2:]  # a blocking device is silent in between
        assert story == ["started r1", "interrupted", "user", "stopped r1", "started r2", "stopped r2", "silent"]
        assert bench.when(AssistantInterruptedEvent) == [spoke_at]


@every_device
async def test_items_are_cut_by_what_was_heard_of_each(make_device: Callable[[], VirtualSpeaker]) -> None:
    async with playing(make_device()) as bench:
        bench.begin("r1")
        for item, length in (("heard", 200), ("half heard", 200), ("unheard", 200)):
            bench.audio("r1", length, item)
            bench.audio_done("r1", item)
        bench.bus.publish(ResponseFinishedEvent(response_id="r1", status="completed", has_audio=True))
        bench.respond("r2", 500)
        await asyncio.sleep(0.3)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        cuts = [(cut.item_id, cut.played_ms, cut.received_ms) for cut in bench.interruption.cuts]
        tolerance = exactness_ms(bench.device)
        assert cuts == [
            ("half heard", pytest.approx(100, abs=tolerance), 200),
            ("unheard", 0, 200),
            ("item of r2", 0, 500),
        ]
        assert bench.interruption.item_id == "half heard"
        assert bench.story() == ["started r1", "interrupted", "user", "stopped r1"]


@every_device
async def test_a_response_that_was_heard_is_not_interrupted(make_device: Callable[[], VirtualSpeaker]) -> None:
    async with playing(make_device()) as bench:
        bench.respond("r1", 300)
        await asyncio.sleep(0.8)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.story() == ["started r1", "stopped r1", "silent", "user"]
        assert bench.device.cleared == []


async def test_with_nothing_to_interrupt_the_user_just_speaks() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.story() == ["user"]
        assert bench.device.cleared == []


async def test_a_response_that_has_not_been_heard_yet_is_interrupted() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.begin("r1")
        await asyncio.sleep(0.1)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.story() == ["interrupted", "user"]
        assert bench.interruption.item_id is None
        assert bench.interruption.played_ms is None
        assert bench.interruption.cuts == ()


async def test_a_response_that_is_heard_but_still_generating_is_interrupted_at_what_was_received() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1", 300, done=False)
        await asyncio.sleep(1)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.story() == ["started r1", "interrupted", "user", "stopped r1"]
        assert bench.interruption.played_ms == 300
        assert bench.interruption.cuts[0].received_ms == 300


async def test_the_words_of_a_complete_item_are_not_cut_when_only_a_call_follows() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1", 300, done=False)
        bench.audio_done("r1")
        await asyncio.sleep(1)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.interruption.cuts == ()
        assert bench.story() == ["started r1", "interrupted", "user", "stopped r1"]


async def test_the_item_that_was_being_heard_is_the_one_that_is_named() -> None:
    """The one before it was heard as far as it was received, but the server had not said that this was all."""
    async with playing(VirtualSpeaker()) as bench:
        bench.begin("r1")
        bench.audio("r1", 200, "first")
        bench.audio("r1", 200, "second")
        await asyncio.sleep(0.3)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert (bench.interruption.item_id, bench.interruption.played_ms) == ("second", 100)
        assert [(cut.item_id, cut.played_ms) for cut in bench.interruption.cuts] == [("first", 200), ("second", 100)]


async def test_audio_that_arrives_with_the_interruption_counts_as_received_and_unheard() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1", 300, done=False)
        await asyncio.sleep(0.1)
        bench.audio("r1", 500)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.interruption.played_ms == 100
        assert bench.interruption.cuts[0].received_ms == 800
        assert bench.device.heard_ms == 100


async def test_an_answer_that_arrives_with_the_interruption_is_heard() -> None:
    """After a stall of the loop, the old answer, the user's turn and the new answer arrive at once."""
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1", 500, done=False)
        await asyncio.sleep(0.1)
        bench.user_speaks()
        bench.done("r1", "cancelled")
        bench.respond("r2", 400)
        await asyncio.sleep(1)
        assert bench.device.heard_pcm == bench.received["r1"][: 100 * MS * 2] + bench.received["r2"]
        expected = ["started r1", "interrupted", "user", "stopped r1", "started r2", "stopped r2", "silent"]
        assert bench.story() == expected


@every_device
async def test_a_program_interrupts(make_device: Callable[[], VirtualSpeaker]) -> None:
    async with playing(make_device()) as bench:
        bench.respond("r1", 800, done=False)
        await asyncio.sleep(0.25)
        bench.bus.publish(InterruptCommand())
        bench.bus.publish(InterruptCommand())  # twice is once
        await asyncio.sleep(0.1)
        bench.done("r1", "cancelled")
        await asyncio.sleep(0.5)
        assert bench.story() == ["started r1", "interrupted", "stopped r1"]
        assert bench.interruption.by_program
        assert bench.interruption.played_ms == pytest.approx(250, abs=exactness_ms(bench.device))
        assert bench.device.heard_ms == pytest.approx(250, abs=1)


async def test_a_program_interrupts_nobody() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.bus.publish(InterruptCommand())
        await asyncio.sleep(0.1)
        assert bench.story() == []


async def test_the_user_speaks_twice_before_the_server_has_cancelled() -> None:
    async with playing(VirtualSpeaker()) as bench:
        bench.respond("r1", 500, done=False)
        await asyncio.sleep(0.1)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.story() == ["started r1", "interrupted", "user", "stopped r1", "user"]


@every_device
async def test_a_device_may_take_time_to_clear(make_device: Callable[[], VirtualSpeaker]) -> None:
    class Slow:
        """Wraps a device; clearing is audible at once, but takes half a second to be confirmed."""

        def __init__(self, device: VirtualSpeaker) -> None:
            self.device = device
            self.clearing = False
            self.fed_while_clearing = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.device, name)

        async def play_chunk(self, chunk: bytes) -> None:
            self.fed_while_clearing += self.clearing
            await self.device.play_chunk(chunk)

        async def clear_buffer(self) -> None:
            self.clearing = True
            await self.device.clear_buffer()
            await asyncio.sleep(0.5)
            self.clearing = False

    slow = Slow(make_device())
    async with playing(slow) as bench:  # type: ignore[arg-type]
        bench.respond("r1", 900)
        await asyncio.sleep(0.3)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        bench.respond("r2", 400)
        await asyncio.sleep(2)
        assert slow.fed_while_clearing == 0
        assert bench.interruption.played_ms == pytest.approx(300, abs=2)
        assert bench.device.heard_pcm[-len(bench.received["r2"]) :] == bench.received["r2"]
        assert bench.device.heard_ms == pytest.approx(700, abs=1)
        expected = ["started r1", "interrupted", "user", "stopped r1", "started r2", "stopped r2", "silent"]
        assert bench.story() == expected


async def test_many_interruptions_are_remembered_but_not_for_ever() -> None:
    async with playing(VirtualSpeaker()) as bench:
        for number in range(150):
            bench.respond(f"r{number}", 100, done=False)
            await asyncio.sleep(0.01)
            bench.user_speaks()
            await asyncio.sleep(0.01)
            bench.done(f"r{number}", "cancelled")
        assert len(bench.of(AssistantInterruptedEvent)) == 150
        assert bench.device.heard_ms == pytest.approx(1_500, abs=150)
        bench.assert_alternating()


async def test_silence_is_believed_when_judging_what_was_interrupted() -> None:
    """A device that is done early: the user spoke after it, so nothing was interrupted."""
    async with playing(VirtualSpeaker(realtime=False)) as bench:
        bench.respond("r1", 10_000)
        await asyncio.sleep(0.5)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.story() == ["started r1", "stopped r1", "silent", "user"]


# --- devices that fail, and the end ------------------------------------------------------------------


async def test_a_device_that_cannot_play_ends_the_conversation() -> None:
    async with playing(VirtualSpeaker(failure=AudioDeviceError("unplugged"))) as bench:
        bench.respond("r1", 100)
        await asyncio.sleep(0.1)
        (error,) = bench.of(AgentErrorEvent)
        assert error.error.type == "audio_error"
        assert "unplugged" in error.error.message
        assert len(bench.of(StopAgentCommand)) == 1
        assert bench.of(StopAgentCommand)[0].exception is None
    bench.assert_alternating()
    assert bench.story()[-1] == "stopped r1"


async def test_a_device_that_awaits_something_cancelled_ends_the_conversation() -> None:
    async with playing(VirtualSpeaker(failure=asyncio.CancelledError())) as bench:  # type: ignore[arg-type]
        bench.respond("r1", 100)
        await asyncio.sleep(0.1)
        assert "CancelledError" in bench.of(AgentErrorEvent)[0].error.message
        assert len(bench.of(StopAgentCommand)) == 1


async def test_cancelling_playback_is_no_error() -> None:
    bench = Bench(VirtualSpeaker())
    await bench.playback.start()
    running = asyncio.ensure_future(bench.playback.run())
    await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.wait([running])
    await bench.playback.stop()
    assert running.cancelled()
    assert bench.of(AgentErrorEvent) == []


async def test_a_device_that_cannot_clear_is_opened_again_once() -> None:
    class Broken(PositionedSpeaker):
        async def clear_buffer(self) -> None:
            raise OSError

        async def stop(self) -> None:
            await super().clear_buffer()

    async with playing(Broken()) as bench:
        bench.respond("r1", 200)
        await asyncio.sleep(0.05)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        assert bench.interruption.played_ms == 50
        assert bench.of(AudioDeviceLostEvent) == [AudioDeviceLostEvent(direction="output", reason="OSError")]
        assert bench.of(AudioDeviceRestoredEvent) == [AudioDeviceRestoredEvent(direction="output", device="", gap_ms=0)]
        assert bench.playback.stats.reopenings == 1
        bench.respond("r2", 200)
        await asyncio.sleep(0.05)
        bench.user_speaks()
        await asyncio.sleep(0.1)
        (error,) = bench.of(AgentErrorEvent)
        assert error.error.type == "audio_error"
        assert "OSError; it was opened again only just now" in error.error.message
        assert len(bench.of(StopAgentCommand)) == 1
    bench.assert_alternating()


class Unplugged(PositionedSpeaker):
    """Loses what it has not played, and takes nothing until it is started again, which takes a second."""

    told: Callable[[Exception], None]

    async def unplug(self) -> None:
        await self.clear_buffer()
        self.failure = AudioDeviceError("unplugged")

    async def start(self) -> None:
        if self.failure is not None:
            await asyncio.sleep(1)
            self.failure = None
        await super().start()


async def test_what_was_lost_is_heard_when_the_device_is_back() -> None:
    async with playing(Unplugged()) as bench:
        bench.begin("r1")
        pcm = bench.audio("r1", 800)
        await asyncio.sleep(0.3)
        await bench.device.unplug()  # type: ignore[attr-defined]
        pcm += bench.audio("r1", 200)
        bench.done("r1")
        await asyncio.sleep(2)
        (restored,) = bench.of(AudioDeviceRestoredEvent)
        assert restored.gap_ms == 1_000
        assert bench.device.heard_pcm == pcm
        assert bench.story() == ["started r1", "stopped r1", "silent"]
        assert bench.when(AssistantStoppedRespondingEvent) == [pytest.approx(2.0, abs=0.01)]


async def test_an_interruption_while_there_is_no_device() -> None:
    async with playing(Unplugged()) as bench:
        bench.begin("r1")
        pcm = bench.audio("r1", 800)
        await asyncio.sleep(0.3)
        await bench.device.unplug()  # type: ignore[attr-defined]
        bench.audio("r1", 200)
        bench.audio("r1", 200)
        await asyncio.sleep(0.2)
        bench.user_speaks()
        await asyncio.sleep(0.01)
        assert (bench.interruption.played_ms, bench.interruption.cuts[0].received_ms) == (300, 1_200)
        bench.respond("r2", 100)
        await asyncio.sleep(3)
        assert bench.device.heard_pcm == pcm[: 300 * 48] + bench.received["r2"]
        assert bench.of(AgentErrorEvent) == []
    bench.assert_alternating()


async def test_audio_that_waits_for_the_device_may_be_interrupted() -> None:
    class Noticing(Unplugged):
        def when_lost(self, call: Callable[[Exception], None]) -> Callable[[], None]:
            self.told = call
            return lambda: None

    device = Noticing()
    async with playing(device) as bench:
        bench.begin("r1")
        pcm = bench.audio("r1", 800)
        await asyncio.sleep(0.3)
        await device.unplug()
        device.told(AudioDeviceError("unplugged"))
        await asyncio.sleep(0.1)
        bench.audio("r1", 200)  # the feeder has it, and waits
        await asyncio.sleep(0.1)
        bench.user_speaks()
        await asyncio.sleep(3)
        assert (bench.interruption.played_ms, bench.interruption.cuts[0].received_ms) == (300, 1_000)
        assert bench.device.heard_pcm == pcm[: 300 * 48]
    bench.assert_alternating()


async def test_a_device_that_stands_still_is_a_case_for_the_watchdog() -> None:
    class Frozen(PositionedSpeaker):
        @property
        def heard_samples(self) -> int:
            return 0

    async with playing(Frozen(), stall_s=4.0) as bench:
        bench.respond("r1", 500)
        await asyncio.sleep(30)
        assert [event.action for event in bench.of(WatchdogFiredEvent)] == ["retry", "stop"]
        assert bench.of(WatchdogFiredEvent)[0].watchdog == "playback"
        assert len(bench.of(StopAgentCommand)) == 1


async def test_the_conversation_may_go_on_without_the_device(caplog: pytest.LogCaptureFixture) -> None:
    async with playing(VirtualSpeaker(failure=AudioDeviceError("unplugged")), on_lost="continue") as bench:
        bench.respond("r1", 500)
        bench.respond("r2", 500)
        await asyncio.sleep(2)
        assert "goes on without the output device" in caplog.text
        assert len(bench.of(AgentErrorEvent)) == 1
        assert bench.of(StopAgentCommand) == []
        assert bench.story() == ["started r1", "error", "stopped r1", "started r2", "stopped r2", "silent"]
        assert bench.when(AudioPlaybackCompletedEvent) == [pytest.approx(1.0, abs=0.02)]


async def test_a_device_that_cannot_tell_its_position_ends_the_conversation() -> None:
    class Lost(PositionedSpeaker):
        def position(self) -> PlaybackPosition:
            if self.chunks:
                raise OSError("where am I?")
            return super().position()

    async with playing(Lost()) as bench:
        bench.respond("r1", 200)
        await asyncio.sleep(0.5)
        assert len(bench.of(StopAgentCommand)) == 1


async def test_stopping_while_the_device_is_opened_again() -> None:
    async with playing(Unplugged()) as bench:
        bench.respond("r1", 800)
        await asyncio.sleep(0.3)
        await bench.device.unplug()  # type: ignore[attr-defined]
        bench.respond("r2", 100)
        await asyncio.sleep(0.2)
    assert asyncio.get_running_loop().time() < 0.6
    assert len(bench.of(AudioDeviceLostEvent)) == 1
    assert bench.of(AudioDeviceRestoredEvent, AgentErrorEvent) == []


async def test_a_device_that_fails_while_it_is_stopped_is_no_error() -> None:
    class Closing(VirtualSpeaker):
        async def stop(self) -> None:
            self.failure = AudioDeviceError("closed")
            self._wake()
            await asyncio.sleep(0.1)

        async def play_chunk(self, chunk: bytes) -> None:
            await super().play_chunk(chunk)
            if self.failure is not None:
                raise self.failure

    async with playing(Closing(buffer_ms=0)) as bench:
        bench.respond("r1", 150)
        await asyncio.sleep(0.1)
    assert bench.of(AgentErrorEvent) == []
    assert bench.story() == ["started r1", "stopped r1"]


@every_device
async def test_stopping_drops_the_rest(make_device: Callable[[], VirtualSpeaker]) -> None:
    async with playing(make_device()) as bench:
        bench.respond("r1", 800)
        bench.respond("r2", 800)
        await asyncio.sleep(0.3)
        fed = bench.device.accepted_samples
    await asyncio.sleep(5)
    assert bench.device.heard_ms == pytest.approx(300, abs=1)
    assert bench.device.accepted_samples == fed
    assert bench.story() == ["started r1", "stopped r1"]


async def test_a_device_is_stopped_once_and_only_if_it_was_started() -> None:
    calls: list[str] = []

    class Counting(VirtualSpeaker):
        async def start(self) -> None:
            calls.append("start")
            await super().start()

        async def stop(self) -> None:
            calls.append("stop")
            await super().stop()

    await Playback(EventBus(), Counting()).stop()
    assert calls == []
    async with playing(Counting()) as bench:
        pass
    await bench.playback.stop()
    assert calls == ["start", "stop"]


async def test_a_device_that_cannot_start_says_so_and_is_stopped() -> None:
    calls: list[str] = []

    class Absent(VirtualSpeaker):
        async def start(self) -> None:
            raise AudioDeviceError("no such device")

        async def stop(self) -> None:
            calls.append("stop")

    playback = Playback(EventBus(), Absent())
    with pytest.raises(AudioDeviceError):
        await playback.start()
    await playback.stop()
    assert calls == ["stop"]


# --- random timings ----------------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.integers(1, 500)),
        st.tuples(st.just("wait"), st.integers(1, 700)),
        st.tuples(st.just("done"), st.just(0)),
        st.tuples(st.just("user speaks"), st.integers(0, 300)),
        st.tuples(st.just("program interrupts"), st.integers(0, 300)),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(list(DEVICES.values())), steps)
def test_what_is_said_to_be_heard_is_what_is_heard(
    make_device: Callable[[], VirtualSpeaker], actions: Sequence[tuple[str, int]]
) -> None:
    run(_hold_random_conversation(make_device(), actions))


async def _hold_random_conversation(device: VirtualSpeaker, actions: Sequence[tuple[str, int]]) -> None:
    async with playing(device) as bench:
        number, open_response = 0, False
        for action, amount in actions:
            response_id = f"r{number}"
            match action:
                case "audio":
                    if not open_response:
                        bench.begin(response_id)
                        open_response = True
                    bench.audio(response_id, amount)
                case "wait":
                    await asyncio.sleep(amount / 1000)
                case "done":
                    if open_response:
                        bench.done(response_id)
                        number, open_response = number + 1, False
                case "user speaks" | "program interrupts":
                    speech = action == "user speaks"
                    bench.bus.publish(SpeechDetectedEvent() if speech else InterruptCommand())
                    if open_response:
                        if amount:
                            bench.audio(response_id, amount, late=True)
                        bench.done(response_id, "cancelled")
                        number, open_response = number + 1, False
        if open_response:
            bench.done(f"r{number}")
        await asyncio.sleep(60)
        _check_against_the_speaker(bench)


def _check_against_the_speaker(bench: Bench) -> None:
    bench.assert_alternating()
    played_ms: dict[str, int] = {}
    for event in bench.of(AssistantInterruptedEvent):
        for cut in event.cuts:
            assert cut.item_id not in played_ms
            assert 0 <= cut.played_ms <= cut.received_ms
            assert cut.received_ms == len(bench.received[cut.item_id.removeprefix("item of ")]) // 48
            played_ms[cut.item_id] = cut.played_ms
    heard = bench.device.heard_pcm
    position = 0
    for response_id, received in bench.received.items():
        of_this = _common_prefix(heard[position:], received)
        position += of_this
        said_ms = played_ms.get(f"item of {response_id}", len(received) / 48)
        assert of_this / 48 == pytest.approx(said_ms, abs=2), response_id
    assert position == len(heard), "something was heard that should not be"
    announced = [event.response_id for event in bench.of(AssistantStartedRespondingEvent)]
    assert len(set(announced)) == len(announced)


def _common_prefix(first: bytes, second: bytes) -> int:
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    return next(index for index in range(length) if first[index] != second[index]) // 2 * 2


# --- judged elsewhere ---


async def test_a_pause_and_its_end() -> None:
    device = PausableSpeaker()
    async with playing(device, judged_elsewhere=True) as bench:
        bench.respond("r1", 400, 400)
        await asyncio.sleep(0.3)
        bench.user_speaks()  # not for this part to judge
        bench.bus.publish(PausePlaybackCommand())
        bench.bus.publish(PausePlaybackCommand())
        await asyncio.sleep(1)
        bench.respond("r2", 200)
        await asyncio.sleep(1)
        assert device.heard_ms == pytest.approx(300)
        assert bench.of(AssistantStoppedRespondingEvent, AssistantInterruptedEvent) == []
        bench.bus.publish(ResumePlaybackCommand())
        await asyncio.sleep(2)
        assert [event.response_id for event in bench.of(AssistantStoppedRespondingEvent)] == ["r1", "r2"]
        assert bench.when(AssistantStoppedRespondingEvent) == pytest.approx([2.8, 3.0], abs=0.01)
        assert [event.paused_at for event in bench.of(AssistantPausedEvent)] == pytest.approx([0.3], abs=0.01)
        assert [event.resumed_at for event in bench.of(AssistantResumedEvent)] == pytest.approx([2.3], abs=0.01)
        assert device.heard_pcm == bench.received["r1"] + bench.received["r2"]


async def test_a_cut_during_a_pause() -> None:
    device = PausableSpeaker()
    async with playing(device, judged_elsewhere=True) as bench:
        bench.respond("r1", 400, 400, done=False)
        await asyncio.sleep(0.3)
        bench.bus.publish(PausePlaybackCommand())
        await asyncio.sleep(1)
        bench.audio("r1", 200)
        bench.bus.publish(PausePlaybackCommand())
        await asyncio.sleep(1)
        bench.bus.publish(InterruptCommand(by_user=True, item_id="u1"))
        await asyncio.sleep(1)
        (cut,) = bench.interruption.cuts
        assert (cut.played_ms, cut.received_ms) == (300, 1_000)
        assert bench.interruption.response_ids == ("r1",)
        assert not bench.interruption.by_program
        kinds = (AssistantInterruptedEvent, UserStartedSpeakingEvent, AcceptUserTurnCommand)
        assert [type(event) for event in bench.of(*kinds)] == list(kinds)
        bench.respond("r2", 200)
        await asyncio.sleep(1)
        assert device.heard_ms == pytest.approx(500)


async def test_a_device_that_cannot_pause_plays_on() -> None:
    async with playing(VirtualSpeaker(), judged_elsewhere=True) as bench:
        bench.respond("r1", 400)
        await asyncio.sleep(0.1)
        bench.bus.publish(PausePlaybackCommand())
        await asyncio.sleep(1)
        bench.bus.publish(ResumePlaybackCommand())
        await asyncio.sleep(1)
        assert bench.when(AssistantStoppedRespondingEvent) == pytest.approx([0.4], abs=0.06)
        assert bench.of(AssistantPausedEvent, AssistantResumedEvent) == []


async def test_the_end_during_a_pause() -> None:
    async with playing(PausableSpeaker(), judged_elsewhere=True) as bench:
        bench.respond("r1", 400)
        await asyncio.sleep(0.1)
        bench.bus.publish(PausePlaybackCommand())
        await asyncio.sleep(0.1)
        bench.respond("r2", 400)
        await asyncio.sleep(0.1)
    assert [event.response_id for event in bench.of(AssistantStoppedRespondingEvent)] == ["r1"]
