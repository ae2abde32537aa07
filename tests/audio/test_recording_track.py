import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rtvoice.audio.recording_track import LOOK_AHEAD, TOLERANCE, RecordingTrack

BLOCK = 480
SECOND = 24_000


def block(number: int, samples: int = BLOCK) -> bytes:
    """Samples that know which block they belong to."""
    return struct.pack("<h", number + 1) * samples


def layout(track: RecordingTrack, until: int) -> list[tuple[int, int, int]]:
    """Return the runs of the line as (block number or -1 for silence, start, length)."""
    values = struct.unpack(f"<{until}h", track.take(until))
    borders = [0, *(index for index in range(1, until) if values[index] != values[index - 1]), until]
    return [(values[start] - 1, start, stop - start) for start, stop in pairwise(borders)]


def test_an_empty_line_is_silent() -> None:
    track = RecordingTrack()
    assert track.ready(1000) == 1000
    assert track.take(300) == bytes(600)
    assert track.take(500) == bytes(400)
    assert track.take(500) == b""


def test_a_steady_stream_is_joined_whatever_the_jitter() -> None:
    track = RecordingTrack()
    for number, jitter in enumerate((0, 200, 470, 3, 90)):
        track.place(number * BLOCK + jitter, block(number))
    track.settle()
    assert layout(track, 5 * BLOCK) == [(number, number * BLOCK, BLOCK) for number in range(5)]
    assert track.held == 0


def test_what_arrives_together_after_a_stall_is_not_torn_apart() -> None:
    track = RecordingTrack()
    track.place(0, block(0))
    stall = 3 * SECOND
    burst = stall // BLOCK
    for number in range(1, burst + 1):
        track.place(stall, block(number))  # all at the end of the stall
    track.place(stall + BLOCK, block(burst + 1))
    track.settle()
    runs = layout(track, stall + 2 * BLOCK)
    assert [number for number, _, _ in runs] == list(range(burst + 2))
    assert all(length == BLOCK for _, _, length in runs)


def test_a_gap_is_silence_at_the_right_place() -> None:
    track = RecordingTrack()
    track.place(0, block(0))
    track.place(10 * SECOND, block(1))
    track.place(10 * SECOND + BLOCK + 100, block(2))
    track.settle()
    assert layout(track, 11 * SECOND) == [
        (0, 0, BLOCK),
        (-1, BLOCK, 10 * SECOND - BLOCK),
        (1, 10 * SECOND, BLOCK),
        (2, 10 * SECOND + BLOCK, BLOCK),
        (-1, 10 * SECOND + 2 * BLOCK, SECOND - 2 * BLOCK),
    ]


def test_a_gap_that_begins_with_a_late_block() -> None:
    track = RecordingTrack()
    track.place(5 * SECOND + 2 * BLOCK, block(0))  # 40 ms late
    track.place(5 * SECOND + 2 * BLOCK, block(1))
    track.place(5 * SECOND + 2 * BLOCK, block(2))
    track.settle()
    assert layout(track, 5 * SECOND + 3 * BLOCK)[1:] == [
        (number, 5 * SECOND + number * BLOCK, BLOCK) for number in range(3)
    ]


def test_small_deviations_are_joined() -> None:
    track = RecordingTrack()
    for number in range(4):
        track.place(number * BLOCK + TOLERANCE, block(number))
    track.settle()
    assert layout(track, 4 * BLOCK)[0] == (0, 0, BLOCK)


