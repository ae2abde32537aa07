"""What the server says: one script per kind of conversation. Each begins with the client's first audio."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from benchmarks.responses import Response, event

Script = Callable[..., Coroutine[Any, Any, None]]

BARGE_IN_AT_S: Final = 0.73
"""When the user speaks, after the first delta: not at the border of a delta."""
BARGE_IN_VARIANTS: Final = {
    1: "in real time, response still running",
    2: "in a burst, response still running",
    3: "in real time, response done",
    4: "in a burst, response done",
}
"""How the audio came that the user interrupts; the key is the number of the response."""
NEXT_RESPONSE: Final = 100
"""Added to the number of a response for the one that follows the interruption."""
TOOL_SITUATIONS: Final = {
    1: ("no tool", []),
    2: ("a tool sleeps", ["sleep"]),
    3: ("a tool blocks its thread", ["block"]),
    4: ("ten tools run", ["sleep", "block"] * 5),
}
"""The calls that are made while the assistant speaks; the key is the number of the response."""


class Client(Protocol):
    """The client as scripts see it."""

    gone: bool
    observed: list[dict[str, Any]]

    def send(self, payload: bytes) -> None:
        """Send an event."""

    async def received(self, kind: str, timeout_s: float = 5.0) -> dict[str, Any] | None:
        """Return the client's next event of this type."""


async def listen(client: Client) -> None:
    """Say nothing."""


async def speak(client: Client, *, delta_ms: int, response_s: float = 5.0) -> None:
    """Speak without a pause until the client is gone: one response after the other, with transcripts.

    Args:
        client: The client.
        delta_ms: Length of a delta.
        response_s: Length of a response, in seconds of its audio.
    """
    loop = asyncio.get_running_loop()
    period = delta_ms / 1000
    due = loop.time() + 0.05
    number = 0
    while not client.gone:
        number = number % 30_000 + 1
        response = Response(client.send, number, delta_ms=delta_ms)
        response.begin()
        for _ in range(round(response_s * 1000 / delta_ms)):
            due += period
            await asyncio.sleep(due - loop.time())
            if client.gone:
                return
            response.delta()
        response.end()


async def barge_in(client: Client) -> None:
    """Speak, be interrupted in every variant, and speak again."""
    for number in BARGE_IN_VARIANTS:
        await asyncio.sleep(0.2)
        await _interrupted_response(client, number)


async def _interrupted_response(client: Client, number: int) -> None:
    loop = asyncio.get_running_loop()
    in_real_time, done_before = number in (1, 3), number in (3, 4)
    response = Response(client.send, number)
    response.begin()
    begin = loop.time()
    for index in range(10 if done_before else 8):
        if in_real_time and index:  # a little faster than it is heard, so that some is always queued
            await asyncio.sleep(begin + index * (0.07 if done_before else 0.09) - loop.time())
        response.delta()
    if done_before:
        response.end()
    await asyncio.sleep(begin + BARGE_IN_AT_S - loop.time())
    sent_ns = time.perf_counter_ns()
    user_item = f"user_{number}"
    client.send(event("input_audio_buffer.speech_started", audio_start_ms=1000 * number, item_id=user_item))
    if not done_before:
        for _ in range(4):  # audio that was on its way: nobody must hear it
            await asyncio.sleep(0.01)
            response.delta()
        response.end("cancelled")
    truncate = await client.received("conversation.item.truncate", 1.0)
    client.observed.append({"number": number, "sent_ns": sent_ns, "truncate": truncate})
    client.send(event("input_audio_buffer.speech_stopped", audio_end_ms=1000 * number + 500, item_id=user_item))
    client.send(event("input_audio_buffer.committed", previous_item_id=response.item_id, item_id=user_item))
    following = Response(client.send, number + NEXT_RESPONSE)
    following.begin()
    for _ in range(2):
        following.delta()
    following.end()
    await asyncio.sleep(0.35)


async def call_tools(client: Client, *, seconds: float) -> None:
    """Speak for so long in every situation, while tools run."""
    loop = asyncio.get_running_loop()
    for number, (_, names) in TOOL_SITUATIONS.items():
        response = Response(client.send, number, delta_ms=40)
        response.begin()
        for index, name in enumerate(names):
            response.call(name, f"call_{number}_{index}")
        due = loop.time()
        for _ in range(round(seconds / 0.04)):
            due += 0.04
            await asyncio.sleep(due - loop.time())
            response.delta()
        response.end()
        if names:
            for _ in names:
                await client.received("conversation.item.create", 10.0)
            answered = await client.received("response.create", 5.0)
            client.observed.append({"number": number, "answered": answered is not None})
            follow_up = Response(client.send, number + NEXT_RESPONSE)
            follow_up.begin()
            follow_up.end()
        await asyncio.sleep(0.05)


async def take_turns(client: Client, *, turns: int) -> None:
    """Hold so many turns as fast as the client follows: the user speaks, a tool is called, the assistant answers."""
    for turn in range(1, turns + 1):
        user_item = f"user_{turn}"
        client.send(event("input_audio_buffer.speech_started", audio_start_ms=turn * 1000, item_id=user_item))
        client.send(event("input_audio_buffer.speech_stopped", audio_end_ms=turn * 1000 + 500, item_id=user_item))
        client.send(event("input_audio_buffer.committed", previous_item_id=None, item_id=user_item))
        item = {"id": user_item, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        client.send(event("conversation.item.added", previous_item_id=f"item_{2 * turn - 2:020d}", item=item))
        text = event(
            "conversation.item.input_audio_transcription.completed",
            item_id=user_item,
            content_index=0,
            transcript=f"What the user says in turn {turn}.",
            usage={"type": "duration", "seconds": 1},
        )
        client.send(text)
        asking = Response(client.send, 2 * turn - 1, delta_ms=40)
        asking.begin()
        asking.call("note", f"call_{turn}")
        asking.end()
        if await client.received("response.create") is None:
            return
        answer = Response(client.send, 2 * turn, delta_ms=40)
        answer.begin()
        for _ in range(5):
            answer.delta()
        answer.end()


SCRIPTS: Final[dict[str, Script]] = {
    "listen": listen,
    "speak": speak,
    "barge in": barge_in,
    "call tools": call_tools,
    "take turns": take_turns,
}
