import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.events import Event, EventBus, UserStoppedSpeakingEvent
from rtvoice.events.bus import DEFAULT_INBOX_LIMIT, Inbox, InboxClosed
from rtvoice.testing.clock import run


@dataclass(frozen=True)
class Word(Event):
    text: str


@dataclass(frozen=True)
class Shout(Event):
    text: str
    urgent: ClassVar[bool] = True


class LouderWord(Word): ...


@dataclass(frozen=True)
class Sound(Event):
    pcm: bytes

    @classmethod
    def of(cls, milliseconds: float, number: int = 0) -> "Sound":
        return cls(bytes([number]) * round(milliseconds * 48))


def words(*texts: str) -> list[Word]:
    return [Word(text) for text in texts]


# --- one inbox -------------------------------------------------------------------------------------


def test_an_inbox_keeps_the_order() -> None:
    inbox = Inbox((Word,))
    for word in words("a", "b", "c"):
        inbox.put(word)
    assert len(inbox) == 3
    assert list(inbox.take_all()) == words("a", "b", "c")
    assert inbox.take() is None


def test_urgent_events_overtake_the_others() -> None:
    inbox = Inbox((Word, Shout))
    for event in (Word("a"), Shout("1"), Word("b"), Shout("2")):
        inbox.put(event)
    assert list(inbox.take_all()) == [Shout("1"), Shout("2"), Word("a"), Word("b")]


def test_an_inbox_in_order_has_one_lane() -> None:
    inbox = Inbox((Word, Shout), in_order=True)
    events = [Word("a"), Shout("1"), Word("b"), Shout("2")]
    for event in events:
        inbox.put(event)
    assert list(inbox.take_all()) == events


def test_a_full_inbox_drops_the_oldest_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox((Word,), limit=2)
    for word in words("a", "b", "c", "d"):
        inbox.put(word)
    assert list(inbox.take_all()) == words("c", "d")
    assert inbox.dropped == {Word: 2}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "Word" in caplog.text
    assert "secret" not in caplog.text


def test_a_full_inbox_drops_ordinary_events_before_urgent_ones() -> None:
    inbox = Inbox((Word, Shout), limit=2)
    for event in (Shout("1"), Word("a"), Shout("2"), Shout("3")):
        inbox.put(event)
    assert list(inbox.take_all()) == [Shout("2"), Shout("3")]
    assert inbox.dropped == {Word: 1, Shout: 1}


def test_the_default_limit_is_far_away() -> None:
    assert DEFAULT_INBOX_LIMIT >= 10_000


def test_a_limit_in_milliseconds_drops_the_oldest_audio_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox((Word, Sound), limits_ms={Sound: 50})
    inbox.put(Word("first"))
    for number in range(4):
        inbox.put(Sound.of(20, number))
        inbox.put(Word(str(number)))
    assert inbox.queued_ms(Sound) == 40
    assert inbox.dropped == {Sound: 2}
    assert inbox.take_dropped_ms(Sound) == 40
    assert inbox.take_dropped_ms(Sound) == 0
    expected = [*words("first", "0", "1"), Sound.of(20, 2), Word("2"), Sound.of(20, 3), Word("3")]
    assert list(inbox.take_all()) == expected
    assert inbox.queued_ms(Sound) == 0
    assert inbox.queued_ms(Word) == 0
    assert not caplog.records  # audio that is too late is no error


def test_a_limit_for_all_types_counts_dropped_audio_too() -> None:
    inbox = Inbox((Sound,), limit=1, limits_ms={Sound: 1_000})
    inbox.put(Sound.of(20))
    inbox.put(Sound.of(30))
    assert inbox.take_dropped_ms(Sound) == 20
    assert inbox.queued_ms(Sound) == 30


