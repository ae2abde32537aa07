import pytest

from rtvoice.audio.catalogue import CataloguedDevice
from rtvoice.cli.doctor import setup
from rtvoice.cli.doctor.setup import check_setup
from rtvoice.errors import AudioExtraMissingError

DEVICE = CataloguedDevice(
    index=0,
    name="Headset",
    host_api="ALSA",
    input_channels=1,
    output_channels=2,
    default_rate=48_000,
    input_latency_ms=8.7,
    output_latency_ms=20.0,
    is_default_input=True,
    is_default_output=True,
)


def test_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "portaudio_version", lambda: "PortAudio V19")
    monkeypatch.setattr(setup, "list_devices", lambda: [DEVICE])
    findings = list(check_setup())
    assert [(each.check, each.status) for each in findings] == [
        ("python", "ok"), ("packages", "ok"), ("portaudio", "ok"), ("devices", "ok")
    ]  # fmt: skip
    assert "recording" in findings[1].details["extras"]
    assert "default: Headset" in findings[3].message


def test_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "portaudio_version", lambda: "PortAudio V19")
    monkeypatch.setattr(setup, "list_devices", list)
    assert list(check_setup())[-1].status == "problem"


def test_no_portaudio_and_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise AudioExtraMissingError("sudo apt install libportaudio2")

    monkeypatch.setattr(setup, "portaudio_version", missing)
    monkeypatch.setattr(setup, "find_spec", lambda _: None)
    monkeypatch.setattr("sys.platform", "win32")
    python, packages, portaudio = check_setup()
    assert "Ctrl+C" in python.message
    assert "with no extra; not installed: audio, webrtc" in packages.message
    assert portaudio.remedy == "sudo apt install libportaudio2"
