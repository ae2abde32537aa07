"""Sound, barge-in and callbacks while tools wait, block their threads, compute, and come in numbers; on the real clock.

``pytest -s`` shows the figures. The limits are for busy machines; on an idle one a delta takes 5 ms at most from the
server to the loudspeaker in 99 of 100 cases, with tools or without.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from rtvoice import AgentListener, RealtimeAgent, Tools
from rtvoice.testing import EmulatedSession, RealtimeEmulator, Reply, ToolCall, VirtualMicrophone, VirtualSpeaker

DELTA_S = 0.02
DELTAS = 125
SPEECH_S = DELTAS * DELTA_S
WORK_S = 2.0
GENEROUS_S = 0.25
"""No delta may come so late, and no barge-in may take so long, even on a machine that does other things."""

WORKLOADS = [
    pytest.param([], id="no tools"),
    pytest.param(["wait"], id="a tool that waits"),
    pytest.param(["block"], id="a tool that blocks its thread"),
    pytest.param(["wait"] * 5 + ["block"] * 5, id="ten tools at once"),
    pytest.param(["compute"], id="a tool that computes in its thread"),
]


@dataclass(slots=True, kw_only=True, eq=False)
class TimingSpeaker(VirtualSpeaker):
    """Notes when chunks arrive, in loop time."""

    arrivals: list[float] = field(default_factory=list, init=False)

    async def play_chunk(self, chunk: bytes) -> None:
        self.arrivals.append(asyncio.get_running_loop().time())
        await VirtualSpeaker.play_chunk(self, chunk)


class TimedRecord(list[dict[str, Any]]):
    """The record of what the server sends, with the times of its audio deltas."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        super().__init__(events)
        self.departures: list[float] = []

    def append(self, event: dict[str, Any]) -> None:
        super().append(event)
        if event["type"] == "response.output_audio.delta":
            self.departures.append(asyncio.get_running_loop().time())


class Diary(AgentListener):
    """Notes the callbacks."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.interrupted = asyncio.Event()

    async def on_user_started_speaking(self) -> None:
        self.entries.append("user started")

    async def on_assistant_started_responding(self) -> None:
        self.entries.append("assistant started")

    async def on_assistant_stopped_responding(self) -> None:
        self.entries.append("assistant stopped")

    async def on_agent_interrupted(self) -> None:
        self.entries.append("interrupted")
        self.interrupted.set()

    async def on_tool_executed(self, name: str, action_kind: str | None, silent: bool) -> None:
        self.entries.append("tool")


def tools_that_work() -> Tools:
    tools = Tools()

    @tools.action("Waits")
    async def wait() -> None:
        await asyncio.sleep(WORK_S)

    @tools.action("Blocks its thread")
    def block() -> None:
        time.sleep(WORK_S)

    @tools.action("Computes")
    def compute() -> None:
        end = time.monotonic() + WORK_S
        while time.monotonic() < end:
            sum(range(1000))

    return tools


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation in which tools are running and the assistant has begun to speak."""

    server: RealtimeEmulator
    session: EmulatedSession
    speaker: TimingSpeaker
    diary: Diary

    def user_speaks(self) -> None:
        self.session.speech_started()
        self.session.speech_stopped()

    async def outputs(self, number: int) -> list[str]:
        """Wait for so many outputs of calls and return them."""
        events = [
            await self.server.received(
                "conversation.item.create", where=lambda event: event["item"]["type"] == "function_call_output"
            )
            for _ in range(number)
        ]
        return [event["item"]["output"] for event in events]


@asynccontextmanager
async def talk(names: list[str]) -> AsyncIterator[Talk]:
    """Let the model call these tools; then the user asks something, and the assistant speaks at real pace."""
    calls = [ToolCall(name, {}, f"c{number}") for number, name in enumerate(names)]
    speech = Reply("A long story.", audio=bytes(round(SPEECH_S * 48_000)), delta_ms=[20], pace=1.0)
    async with RealtimeEmulator(
        [Reply(calls=calls), speech, *["Go on."] * 9], ["the words"] * 9, detect_speech=False
    ) as server:
        speaker, diary = TimingSpeaker(), Diary()
        agent = RealtimeAgent(
            provider=server.provider,
            audio_input=VirtualMicrophone(),
            audio_output=speaker,
            tools=tools_that_work(),
            listener=diary,
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(agent.run())
            session = await server.connected()
            session.sent = TimedRecord(session.sent)
            talk = Talk(server, session, speaker, diary)
            await server.sent("session.updated")
            talk.user_speaks()
            await server.sent("response.done")
            talk.user_speaks()
            await server.sent("response.output_audio.delta")
            try:
                yield talk
            finally:
                await agent.stop()
                await running


def figures(what: str, times: list[float]) -> str:
    times = sorted(times)
    median, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    return f"{what} {median * 1000:.1f} ms (median), {p99 * 1000:.1f} ms (p99), {times[-1] * 1000:.1f} ms (most)"


@pytest.mark.parametrize("names", WORKLOADS)
async def test_sound_flows_while_tools_work(names: list[str]) -> None:
    async with talk(names) as t:
        await t.speaker.wait_until_heard(SPEECH_S * 1000)
        assert isinstance(t.session.sent, TimedRecord)
        departures, arrivals = t.session.sent.departures[:DELTAS], t.speaker.arrivals[:DELTAS]
        assert len(await t.outputs(len(names))) == len(names)
        while t.diary.entries.count("tool") < len(names):
            await asyncio.sleep(0.01)
    assert len(arrivals) == DELTAS
    latencies = [arrival - departure for departure, arrival in zip(departures, arrivals, strict=True)]
    offsets = [arrival - number * DELTA_S for number, arrival in enumerate(arrivals)]
    delays = [offset - min(offsets) for offset in offsets]
    print(f"\n{' '.join(names) or 'no tools'}: {figures('latency', latencies)}; {figures('behind real time', delays)}")
    assert max(latencies) < GENEROUS_S
    assert max(delays) < GENEROUS_S
    assert t.diary.entries[:3] == ["user started", "user started", "assistant started"]


@pytest.mark.parametrize("names", WORKLOADS[-2:])
async def test_the_user_can_interrupt_while_tools_work(names: list[str]) -> None:
    async with talk(names) as t:
        await t.speaker.wait_until_heard(300)
        spoken_at = asyncio.get_running_loop().time()
        t.session.speech_started()
        await t.diary.interrupted.wait()
        silence_s = t.speaker.cleared_at[0] - spoken_at
        t.session.speech_stopped()
        truncated = await t.server.received("conversation.item.truncate")
        assert len(await t.outputs(len(names))) == len(names)
    print(f"\n{' '.join(names) or 'no tools'}: silent {silence_s * 1000:.1f} ms after the server heard the user")
    assert silence_s < GENEROUS_S
    assert truncated["audio_end_ms"] >= 300
    assert t.diary.entries[2:6] == ["assistant started", "interrupted", "user started", "assistant stopped"]
