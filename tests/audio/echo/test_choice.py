import importlib.util
from typing import Any

import pytest

from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.audio.devices import AudioStats
from rtvoice.audio.echo import BuiltinCanceller, WebRtcCanceller
from rtvoice.audio.echo.choice import check_echo, default_choice, make_canceller
from rtvoice.errors import ConfigurationError
from rtvoice.testing import TappedSpeaker, VirtualMicrophone, VirtualSpeaker


class Mine:
    delay_ms = 0.0

    def process(self, microphone: bytes, reference: bytes) -> bytes:
        return microphone

    def reset(self) -> None:
        pass


@pytest.mark.parametrize("value", [None, "off", "half_duplex"])
def test_what_needs_no_tap(value: Any) -> None:
    assert check_echo(value, VirtualSpeaker()) is value


@pytest.mark.parametrize("value", ["builtin", Mine()])
def test_what_needs_one(value: Any) -> None:
    assert check_echo(value, TappedSpeaker()) is value
    with pytest.raises(ConfigurationError, match="which VirtualSpeaker does not: use echo="):
        check_echo(value, VirtualSpeaker())


def test_webrtc_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert check_echo("webrtc", TappedSpeaker()) == "webrtc"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "rtvoice\[webrtc\]"'):
        check_echo("webrtc", TappedSpeaker())


def test_an_unknown_mode() -> None:
    value: Any = "loud"
    with pytest.raises(ConfigurationError, match="echo must be one of 'off', 'half_duplex', 'builtin', 'webrtc'"):
        check_echo(value, TappedSpeaker())


@pytest.mark.parametrize(("value", "lack"), [(3, "lacks process, reset, delay_ms"), (Mine, "is a class")])
def test_no_canceller(value: Any, lack: str) -> None:
    with pytest.raises(TypeError, match=lack):
        check_echo(value, TappedSpeaker())


def named(monkeypatch: pytest.MonkeyPatch, microphone: str, speaker: str) -> tuple[MicrophoneInput, SpeakerOutput]:
    def stats(name: str) -> Any:
        return lambda self: AudioStats(device=name, device_rate=48_000, latency_ms=10)

    monkeypatch.setattr(MicrophoneInput, "stats", stats(microphone))
    monkeypatch.setattr(SpeakerOutput, "stats", stats(speaker))
    return MicrophoneInput(), SpeakerOutput()


@pytest.mark.parametrize(
    ("microphone", "speaker", "mode"),
    [
        ("MacBook Pro Microphone", "MacBook Pro Speakers", "builtin"),
        ("default", "default", "builtin"),
        ("AirPods Pro", "AirPods Pro", "off"),
        ("Built-in", "External Headphones", "off"),
        ("Headset (WH-1000XM4 Hands-Free AG Audio)", "Speakers (Realtek)", "off"),
    ],
)
def test_the_default_goes_by_the_names(
    microphone: str, speaker: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = default_choice(*named(monkeypatch, microphone, speaker))
    assert choice.mode == mode
    assert any(name in choice.reason for name in (microphone, speaker))


def test_for_other_devices_the_default_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    microphone, speaker = named(monkeypatch, "default", "default")
    for devices in ((microphone, TappedSpeaker()), (VirtualMicrophone(), speaker)):
        choice = default_choice(*devices)
        assert choice.mode == "off"
        assert "is not a device of rtvoice's" in choice.reason


def test_cancellers() -> None:
    mine = Mine()
    assert make_canceller(mine) is mine
    assert isinstance(make_canceller("builtin"), BuiltinCanceller)
    pytest.importorskip("pywebrtc_audio")
    assert isinstance(make_canceller("webrtc"), WebRtcCanceller)
