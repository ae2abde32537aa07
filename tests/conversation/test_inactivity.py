import asyncio
import time

import pytest

from rtvoice.conversation import ConversationInactivityTimer


@pytest.mark.virtual_clock
async def test_the_timer_goes_by_the_loops_clock() -> None:
    timer = ConversationInactivityTimer(5.0)
    await asyncio.sleep(100)
    assert timer.elapsed() == 0.0
    assert timer.remaining() == 5
    assert not timer.has_timed_out()
    timer.reset()
    await asyncio.sleep(1.25)
    assert timer.elapsed() == 1.25
    assert timer.remaining() == 3
    await asyncio.sleep(3.75)
    assert timer.remaining() == 0
    assert timer.has_timed_out()
    await asyncio.sleep(60)
    assert timer.remaining() == 0
    timer.reset()
    assert timer.elapsed() == 0
    assert not timer.has_timed_out()


def test_the_timer_works_without_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    timer = ConversationInactivityTimer(2)
    timer.reset()
    now = 101.5
    assert timer.elapsed() == 1.5
    assert timer.remaining() == 0
    assert not timer.has_timed_out()
    now = 102.0
    assert timer.has_timed_out()


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_timer_needs_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        ConversationInactivityTimer(seconds)
