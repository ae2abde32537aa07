"""What rtvoice's recorder costs by itself.

In a whole conversation it is one per cent of the CPU time, and drowns in the noise of the rest.
"""

import asyncio
import time
from pathlib import Path

from rtvoice.components.recorder import Recorder
from rtvoice.events import AssistantAudioPlayedEvent, EventBus, UserAudioCapturedEvent

_BLOCK_S = 0.2


async def cost_per_hour(file: Path) -> float:
    """Let nobody, then a recorder hear a minute of conversation; return its CPU time, in seconds per hour."""
    bus = EventBus()
    without = await _minute(bus)
    recorder = Recorder(bus, file, object())  # an output without a tap
    begin = time.process_time()
    await recorder.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        await _minute(bus)
        await recorder.stop()
    return 60 * (time.process_time() - begin - without)


async def _minute(bus: EventBus) -> float:
    """Publish what microphone and loudspeaker do while both sides speak all the time; return the CPU time."""
    loop = asyncio.get_running_loop()
    chunk, delta = bytes(960), bytes(4800)
    cpu, due = time.process_time(), loop.time()
    for _ in range(round(60 / _BLOCK_S)):
        due += _BLOCK_S
        await asyncio.sleep(due - loop.time())
        for number in range(10):
            bus.publish(UserAudioCapturedEvent(pcm=chunk, captured_at=due - _BLOCK_S + (number + 1) * 0.02))
        for number in range(2):
            bus.publish(AssistantAudioPlayedEvent(pcm=delta, starts_at=due + number * 0.1))
    return time.process_time() - cpu
