from types import SimpleNamespace
from typing import Any

import pytest

from rtvoice.audio import catalogue
from rtvoice.audio.catalogue import CataloguedDevice, list_devices, portaudio_version


class PortAudioError(Exception): ...


def device(index: int, name: str, inputs: int, outputs: int) -> dict[str, Any]:
    return {
        "index": index,
        "name": name,
        "hostapi": 0,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": 48_000.0,
        "default_low_input_latency": 0.0087,
        "default_low_output_latency": 0.02,
    }


def fake_sounddevice(devices: list[dict[str, Any]], defaults: dict[str, int]) -> Any:
    def query_devices(kind: str | None = None) -> Any:
        if kind is None:
            return devices
        if kind not in defaults:
            raise PortAudioError("no default")
        return devices[defaults[kind]]

    return SimpleNamespace(
        PortAudioError=PortAudioError,
        query_devices=query_devices,
        query_hostapis=lambda _: {"name": "ALSA"},
        get_portaudio_version=lambda: (1, "PortAudio V19"),
    )


def test_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [device(0, "USB Mic", 1, 0), device(1, "HDMI", 0, 8)]
    monkeypatch.setattr(catalogue, "load_sounddevice", lambda: fake_sounddevice(devices, {"input": 0}))
    microphone, hdmi = list_devices()
    assert microphone == CataloguedDevice(
        index=0,
        name="USB Mic",
        host_api="ALSA",
        input_channels=1,
        output_channels=0,
        default_rate=48_000,
        input_latency_ms=8.7,
        output_latency_ms=20.0,
        is_default_input=True,
        is_default_output=False,
    )
    assert microphone.as_dict()["name"] == "USB Mic"
    assert not hdmi.is_default_output
    assert portaudio_version() == "PortAudio V19"
