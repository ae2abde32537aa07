"""The countdown once more, on the clock on the wall: never early, and not much late."""

import asyncio

from rtvoice.components.inactivity import Inactivity
from rtvoice.events import EventBus, StopAgentCommand, UserInactivityCountdownEvent, UserInactivityTimeoutEvent


async def test_the_countdown_in_real_time() -> None:
    loop, bus = asyncio.get_running_loop(), EventBus()
    inactivity = Inactivity(bus, 1.2)
    inbox = bus.open_inbox(UserInactivityCountdownEvent, UserInactivityTimeoutEvent, StopAgentCommand, in_order=True)
    async with asyncio.TaskGroup() as group:
        begun = loop.time()
        group.create_task(inactivity.run())
        events = [(await inbox.get(timeout=30), loop.time() - begun) for _ in range(3)]
        inactivity.stop()
    assert [type(event) for event, _ in events] == list(inbox.types)
    assert events[0][0].remaining_seconds == 1
    for (_, at), due in zip(events, (0.2, 1.2, 1.2), strict=True):
        assert due - 0.002 <= at < due + 5  # the machine may be busy, the clock's grain is a millisecond
