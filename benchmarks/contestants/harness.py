"""What the benchmarks themselves cost: the same microphone and loudspeaker with nothing in between."""

import asyncio

from benchmarks.contestants.base import Call, Contestant

_DELTA = bytes(4_800)


class Harness(Contestant):
    """Fetches the microphone's chunks and drops them; plays ten pieces a second, in one go.

    In one go, because it is the socket that wakes the others up: waking up is part of what they cost.
    """

    async def converse(self, call: Call) -> None:
        """Do so until the call is over."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._listen(call)), group.create_task(self._play(call))]
            await call.over.wait()
            for task in tasks:
                task.cancel()

    async def _listen(self, call: Call) -> None:
        async for _ in call.microphone.chunks():
            pass

    async def _play(self, call: Call) -> None:
        while True:
            for _ in range(10):
                call.speaker.play(_DELTA)
            await asyncio.sleep(1)
