"""A sounddevice module without sound, for tests that want to be PortAudio."""

import asyncio
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rtvoice.audio import device_list


class PortAudioError(Exception):
    """As sounddevice's: message, then PaErrorCode."""


class CallbackAbort(Exception):  # noqa: N818 - sounddevice's name
    """As sounddevice's."""


class FakeStream:
    """A raw stream whose callbacks a test makes by hand."""

    def __init__(self, module: "FakeSoundDevice", kind: str, **settings: Any) -> None:
        module.attempts.append(settings)
        error = module.refuse(settings)
        if error is not None:
            raise error
        self.module = module
        self.kind = kind
        self.settings = settings
        self.channels = settings["channels"]
        self.latency = module.latency
        self.calls: list[str] = []
        self.closed = False
        module.streams.append(self)

    @property
    def time(self) -> float:
        return self.module.loop.time() + self.module.epoch

    def start(self) -> None:
        self.calls.append("start")
        self.module.on_start()

    def abort(self) -> None:
        self.calls.append("abort")
        self.settings["finished_callback"]()

    def close(self) -> None:
        self.closed = True
        self.calls.append("close")
        self.module.on_close()

    def deliver(self, pcm: bytes, *, overflow: bool = False, captured: float | None = None) -> None:
        """Call back as if the microphone had captured ``pcm``; ``captured`` is on the loop's clock."""
        adc = self.time if captured is None else captured + self.module.epoch
        self.call(pcm, len(pcm) // 2 // self.channels, inputBufferAdcTime=adc, input_overflow=overflow)

    def pull(self, frames: int, *, audible: float | None = None) -> bytes:
        """Call back for audio that will be heard at ``audible``, on the loop's clock; a past time is a late call."""
        out = bytearray(b"\x55" * (frames * 2 * self.channels))
        dac = self.time + self.latency if audible is None else audible + self.module.epoch
        self.call(out, frames, outputBufferDacTime=dac, currentTime=min(self.time, dac - self.latency))
        return bytes(out)

    def die(self) -> None:
        """End as PortAudio does when the device goes: without a word but the finished callback."""
        self.settings["finished_callback"]()

    def call(self, data: Any, frames: int, *, input_overflow: bool = False, **times: float) -> None:
        """Call back with times of PortAudio's clock."""
        time_info = SimpleNamespace(**{"currentTime": self.time, **times})
        try:
            self.settings["callback"](data, frames, time_info, SimpleNamespace(input_overflow=input_overflow))
        except CallbackAbort:
            self.settings["finished_callback"]()


class FakeSoundDevice:
    """The part of the ``sounddevice`` module that rtvoice uses."""

    PortAudioError = PortAudioError
    CallbackAbort = CallbackAbort

    epoch = 1_000_000.0
    """PortAudio's clock less the event loop's: nobody may mix them up."""

    def __init__(self) -> None:
        self._StreamBase = type("FakeStreamOfThisTest", (FakeStream,), {})
        self.loop: asyncio.AbstractEventLoop
        self.latency = 0.04
        self.streams: list[FakeStream] = []
        self.attempts: list[dict[str, Any]] = []
        self.refuse: Callable[[dict[str, Any]], Exception | None] = lambda settings: None
        self.on_start: Callable[[], None] = lambda: None
        self.on_close: Callable[[], None] = lambda: None
        self.on_initialize: Callable[[], None] = lambda: None
        self.initialized = 0
        self.default = SimpleNamespace(hostapi=0)
        self.default_index = 0
        self.hosts = ["ALSA", "Windows WASAPI"]
        self.devices = [
            self.device(0, "Built-in Audio", 2, 2),
            self.device(1, "USB Microphone", 1, 0),
            self.device(2, "USB Speaker", 0, 2, rate=48_000),
            self.device(3, "usb microphone pro", 2, 0, hostapi=1, rate=16_000),
        ]

    @staticmethod
    def device(
        index: int, name: str, inputs: int, outputs: int, *, rate: int = 44_100, hostapi: int = 0
    ) -> dict[str, Any]:
        return {
            "index": index,
            "name": name,
            "hostapi": hostapi,
            "max_input_channels": inputs,
            "max_output_channels": outputs,
            "default_samplerate": float(rate),
        }

    def query_devices(self, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        if self.default_index < 0:
            raise PortAudioError(f"Error querying device {self.default_index}")
        return self.devices[self.default_index]

    def query_hostapis(self, index: int) -> dict[str, Any]:
        return {"name": self.hosts[index]}

    def RawInputStream(self, **settings: Any) -> FakeStream:
        return self._StreamBase(self, "input", **settings)

    def RawOutputStream(self, **settings: Any) -> FakeStream:
        return self._StreamBase(self, "output", **settings)

    def WasapiSettings(self, **settings: Any) -> dict[str, Any]:
        return settings

    def _terminate(self) -> None:
        assert all(stream.closed for stream in self.streams), "this ends open streams"

    def _initialize(self) -> None:
        self.initialized += 1
        self.on_initialize()

    @property
    def stream(self) -> FakeStream:
        return self.streams[-1]


@pytest.fixture
async def sounddevice(monkeypatch: pytest.MonkeyPatch) -> FakeSoundDevice:
    """Stand in for the sounddevice module."""
    fake = FakeSoundDevice()
    fake.loop = asyncio.get_running_loop()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(device_list, "_streams", {})
    return fake


@pytest.fixture
def hang() -> Any:
    """Give a call that hangs until the test is over."""
    over = threading.Event()
    yield lambda: over.wait(30)
    over.set()
