"""Events: everything that happens in the agent, also what has no callback.

python examples/events.py             a rehearsal with scripted words: no key, no microphone
python examples/events.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import RealtimeAgent
from rtvoice.events import AssistantInterruptedEvent, ResponseFinishedEvent, SpeechDetectedEvent
from rtvoice.testing import ScriptedUser, rehearse_or_run


# A handler may be a plain or an async function. It runs in a task of its own: the agent never waits for it.
def speech(event: SpeechDetectedEvent) -> None:
    print(f"event      speech detected {event.audio_start_ms} ms into the user's audio")


async def interrupted(event: AssistantInterruptedEvent) -> None:
    for cut in event.cuts:
        print(f"event      of {cut.received_ms} ms of speech the user heard {cut.played_ms} ms")


def finished(event: ResponseFinishedEvent) -> None:
    print(f"event      response {event.status}, {event.usage.get('total_tokens')} tokens")


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    agent: RealtimeAgent[None] = RealtimeAgent(instructions="You tell stories.", **devices)
    agent.event_bus.subscribe(SpeechDetectedEvent, speech)
    agent.event_bus.subscribe(AssistantInterruptedEvent, interrupted)
    agent.event_bus.subscribe(ResponseFinishedEvent, finished)
    return agent


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("Tell me a story.")
    await user.interrupts("Stop.", after_ms=1000)
    await user.hears("All right")


replies = ["There once was a lighthouse at the end of the world.", "All right."]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