def test_closing_is_an_end_of_input() -> None:
    async def main() -> None:
        inbox = Inbox((Word,))
        inbox.put(Word("a"))
        assert not inbox.closed
        inbox.close()
        inbox.close()
        inbox.put(Word("too late"))
        assert inbox.closed
        assert [event async for event in inbox] == words("a")
        with pytest.raises(InboxClosed):
            await inbox.get()
        with pytest.raises(InboxClosed):
            await inbox.get(timeout=5)

    run(main())


async def test_a_waiting_reader_is_woken_by_an_event() -> None:
    inbox = Inbox((Word,))
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put(Word("a"))
        inbox.put(Word("b"))
    assert reading.result() == Word("a")
    assert inbox.take() == Word("b")


async def test_a_waiting_reader_is_woken_by_the_end() -> None:
    inbox = Inbox((Word,))

    async def read() -> list[Word]:
        return [event async for event in inbox]

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        await asyncio.sleep(0)
        inbox.close()
    assert reading.result() == []


@pytest.mark.virtual_clock
async def test_a_timeout_gives_none_exactly_then() -> None:
    loop = asyncio.get_running_loop()
    inbox = Inbox((Word,))
    assert await inbox.get(timeout=2.5) is None
    assert loop.time() == 2.5
    assert await inbox.get(timeout=0) is None
    assert loop.time() == 2.5


@pytest.mark.virtual_clock
async def test_an_event_beats_the_timeout() -> None:
    loop = asyncio.get_running_loop()
    inbox = Inbox((Word,))
    loop.call_later(1, inbox.put, Word("a"))
    assert await inbox.get(timeout=2) == Word("a")
    assert loop.time() == 1


async def test_a_cancelled_reader_loses_nothing() -> None:
    inbox = Inbox((Word,))
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(inbox.get(timeout=5))
        await asyncio.sleep(0)
        inbox.put(Word("a"))
        reading.cancel()
    assert inbox.take() == Word("a")


async def test_what_is_put_first_is_taken_before_all_that_is_not_urgent() -> None:
    inbox = Inbox((Word, Shout))
    for event in (Word("a"), Shout("b")):
        inbox.put(event)
    inbox.put_first("wake")
    assert list(inbox.take_all()) == [Shout("b"), "wake", Word("a")]
    reading = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put_first("wake")
    assert await reading == "wake"
    inbox.close()
    inbox.put_first("wake")
    assert inbox.take() is None


async def test_a_reader_of_a_flood_lets_others_have_their_turn() -> None:
    inbox = Inbox((Word,))
    for number in range(1_000):
        inbox.put(Word(str(number)))
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while len(inbox):
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(bystander())
        for _ in range(1_000):
            await inbox.get()
    assert turns >= 10


async def test_a_reader_that_lets_others_take_what_was_left_waits_for_the_next() -> None:
    inbox = Inbox((Word,))
    for number in range(100):
        inbox.put(Word(str(number)))
    read: list[Word] = []

    async def reader() -> None:
        with contextlib.suppress(InboxClosed):
            while True:
                read.append(await inbox.get())

    async with asyncio.TaskGroup() as group:
        group.create_task(reader())
        await asyncio.sleep(0)  # the reader has taken its share
        assert 0 < len(read) < 100
        rest = list(inbox.take_all())
        await asyncio.sleep(0)
        inbox.put(Word("next"))
        inbox.close()
    assert [*read[:-1], *rest, read[-1]] == words(*map(str, range(100)), "next")


class Taker:
    """Takes words at once, while it may."""

    def __init__(self) -> None:
        self.takes = True
        self.taken: list[Word] = []
        self.inbox = Inbox((Word, Shout), at_once={Word: self.take})

    def take(self, word: Word) -> bool:
        if self.takes:
            self.taken.append(word)
        return self.takes


async def test_a_part_that_waits_may_take_events_at_once() -> None:
    taker = Taker()
    reading = asyncio.create_task(taker.inbox.get())
    await asyncio.sleep(0)
    for word in words("a", "b"):
        taker.inbox.put(word)
    assert taker.taken == words("a", "b")
    assert not len(taker.inbox)
    await asyncio.sleep(0)
    assert not reading.done()
    taker.inbox.put(Shout("c"))
    assert await reading == Shout("c")


