"""What has been heard: clocks that count samples, and the ledger that knows whose samples they are.

Sans-I/O: no asyncio, no device calls but ``position()``. Time is passed in (seconds of the event loop's
clock). All sample counts share one *playing line*: sample 0 is the first sample handed to the device, and
samples that a clear has dropped leave no gap in it. So a total of 48 000 heard samples means that the user
has heard two seconds, and the next audio handed over starts at the end of the line.

Typical use, in a playback component::

    clock = clock_for(device)
    ledger = PlaybackLedger()
    # audio arrives                         # the user interrupts
    ledger.accept(key, samples)             await device.clear_buffer()
    clock.accept(samples, now)              cut = ledger.cut(clock.clear(now))
    await device.play_chunk(pcm)            # each item of cut: truncate at item.heard_ms
    # a timer, until clock.when(ledger.next_end(total)):
    for response_id in ledger.finished(clock.heard(now)): ...
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

from rtvoice.audio.devices import SupportsPosition
from rtvoice.audio.pcm import SAMPLE_RATE, samples_to_ms

_ROUNDING = 1e-3
"""Fraction of a sample by which sums of loop times may be off without costing a whole sample."""


@dataclass(frozen=True, slots=True)
class ItemKey:
    """Which piece of assistant audio: one content part of one conversation item of one response."""

    response_id: str
    item_id: str
    content_index: int


@dataclass(frozen=True, slots=True)
class HeardItem:
    """How much of an item's audio the user has heard.

    Attributes:
        key: The item.
        received_ms: Audio received for it, in whole milliseconds, rounded down.
        heard_ms: Audio heard of it, to the nearest millisecond; ``0 <= heard_ms <= received_ms``.
        complete: Whether the server has said that no more audio follows.
    """

    key: ItemKey
    received_ms: int
    heard_ms: int
    complete: bool


class PlaybackClock:
    """Models a device that cannot count: audio is heard in the order and at the pace it was handed over.

    The model stands still while it has nothing to play. It is right to the device's own latency.

    Args:
        sample_rate: Samples per second of the audio.
        output_latency_s: Seconds from handing audio to an idle device until it is heard.
        line_start: Where on the playing line the first sample lies.
    """

    def __init__(self, *, sample_rate: int = SAMPLE_RATE, output_latency_s: float = 0.0, line_start: int = 0) -> None:
        self._rate = sample_rate
        self._latency_s = output_latency_s
        self._accepted = line_start
        self._heard = line_start
        self._cursor = -math.inf  # when the last accepted sample will have been heard
        self._paused_at: float | None = None

    def accept(self, samples: int, now: float) -> None:
        """Count ``samples`` that are handed to the device at ``now``."""
        self.heard(now)
        self._accepted += samples
        self._cursor = max(self._cursor, now + self._latency_s) + samples / self._rate

    def heard(self, now: float) -> int:
        """Return how many samples have been heard by ``now``; never less than before."""
        now = now if self._paused_at is None else self._paused_at
        ahead = max(0.0, (self._cursor - now) * self._rate)
        heard = self._accepted - math.ceil(ahead - _ROUNDING) if ahead else self._accepted
        self._heard = max(self._heard, heard)
        return self._heard

    def when(self, total: int) -> float:
        """Return the time at which ``total`` samples will have been heard; in the past if they were.

        An estimate: ask again when it has come.
        """
        return self._cursor - (self._accepted - total) / self._rate

    def ends_at(self) -> float:
        """Return the time at which everything accepted so far will have been heard; ``-inf`` before any audio."""
        return self._cursor

    def clear(self, now: float) -> int:
        """Take out what has not been heard, because the device was cleared at ``now``.

        Returns:
            The total of samples heard; the line goes on from there.
        """
        self._accepted = self.heard(now)
        self._cursor = min(self._cursor, now)
        self._paused_at = None
        return self._accepted

    def settle(self, now: float) -> None:
        """Believe a device that says it is silent: everything accepted so far has been heard."""
        self._heard = self._accepted
        self._cursor = min(self._cursor, now)

    def pause(self, now: float) -> None:
        """Note that the device stands still."""
        self._paused_at = now

    def resume(self, now: float) -> None:
        """Note that it goes on from the same sample."""
        if self._paused_at is not None:
            self._cursor += now - self._paused_at
            self._paused_at = None


class DeviceClock:
    """Reads a device that counts its samples: exact, whatever the device's latency.

    Takes the device as it is: samples it counted before belong to somebody else.

    Args:
        device: The device; it must be given exactly the samples that are accepted here.
        sample_rate: Samples per second of the audio.
        line_start: For a device that was opened anew: where on the playing line it goes on. What it was given
            before and has not played is lost.
    """

    def __init__(
        self, device: SupportsPosition, *, sample_rate: int = SAMPLE_RATE, line_start: int | None = None
    ) -> None:
        self._device = device
        self._rate = sample_rate
        position = device.position()
        if line_start is None:
            self._origin = position.accepted - position.discarded
        else:
            self._origin = position.heard - line_start
        self._accepted = self._heard = line_start or 0
        self._ends_at = -math.inf

    def accept(self, samples: int, now: float) -> None:
        """Count ``samples`` that are handed to the device at ``now``."""
        self._accepted += samples
        self._ends_at = max(self._ends_at, now) + samples / self._rate

    def heard(self, now: float) -> int:
        """Return how many samples have been heard by ``now``; never less than before."""
        self._heard = self._on_line(self._device.position().heard)
        if self._heard < self._accepted:
            self._ends_at = now + (self._accepted - self._heard) / self._rate
        else:
            self._ends_at = min(self._ends_at, now)
        return self._heard

    def when(self, total: int) -> float:
        """Return the time at which ``total`` samples will have been heard, as of the last call of another member.

        An estimate: ask again when it has come.
        """
        return self._ends_at - (self._accepted - total) / self._rate

    def ends_at(self) -> float:
        """Return the time at which everything accepted so far will have been heard; ``-inf`` before any audio."""
        return self._ends_at

    def clear(self, now: float) -> int:
        """Take out what will never be heard; call it right **after** the device's ``clear_buffer()``.

        What the device had rendered by then can no longer be taken back, so it counts as heard.

        Returns:
            The total of samples heard; the line goes on from there.
        """
        self._accepted = self._on_line(self._device.position().rendered)
        self._ends_at = now + (self._accepted - self._heard) / self._rate
        return self._accepted

    def settle(self, now: float) -> None:
        """Believe a device that says it is silent: everything accepted so far has been heard."""
        self._heard = self._accepted
        self._ends_at = min(self._ends_at, now)

    def pause(self, now: float) -> None:
        """Note that the device stands still; it counts accordingly."""
        self.heard(now)

    def resume(self, now: float) -> None:
        """Note that it goes on from the same sample."""
        self.heard(now)

    def _on_line(self, count: int) -> int:
        """Turn a count of the device into one of the line, within what is possible."""
        return min(max(count - self._origin, self._heard), self._accepted)


HeardClock: TypeAlias = PlaybackClock | DeviceClock
"""Either clock; both have the same members."""


def clock_for(
    device: object, *, sample_rate: int = SAMPLE_RATE, output_latency_s: float = 0.0, line_start: int | None = None
) -> HeardClock:
    """Return the best clock for an output device: its own count, or else the model.

    Args:
        device: The output device, already started.
        sample_rate: Samples per second of the audio.
        output_latency_s: For a device that cannot count: seconds until audio handed to it is heard.
        line_start: For a device that was opened anew: where on the playing line it goes on.
    """
    if isinstance(device, SupportsPosition):
        return DeviceClock(device, sample_rate=sample_rate, line_start=line_start)
    return PlaybackClock(sample_rate=sample_rate, output_latency_s=output_latency_s, line_start=line_start or 0)


@dataclass(slots=True)
class _Segment:
    """Samples ``start`` (included) to ``stop`` (excluded) of the playing line."""

    key: ItemKey
    start: int
    stop: int

    def heard(self, total: int) -> int:
        return min(max(total - self.start, 0), self.stop - self.start)


class PlaybackLedger:
    """Knows which item each sample of the playing line belongs to.

    ``total`` is always the number of samples heard so far, as a clock returns it.

    Args:
        sample_rate: Samples per second of the audio.
    """

    def __init__(self, *, sample_rate: int = SAMPLE_RATE) -> None:
        self._rate = sample_rate
        self._segments: list[_Segment] = []  # in playing order; gaps are of responses that are forgotten
        self._complete_items: set[ItemKey] = set()
        self._complete_responses: set[str] = set()
        self._end = 0

    def accept(self, key: ItemKey, samples: int) -> None:
        """Append ``samples`` of an item to the line. Zero samples make the item known."""
        last = self._segments[-1] if self._segments else None
        if last is None or last.key != key or last.stop != self._end:  # else what stood between is forgotten
            last = _Segment(key, self._end, self._end)
            self._segments.append(last)
        self._end += samples
        last.stop = self._end

    def complete(self, key: ItemKey) -> None:
        """Note that the server will send no more audio for this item."""
        if any(segment.key == key for segment in self._segments):
            self._complete_items.add(key)

    def complete_response(self, response_id: str) -> None:
        """Note that the response is done: none of its items gets more audio, and no item follows."""
        keys = {segment.key for segment in self._segments if segment.key.response_id == response_id}
        if keys:
            self._complete_items |= keys
            self._complete_responses.add(response_id)

    def unplayed(self, total: int) -> int:
        """Return how many accepted samples have not been heard."""
        return max(0, self._end - total)

    def heard(self, total: int) -> list[HeardItem]:
        """Return the progress of every item the ledger still knows, in playing order."""
        received: dict[ItemKey, int] = {}
        heard: dict[ItemKey, int] = {}
        for segment in self._segments:
            key = segment.key
            received[key] = received.get(key, 0) + segment.stop - segment.start
            heard[key] = heard.get(key, 0) + segment.heard(total)
        half_ms = self._rate // 2000
        items = []
        for key, samples in received.items():
            received_ms = samples_to_ms(samples, self._rate)  # down: a server refuses to truncate beyond what it sent
            heard_ms = min(received_ms, samples_to_ms(heard[key] + half_ms, self._rate))
            items.append(HeardItem(key, received_ms, heard_ms, complete=key in self._complete_items))
        return items

    def unfinished(self, total: int) -> list[HeardItem]:
        """Return the items that are not heard to their end, in playing order.

        An item that is heard as far as it was received, but whose audio is not complete, is one of them: the
        server may already hold more of it.
        """
        open_keys = {segment.key for segment in self._segments if segment.stop > total}
        return [item for item in self.heard(total) if item.key in open_keys or not item.complete]

    def current(self, total: int) -> ItemKey | None:
        """Return the item whose sample is heard next, or ``None`` when nothing is left."""
        return next((segment.key for segment in self._segments if segment.start <= total < segment.stop), None)

    def ends(self, response_id: str) -> int | None:
        """Return the sample at which a response's audio ends.

        ``None`` while the response is not complete, and when the ledger knows no audio of it.
        """
        if response_id not in self._complete_responses:
            return None
        return max(segment.stop for segment in self._segments if segment.key.response_id == response_id)

    def next_end(self, total: int) -> int | None:
        """Return the first end of a complete response that has not been heard yet, or ``None``."""
        ends = (self.ends(response_id) for response_id in self._complete_responses)
        return min((end for end in ends if end is not None and end > total), default=None)

    def finished(self, total: int) -> list[str]:
        """Return the complete responses that have been heard to their end, in that order, and forget them."""
        ends = {response_id: self.ends(response_id) or 0 for response_id in self._complete_responses}
        done = sorted((end, response_id) for response_id, end in ends.items() if end <= total)
        names = [response_id for _, response_id in done]
        self._forget(set(names))
        return names

    def cut(self, total: int) -> list[HeardItem]:
        """End everything at ``total``: playback was cleared.

        Call ``finished(total)`` first; responses that it would have named are forgotten here.

        Returns:
            The items that were not heard to their end, in playing order.
        """
        items = self.unfinished(total)
        self._segments.clear()
        self._complete_items.clear()
        self._complete_responses.clear()
        self._end = total
        return items

    def _forget(self, response_ids: set[str]) -> None:
        self._segments = [segment for segment in self._segments if segment.key.response_id not in response_ids]
        self._complete_items = {key for key in self._complete_items if key.response_id not in response_ids}
        self._complete_responses -= response_ids
