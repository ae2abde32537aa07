"""What rtvoice's recorder costs by itself.

In a whole conversation it is one per cent of the CPU time, and drowns in the noise of the rest.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rtvoice.components.recorder import Recorder
from rtvoice.events import AssistantAudioPlayedEvent, EventBus, UserAudioCapturedEvent

_BLOCK_S: Final = 0.2
_MINUTES: Final = 10


async def measure(file: Path, *, resident_bytes: Callable[[], int]) -> tuple[float, float]:
    """Let nobody, then a recorder hear ten minutes of conversation.

    Returns:
        What the recorder adds: CPU time in seconds per hour; memory in bytes per minute, from the sixth minute on.
    """
    bus = EventBus()
    without = sum([await _minute(bus) for _ in range(_MINUTES)])
    recorder = Recorder(bus, file, object())  # an output without a tap
    await recorder.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        with_it = sum([await _minute(bus) for _ in range(_MINUTES // 2)])
        memory = resident_bytes()
        with_it += sum([await _minute(bus) for _ in range(_MINUTES // 2)])
        memory = resident_bytes() - memory
        await recorder.stop()
    return (with_it - without) * 60 / _MINUTES, memory / (_MINUTES // 2)


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
