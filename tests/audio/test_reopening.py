import asyncio
from typing import Any

import pytest

from rtvoice.audio import device_list, reopening
from rtvoice.audio.reopening import PAUSES_S, reopen
from rtvoice.errors import AudioDeviceError

pytestmark = pytest.mark.virtual_clock


class Devices:
    """Notes what is opened; ``works(device)`` says whether it is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[Any] = []
        self.works: Any = lambda device: False
        monkeypatch.setattr(device_list, "renew", lambda: self.opened.append("renewed"))

    async def open(self, device: int | str | None) -> None:
        self.opened.append(device)
        if not self.works(device):
            raise AudioDeviceError(f"no {device!r}")


async def test_the_same_device_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(monkeypatch)
    devices.works = lambda device: True
    await reopen(devices.open, "USB")
    assert devices.opened == ["USB"]


async def test_then_with_a_new_list(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    devices = Devices(monkeypatch)
    devices.works = lambda device: "renewed" in devices.opened
    await reopen(devices.open, "USB")
    assert devices.opened == ["USB", "renewed", "USB"]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("wanted", "tried"), [("USB", ["USB", "renewed", "USB"] * 4 + [None]), (3, [3, "renewed", None])]
)
async def test_then_the_default(
    wanted: Any, tried: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    devices = Devices(monkeypatch)
    devices.works = lambda device: device is None
    await reopen(devices.open, wanted)
    assert devices.opened == tried
    assert f"The device {wanted!r} is gone" in caplog.text


async def test_then_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(monkeypatch)
    devices.works = lambda device: asyncio.get_running_loop().time() > 1.5
    await reopen(devices.open, None)
    assert devices.opened == [None, "renewed", None] * 3 + [None]


async def test_at_last_it_gives_up_with_the_first_error(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(monkeypatch)
    with pytest.raises(AudioDeviceError, match="no 'USB'"):
        await reopen(devices.open, "USB")
    assert asyncio.get_running_loop().time() == pytest.approx(sum(PAUSES_S), abs=1)


async def test_a_list_that_cannot_be_renewed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hang: Any
) -> None:
    monkeypatch.setattr(reopening, "RENEW_TIMEOUT_S", 0.01)
    devices = Devices(monkeypatch)
    devices.works = lambda device: devices.opened.count("USB") > 1
    monkeypatch.setattr(device_list, "renew", hang)
    await reopen(devices.open, "USB")
    assert "did not renew its list" in caplog.text
