"""What both directions share is tested here once; microphone and speaker test what is theirs."""

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rtvoice.audio import device_list, device_stream
from rtvoice.audio.device_stream import DeviceStream
from rtvoice.audio.input_stream import InputStream
from rtvoice.audio.output_stream import OutputStream
from rtvoice.errors import AudioDeviceError


class Rig:
    """A stream and what it reported."""

    def __init__(self, kind: str = "input", **settings: Any) -> None:
        self.losses: list[AudioDeviceError] = []
        self.lost = asyncio.Event()
        self.blocks: list[tuple[bytes, float, bool]] = []
        self.renders: list[tuple[int, float]] = []
        self.sound: Callable[[int], bytes] = lambda samples: bytes(2 * samples)
        common = {"sample_rate": 24_000, "block_ms": 20, "latency": "low", "on_lost": self.on_lost} | settings
        device = common.pop("device", None)
        self.stream: DeviceStream
        if kind == "input":
            self.stream = InputStream(device, on_block=lambda *block: self.blocks.append(block), **common)
        else:
            self.stream = OutputStream(device, render=self.render, **common)

    def on_lost(self, error: AudioDeviceError) -> None:
        self.losses.append(error)
        self.lost.set()

    def render(self, samples: int, at: float) -> bytes:
        self.renders.append((samples, at))
        return self.sound(samples)


def bad_rate(sounddevice: Any, rate: int) -> Callable[[dict[str, Any]], Exception | None]:
    return lambda settings: None if settings["samplerate"] == rate else sounddevice.PortAudioError("rate", -9997)


