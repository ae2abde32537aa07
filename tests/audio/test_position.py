import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.audio.devices import PlaybackPosition
from rtvoice.audio.position import (
    DeviceClock,
    HeardItem,
    ItemKey,
    PlaybackClock,
    PlaybackLedger,
    clock_for,
)

A = ItemKey("resp_1", "item_a", 0)
B = ItemKey("resp_1", "item_b", 0)
C = ItemKey("resp_2", "item_c", 0)


class CountingDevice:
    """A device that says what a test tells it."""

    def __init__(self) -> None:
        self.accepted = self.rendered = self.heard = self.discarded = 0

    def position(self) -> PlaybackPosition:
        return PlaybackPosition(self.accepted, self.rendered, self.heard, self.discarded)


# --- PlaybackClock -----------------------------------------------------------------------------------------


def test_model_plays_at_the_pace_of_speech() -> None:
    clock = PlaybackClock()
    assert clock.ends_at() == -math.inf
    clock.accept(24_000, now=100.0)
    clock.accept(24_000, now=100.0)
    assert clock.heard(100.0) == 0
    assert clock.heard(100.5) == 12_000
    assert clock.heard(102.0) == 48_000
    assert clock.heard(200.0) == 48_000
    assert clock.ends_at() == 102.0
    assert clock.when(12_000) == 100.5


def test_model_stands_still_when_it_runs_dry() -> None:
    clock = PlaybackClock()
    clock.accept(24_000, now=0.0)
    clock.accept(24_000, now=5.0)
    assert clock.heard(5.0) == 24_000
    assert clock.heard(5.25) == 30_000


def test_model_never_goes_back() -> None:
    clock = PlaybackClock()
    clock.accept(24_000, now=0.0)
    assert clock.heard(0.5) == 12_000
    assert clock.heard(0.25) == 12_000


def test_model_clear_drops_what_was_not_heard() -> None:
    clock = PlaybackClock()
    clock.accept(48_000, now=0.0)
    assert clock.clear(0.5) == 12_000
    assert clock.heard(10.0) == 12_000
    assert clock.ends_at() == 0.5
    clock.accept(2_400, now=10.0)
    assert clock.heard(10.05) == 13_200
    assert clock.heard(20.0) == 14_400


def test_model_clear_after_the_end_changes_nothing() -> None:
    clock = PlaybackClock()
    clock.accept(24_000, now=0.0)
    assert clock.clear(3.0) == 24_000
    assert clock.ends_at() == 1.0


def test_model_with_latency_is_late_by_it() -> None:
    clock = PlaybackClock(output_latency_s=0.2)
    clock.accept(24_000, now=0.0)
    assert clock.heard(0.2) == 0
    assert clock.heard(0.7) == 12_000
    assert clock.ends_at() == pytest.approx(1.2)
    clock.accept(24_000, now=2.0)
    assert clock.heard(2.0) == 24_000


def test_model_believes_that_a_device_is_silent() -> None:
    clock = PlaybackClock()
    clock.accept(24_000, now=0.0)
    clock.settle(0.4)
    assert clock.heard(0.4) == 24_000
    assert clock.ends_at() == 0.4


@given(
    st.lists(
        st.tuples(st.sampled_from(["accept", "heard", "clear", "settle"]), st.integers(0, 5000), st.floats(0, 0.3)),
        max_size=40,
    ),
    st.floats(0, 1e6),
)
def test_model_invariants(steps: list[tuple[str, int, float]], now: float) -> None:
    clock = PlaybackClock()
    accepted = heard = 0
    for step, samples, pause in steps:
        now += pause
        if step == "accept":
            clock.accept(samples, now)
            accepted += samples
        elif step == "clear":
            accepted = clock.clear(now)
            assert accepted >= heard
            assert clock.heard(now + 1000) == accepted
        elif step == "settle":
            clock.settle(now)
            assert clock.heard(now) == accepted
        assert heard <= clock.heard(now) <= accepted
        heard = clock.heard(now)
    assert clock.heard(now + 1000) == accepted
    if accepted and clock.ends_at() > -math.inf:
        assert clock.heard(clock.ends_at()) == accepted


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=20), st.integers(0, 10**7))
def test_model_is_exact_to_the_sample(chunks: list[int], origin: int) -> None:
    clock = PlaybackClock()
    for samples in chunks:
        clock.accept(samples, origin / 7)
    for index in range(0, sum(chunks), 997):
        assert clock.heard(clock.when(index)) == index


