"""The record of events, and waiting for one."""

import asyncio
from typing import Any

import pytest

from rtvoice.testing.event_log import EventLog, brief


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


async def test_past_and_future_events_are_returned_once_in_order() -> None:
    log = EventLog("client")
    log.add(event("a", n=1))
    log.add(event("b"))
    log.add(event("a", n=2))
    assert (await log.next("a", timeout=1))["n"] == 1
    assert (await log.next("a", timeout=1))["n"] == 2
    assert await log.next("b", timeout=1) == event("b")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(log.next("a", timeout=1))
        await asyncio.sleep(0)
        log.add(event("b"))
        await asyncio.sleep(0)
        assert not waiting.done()
        log.add(event("a", n=3))
    assert waiting.result()["n"] == 3


async def test_a_condition_passes_over_others_for_good() -> None:
    log = EventLog("client")
    for n in range(4):
        log.add(event("a", n=n))
    assert (await log.next("a", lambda e: e["n"] == 2, timeout=1))["n"] == 2
    assert (await log.next("a", timeout=1))["n"] == 3


@pytest.mark.virtual_clock
async def test_waiting_in_vain_tells_what_there_was() -> None:
    log = EventLog("client")
    with pytest.raises(TimeoutError, match=r"no \(further\) 'a' from the client within 2 s; there were: no events"):
        await log.next("a", timeout=2)
    log.add(event("b"))
    log.add(event("b"))
    with pytest.raises(TimeoutError, match="there were: 2 b"):
        await log.next("a", timeout=2)
    log.add(event("a"))
    assert await log.next("a", timeout=2) == event("a")


def test_audio_is_shown_by_its_size() -> None:
    assert brief(event("input_audio_buffer.append", audio="AAAA")) == event(
        "input_audio_buffer.append", audio="<4 base64 characters>"
    )
    assert brief(event("response.output_audio.delta", delta="AAAA"))["delta"] == "<4 base64 characters>"
    assert brief(event("response.output_text.delta", delta="Hi")) == event("response.output_text.delta", delta="Hi")
    assert brief(event("input_audio_buffer.append")) == event("input_audio_buffer.append")
    assert brief({}) == {}
