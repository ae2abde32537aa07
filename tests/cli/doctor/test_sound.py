import json
import math
from dataclasses import replace
from typing import Any

import pytest

from rtvoice.audio.loopback import LoopbackReport
from rtvoice.cli.doctor import sound
from rtvoice.cli.doctor.sound import check_sound, judge
from rtvoice.errors import AudioDeviceError

GOOD = LoopbackReport(captured_ms=2300, noise_dbfs=-60.0, clipped_share=0.0, heard=True, latency_ms=90.0, echo_db=-20.0)
UNHEARD: dict[str, Any] = {"heard": False, "latency_ms": None, "echo_db": None}


@pytest.mark.parametrize(
    ("changes", "microphone", "loudspeaker", "words"),
    [
        ({}, "ok", "ok", "after 90 ms at -20 dB"),
        ({"noise_dbfs": -math.inf}, "ok", "ok", "the room is at silence"),
        ({"captured_ms": 0, **UNHEARD}, "problem", "ok", "gave only 0 ms"),
        ({"noise_dbfs": -math.inf, **UNHEARD}, "problem", "ok", "perfect silence"),
        ({"clipped_share": 0.2}, "warning", "ok", "20.0 % clipped"),
        ({"noise_dbfs": -20.0}, "warning", "ok", "The room is loud: -20 dBFS"),
        (UNHEARD, "ok", "ok", "a headset, or not the devices that you think"),
        ({"echo_db": 3.0}, "ok", "warning", "at +3 dB. That is loud."),
        ({"latency_ms": 480.0}, "ok", "warning", "after 480 ms at -20 dB. That is late."),
    ],
)
def test_what_a_measurement_means(changes: dict[str, Any], microphone: str, loudspeaker: str, words: str) -> None:
    findings = list(judge(replace(GOOD, **changes)))
    assert [finding.status for finding in findings] == [microphone, loudspeaker]
    assert any(words in finding.message for finding in findings)
    json.dumps([finding.as_dict() for finding in findings], allow_nan=False)
    for finding in findings:
        assert finding.status == "ok" or finding.remedy


async def test_the_chosen_devices_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def measure(microphone: Any, loudspeaker: Any) -> LoopbackReport:
        assert (microphone._device, loudspeaker._device) == (3, "usb")
        return GOOD

    monkeypatch.setattr(sound, "measure_loopback", measure)
    assert [finding.check async for finding in check_sound(3, "usb")] == ["microphone", "loudspeaker"]


@pytest.mark.parametrize(
    ("message", "remedy"),
    [("it does not open. Check the cable. Twice.", "Check the cable. Twice."), ("it does not open", "rtvoice devices")],
)
async def test_a_device_that_does_not_open(message: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def measure(*_: object) -> LoopbackReport:
        raise AudioDeviceError(message)

    monkeypatch.setattr(sound, "measure_loopback", measure)
    (finding,) = [finding async for finding in check_sound(None, None)]
    assert (finding.status, finding.message) == ("problem", "it does not open.")
    assert remedy in finding.remedy
