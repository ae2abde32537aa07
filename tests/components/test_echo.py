import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rtvoice.components.echo import Clean, Echo
from rtvoice.events import AssistantAudioPlayedEvent, AssistantInterruptedEvent, EventBus
from rtvoice.testing import TappedSpeaker, VirtualMicrophone, VirtualSpeaker

LOUD = b"\x00\x10" * 480
HEARD = b"\x01\x02" * 480


class Mine:
    delay_ms = 0.0

    def __init__(self) -> None:
        self.references: list[bytes] = []

    def process(self, microphone: bytes, reference: bytes) -> bytes:
        self.references.append(reference)
        return b"\x07\x00" * 240

    def reset(self) -> None:
        pass


@asynccontextmanager
async def echo(setting: Any, output: VirtualSpeaker) -> AsyncIterator[tuple[EventBus, Clean | None]]:
    bus = EventBus()
    part = Echo(bus, setting, VirtualMicrophone(), output)
    clean = part.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(part.run())
        yield bus, clean
        part.stop()


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("off", "Echo: off, because it was asked for"),
        (None, "Echo: off, because VirtualMicrophone is not a device of rtvoice's, and may need nothing"),
    ],
)
async def test_off(setting: str | None, line: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with echo(setting, TappedSpeaker()) as (bus, clean):
        assert clean is None
        assert not bus.is_heard(AssistantAudioPlayedEvent)
    assert caplog.messages == [line]


async def test_half_duplex_follows_the_tap() -> None:
    speaker = TappedSpeaker()
    async with echo("half_duplex", speaker) as (bus, clean):
        assert clean is not None
        assert not bus.is_heard(AssistantAudioPlayedEvent)
        speaker._taps.send(LOUD, 10.0, asyncio.get_running_loop())
        assert clean(HEARD, 10.02) == (bytes(960), 10.02)
        assert clean(HEARD, 11.0) == (HEARD, 11.0)
    assert speaker._taps._taps == ()


async def test_half_duplex_follows_what_was_handed_to_a_device_without_one() -> None:
    async with echo("half_duplex", VirtualSpeaker()) as (bus, clean):
        assert clean is not None
        bus.publish(AssistantAudioPlayedEvent(pcm=LOUD * 100, starts_at=10.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert clean(HEARD, 11.0) == (bytes(960), 11.0)
        bus.publish(AssistantInterruptedEvent())
        bus.publish(AssistantInterruptedEvent(cut_at=10.5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert clean(HEARD, 11.0) == (HEARD, 11.0)


@pytest.mark.parametrize("own", [True, False])
async def test_a_canceller_gets_what_is_rendered(own: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    speaker = TappedSpeaker()
    mine = Mine()
    async with echo(mine if own else "builtin", speaker) as (_, clean):
        assert clean is not None
        speaker._taps.send(LOUD, 10.0, asyncio.get_running_loop())
        out, at = clean(HEARD, 10.03)
        assert len(out) == 960
        assert at == pytest.approx(10.03 if own else 10.02)
        if own:
            assert out == b"\x07\x00" * 480
            assert mine.references == [LOUD[:480], LOUD[:480]]
    assert speaker._taps._taps == ()
    assert caplog.messages == [f"Echo: {'Mine' if own else 'builtin'}, {'' if own else 'because '}it was asked for"]