# --- DeviceClock -------------------------------------------------------------------------------------------


def test_device_is_read_for_progress() -> None:
    device = CountingDevice()
    clock = DeviceClock(device)
    assert clock.ends_at() == -math.inf
    device.accepted = 24_000
    clock.accept(24_000, now=10.0)
    assert clock.ends_at() == 11.0
    device.rendered, device.heard = 14_000, 12_000
    assert clock.heard(10.6) == 12_000
    assert clock.ends_at() == pytest.approx(11.1)
    assert clock.when(18_000) == pytest.approx(10.85)
    device.rendered = device.heard = 24_000
    assert clock.heard(11.05) == 24_000
    assert clock.ends_at() == 11.05
    assert clock.heard(12.0) == 24_000
    assert clock.ends_at() == 11.05


def test_device_count_at_a_clear_is_what_it_rendered() -> None:
    device = CountingDevice()
    clock = DeviceClock(device)
    device.accepted = 48_000
    clock.accept(48_000, now=0.0)
    device.rendered, device.heard = 12_960, 12_000
    clock.heard(0.5)
    device.rendered, device.discarded = 13_080, 48_000 - 13_080
    assert clock.clear(0.5) == 13_080
    assert clock.ends_at() == pytest.approx(0.545)
    device.heard = 13_080
    assert clock.heard(1.0) == 13_080
    device.accepted += 2_400
    clock.accept(2_400, now=2.0)
    assert clock.ends_at() == pytest.approx(2.1)
    device.heard = device.rendered = 14_280
    assert clock.heard(2.05) == 14_280


def test_device_counts_from_where_it_is() -> None:
    device = CountingDevice()
    device.accepted, device.rendered, device.heard, device.discarded = 10_000, 4_000, 3_000, 5_000
    clock = DeviceClock(device)
    clock.accept(1_000, now=0.0)
    assert clock.heard(0.0) == 0
    device.heard = 5_500
    assert clock.heard(0.1) == 500


def test_device_that_counts_nonsense_stays_within_what_is_possible() -> None:
    device = CountingDevice()
    clock = DeviceClock(device)
    clock.accept(1_000, now=0.0)
    device.heard = 5_000
    assert clock.heard(0.1) == 1_000
    device.heard = 10
    assert clock.heard(0.2) == 1_000


def test_device_that_says_it_is_silent_is_believed() -> None:
    device = CountingDevice()
    clock = DeviceClock(device)
    clock.accept(1_000, now=0.0)
    clock.settle(0.01)
    assert clock.heard(0.02) == 1_000
    assert clock.ends_at() == 0.01


def test_clock_for_chooses_by_what_the_device_offers() -> None:
    assert isinstance(clock_for(CountingDevice()), DeviceClock)
    clock = clock_for(object(), output_latency_s=1.0)
    assert isinstance(clock, PlaybackClock)
    clock.accept(24_000, now=0.0)
    assert clock.ends_at() == 2.0


# --- PlaybackLedger ----------------------------------------------------------------------------------------


def test_ledger_knows_whose_sample_is_heard() -> None:
    ledger = PlaybackLedger()
    assert ledger.current(0) is None
    ledger.accept(A, 2400)
    ledger.accept(A, 2400)
    ledger.accept(B, 2400)
    assert ledger.current(0) == A
    assert ledger.current(4799) == A
    assert ledger.current(4800) == B
    assert ledger.current(7200) is None
    assert ledger.unplayed(0) == 7200
    assert ledger.unplayed(7000) == 200
    assert ledger.unplayed(9000) == 0


