import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rtvoice.cli.demo import clips
from rtvoice.cli.demo.user import PATIENCE_S, PAUSE_S, Line, ScriptedUser
from rtvoice.events import (
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
)
from rtvoice.testing import clock

STOP_S = len(clips.STOP.pcm()) / 48_000
Assistant = Callable[[EventBus], Awaitable[None]]


class Meeting:
    """A conversation of a scripted user with an assistant; notes when the user spoke and left."""

    def __init__(self, *lines: Line) -> None:
        self.user = ScriptedUser(lines)
        self.spoke_at: list[float] = []
        self.left_at: float | None = None
        self._lines = len(lines)

    async def hold(self, assistant: Assistant, *, limit_s: float = 100.0) -> None:
        bus, loop = EventBus(), asyncio.get_running_loop()
        self.user.join(bus, leave=self._leave)
        await self.user.start()
        assert self.user.is_active
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(assistant(bus))
            async with asyncio.timeout(limit_s):
                async for chunk in self.user.stream_chunks():
                    is_silent = not any(chunk)
                    if not is_silent and (not self.spoke_at or loop.time() - self.spoke_at[-1] > STOP_S):
                        self.spoke_at.append(loop.time())
            talking.cancel()

    async def _leave(self) -> None:
        self.left_at = asyncio.get_running_loop().time()
        await self.user.stop()


async def says_nothing(_: EventBus) -> None:
    await asyncio.sleep(1000)


def speaks(*moments: tuple[float, float]) -> Assistant:
    """Return an assistant that speaks from and to these times, in seconds."""

    async def assistant(bus: EventBus) -> None:
        loop = asyncio.get_running_loop()
        for index, (begin, end) in enumerate(moments):
            await asyncio.sleep(begin - loop.time())
            await bus.dispatch(AssistantStartedRespondingEvent(response_id=str(index)))
            await asyncio.sleep(end - loop.time())
            await bus.dispatch(AssistantStoppedRespondingEvent(response_id=str(index)))

    return assistant


def test_one_line_after_the_other_and_a_pause_before_each() -> None:
    meeting = Meeting(Line(clips.STOP), Line(clips.STOP))
    clock.run(meeting.hold(speaks((3, 5), (8, 9))))
    first, second = meeting.spoke_at
    assert first == pytest.approx(PAUSE_S + 0.3, abs=0.1)  # a clip begins with 0.3 s of silence
    assert second == pytest.approx(5 + PAUSE_S + 0.3, abs=0.1)
    assert meeting.left_at == pytest.approx(9 + PAUSE_S, abs=0.1)
    assert meeting.user.left
    assert not meeting.user.problem
    assert not meeting.user.is_active


def test_a_line_that_interrupts() -> None:
    meeting = Meeting(Line(clips.STOP), Line(clips.STOP, interrupts_after_s=1.5))
    clock.run(meeting.hold(speaks((3, 6), (8, 9))))
    assert meeting.spoke_at[1] == pytest.approx(3 + 1.5 + 0.3, abs=0.1)
    assert meeting.user.left


def test_a_line_that_would_interrupt_comes_after_a_short_answer_anyway() -> None:
    meeting = Meeting(Line(clips.STOP), Line(clips.STOP, interrupts_after_s=1.5))
    clock.run(meeting.hold(speaks((3, 4), (8, 9))))
    assert meeting.spoke_at[1] == pytest.approx(4 + PAUSE_S + 0.3, abs=0.1)
    assert meeting.user.left


def test_the_user_gives_up_when_nobody_answers() -> None:
    meeting = Meeting(Line(clips.STOP))
    clock.run(meeting.hold(says_nothing))
    assert meeting.left_at == pytest.approx(PAUSE_S + PATIENCE_S, abs=0.2)
    assert meeting.user.problem == "the assistant has not answered for 25 s"
    assert not meeting.user.left


def test_nobody_speaks_to_nobody() -> None:
    async def speak() -> None:
        user = ScriptedUser([Line(clips.STOP)])
        await user.start()
        await anext(user.stream_chunks())

    with pytest.raises(RuntimeError, match=r"join\(\) comes first"):
        clock.run(speak())
