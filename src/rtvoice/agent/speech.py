"""Words of the application's own."""

from itertools import count
from typing import Final

from rtvoice.events import (
    AgentStoppedEvent,
    AssistantInterruptedEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SayCommand,
)

_numbers: Final = count(1)


async def say(bus: EventBus, text: str) -> bool:
    """Have something said, wait until it was heard, and return whether it was heard to the end."""
    request_id = f"say_{next(_numbers)}"
    inbox = bus.open_inbox(
        ResponseStartedEvent,
        ResponseFinishedEvent,
        AssistantInterruptedEvent,
        AssistantStoppedRespondingEvent,
        AgentStoppedEvent,
        in_order=True,
    )
    try:
        bus.publish(SayCommand(text=text, request_id=request_id))
        response_id: str | None = None
        while True:
            event = await inbox.get()
            match event:
                case ResponseStartedEvent():
                    if event.request_id == request_id:
                        response_id = event.response_id
                case AssistantInterruptedEvent() if response_id is not None:
                    return False  # it cuts what sounds and what waits behind it
                case ResponseFinishedEvent() if event.response_id == response_id:
                    if event.status != "completed" or not event.has_audio:
                        return False
                case AssistantStoppedRespondingEvent() if event.response_id == response_id:
                    return True
                case AgentStoppedEvent():
                    return False
    finally:
        bus.close_inbox(inbox)