async def test_opens_and_closes(sounddevice: Any, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(device="USB Mic")
    assert not rig.stream.is_open
    assert rig.stream.stats().device == ""
    with caplog.at_level(logging.INFO):
        await rig.stream.open()
    assert rig.stream.is_open
    stats = rig.stream.stats()
    assert (stats.device, stats.device_rate, stats.latency_ms) == ("USB Microphone", 24_000, 40.0)
    assert "USB Microphone: 24000 Hz, 40 ms latency" in caplog.text
    await rig.stream.close()
    await rig.stream.close()
    assert sounddevice.stream.calls == ["start", "abort", "close"]
    assert not rig.stream.is_open
    await asyncio.sleep(0)
    assert rig.losses == []


async def test_closing_what_never_opened(sounddevice: Any) -> None:
    await Rig().stream.close()
    await Rig().stream.flush(lambda: None)
    assert sounddevice.streams == []


async def test_a_device_that_does_not_start_is_closed(sounddevice: Any) -> None:
    def fail() -> None:
        raise sounddevice.PortAudioError("busy", -9985)

    sounddevice.on_start = fail
    rig = Rig()
    with pytest.raises(AudioDeviceError, match=r"'Built-in Audio' .*does not start.*busy"):
        await rig.stream.open()
    assert sounddevice.stream.calls == ["start", "abort", "close"]


async def test_a_device_that_hangs_is_given_up_and_closed_later(
    sounddevice: Any, monkeypatch: pytest.MonkeyPatch, hang: Callable[[], None]
) -> None:
    monkeypatch.setattr(device_stream, "OPEN_TIMEOUT_S", 0.01)
    sounddevice.on_start = hang
    with pytest.raises(AudioDeviceError, match=r"did not open within 0\.01 s"):
        await Rig().stream.open()


async def test_a_close_that_hangs_is_left_behind(
    sounddevice: Any, monkeypatch: pytest.MonkeyPatch, hang: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device_stream, "CLOSE_TIMEOUT_S", 0.01)
    rig = Rig()
    await rig.stream.open()
    sounddevice.on_close = hang
    await rig.stream.close()
    assert "did not close within 0.01 s" in caplog.text
    assert not rig.stream.is_open


async def test_an_unexpected_failure_closes_the_device(sounddevice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtvoice.audio.resampling", None)
    sounddevice.refuse = bad_rate(sounddevice, 44_100)
    with pytest.raises(ImportError):
        await Rig().stream.open()
    assert sounddevice.stream.calls == ["abort", "close"]


async def test_an_end_that_nobody_asked_for_is_reported_once(sounddevice: Any) -> None:
    rig = Rig()
    await rig.stream.open()
    await asyncio.to_thread(sounddevice.stream.die)
    sounddevice.stream.die()
    await rig.lost.wait()
    assert not rig.stream.is_open
    await rig.stream.flush(lambda: None)
    await rig.stream.close()
    (error,) = rig.losses
    assert "'Built-in Audio' (device 0, ALSA) ended by itself" in str(error)


async def test_a_loss_while_opening_is_reported(sounddevice: Any) -> None:
    rig = Rig()
    sounddevice.on_start = lambda: sounddevice.stream.die()
    await rig.stream.open()
    await rig.lost.wait()
    assert not rig.stream.is_open
    await rig.stream.close()


async def test_a_loss_while_closing_is_not_reported(sounddevice: Any) -> None:
    rig = Rig()
    await rig.stream.open()
    sounddevice.stream.die()  # reported by the loop's next round, by which time it is being closed
    rig.stream._ending = True
    await asyncio.sleep(0)
    assert rig.losses == []
    await rig.stream.close()


async def test_an_error_in_the_callback_ends_the_stream_and_is_reported(sounddevice: Any) -> None:
    rig = Rig("output")
    await rig.stream.open()

    def fail(samples: int) -> bytes:
        raise ValueError("broken pipe organ")

    rig.sound = fail
    sounddevice.stream.pull(480)
    await rig.lost.wait()
    (error,) = rig.losses
    assert "broken pipe organ" in str(error)
    assert isinstance(error.__cause__, ValueError)
    await rig.stream.close()


async def test_a_callback_after_the_end_of_the_loop(sounddevice: Any) -> None:
    rig = Rig()
    loop = rig.stream._loop = asyncio.new_event_loop()
    sounddevice.loop = loop
    rig.stream._live = await asyncio.to_thread(rig.stream._open)
    loop.close()
    sounddevice.stream.die()
    assert rig.losses == []
    await asyncio.to_thread(rig.stream._discard)


async def test_a_device_that_falls_silent_is_lost(sounddevice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stream, "WATCH_INTERVAL_S", 0.001)
    rig = Rig()
    await rig.stream.open()
    sounddevice.stream.deliver(bytes(960))
    await rig.lost.wait()
    assert "has been dead for 0.003 s" in str(rig.losses[0])
    await rig.stream.close()


async def test_a_device_may_take_longer_to_begin(sounddevice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stream, "WATCH_INTERVAL_S", 0.001)
    rig = Rig()
    await rig.stream.open()
    await rig.lost.wait()
    assert "has been dead for 0.016 s" in str(rig.losses[0])
    await rig.stream.close()


async def test_a_device_that_calls_back_is_alive(sounddevice: Any) -> None:
    rig = Rig()
    await rig.stream.open()
    for _ in range(3 * device_stream.SILENT_LOOKS_AT_START):
        sounddevice.stream.deliver(bytes(960))
        rig.stream._look()
        rig.stream._look()
    await asyncio.sleep(0)
    assert rig.losses == []
    await rig.stream.close()


async def test_flush_restarts_the_device(sounddevice: Any) -> None:
    rig = Rig("output")
    await rig.stream.open()
    moments: list[list[str]] = []
    await rig.stream.flush(lambda: moments.append(list(sounddevice.stream.calls)))
    assert moments == [["start", "abort"]]
    assert sounddevice.stream.calls == ["start", "abort", "start"]
    assert rig.stream.is_open
    await asyncio.to_thread(sounddevice.stream.die)
    await rig.lost.wait()
    await rig.stream.close()


async def test_a_restart_that_fails_is_reported_as_a_loss(sounddevice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stream, "WATCH_INTERVAL_S", 0.001)
    rig = Rig("output")
    await rig.stream.open()

    def fail() -> None:
        raise sounddevice.PortAudioError("gone", -9985)

    sounddevice.on_start = fail
    with pytest.raises(sounddevice.PortAudioError):
        await rig.stream.flush(lambda: None)
    await rig.lost.wait()
    assert not rig.stream.is_open
    await rig.stream.close()


async def test_a_stream_is_not_aborted_while_it_steps_aside(sounddevice: Any) -> None:
    """PortAudio must not abort a stream that another thread is closing."""
    rig = Rig()
    await rig.stream.open()
    with device_stream.one_at_a_time:
        closing = asyncio.get_running_loop().run_in_executor(None, rig.stream._discard)
        await asyncio.sleep(0.02)
        assert sounddevice.stream.calls == ["start"]
    await closing
    assert sounddevice.stream.calls == ["start", "abort", "close"]
    await rig.stream.close()


async def test_a_stream_that_steps_aside_while_it_is_opened_is_watched_all_the_same(sounddevice: Any) -> None:
    class Slow(InputStream):
        def _opened_up(self) -> None:  # as where the sound server is asked for the source
            device_list.renew()

    losses: list[AudioDeviceError] = []
    stream = Slow(
        "USB Mic", sample_rate=24_000, block_ms=20, latency="low", on_lost=losses.append, on_block=lambda *_: None
    )
    await stream.open()
    assert stream._opened is not None
    assert stream._opened.stream is sounddevice.stream
    await asyncio.to_thread(sounddevice.stream.die)
    await asyncio.sleep(0)
    assert len(losses) == 1
    await stream.close()
    assert sounddevice.stream.closed


# --- input -------------------------------------------------------------------------------------------------


async def test_input_blocks_carry_the_time_of_their_first_sample(sounddevice: Any) -> None:
    rig = Rig()
    await rig.stream.open()
    now = asyncio.get_running_loop().time()
    block = bytearray(b"\1\2" * 480)
    sounddevice.stream.deliver(block, captured=now - 0.03)
    block[:] = bytes(960)  # PortAudio uses its buffer again
    sounddevice.stream.deliver(bytes(960), overflow=True)
    (pcm, at, overflowed), (_, _, second_overflowed) = rig.blocks
    assert pcm == b"\1\2" * 480
    assert at == pytest.approx(now - 0.03, abs=0.001)
    assert (overflowed, second_overflowed) == (False, True)
    await rig.stream.close()


@pytest.mark.parametrize("nonsense", [-1_000_000.0, 50.0])
async def test_input_times_that_cannot_be(sounddevice: Any, nonsense: float) -> None:
    rig = Rig()
    await rig.stream.open()
    before = asyncio.get_running_loop().time()
    captured = nonsense if nonsense < 0 else before + nonsense
    sounddevice.stream.deliver(bytes(960), captured=captured)
    after = asyncio.get_running_loop().time()
    assert before - 0.041 <= rig.blocks[0][1] <= after
    await rig.stream.close()


async def test_input_at_another_rate_is_resampled(sounddevice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sounddevice.refuse = lambda settings: (
        None if (settings["samplerate"], settings["channels"]) == (48_000, 2) else sounddevice.PortAudioError("", -9997)
    )
    rig = Rig(device="Built-in")
    await rig.stream.open()
    assert rig.stream.stats().device_rate == 48_000
    sine = (8000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype("<i2")
    stereo = np.column_stack((sine, sine)).tobytes()
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(rig.stream, "_clock_offset", lambda: -sounddevice.epoch)
    for start in range(0, len(stereo), 3840):
        sounddevice.stream.deliver(stereo[start : start + 3840], captured=now - 0.01)
    out = np.frombuffer(b"".join(pcm for pcm, _, _ in rig.blocks), "<i2")
    assert 23_500 < len(out) <= 24_000
    expected = (8000 * np.sin(2 * np.pi * 440 * np.arange(len(out)) / 24_000)).astype("<i2")
    assert np.abs(out[200:].astype(int) - expected[200:]).max() < 60
    assert rig.blocks[0][1] == pytest.approx(now - 0.01, abs=1e-6)
    assert rig.blocks[1][1] == pytest.approx(now - 0.01 - 64 / 48_000, abs=1e-6)  # begins with what was held back
    await rig.stream.close()


# --- output ------------------------------------------------------------------------------------------------


async def test_output_renders_into_the_devices_buffer(sounddevice: Any) -> None:
    rig = Rig("output")
    rig.sound = lambda samples: b"\1\2" * samples
    await rig.stream.open()
    now = asyncio.get_running_loop().time()
    assert sounddevice.stream.pull(480, audible=now + 0.05) == b"\1\2" * 480
    ((samples, at),) = rig.renders
    assert samples == 480
    assert at == pytest.approx(now + 0.05, abs=0.001)
    await rig.stream.close()


async def test_output_times_that_cannot_be(sounddevice: Any) -> None:
    rig = Rig("output")
    await rig.stream.open()
    before = asyncio.get_running_loop().time()
    sounddevice.stream.call(bytearray(960), 480, outputBufferDacTime=0.0)
    after = asyncio.get_running_loop().time()
    assert before + 0.039 <= rig.renders[0][1] <= after + 0.041
    await rig.stream.close()


async def test_output_at_another_rate_is_resampled_without_a_seam(
    sounddevice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounddevice.refuse = lambda settings: (
        None if (settings["samplerate"], settings["channels"]) == (44_100, 2) else sounddevice.PortAudioError("", -9998)
    )
    rig = Rig("output")
    phase = 0

    def sine(samples: int) -> bytes:
        nonlocal phase
        pcm = (8000 * np.sin(2 * np.pi * 440 * np.arange(phase, phase + samples) / 24_000)).astype("<i2").tobytes()
        phase += samples
        return pcm

    rig.sound = sine
    await rig.stream.open()
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(rig.stream, "_clock_offset", lambda: -sounddevice.epoch)
    blocks = [sounddevice.stream.pull(882, audible=now + 1 + block * 0.02) for block in range(50)]
    assert all(len(block) == 882 * 4 for block in blocks)
    out = np.frombuffer(b"".join(blocks), "<i2").reshape(-1, 2)
    assert np.array_equal(out[:, 0], out[:, 1])
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(len(out)) / 44_100)
    assert np.abs(out[400:, 0] - expected[400:]).max() < 60
    for number, (samples, at) in enumerate(rig.renders):
        assert samples == 480
        assert at == pytest.approx(now + 1 + number * 0.02, abs=1 / 40_000)
    await rig.stream.close()
