import logging
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.audio.echo.sounds import Signal, assistant, echo_of, from_pcm, level_db, speech, to_pcm

from rtvoice.audio.echo.builtin import BuiltinCanceller
from rtvoice.audio.echo.cancellation import EchoCancellation


class Witness:
    """A canceller that writes down what it gets."""

    delay_ms = 7.0

    def __init__(self, drift: float | None = None) -> None:
        self.microphone = b""
        self.reference = b""
        self.resets = 0
        if drift is not None:
            self.drift = drift

    def process(self, microphone: bytes, reference: bytes) -> bytes:
        assert len(microphone) == len(reference) == 480
        self.microphone += microphone
        self.reference += reference
        return microphone[::-1]

    def reset(self) -> None:
        self.resets += 1


def counting(first: int, count: int) -> bytes:
    return np.arange(first, first + count).astype("<i2").tobytes()


def numbers(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(int)


def feed(
    cancellation: EchoCancellation,
    blocks: range,
    *,
    lateness: Callable[[int], float] = lambda block: 0.0,
    rendered: Callable[[int], float] = lambda block: 0.0,
) -> None:
    """Let so many 20 ms be rendered and captured; both count from 0, times may be off."""
    for block in blocks:
        at = block * 0.02
        cancellation.rendered.add(counting(block * 480, 480), at + rendered(block))
        cancellation.process(counting(block * 480, 480), at + 0.02 + lateness(block))


def offset_of(witness: Witness) -> int:
    """How many samples the reference was behind the microphone in the end."""
    return int(numbers(witness.microphone)[-1] - numbers(witness.reference)[-1])


def test_whole_frames_come_out_at_their_time() -> None:
    witness = Witness()
    cancellation = EchoCancellation(witness)
    assert witness.resets == 1
    out, at = cancellation.process(counting(0, 300), 10.0125)
    assert len(out) == 480
    assert at == pytest.approx(10.01 - 0.007)
    out, at = cancellation.process(counting(300, 100), 10.0167)
    assert out == b""
    out, at = cancellation.process(counting(400, 800), 10.05)
    assert len(out) == 4 * 480
    assert at == pytest.approx(10.05 - 0.007)
    assert witness.microphone == counting(0, 1_200)
    assert out == b"".join(witness.microphone[start : start + 480][::-1] for start in range(480, 2_400, 480))


@given(st.lists(st.integers(0, 700), max_size=30))
def test_chunks_of_any_size(sizes: list[int]) -> None:
    witness = Witness()
    cancellation = EchoCancellation(witness)
    end, out, at = 0, b"", 0.0
    for size in sizes:
        piece, at = cancellation.process(counting(end, size), (end + size) / 24_000)
        end, out = end + size, out + piece
    frames = end // 240
    assert witness.microphone == counting(0, 240 * frames)
    assert len(out) == 480 * frames
    assert not sizes or at == pytest.approx(frames / 100 - 0.007)


def test_before_anything_is_rendered_the_reference_is_silence() -> None:
    witness = Witness()
    EchoCancellation(witness).process(counting(0, 480), 1.0)
    assert witness.reference == bytes(960)


def test_the_reference_is_what_was_rendered_at_that_time_and_10_ms_earlier() -> None:
    witness = Witness()
    feed(EchoCancellation(witness), range(20))
    assert offset_of(witness) == 240
    assert (np.diff(numbers(witness.reference)[240:]) == 1).all()


def test_chunks_that_come_late_now_and_then_move_nothing() -> None:
    witness = Witness()
    jitter = random.Random(1)
    feed(EchoCancellation(witness), range(60), lateness=lambda block: jitter.choice((0.0, 0.003, 0.015, 0.06)))
    assert (np.diff(numbers(witness.reference)[1_000:]) == 1).all()
    assert witness.resets == 1
    assert -480 <= offset_of(witness) - 240 <= 480


def test_a_first_chunk_that_came_late_is_noticed_soon() -> None:
    witness = Witness()
    feed(EchoCancellation(witness), range(10), lateness=lambda block: 0.3 if block == 0 else 0.0)
    assert witness.resets == 2
    assert offset_of(witness) == 240


def test_one_time_that_is_wrong_moves_nothing() -> None:
    witness = Witness()
    feed(EchoCancellation(witness), range(30), lateness=lambda block: -0.1 if block == 20 else 0.0)
    assert witness.resets == 1
    assert offset_of(witness) == 240


def test_lost_microphone_audio_is_noticed_within_a_second() -> None:
    witness = Witness()
    cancellation = EchoCancellation(witness)
    for block in range(150):
        cancellation.rendered.add(counting(block * 100, 480), block * 0.02)
        if not 50 <= block < 60:  # 200 ms
            cancellation.process(counting(0, 480), block * 0.02 + 0.02)
    assert witness.resets == 2
    assert numbers(witness.reference)[-1] == 149 * 100 + 480 - 240 - 1


def test_a_drift_that_the_canceller_measures_is_followed() -> None:
    witness = Witness(drift=400e-6)
    feed(EchoCancellation(witness), range(60))
    steps = np.diff(numbers(witness.reference)[480:])
    assert steps.mean() == pytest.approx(1 + 400e-6, abs=2e-4)
    assert offset_of(witness) == pytest.approx(240 - 28_800 * 400e-6, abs=3)


def test_a_delay_that_no_device_admits_is_found(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    played = assistant()
    echo = echo_of(played, delay_ms=400)
    cancellation = EchoCancellation(BuiltinCanceller())
    out: list[Signal] = []
    far, near = to_pcm(played), to_pcm(echo)
    for start in range(0, len(far) - 959, 960):
        at = start / 48_000
        cancellation.rendered.add(far[start : start + 960], at)
        out.append(from_pcm(cancellation.process(near[start : start + 960], at + 0.02)[0]))
    last = slice(-6 * 24_000, None)
    assert level_db(echo[last]) - level_db(np.concatenate(out)[last]) > 20
    assert caplog.text.count("after what was played") == 1


def test_a_usual_delay_is_left_to_the_canceller() -> None:
    played = assistant()
    far, near = to_pcm(played), to_pcm(echo_of(played, delay_ms=80))
    witness = Witness()
    cancellation = EchoCancellation(witness)
    for start in range(0, len(far) - 959, 960):
        cancellation.rendered.add(far[start : start + 960], start / 48_000)
        cancellation.process(near[start : start + 960], start / 48_000 + 0.02)
    assert witness.resets == 1


@pytest.mark.parametrize("problem", ["raises", "short"])
def test_a_canceller_that_fails_is_reported_once(problem: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Witness):
        def process(self, microphone: bytes, reference: bytes) -> bytes:
            if problem == "short":
                return microphone[2:]
            raise OSError("no licence")

    cancellation = EchoCancellation(Broken())
    pcm = to_pcm(speech("stop"))
    out = b"".join(cancellation.process(pcm[start : start + 960], start / 48_000)[0] for start in range(0, 48_000, 960))
    assert out == pcm[:48_000]
    assert [record.message for record in caplog.records] == [
        "The echo canceller failed; the conversation goes on with the echo"
    ]
    assert cancellation.process(counting(0, 480), 5.0)[1] == 5.0