def test_ledger_rounds_to_the_nearest_millisecond_that_was_received() -> None:
    ledger = PlaybackLedger()
    ledger.accept(A, 47)
    assert ledger.heard(47) == [HeardItem(A, received_ms=1, heard_ms=1, complete=False)]
    assert ledger.heard(12) == [HeardItem(A, received_ms=1, heard_ms=1, complete=False)]
    assert ledger.heard(11) == [HeardItem(A, received_ms=1, heard_ms=0, complete=False)]


def test_ledger_cut_names_what_was_not_heard() -> None:
    ledger = PlaybackLedger()
    ledger.accept(A, 24_000)
    ledger.complete(A)
    ledger.accept(B, 24_000)
    ledger.accept(C, 24_000)
    assert ledger.cut(30_000) == [
        HeardItem(B, received_ms=1000, heard_ms=250, complete=False),
        HeardItem(C, received_ms=1000, heard_ms=0, complete=False),
    ]
    assert ledger.unplayed(30_000) == 0
    assert ledger.heard(30_000) == []
    ledger.accept(C, 2_400)
    assert ledger.current(30_000) == C
    assert ledger.heard(31_200) == [HeardItem(C, received_ms=100, heard_ms=50, complete=False)]


def test_ledger_item_heard_to_the_last_sample_but_incomplete_is_unfinished() -> None:
    ledger = PlaybackLedger()
    ledger.accept(A, 240)
    assert ledger.unfinished(240) == [HeardItem(A, received_ms=10, heard_ms=10, complete=False)]
    ledger.complete(A)
    assert ledger.unfinished(240) == []
    assert ledger.unfinished(239) == [HeardItem(A, received_ms=10, heard_ms=10, complete=True)]


def test_ledger_item_without_samples() -> None:
    ledger = PlaybackLedger()
    ledger.accept(A, 0)
    assert ledger.unfinished(0) == [HeardItem(A, received_ms=0, heard_ms=0, complete=False)]
    ledger.complete_response("resp_1")
    assert ledger.finished(0) == ["resp_1"]


def test_ledger_items_may_alternate() -> None:
    ledger = PlaybackLedger()
    ledger.accept(A, 2400)
    ledger.accept(B, 2400)
    ledger.accept(A, 2400)
    assert [(item.key, item.heard_ms) for item in ledger.heard(6000)] == [(A, 150), (B, 100)]


def test_ledger_item_goes_on_after_another_that_is_over_and_forgotten() -> None:
    """Words beside the conversation are said in the middle of an answer."""
    ledger = PlaybackLedger()
    answer, words = ItemKey("r1", "answer", 0), ItemKey("r2", "words", 0)
    ledger.accept(answer, 2_400)
    ledger.accept(words, 4_800)
    ledger.complete_response("r2")
    assert ledger.finished(7_200) == ["r2"]
    ledger.accept(answer, 2_400)
    [item] = ledger.cut(7_200 + 1_200)
    assert (item.heard_ms, item.received_ms) == (150, 200)


def test_ledger_response_ends_once() -> None:
    ledger = PlaybackLedger()
    ledger.accept(A, 2400)
    ledger.complete(A)
    assert ledger.ends("resp_1") is None
    assert ledger.finished(2400) == []
    ledger.accept(B, 2400)
    ledger.accept(C, 2400)
    ledger.complete_response("resp_1")
    ledger.complete_response("resp_2")
    assert ledger.ends("resp_1") == 4800
    assert ledger.next_end(0) == 4800
    assert ledger.next_end(4800) == 7200
    assert ledger.next_end(7200) is None
    assert ledger.finished(4799) == []
    assert ledger.finished(4800) == ["resp_1"]
    assert ledger.finished(4800) == []
    assert ledger.heard(4800) == [HeardItem(C, received_ms=100, heard_ms=0, complete=True)]
    assert ledger.finished(9000) == ["resp_2"]
    assert ledger.unplayed(7200) == 0