async def test_what_a_part_does_not_want_at_once_waits_for_it() -> None:
    taker = Taker()
    taker.takes = False
    reading = asyncio.create_task(taker.inbox.get())
    await asyncio.sleep(0)
    taker.inbox.put(Word("a"))
    assert await reading == Word("a")
    assert not taker.taken


@pytest.mark.parametrize("first", [Word("first"), Shout("first")])
async def test_nothing_that_waits_is_overtaken_by_what_could_be_taken_at_once(first: Event) -> None:
    taker = Taker()
    taker.inbox.put(first)  # nobody is there yet
    taker.inbox.put(Word("second"))
    assert [await taker.inbox.get(), await taker.inbox.get()] == [first, Word("second")]
    taker.takes = False
    reading = asyncio.create_task(taker.inbox.get())
    await asyncio.sleep(0)
    taker.inbox.put(first)
    taker.takes = True
    taker.inbox.put(Word("second"))  # its reader is about to wake up
    assert [await reading, await taker.inbox.get()] == [first, Word("second")]
    assert not taker.taken


async def test_a_reader_that_has_been_woken_takes_nothing_at_once_even_if_others_have_emptied_its_inbox() -> None:
    taker = Taker()
    reading = asyncio.create_task(taker.inbox.get())
    await asyncio.sleep(0)
    taker.inbox.put(Shout("a"))
    assert taker.inbox.take() == Shout("a")
    taker.inbox.put(Word("b"))
    assert not taker.taken
    assert await reading == Word("b")


async def test_a_closed_inbox_takes_nothing_at_once() -> None:
    taker = Taker()
    reading = asyncio.create_task(taker.inbox.get())
    await asyncio.sleep(0)
    taker.inbox.close()
    taker.inbox.put(Word("a"))
    with pytest.raises(InboxClosed):
        await reading
    assert not taker.taken


async def test_the_bus_passes_on_what_is_taken_at_once() -> None:
    bus, taken = EventBus(), list[Word]()
    inbox = bus.open_inbox(Word, Shout, at_once={Word: lambda word: taken.append(word) is None})
    other = bus.open_inbox(Word)
    reading = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    bus.publish(Word("a"))
    assert taken == list(other.take_all()) == words("a")
    reading.cancel()


operation = st.one_of(
    st.tuples(st.just("word"), st.integers(0, 9)),
    st.tuples(st.just("shout"), st.integers(0, 9)),
    st.tuples(st.just("sound"), st.integers(1, 30)),
    st.tuples(st.just("take"), st.just(0)),
)


@given(st.lists(operation, max_size=60), st.booleans(), st.integers(1, 8), st.integers(10, 60))
def test_an_inbox_is_a_bounded_queue(
    operations: list[tuple[str, int]], in_order: bool, limit: int, limit_ms: int
) -> None:
    inbox = Inbox((Word, Shout, Sound), in_order=in_order, limit=limit, limits_ms={Sound: limit_ms})
    put, taken = [], []
    for kind, number in operations:
        if kind == "take":
            event = inbox.take()
            taken += [event] if event is not None else []
            continue
        event = {"word": Word, "shout": Shout}[kind](str(number)) if kind != "sound" else Sound.of(number)
        put.append(event)
        inbox.put(event)
        assert len(inbox) <= limit
        assert inbox.queued_ms(Sound) <= limit_ms
    taken += inbox.take_all()
    assert len(taken) + sum(inbox.dropped.values()) == len(put)
    assert inbox.queued_ms(Sound) == pytest.approx(0)
    for kind in (Word, Shout, Sound):  # no type changes its order
        remaining = iter([event for event in put if type(event) is kind])
        assert all(any(event is other for other in remaining) for event in taken if type(event) is kind)


# --- inboxes of a bus --------------------------------------------------------------------------------


