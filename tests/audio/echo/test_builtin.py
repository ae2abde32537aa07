import numpy as np
from tests.audio.echo.sounds import Signal, assistant, echo_of, from_pcm, level_db, speech, to_pcm

from rtvoice.audio.echo import BuiltinCanceller, MeasuresDrift
from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.input_audio import TurnDetector

TURNS = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500}


def turns(signal: Signal) -> list[int]:
    edges = TurnDetector(TURNS, AudioFormat("audio/pcm"), 0).feed(to_pcm(signal))
    return [edge.at_ms for edge in edges if edge.kind == "started"]


def run(microphone: Signal, reference: Signal, canceller: BuiltinCanceller | None = None) -> Signal:
    canceller = canceller or BuiltinCanceller()
    near, far = to_pcm(microphone), to_pcm(reference)
    out = [canceller.process(near[at : at + 480], far[at : at + 480]) for at in range(0, len(far) - 479, 480)]
    assert {len(frame) for frame in out} == {480}
    return from_pcm(b"".join(out))


def test_the_assistant_alone_is_not_taken_for_a_user() -> None:
    """Turn detection hears nothing, from the first word on; without a canceller it hears every sentence."""
    played = assistant()
    echo = echo_of(played)
    assert len(turns(echo)) > 3
    out = run(echo, played)
    assert turns(out) == []
    assert level_db(echo) - level_db(out) > 25


def test_the_user_is() -> None:
    played = assistant()
    user = np.zeros_like(played)
    user[12 * 24_000 :] = speech("human_goforward", "lights", "name")[: len(played) - 12 * 24_000]
    out = run(echo_of(played) + user, played)
    late = round(BuiltinCanceller.delay_ms * 24)
    span = slice(12 * 24_000, 17 * 24_000)
    cleaned, wanted = out[late:][span], user[span]
    assert cleaned @ wanted > 0.8 * wanted @ wanted
    assert level_db(wanted) - level_db(cleaned - wanted) > 8


def test_with_nothing_played_the_microphone_only_comes_later() -> None:
    user = speech("lights")
    out = run(user, np.zeros_like(user))
    np.testing.assert_allclose(out[240:], user[: len(out) - 240], atol=2e-4)


def test_clocks_that_run_apart() -> None:
    played = assistant()
    echo = echo_of(played)
    faster = np.interp(np.arange(len(echo)) * (1 + 100e-6), np.arange(len(echo)), echo).astype(np.float32)
    canceller = BuiltinCanceller()
    assert isinstance(canceller, MeasuresDrift)
    run(faster, played, canceller)
    assert canceller.drift > 40e-6  # nobody follows it here, so it is not found exactly


def test_a_room_that_changes_is_learned_anew() -> None:
    played = assistant()
    twice = np.concatenate((played, played))
    half = len(played)
    echo = np.concatenate((echo_of(played, seed=1), -echo_of(played, seed=2)))
    out = run(echo, twice)
    assert level_db(out[half + 6 * 24_000 :]) < -50


def test_reset() -> None:
    played = speech("name")
    canceller = BuiltinCanceller()
    first = run(echo_of(played), played, canceller)
    canceller.reset()
    np.testing.assert_array_equal(run(echo_of(played), played, canceller), first)
