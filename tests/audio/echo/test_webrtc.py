import numpy as np
import pytest
from tests.audio.echo.sounds import Signal, assistant, echo_of, from_pcm, level_db, speech, to_pcm

from rtvoice.audio.echo import WebRtcCanceller

pytest.importorskip("pywebrtc_audio")


def run(microphone: Signal, reference: Signal, canceller: WebRtcCanceller | None = None) -> Signal:
    canceller = canceller or WebRtcCanceller()
    near, far = to_pcm(microphone), to_pcm(reference)
    out = [canceller.process(near[at : at + 480], far[at : at + 480]) for at in range(0, len(far) - 479, 480)]
    assert {len(frame) for frame in out} == {480}
    return from_pcm(b"".join(out))


def test_the_echo_is_taken_away() -> None:
    played = assistant()
    echo = echo_of(played)
    out = run(echo, played)
    assert level_db(echo) - level_db(out) > 20


def test_the_user_comes_out_as_late_as_it_says() -> None:
    user = speech("human_goforward")
    out = run(user, np.zeros_like(user))
    size = 1 << (2 * len(user)).bit_length()
    match = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(user, size)), size)
    assert int(np.argmax(match[:4_800])) == pytest.approx(WebRtcCanceller.delay_ms * 24, abs=12)


def test_reset() -> None:
    played = speech("yes")
    canceller = WebRtcCanceller()
    first = run(echo_of(played), played, canceller)
    canceller.reset()
    second = run(echo_of(played), played, canceller)
    assert level_db(second) == pytest.approx(level_db(first), abs=3)
