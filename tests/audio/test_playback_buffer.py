import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rtvoice.audio.playback_buffer import PlaybackBuffer
from rtvoice.errors import AudioDeviceError

MS = 24


def tone(samples: int, value: int = 1000) -> bytes:
    return struct.pack("<h", value) * samples


def values(pcm: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(pcm) // 2}h", pcm))


def counted(first: int, count: int) -> bytes:
    """Samples that carry their own number, from 1 on: 0 is silence."""
    return struct.pack(f"<{count}h", *((number % 32_000) + 1 for number in range(first, first + count)))


def test_silence_while_there_is_nothing() -> None:
    buffer = PlaybackBuffer()
    assert buffer.render(480) == bytes(960)
    assert buffer.position().rendered == 0


def test_gathers_before_it_begins() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=60)
    buffer.accept(tone(59 * MS))
    assert buffer.render(480) == bytes(960)
    buffer.accept(tone(MS))
    assert buffer.render(480) == tone(480)
    assert buffer.queued == 40 * MS


def test_a_short_answer_plays_when_it_is_complete() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=60)
    buffer.accept(tone(240))
    assert buffer.render(480) == bytes(960)
    buffer.finish_response()
    assert buffer.render(480) == tone(240) + bytes(480)
    assert buffer.underruns == 0


def test_nothing_waits_longer_than_the_prebuffer() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=60)
    buffer.accept(tone(240))
    for _ in range(3):
        assert buffer.render(480) == bytes(960)
    assert buffer.render(480) == tone(240) + bytes(480)


def test_without_prebuffer_it_begins_at_once() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(tone(1))
    assert buffer.render(2) == tone(1) + bytes(2)


def test_an_underrun_is_counted_and_makes_the_next_wait_longer() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=60)
    for underruns, needed_ms in enumerate((60, 120, 200, 200)):
        buffer.accept(tone(needed_ms * MS - 1))
        assert buffer.underruns == underruns
        assert buffer.render(MS) == bytes(2 * MS), needed_ms
        buffer.accept(tone(1))
        assert buffer.render(needed_ms * MS + 1) == tone(needed_ms * MS) + bytes(2)
    buffer.finish_response()
    assert buffer.underruns == 3
    buffer.accept(tone(60 * MS))
    assert buffer.render(MS) == tone(MS)


def test_running_dry_at_the_end_of_a_response_is_no_underrun() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    for _ in range(3):
        buffer.accept(tone(480))
        buffer.render(960)
        buffer.finish_response()  # the word that it was the end may come late
    assert buffer.underruns == 0


def test_a_block_that_ends_with_the_queue_is_no_underrun_yet() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(tone(480))
    assert buffer.render(480) == tone(480)
    buffer.accept(tone(480))
    assert buffer.render(480) == tone(480)
    assert buffer.underruns == 0


def test_an_odd_byte_belongs_to_the_next_chunk() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    pcm = counted(0, 10)
    assert [buffer.accept(pcm[:1]), buffer.accept(pcm[1:8]), buffer.accept(pcm[8:])] == [0, 4, 6]
    assert buffer.render(10) == pcm


@pytest.mark.parametrize("end", [PlaybackBuffer.clear, PlaybackBuffer.finish_response])
def test_an_odd_byte_does_not_outlive_its_response(end: object) -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(b"\x01")
    end(buffer)  # type: ignore[operator]
    buffer.accept(tone(2))
    assert buffer.render(2) == tone(2)


def test_clear_fades_out_and_counts_the_fade_as_rendered() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0, fade_ms=5)
    buffer.accept(tone(4800))
    buffer.render(480)
    assert buffer.clear() == 4800 - 480 - 120
    position = buffer.position()
    assert (position.accepted, position.rendered, position.discarded) == (4800, 600, 4200)
    assert buffer.queued == 0
    fade = values(buffer.render(480))
    assert fade[0] == 1000
    assert fade[119] in range(1, 20)
    assert all(earlier >= later for earlier, later in pairwise(fade))
    assert not any(fade[120:])
    assert buffer.position().rendered == 600