def test_a_fast_clock_loses_its_surplus() -> None:
    """Blocks that claim to be ever earlier: 10 % fast."""
    track = RecordingTrack()
    seconds = 4
    count = seconds * SECOND * 11 // 10 // BLOCK
    for number in range(count):
        at = number * BLOCK * 10 // 11
        track.place(at, block(number))
        track.settle(at)
    track.settle()
    runs = layout(track, (seconds + 1) * SECOND)
    for number, start, length in runs[:-1]:
        assert abs(start + length - (number + 1) * BLOCK * 10 // 11) <= 2 * LOOK_AHEAD // 10 + TOLERANCE + BLOCK
    assert runs[-1][0] == -1


def test_audio_faster_than_real_time_is_kept() -> None:
    track = RecordingTrack()
    for number in range(500):
        track.place(0, block(number))  # ten seconds at once
    track.settle()
    runs = layout(track, 500 * BLOCK)
    assert runs == [(number, number * BLOCK, BLOCK) for number in range(500)]


def test_blocks_wait_for_their_successors() -> None:
    track = RecordingTrack()
    track.place(1000, block(0))
    track.settle(1000 + LOOK_AHEAD - 1)
    assert track.ready(SECOND) == 0
    track.settle(1000 + LOOK_AHEAD)
    assert track.ready(SECOND) == SECOND


def test_the_line_is_final_up_to_where_the_waiting_go_on() -> None:
    track = RecordingTrack()
    track.place(0, block(0))
    track.settle(LOOK_AHEAD)
    track.place(SECOND, block(1))
    assert track.ready(10 * SECOND) == BLOCK
    assert track.ready(100) == 100


def test_what_comes_after_its_time_was_written_follows_at_once() -> None:
    track = RecordingTrack()
    track.take(SECOND)
    track.place(SECOND - 300, block(0))
    track.settle()
    assert track.take(SECOND + BLOCK) == block(0)


def test_schedule_places_ahead_of_time() -> None:
    track = RecordingTrack()
    track.schedule(1000, block(0))
    track.schedule(1000 + BLOCK + 7, block(1))  # jitter
    track.schedule(5000, block(2))
    track.schedule(5000, block(3))  # cannot be heard before the one before it
    assert layout(track, 7000) == [
        (-1, 0, 1000),
        (0, 1000, BLOCK),
        (1, 1000 + BLOCK, BLOCK),
        (-1, 1000 + 2 * BLOCK, 4000 - 2 * BLOCK),
        (2, 5000, BLOCK),
        (3, 5000 + BLOCK, BLOCK),
        (-1, 5000 + 2 * BLOCK, 2000 - 2 * BLOCK),
    ]


def test_cut_drops_what_was_scheduled() -> None:
    track = RecordingTrack()
    for number in range(10):
        track.schedule(number * BLOCK, block(number))
    track.cut(2 * BLOCK + 100)
    assert track.held == 2 * (2 * BLOCK + 100)
    track.schedule(4 * BLOCK, block(20))
    assert layout(track, 5 * BLOCK) == [
        (0, 0, BLOCK),
        (1, BLOCK, BLOCK),
        (2, 2 * BLOCK, 100),
        (-1, 2 * BLOCK + 100, 2 * BLOCK - 100),
        (20, 4 * BLOCK, BLOCK),
    ]


def test_cut_cannot_change_what_is_written() -> None:
    track = RecordingTrack()
    track.schedule(0, block(0, 1000))
    assert track.take(600) == block(0, 600)
    track.cut(200)
    track.schedule(0, block(1))
    assert track.take(1080) == block(1)


def test_cut_of_nothing() -> None:
    track = RecordingTrack()
    track.cut(0)
    track.schedule(10, block(0))
    track.cut(5000)
    assert layout(track, BLOCK) == [(0, 0, BLOCK)]


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 900), st.integers(0, 2000)), max_size=40),
    st.integers(1, 5000),
)
def test_lateness_never_costs_audio(blocks: list[tuple[int, int, int]], step: int) -> None:
    """Whatever the gaps, sizes and delays of delivery: every sample is in the line, in order, never early."""
    track = RecordingTrack()
    true_start = 0
    clock = 0
    placed: list[tuple[int, int]] = []
    out: list[int] = []
    written = 0
    for number, (gap, samples, lateness) in enumerate(blocks):
        true_start += gap if gap > 1000 else 0
        clock = max(clock, true_start + lateness)  # blocks arrive in order
        track.place(clock, block(number, samples))
        placed.append((true_start, samples))
        true_start += samples
        track.settle(clock)
        until = track.ready(clock - SECOND)
        while written < until:
            piece = min(until - written, step)
            out += struct.unpack(f"<{piece}h", track.take(written + piece))
            written += piece
    track.settle()
    end = max(written, true_start + 100_000)
    out += struct.unpack(f"<{end - written}h", track.take(end))
    assert [value for value in out if value] == [
        number + 1 for number, (_, samples) in enumerate(placed) for _ in range(samples)
    ]
    for number, (start, _) in enumerate(placed):
        assert out.index(number + 1) >= start - TOLERANCE
    assert track.held == 0
