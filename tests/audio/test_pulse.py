"""What needs a sound server is tested in test_real_devices.py."""

import asyncio
import ctypes
import threading
from typing import Any

import pytest

from rtvoice.audio import pulse
from rtvoice.audio.input_stream import InputStream
from rtvoice.audio.pulse import MonitorWatch
from rtvoice.errors import AudioDeviceError


def watch() -> MonitorWatch:
    return MonitorWatch(lambda name: None)


def test_without_the_library_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "_LIBRARY", "libpulse-is-not-here.so.0")
    before = threading.active_count()
    nothing = watch()
    nothing.start()
    assert threading.active_count() == before
    assert nothing.monitor_at_first(10) is None
    nothing.stop()


def test_without_a_server_it_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nobody")
    try:
        ctypes.CDLL(pulse._LIBRARY)
    except OSError:
        pytest.skip("needs libpulse")
    alone = watch()
    alone.start()
    alone._thread.join(10)
    assert not alone._thread.is_alive()
    assert alone.monitor_at_first(10) is None
    alone.stop()


@pytest.mark.parametrize(
    ("device", "watched"), [("Monitor of USB", False), (None, True), (3, True), ("USB Microphone", True)]
)
async def test_who_asks_for_a_monitor_gets_it(
    device: Any, watched: bool, sounddevice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(MonitorWatch, "start", lambda self: started.append(True))
    sounddevice.devices.append(sounddevice.device(4, "Monitor of USB", 2, 0))
    stream = InputStream(
        device, sample_rate=24_000, block_ms=20, latency="low", on_lost=lambda _: None, on_block=lambda *_: None
    )
    await stream.open()
    await stream.close()
    assert bool(started) is watched


async def test_a_stream_that_was_moved_to_a_monitor_is_lost(sounddevice: Any) -> None:
    lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    stream = InputStream(
        None, sample_rate=24_000, block_ms=20, latency="low", on_lost=lost.set_result, on_block=lambda *_: None
    )
    await stream.open()
    stream._monitor_watch._on_monitor("speaker.monitor")
    assert "what the loudspeaker plays (speaker.monitor)" in str(await lost)
    await stream.close()


async def test_a_stream_that_begins_on_a_monitor_is_refused_if_it_must_not(
    sounddevice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(MonitorWatch, "start", lambda self: None)
    monkeypatch.setattr(MonitorWatch, "monitor_at_first", lambda self, timeout_s: "speaker.monitor")
    for may_be_monitor in (True, False):
        stream = InputStream(
            None,
            sample_rate=24_000,
            block_ms=20,
            latency="low",
            on_lost=lambda _: None,
            on_block=lambda *_: None,
            may_be_monitor=may_be_monitor,
        )
        if may_be_monitor:
            await stream.open()
            await stream.close()
        else:
            with pytest.raises(AudioDeviceError, match=r"there is no microphone: .* \(speaker.monitor\)"):
                await stream.open()
    assert all(stream.closed for stream in sounddevice.streams)