def test_clear_of_silence_needs_no_fade() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(tone(480))
    assert buffer.clear() == 480
    assert buffer.render(480) == bytes(960)
    assert buffer.position().rendered == 0


def test_fade_may_span_blocks_and_new_audio_follows_it() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0, fade_ms=5)
    buffer.accept(tone(480))
    buffer.render(48)
    buffer.clear()
    buffer.accept(tone(480, -7))
    out = values(buffer.render(100) + buffer.render(100))
    assert min(out[:120]) > 0
    assert out[120:] == [-7] * 80


def test_a_response_after_a_clear_starts_with_the_first_prebuffer() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=60)
    buffer.accept(tone(60 * MS))
    buffer.render(61 * MS)
    buffer.accept(tone(100 * MS))
    assert buffer.underruns == 1
    buffer.clear()
    buffer.accept(tone(60 * MS))
    assert buffer.render(MS) == tone(MS)
    assert buffer.underruns == 1


def test_after_a_clear_it_gathers_again() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=60)
    buffer.accept(tone(100 * MS))
    buffer.render(MS)
    buffer.clear()
    buffer.accept(tone(59 * MS))
    assert not any(values(buffer.render(20 * MS))[120:])


def test_pause_stands_still_and_resume_goes_on_from_the_same_sample() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0, fade_ms=5)
    buffer.accept(tone(2400))
    buffer.render(480)
    buffer.pause()
    buffer.pause()
    assert buffer.position().rendered == 600
    out = values(buffer.render(480))
    assert out[0] == 1000
    assert not any(out[120:])
    assert buffer.render(480) == bytes(960)
    assert buffer.position().rendered == 600
    buffer.resume()
    buffer.resume()
    out = values(buffer.render(480))
    assert out[0] == 0
    assert out[1] in range(1, 20)
    assert all(earlier <= later for earlier, later in pairwise(out))
    assert out[120:] == [1000] * 360
    assert buffer.position().rendered == 1080


def test_pause_before_anything_sounds() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.pause()
    buffer.accept(tone(480))
    assert buffer.render(480) == bytes(960)
    buffer.resume()
    assert buffer.render(480) == tone(480)


def test_clear_while_paused_drops_everything() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(tone(2400))
    buffer.render(480)
    buffer.pause()
    assert buffer.clear() == 2400 - 600
    buffer.resume()
    buffer.render(120)
    assert buffer.render(480) == bytes(960)


def test_a_stream_without_end_is_refused() -> None:
    buffer = PlaybackBuffer(limit_s=1)
    buffer.accept(tone(24_000))
    with pytest.raises(AudioDeviceError, match="more than 1 s"):
        buffer.accept(tone(1))
    buffer.clear()
    buffer.accept(tone(1))


def test_heard_follows_the_clock_of_the_blocks() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(tone(960))
    buffer.render(480, at=10.04)
    buffer.render(480, at=10.06)
    assert buffer.position(10.0).heard == 0
    assert buffer.position(10.05).heard == 240
    assert buffer.position(10.045).heard == 240  # never back
    assert buffer.position(10.06).heard == 480
    assert buffer.position(10.0725).heard == 780
    assert buffer.position(11.0).heard == 960


def test_heard_stands_still_in_silence_between_blocks() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(tone(240))
    buffer.render(480, at=1.00)
    buffer.render(480, at=1.02)
    buffer.accept(tone(480))
    buffer.render(480, at=1.04)
    assert buffer.position(1.005).heard == 120
    assert buffer.position(1.03).heard == 240
    assert buffer.position(1.045).heard == 360


def test_recall_counts_as_discarded_what_the_device_dropped() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(tone(4800))
    for block in range(4):
        buffer.render(480, at=1.0 + block * 0.02)
    buffer.clear()
    buffer.recall(1.03)
    position = buffer.position(9.9)
    assert (position.accepted, position.rendered, position.heard, position.discarded) == (4800, 720, 720, 4080)
    assert buffer.render(480) == bytes(960)
    buffer.accept(tone(480))
    buffer.render(480, at=2.0)
    position = buffer.position(2.01)
    assert (position.rendered, position.heard, position.discarded) == (1200, 960, 4080)