def test_ledger_names_finished_responses_in_the_order_of_their_ends() -> None:
    ledger = PlaybackLedger()
    for name in ("z", "a", "m"):
        ledger.accept(ItemKey(name, "item", 0), 100)
    for name in ("a", "m", "z"):
        ledger.complete_response(name)
    assert ledger.finished(300) == ["z", "a", "m"]


def test_ledger_ignores_ends_of_what_it_never_heard() -> None:
    ledger = PlaybackLedger()
    ledger.complete(A)
    ledger.complete_response("resp_1")
    assert ledger.ends("resp_1") is None
    assert ledger.finished(100) == []
    ledger.accept(A, 240)
    assert ledger.unfinished(240) != []


keys = st.builds(ItemKey, st.sampled_from("rst"), st.sampled_from("ab"), st.integers(0, 1))


@given(
    st.lists(st.tuples(st.sampled_from(["accept", "complete", "response", "hear", "cut"]), keys, st.integers(0, 999)))
)
def test_ledger_against_a_list_of_samples(steps: list[tuple[str, ItemKey, int]]) -> None:
    """The model: a plain list of who owns which sample."""
    ledger = PlaybackLedger()
    owners: list[ItemKey | None] = []
    complete: set[ItemKey] = set()
    done: set[str] = set()
    total = 0
    for step, key, number in steps:
        if step == "accept":
            ledger.accept(key, number + 1)
            owners += [key] * (number + 1)
        elif step == "complete":
            ledger.complete(key)
            complete |= {key} & set(owners)
        elif step == "response":
            ledger.complete_response(key.response_id)
            mine = {owner for owner in owners if owner and owner.response_id == key.response_id}
            complete |= mine
            done |= {owner.response_id for owner in mine}
        elif step == "hear":
            total = min(total + number, len(owners))
            named = ledger.finished(total)
            left = {owner.response_id for owner in owners[total:] if owner}
            assert set(named) == done - left
            done -= set(named)
            complete = {owner for owner in complete if owner.response_id not in named}
            owners = [None if owner and owner.response_id in named else owner for owner in owners]
        else:
            expected = {
                owner for position, owner in enumerate(owners) if owner and (position >= total or owner not in complete)
            }
            assert {item.key for item in ledger.cut(total)} == expected
            owners = [None] * total
            complete.clear()
            done.clear()
        assert ledger.unplayed(total) == len(owners) - total
        assert ledger.current(total) == (owners[total] if total < len(owners) else None)
        for item in ledger.heard(total):
            assert item.received_ms == owners.count(item.key) // 24
            assert item.heard_ms == min(item.received_ms, (owners[:total].count(item.key) + 12) // 24)
            assert item.heard_ms <= item.received_ms
            assert item.complete == (item.key in complete)


def test_the_model_stands_still_with_its_device() -> None:
    clock = PlaybackClock()
    clock.resume(9.0)
    clock.accept(24_000, 10.0)
    clock.pause(10.4)
    assert clock.heard(12.0) == 9_600
    clock.resume(12.4)
    assert clock.heard(12.4) == 9_600
    assert clock.ends_at() == pytest.approx(13.0)
    assert clock.heard(13.0) == 24_000


def test_a_model_that_is_cleared_while_it_stands_still() -> None:
    clock = PlaybackClock()
    clock.accept(24_000, 10.0)
    clock.pause(10.5)
    assert clock.clear(12.0) == 12_000
    clock.resume(12.0)
    clock.accept(2_400, 13.0)
    assert clock.ends_at() == pytest.approx(13.1)
