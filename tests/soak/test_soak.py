"""Hours of conversation: nothing grows but the history, nothing is left, nobody gets slower.

A short one always runs; ``RTVOICE_SOAK=1`` lets the tests with the marker ``soak`` run: eight hours on the virtual
clock, and 15 real minutes over real sockets.
"""

import asyncio
import gc
import logging
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import websockets
from tests.model.devices import Ear, Mouth
from tests.model.link import Network
from websockets.frames import Close

import rtvoice.testing.clock
from rtvoice import AgentListener, RealtimeAgent, Tools
from rtvoice.testing import EmulatorProvider, VirtualClockLoop, VirtualMicrophone

FLAT = 0.02
"""By how much objects and memory may change after the warm-up, as a share."""
OBJECTS_PER_TURN = 16
KB_PER_TURN = 6
"""What the history, which keeps everything, may grow by with a turn of both sides; measured: 9 objects, 4.5 kB."""
asked_for = pytest.mark.skipif(not os.environ.get("RTVOICE_SOAK"), reason="takes long: set RTVOICE_SOAK=1")


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@dataclass
class Sample:
    """What the process looks like at one time."""

    turns: int
    objects: int
    rss_kb: int
    tasks: int
    threads: int


@dataclass
class Records:
    """What a soak has seen."""

    samples: list[Sample] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)  # from the end of the user's turn to the first sound
    work_s: list[float] = field(default_factory=list)  # processor time of a turn
    reconnects: int = 0
    rotations: int = 0
    errors: list[str] = field(default_factory=list)

    def sample(self) -> None:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
        turns, tasks = len(self.latencies_s), len(asyncio.all_tasks())
        self.samples.append(Sample(turns, len(gc.get_objects()), pages * 4, tasks, threading.active_count()))

    def check(self, *, jitter: float = 0.02) -> None:
        """Compare the beginning, after the warm-up, with the end; latencies may vary by so much, as a share."""
        first, last = self.samples[len(self.samples) // 4], self.samples[-1]
        turns = last.turns - first.turns
        assert last.objects - OBJECTS_PER_TURN * turns <= first.objects * (1 + FLAT), self.samples
        assert last.rss_kb - KB_PER_TURN * turns <= first.rss_kb * (1 + FLAT), self.samples
        early = self.samples[: len(self.samples) // 4]
        assert last.tasks <= max(sample.tasks for sample in early), self.samples
        assert last.threads <= max(sample.threads for sample in early), self.samples
        assert not self.errors
        quarter = len(self.latencies_s) // 4
        assert p99(self.latencies_s[-quarter:]) <= p99(self.latencies_s[:quarter]) * (1 + jitter)
        # What grows with the conversation would grow many times over; less may be other work on the machine.
        assert statistics.median(self.work_s[-quarter:]) <= 3 * statistics.median(self.work_s[:quarter])

    def __str__(self) -> str:
        quarter = max(1, len(self.latencies_s) // 4)
        lines = [f"{len(self.latencies_s)} turns, {self.reconnects} reconnects, {self.rotations} rotations"]
        lines += [str(sample) for sample in self.samples]
        for name, values in (("latency", self.latencies_s), ("work", self.work_s)):
            for part, some in (("first", values[:quarter]), ("last", values[-quarter:])):
                median, worst = statistics.median(some) * 1000, p99(some) * 1000
                lines.append(f"{name}, {part} quarter: median {median:.2f} ms, p99 {worst:.2f} ms")
        return "\n".join(lines)


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


class Witness(AgentListener):
    def __init__(self, records: Records) -> None:
        self._records = records

    async def on_agent_reconnected(self, restored: object) -> None:
        self._records.reconnects += 1

    async def on_session_rotated(self, restored: object) -> None:
        self._records.rotations += 1

    async def on_agent_error(self, error: object) -> None:
        self._records.errors.append(str(error))


def tools() -> Tools:
    made = Tools()

    @made.action("Looks.")
    async def look() -> str:
        return "seen"

    for name in ("work", "quick", "quiet", "held"):
        made.action("Works.", name=name, respond=name != "quiet")(look)
    return made


class Talk:
    """A conversation on the virtual clock, with the model of the service."""

    def __init__(self) -> None:
        self.network, self.mouth, self.ear, self.records = Network(), Mouth(), Ear(), Records()
        self.agent: RealtimeAgent[None] = RealtimeAgent(
            provider=EmulatorProvider("ws://model", "key"),
            audio_input=self.mouth,
            audio_output=self.ear,
            listener=Witness(self.records),
            tools=tools(),
        )

    async def hold(self, hours: float, turns: int, drops: int) -> None:
        """Take turns at even intervals; after some of them the connection drops."""
        loop = asyncio.get_running_loop()
        # In the first half: in the second, sessions get so old that they are rotated.
        dropped = {(2 * number + 1) * turns // 4 // drops for number in range(drops)}
        with mock.patch.object(websockets, "connect", self.network.connect):
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self.agent.run())
                await asyncio.sleep(1)
                for number in range(turns):
                    due = hours * 3600 * (number + 1) / turns
                    await self._turn(number)
                    self._forget()
                    if number in dropped:
                        self.network.ends[-1].hang_up(None if number % 2 else Close(1012, "restart"))
                    while (left_s := due - loop.time()) > 0:
                        self.mouth.put(bytes(4_800))
                        await asyncio.sleep(min(1.0, left_s))
                        self._serve()
                    if number % max(1, turns // 40) == 0:
                        self.records.sample()
                await self.agent.stop()
                result = running.result()
        assert sum(turn.role == "user" for turn in result.turns) == turns

    async def _turn(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        cpu = time.process_time()
        self.mouth.put(bytes(4_800))
        await asyncio.sleep(0.001)
        end = max(self.network.ends, key=lambda each: each.session.audio_at)  # the one that hears the user
        end.session.user_starts(cancel_first=False)
        for _ in range(10):
            self.mouth.put(bytes(4_800))
            await asyncio.sleep(0.1)
        end.session.user_stops(answer_at_once=True)
        stopped_at = loop.time()
        self.ear.taken.clear()
        end.session.transcribe(0, fails=False)
        for _ in range(40):
            self._serve(3 if number % 7 else 4)  # the latter calls tools
            await asyncio.sleep(0.05)
            if number % 9 == 0 and self.ear.is_playing:
                break  # and the next turn interrupts it
        self.records.latencies_s.append(self.ear.taken[0][0] - stopped_at)
        self.records.work_s.append(time.process_time() - cpu)

    def _serve(self, kind: int = 1) -> None:
        """Let the service say what it has to, in the old session and in the one that may be about to take over."""
        for session in [end.session for end in self.network.ends if end.is_open]:
            for response in (session.active, session.beside):
                if response is not None:
                    try:
                        next(response.script)
                    except StopIteration:
                        if not response.over:
                            session.plan(response, kind)

    def _forget(self) -> None:
        """Keep nothing in the world that is not needed: what grows shall be the agent's."""
        network, service = self.network, self.network.service
        for end in network.ends:
            if end.violation is not None:
                raise end.violation
        del network.ends[:-2]
        session = network.ends[-1].session
        service.words.clear()
        service.asides.clear()
        service.completed.clear()
        service.unwanted.clear()
        service.truncated.clear()
        self.ear.heard_samples.clear()
        for memory in (session.items, session.responses, service.marks):
            for key in list(memory)[:-40]:
                del memory[key]  # type: ignore[attr-defined]


def soak(hours: float, turns: int, drops: int) -> Records:
    talk: Talk

    async def hold() -> Records:
        nonlocal talk
        talk = Talk()
        await talk.hold(hours, turns, drops)
        return talk.records

    with (
        mock.patch.object(rtvoice.testing.clock, "_POLLS_BEFORE_JUMP", 0),  # there are no sockets
        asyncio.Runner(loop_factory=VirtualClockLoop) as runner,
    ):
        records = runner.run(hold())
    print(records)
    return records


def test_twenty_minutes() -> None:
    records = soak(hours=1 / 3, turns=120, drops=2)
    records.check()
    assert records.reconnects == 2


@asked_for
@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_eight_hours() -> None:
    records = soak(hours=8, turns=3_000, drops=10)
    records.check()
    assert records.reconnects == 10
    assert records.rotations > 0


@asked_for
@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_fifteen_real_minutes(tmp_path: Path) -> None:
    minutes = float(os.environ.get("RTVOICE_SOAK_MINUTES", "15"))
    server = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("server.py")), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        url, key = (await server.stdout.readline()).decode().split()
        records = await _talk_in_real_time(EmulatorProvider(url, key), minutes * 60)
    finally:
        server.kill()
        await server.wait()
    print(records)
    records.check(jitter=0.25)  # a real machine has other things to do


async def _talk_in_real_time(provider: Any, seconds: float) -> Records:
    records, microphone, ear = Records(), VirtualMicrophone(), Ear()
    agent: RealtimeAgent[None] = RealtimeAgent(
        provider=provider, audio_input=microphone, audio_output=ear, listener=Witness(records), tools=tools()
    )
    question = Path(__file__).parent.parent / "fixtures" / "audio" / "name.wav"
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    async with asyncio.TaskGroup() as group:
        running = group.create_task(agent.run())
        await asyncio.sleep(1)
        while loop.time() < ends_at:
            ear.taken.clear()
            cpu = time.process_time()
            await microphone.say(question).done()
            asked_at = loop.time()
            await asyncio.sleep(4)
            if ear.taken:  # else the connection was just being restored
                records.latencies_s.append(ear.taken[0][0] - asked_at)
                records.work_s.append(time.process_time() - cpu)
            records.sample()
        await agent.stop()
        assert running.result().turns
    return records