def test_an_event_goes_into_every_inbox_of_exactly_its_type() -> None:
    bus = EventBus()
    first, second, other = bus.open_inbox(Word), bus.open_inbox(Word, Shout), bus.open_inbox(LouderWord)
    bus.publish(Word("a"))
    bus.publish(LouderWord("b"))
    bus.publish("nobody hears this")
    assert list(first.take_all()) == words("a")
    assert list(second.take_all()) == words("a")
    assert list(other.take_all()) == [LouderWord("b")]


def test_an_inbox_can_be_taken_off_the_bus() -> None:
    bus = EventBus()
    inbox, other = bus.open_inbox(Word, Shout), bus.open_inbox(Word)
    bus.publish(Word("a"))
    bus.close_inbox(inbox)
    bus.publish(Word("b"))
    assert inbox.closed
    assert list(inbox.take_all()) == words("a")
    assert list(other.take_all()) == words("a", "b")
    assert bus.is_heard(Word)
    assert not bus.is_heard(Shout)


def test_a_bus_knows_what_is_heard() -> None:
    bus = EventBus()
    assert not bus.is_heard(Word)
    bus.open_inbox(Word)
    assert bus.is_heard(Word)
    assert not bus.is_heard(Shout)
    bus.subscribe(Shout, print)
    assert bus.is_heard(Shout)
    bus.unsubscribe(Shout, print)
    assert not bus.is_heard(Shout)


def test_a_bus_knows_how_much_audio_waits() -> None:
    bus = EventBus()
    bus.open_inbox(Sound)
    bus.open_inbox(Sound, limits_ms={Sound: 100})
    assert bus.queued_ms(Sound) == 0
    bus.publish(Sound.of(20))
    assert bus.queued_ms(Sound) == 20
    assert bus.queued_ms(Word) == 0


# --- application handlers: dispatch ------------------------------------------------------------------


async def test_dispatch_calls_async_and_plain_handlers_and_returns_the_event() -> None:
    bus = EventBus()
    heard: list[object] = []

    async def handler(event: Word) -> None:
        await asyncio.sleep(0)
        heard.append(("async", event))

    bus.subscribe(Word, handler)
    bus.subscribe(Word, lambda event: heard.append(("plain", event)))
    event = Word("a")
    assert await bus.dispatch(event) is event
    assert heard == [("plain", event), ("async", event)]


async def test_dispatch_goes_by_the_exact_type() -> None:
    bus = EventBus()
    heard: list[object] = []
    bus.subscribe(Word, heard.append)
    bus.subscribe(Event, heard.append)
    await bus.dispatch(LouderWord("a"))
    assert heard == []


@pytest.mark.parametrize("event", ["text", 5, UserStoppedSpeakingEvent()])
async def test_any_object_can_be_an_event(event: object) -> None:
    bus = EventBus()
    heard: list[object] = []
    bus.subscribe(type(event), heard.append)
    assert await bus.dispatch(event) is event
    assert heard == [event]


async def test_dispatch_without_handlers_returns_the_event() -> None:
    event = Word("a")
    assert await EventBus().dispatch(event) is event


@pytest.mark.virtual_clock
async def test_handlers_start_in_order_and_run_concurrently() -> None:
    loop = asyncio.get_running_loop()
    bus = EventBus()
    story: list[str] = []

    def handler(name: str) -> Callable[[Word], Awaitable[None]]:
        async def handle(_: Word) -> None:
            story.append(f"{name} starts")
            await asyncio.sleep(1)
            story.append(f"{name} ends")

        return handle

    for name in "abc":
        bus.subscribe(Word, handler(name))
    await bus.dispatch(Word("x"))
    assert loop.time() == 1
    assert story == ["a starts", "b starts", "c starts", "a ends", "b ends", "c ends"]


