import json
from collections.abc import Callable

import pytest

from rtvoice.audio.catalogue import CataloguedDevice
from rtvoice.cli import devices


def device(index: int, name: str, inputs: int, outputs: int, *, default: bool = False) -> CataloguedDevice:
    return CataloguedDevice(
        index=index,
        name=name,
        host_api="ALSA",
        input_channels=inputs,
        output_channels=outputs,
        default_rate=48_000,
        input_latency_ms=8.7,
        output_latency_ms=20.0,
        is_default_input=default and inputs > 0,
        is_default_output=default and outputs > 0,
    )


BOTH = [device(0, "USB Mic", 1, 0), device(1, "Headset", 1, 2, default=True)]


def test_the_list(
    rtvoice: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "list_devices", lambda: BOTH)
    assert rtvoice("devices") == 0
    assert capsys.readouterr().out.splitlines() == [
        "Microphones",
        "    0  USB Mic  (ALSA, 1 ch, 48000 Hz, 8.7 ms)",
        "    1  Headset  (ALSA, 1 ch, 48000 Hz, 8.7 ms)  <- default",
        "Loudspeakers",
        "    1  Headset  (ALSA, 2 ch, 48000 Hz, 20 ms)  <- default",
        "An index changes when devices come and go; a part of the name stays.",
    ]


def test_for_programs(
    rtvoice: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "list_devices", lambda: BOTH)
    assert rtvoice("devices", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == ["USB Mic", "Headset"]
    assert listed[1]["is_default_output"] is True


@pytest.mark.parametrize("there", [[], BOTH[:1]])
def test_without_one_of_the_two(
    rtvoice: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    there: list[CataloguedDevice],
) -> None:
    monkeypatch.setattr(devices, "list_devices", lambda: there)
    assert rtvoice("devices") == 1
    assert "  (none)" in capsys.readouterr().out
