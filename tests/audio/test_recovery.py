import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rtvoice.audio import AudioInputDevice, AudioStats
from rtvoice.audio.recovery import REOPEN_TIMEOUT_S, SAME_LOSS_S, DeviceRecovery, describe
from rtvoice.errors import AudioDeviceError

pytestmark = pytest.mark.virtual_clock


class Device(AudioInputDevice):
    """Notes its calls; an exception in the script of a method is raised, a number is a pause in seconds."""

    def __init__(self, **script: Any) -> None:
        self.script = script
        self.calls: list[str] = []

    async def _do(self, name: str) -> None:
        self.calls.append(name)
        step = self.script.get(name)
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            await asyncio.sleep(step)

    async def start(self) -> None:
        await self._do("start")

    async def stop(self) -> None:
        await self._do("stop")

    def stream_chunks(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    @property
    def is_active(self) -> bool:
        return True


class Clever(Device):
    """Has the optional members."""

    async def reopen(self) -> None:
        await self._do("reopen")

    def stats(self) -> AudioStats:
        return AudioStats("clever", 48_000, 12.0, overflows=3)


async def test_a_device_is_stopped_and_started() -> None:
    device = Device()
    recovery = DeviceRecovery(device)
    assert recovery.may_reopen(has_worked=False)
    await recovery.reopen()
    assert device.calls == ["stop", "start"]
    assert recovery.stats() == AudioStats("Device", 0, 0.0, reopenings=1)
    assert recovery.device_name == ""


async def test_a_device_that_knows_better_is_asked() -> None:
    device = Clever()
    recovery = DeviceRecovery(device)
    await recovery.reopen()
    assert device.calls == ["reopen"]
    assert recovery.stats() == AudioStats("clever", 48_000, 12.0, overflows=3, reopenings=1)
    assert recovery.device_name == "clever"


async def test_statistics_that_fail_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Clever):
        def stats(self) -> AudioStats:
            raise AttributeError("the stream is closed")

    recovery = DeviceRecovery(Broken())
    assert recovery.stats() == AudioStats("Broken", 0, 0.0)
    assert recovery.device_name == ""
    assert "stats() of Broken failed: the stream is closed" in caplog.text


@pytest.mark.parametrize("stop", [OSError("gone"), 60.0])
async def test_a_device_that_cannot_stop_is_started_all_the_same(stop: Any) -> None:
    device = Device(stop=stop)
    await DeviceRecovery(device).reopen()
    assert device.calls == ["stop", "start"]


@pytest.mark.parametrize("error", [OSError("gone"), asyncio.CancelledError("gone")])
async def test_a_device_that_cannot_start_is_lost(error: BaseException) -> None:
    recovery = DeviceRecovery(Device(start=error))
    with pytest.raises(AudioDeviceError, match="could not be opened again: gone"):
        await recovery.reopen()
    assert recovery.stats().reopenings == 0


async def test_a_device_that_takes_for_ever_is_lost() -> None:
    with pytest.raises(AudioDeviceError, match="within 10 s"):
        await DeviceRecovery(Device(start=3600.0)).reopen()
    assert asyncio.get_running_loop().time() == REOPEN_TIMEOUT_S


async def test_a_device_that_fails_again_at_once_is_lost() -> None:
    device = Device()
    recovery = DeviceRecovery(device)
    await recovery.reopen()
    await asyncio.sleep(SAME_LOSS_S - 0.1)
    with pytest.raises(AudioDeviceError, match="only just now"):
        await recovery.reopen()
    await asyncio.sleep(0.1)
    with pytest.raises(AudioDeviceError, match="only just now"):
        await recovery.reopen(has_worked=False)
    await recovery.reopen()
    assert device.calls == ["stop", "start"] * 2


async def test_the_end_waits_for_no_attempt() -> None:
    device = Device(start=5.0)
    recovery = DeviceRecovery(device)

    async def attempt() -> None:
        with pytest.raises(AudioDeviceError):
            await recovery.reopen()

    async with asyncio.TaskGroup() as group:
        group.create_task(attempt())
        await asyncio.sleep(1)
        await recovery.end()
        assert asyncio.get_running_loop().time() == 1.0
    await recovery.end()
    with pytest.raises(AudioDeviceError, match="being stopped"):
        await recovery.reopen()


async def test_a_cancellation_of_the_caller_is_none_of_the_device() -> None:
    async def caller() -> None:
        await DeviceRecovery(Device(start=60.0)).reopen()

    running = asyncio.ensure_future(caller())
    await asyncio.sleep(1)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


def test_an_error_without_words_is_named() -> None:
    assert describe(ValueError()) == "ValueError"
    assert describe(ValueError("no")) == "no"