def test_memory_of_blocks_is_bounded() -> None:
    buffer = PlaybackBuffer(prebuffer_ms=0)
    buffer.accept(tone(10_000))
    for block in range(1000):
        buffer.render(10, at=float(block))
    assert buffer.position(0.0).heard >= 10_000 - 512 * 10


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=300), max_size=30), st.lists(st.integers(1, 200), min_size=1, max_size=60))
def test_without_clear_what_comes_out_is_what_went_in(chunks: list[bytes], blocks: list[int]) -> None:
    """Whatever the sizes: nothing is lost, repeated or changed; silence is only added."""
    buffer = PlaybackBuffer(prebuffer_ms=1)
    pcm = b"".join(chunks)
    out: list[bytes] = []
    rendered = 0
    feed = iter(chunks)
    for block in blocks:
        buffer.accept(next(feed, b""))
        piece = buffer.render(block)
        assert len(piece) == 2 * block
        after = buffer.position().rendered
        out.append(piece[: 2 * (after - rendered)])
        assert not any(piece[2 * (after - rendered) :])
        rendered = after
    for chunk in feed:
        buffer.accept(chunk)
    buffer.finish_response()
    out.append(buffer.render(buffer.queued))
    assert b"".join(out) == pcm[: len(pcm) // 2 * 2]


class BufferMachine(RuleBasedStateMachine):
    """Numbered samples through any order of calls."""

    @initialize(prebuffer_ms=st.sampled_from([0, 5, 60]), fade_ms=st.sampled_from([0, 1, 5]))
    def setup(self, prebuffer_ms: int, fade_ms: int) -> None:
        self.buffer = PlaybackBuffer(prebuffer_ms=prebuffer_ms, fade_ms=fade_ms)
        self.sent = 0
        self.heard = 0
        self.now = 0.0
        self.paused = False

    @rule(count=st.integers(0, 3000))
    def accept(self, count: int) -> None:
        assert self.buffer.accept(counted(self.sent, count)) == count
        self.sent += count

    @rule(samples=st.integers(1, 700))
    def render(self, samples: int) -> None:
        before = self.buffer.position()
        tail = len(self.buffer._tail) // 2
        out = values(self.buffer.render(samples, at=self.now + 0.04))
        self.now += samples / 24_000
        new = self.buffer.position().rendered - before.rendered
        faded = min(tail, samples)
        assert len(out) == samples
        assert not any(out[faded + new :])
        assert not (self.paused and new)
        # what is not faded carries its number, in order and without holes
        first = before.rendered + before.discarded
        plain = [value for value in out[faded : faded + new] if value]
        numbers = [(number % 32_000) + 1 for number in range(first, first + new)]
        unfaded = [number for value, number in zip(out[faded : faded + new], numbers, strict=True) if value == number]
        assert len(numbers) - len(unfaded) <= 240  # only fades change samples
        assert len(plain) <= new

    @rule()
    def clear(self) -> None:
        before = self.buffer.position()
        dropped = self.buffer.clear()
        after = self.buffer.position()
        assert after.discarded == before.discarded + dropped
        assert after.rendered - before.rendered <= 120
        assert self.buffer.queued == 0

    @rule()
    def recall(self) -> None:
        self.buffer.recall(self.now)
        position = self.buffer.position(self.now)
        assert position.heard == position.rendered

    @rule()
    def pause(self) -> None:
        self.buffer.pause()
        self.paused = True

    @rule()
    def resume(self) -> None:
        self.buffer.resume()
        self.paused = False

    @rule()
    def finish_response(self) -> None:
        self.buffer.finish_response()

    @invariant()
    def counts_add_up(self) -> None:
        position = self.buffer.position(self.now)
        assert position.accepted == self.sent
        assert position.accepted == position.rendered + self.buffer.queued + position.discarded
        assert self.heard <= position.heard <= position.rendered
        self.heard = position.heard


BufferMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBuffer = BufferMachine.TestCase