@pytest.mark.parametrize("others", [0, 2])
async def test_a_raising_handler_is_logged_and_disturbs_nobody(others: int, caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    heard: list[Word] = []

    async def broken(_: Word) -> None:
        raise LookupError("broken on purpose")

    bus.subscribe(Word, broken)
    for _ in range(others):
        bus.subscribe(Word, heard.append)
    await bus.dispatch(Word("a"))
    assert len(heard) == others
    assert "broken" in caplog.text
    assert caplog.records[0].exc_info is not None


async def test_a_plain_handler_that_raises_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()

    def broken(_: Word) -> None:
        raise TypeError("broken on purpose")

    bus.subscribe(Word, broken)
    await bus.dispatch(Word("a"))
    assert "broken on purpose" in caplog.text


async def test_a_plain_handler_may_return_something() -> None:
    bus = EventBus()
    heard: list[Word] = []
    bus.subscribe(Word, lambda event: heard.append(event) or 5)  # type: ignore[arg-type, func-returns-value]
    await bus.dispatch(Word("a"))
    assert heard == words("a")


async def test_a_handler_that_awaits_something_cancelled_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    dead.cancel()

    async def broken(_: Word) -> None:
        await dead

    bus.subscribe(Word, broken)
    await bus.dispatch(Word("a"))
    assert "cancelled" in caplog.text


@pytest.mark.virtual_clock
async def test_cancelling_dispatch_cancels_the_handlers() -> None:
    bus = EventBus()
    story: list[str] = []

    async def slow(_: Word) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            story.append("cancelled")
            raise

    bus.subscribe(Word, slow)
    bus.subscribe(Word, slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await bus.dispatch(Word("a"))
    assert story == ["cancelled", "cancelled"]


async def test_the_agents_parts_receive_dispatched_events_too() -> None:
    bus = EventBus()
    inbox = bus.open_inbox(Word)
    await bus.dispatch(Word("a"))
    assert inbox.take() == Word("a")


async def test_unsubscribe() -> None:
    bus = EventBus()
    heard: list[Word] = []
    bus.unsubscribe(Word, heard.append)  # unknown type
    bus.subscribe(Word, heard.append)
    bus.unsubscribe(Word, print)  # unknown handler
    bus.subscribe(Word, heard.append)
    await bus.dispatch(Word("twice"))
    bus.unsubscribe(Word, heard.append)
    await bus.dispatch(Word("once"))
    bus.unsubscribe(Word, heard.append)
    await bus.dispatch(Word("never"))
    assert heard == words("twice", "twice", "once")


async def test_handlers_may_subscribe_and_unsubscribe_and_dispatch() -> None:
    bus = EventBus()
    heard: list[str] = []

    async def once(event: Word) -> None:
        bus.unsubscribe(Word, once)
        bus.subscribe(Word, lambda event: heard.append(f"new {event.text}"))
        heard.append(event.text)
        await bus.dispatch(Shout("from a handler"))

    bus.subscribe(Shout, lambda event: heard.append(event.text))
    bus.subscribe(Word, once)
    await bus.dispatch(Word("a"))
    await bus.dispatch(Word("b"))
    assert heard == ["a", "from a handler", "new b"]


# --- application handlers: published events ----------------------------------------------------------


@pytest.mark.virtual_clock
async def test_published_events_are_handled_one_after_the_other_in_their_own_task() -> None:
    bus = EventBus()
    heard: list[str] = []

    async def slow(event: Word) -> None:
        await asyncio.sleep(1)
        heard.append(event.text)

    bus.subscribe(Word, slow)
    bus.subscribe(Word, lambda event: heard.append(f"quick {event.text}"))
    async with asyncio.TaskGroup() as group:
        bus.attach(group)
        for word in words("a", "b"):
            bus.publish(word)
        assert heard == []  # nobody's code runs in the publisher's turn
        await asyncio.sleep(0.5)
        assert heard == ["quick a", "quick b"]
        await bus.detach(timeout_s=5)
    assert heard == ["quick a", "quick b", "a", "b"]
    assert asyncio.get_running_loop().time() == 2


async def test_what_was_published_before_the_start_is_delivered_then() -> None:
    bus = EventBus()
    heard: list[Word] = []
    bus.subscribe(Word, heard.append)
    bus.publish(Word("a"))
    async with asyncio.TaskGroup() as group:
        bus.attach(group)
        await bus.detach(timeout_s=5)
    assert heard == words("a")


async def test_handlers_can_come_and_go_while_the_agent_runs() -> None:
    bus = EventBus()
    heard: list[str] = []

    def late(event: Word) -> None:
        heard.append(event.text)

    async with asyncio.TaskGroup() as group:
        bus.attach(group)
        bus.publish(Word("unheard"))
        bus.subscribe(Word, late)
        bus.publish(Word("heard"))
        await asyncio.sleep(0)
        bus.unsubscribe(Word, late)
        bus.publish(Word("unheard"))
        await bus.detach(timeout_s=5)
    assert heard == ["heard"]


async def test_a_handler_runs_in_the_context_of_the_agent_wherever_it_was_subscribed() -> None:
    place: ContextVar[str] = ContextVar("place", default="nowhere")
    bus = EventBus()
    heard: list[str] = []

    async def elsewhere() -> None:
        place.set("elsewhere")
        bus.subscribe(Word, lambda _: heard.append(place.get()))

    async with asyncio.TaskGroup() as group:
        place.set("agent")
        bus.attach(group)
        await group.create_task(elsewhere())
        bus.publish(Word("a"))
        await bus.detach(timeout_s=5)
    assert heard == ["agent"]


@pytest.mark.virtual_clock
async def test_detach_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    bus = EventBus()

    async def stuck(_: Word) -> None:
        await asyncio.sleep(1_000)

    class Over(Exception): ...  # noqa: N818

    bus.subscribe(Word, stuck)
    with pytest.raises(ExceptionGroup):  # noqa: PT012 - the agent ends its group in the same way
        async with asyncio.TaskGroup() as group:
            bus.attach(group)
            bus.publish(Word("a"))
            await asyncio.sleep(0)
            await bus.detach(timeout_s=3)
            assert loop.time() == 3
            raise Over
    assert "stuck" in caplog.text
    assert loop.time() == 3


async def test_a_broken_handler_goes_on_with_the_next_event(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    heard: list[str] = []

    def fragile(event: Word) -> None:
        heard.append(event.text)
        if event.text == "a":
            raise ValueError("not a")

    bus.subscribe(Word, fragile)
    async with asyncio.TaskGroup() as group:
        bus.attach(group)
        bus.publish(Word("a"))
        bus.publish(Word("b"))
        await bus.detach(timeout_s=5)
    assert heard == ["a", "b"]
    assert "not a" in caplog.text


async def test_a_handler_without_a_name_is_logged_by_its_repr(caplog: pytest.LogCaptureFixture) -> None:
    class Handler:
        def __call__(self, _: Word) -> None:
            raise ValueError

        def __repr__(self) -> str:
            return "<a callable object>"

    bus = EventBus()
    bus.subscribe(Word, Handler())
    await bus.dispatch(Word("a"))
    assert "<a callable object>" in caplog.text


async def test_what_waits_and_what_was_dropped_is_counted() -> None:
    bus = EventBus()
    inbox = bus.open_inbox(Word, Shout, limit=2)
    bus.subscribe(Word, lambda _: None)
    for word in words("a", "b", "c"):
        bus.publish(word)
    assert (bus.waiting, bus.dropped) == (2 + 3, 1)
    list(inbox.take_all())
    assert (bus.waiting, bus.dropped) == (3, 1)


def test_an_inbox_can_ignore_what_it_hears() -> None:
    bus = EventBus()
    inbox = bus.open_inbox(Word, Shout)
    bus.ignore(inbox, Word)
    bus.publish(Word("a"))
    bus.publish(Shout("b"))
    assert list(inbox.take_all()) == [Shout("b")]
    assert not bus.is_heard(Word)
    bus.close_inbox(inbox)
    assert not bus.is_heard(Shout)
