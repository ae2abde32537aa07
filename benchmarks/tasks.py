"""What a client process can be asked to do: hold conversations, and look at the clock and at itself meanwhile."""

import asyncio
import gc
import resource
import selectors
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.contestants.base import Call, Contestant, Tool
from benchmarks.devices import Microphone, Speaker

_DELTA_MS: Final = 100
_PAGE: Final = resource.getpagesize()
_FIRST_TURNS: Final = 10
_COMPARED_TURNS: Final = 200
_TURNS_LIMIT_S: Final = 150.0


# --- conversations ---


@asynccontextmanager
async def _conversations(contestant: Contestant, calls: list[Call]) -> AsyncIterator[asyncio.TaskGroup]:
    """Hold conversations while the body runs; more may be started in the group."""
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(contestant.converse(call))
        yield group
        for call in calls:
            call.over.set()


async def _until(condition: Callable[[], bool], what: str, limit_s: float = 20.0) -> None:
    try:
        async with asyncio.timeout(limit_s):
            while not condition():  # noqa: ASYNC110 - about somebody else's code, which has no event for it
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"waited {limit_s:g} s in vain for {what}") from None


def _call(url: str, *, microphone_chunks: int | None, delta_ms: int = _DELTA_MS) -> Call:
    return Call(url, Microphone(microphone_chunks), Speaker(period=delta_ms * 48))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


async def steady(
    contestant: Contestant,
    url: str,
    *,
    seconds: float,
    microphone: bool,
    speech: bool,
    warm_s: float = 1.0,
    recording: str | None = None,
    beat: bool = False,
) -> dict[str, Any]:
    """Hold one conversation and measure a stretch of it.

    Args:
        contestant: Who holds it.
        url: The server.
        seconds: Length of the stretch.
        microphone: Whether the microphone gives more than the one chunk that the server waits for.
        speech: Whether the server speaks.
        warm_s: How long before it is measured.
        recording: Where to record.
        beat: Whether to look for stalls of the loop, once a millisecond.
    """
    call = _call(url, microphone_chunks=None if microphone else 1)
    call.recording = Path(recording) if recording else None
    speaker = call.speaker
    loop = asyncio.get_running_loop()
    async with _conversations(contestant, [call]) as group:
        if speech:
            await _until(lambda: speaker.accepted_bytes > 0, "the assistant to speak")
        await asyncio.sleep(warm_s)
        speaker.stamps.clear()
        heart = _Heart()
        beating = group.create_task(heart.run()) if beat else None
        memory = _resident_bytes()
        begin_ns, begin, cpu = time.perf_counter_ns(), loop.time(), time.process_time()
        await asyncio.sleep(seconds)
        cpu = time.process_time() - cpu
        elapsed = loop.time() - begin
        grown = _resident_bytes() - memory
        if beating is not None:
            beating.cancel()
        return {
            "cpu_s_per_s": cpu / elapsed,
            "begin_ns": begin_ns,
            "end_ns": time.perf_counter_ns(),
            "deltas": speaker.stamps.as_lists(),
            "grown_bytes": grown,
            "elapsed_s": elapsed,
            "longest_gap_ms": heart.longest_gap_ms,
            "longest_busy_ms": heart.longest_busy_ms,
            "longest_collection_ms": heart.longest_collection_ms,
        }


@dataclass(slots=True)
class _Heart:
    """Looks for stalls of the event loop.

    Attributes:
        longest_gap_ms: Longest wait for a beat that was due, by the wall clock; a busy machine adds to it.
        longest_busy_ms: Most CPU time that the loop's thread used between two beats, garbage collection left out.
        longest_collection_ms: Longest garbage collection: Python's own, it stops whatever runs.
    """

    longest_gap_ms: float = field(default=0.0)
    longest_busy_ms: float = field(default=0.0)
    longest_collection_ms: float = field(default=0.0)
    _collecting_since: float = field(default=0.0, init=False)
    _collected_s: float = field(default=0.0, init=False)

    async def run(self) -> None:
        gc.callbacks.append(self._collection)
        wall, busy = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            new_wall, new_busy = time.perf_counter(), time.thread_time()
            self.longest_gap_ms = max(self.longest_gap_ms, (new_wall - wall - 0.001) * 1000)
            self.longest_busy_ms = max(self.longest_busy_ms, (new_busy - busy - self._collected_s) * 1000)
            self._collected_s = 0.0
            wall, busy = new_wall, new_busy

    def _collection(self, phase: str, _: object) -> None:
        now = time.thread_time()
        if phase == "start":
            self._collecting_since = now
            return
        self._collected_s += now - self._collecting_since
        self.longest_collection_ms = max(self.longest_collection_ms, (now - self._collecting_since) * 1000)


async def ready(contestant: Contestant, url: str, *, sessions: int) -> dict[str, Any]:
    """Hold so many conversations one after the other; note when each began."""
    begins = []
    for _ in range(sessions):
        call = _call(url, microphone_chunks=None)
        begins.append(time.perf_counter_ns())
        async with _conversations(contestant, [call]):
            await asyncio.sleep(0.25)
    return {"begin_ns": begins}


async def crowd(contestant: Contestant, url: str, *, limit_ms: float, step_s: float, most: int) -> dict[str, Any]:
    """Hold more and more conversations at once until the delay of the assistant's audio passes a limit.

    Args:
        contestant: Who holds them.
        url: The server.
        limit_ms: The limit for the 99th percentile.
        step_s: How long each number of conversations is measured.
        most: Never more than so many.
    """
    calls: list[Call] = []
    steps: list[dict[str, float]] = []
    async with _conversations(contestant, calls) as group:

        async def measure(number: int) -> dict[str, float]:
            while len(calls) < number:
                calls.append(_call(url, microphone_chunks=None))
                group.create_task(contestant.converse(calls[-1]))
                await asyncio.sleep(0.015)  # connecting is not what is measured
            await asyncio.sleep(0.7)
            for call in calls:
                call.speaker.stamps.clear()
            cpu, wall = time.process_time(), time.perf_counter()
            await asyncio.sleep(step_s)
            share = (time.process_time() - cpu) / (time.perf_counter() - wall)
            delays = sorted(delay for call in calls for delay in call.speaker.stamps.delays_ns)
            silent = sum(not call.speaker.stamps.delays_ns for call in calls)
            p99_ms = delays[int(len(delays) * 0.99)] / 1e6 if delays and not silent else 1e6
            step = {"sessions": number, "p99_ms": p99_ms, "cpu": share}
            steps.append(step)
            return step

        first = await measure(40)
        estimate = int(40 / max(first["cpu"], 0.05))  # too low: much of a small crowd's time is waking up
        failures, number = 0, int(estimate * 1.1)
        while failures < 2 and number <= most:
            step = await measure(number)
            failures = failures + 1 if step["p99_ms"] > limit_ms else 0
            number += max(2, estimate // 12)
    good = [step["sessions"] for step in steps if step["p99_ms"] <= limit_ms]
    return {"sessions": max(good, default=0), "steps": steps}


async def memory(contestant: Contestant, url: str, *, base: int, more: int) -> dict[str, Any]:
    """Hold ``base`` conversations, then ``more`` besides; return what each of those took."""
    calls: list[Call] = []
    resident = []
    async with _conversations(contestant, calls) as group:
        for number in (base, base + more):
            while len(calls) < number:
                calls.append(_call(url, microphone_chunks=25))
                group.create_task(contestant.converse(calls[-1]))
                await asyncio.sleep(0.01)
            await _until(lambda: all(call.speaker.accepted_bytes for call in calls), "everybody to speak")
            await asyncio.sleep(1.0)
            gc.collect()
            resident.append(_resident_bytes())
        return {"bytes_per_session": (resident[1] - resident[0]) / more}


async def diary(contestant: Contestant, url: str, *, seconds: float, last_marker: int, counts: bool) -> dict[str, Any]:
    """Hold one conversation and note everything that happens to the loudspeaker.

    Args:
        contestant: Who holds it.
        url: The server.
        seconds: How long at most.
        last_marker: It is over soon after sound of this response.
        counts: Whether the loudspeaker offers its position.
    """
    call = Call(url, Microphone(), Speaker(counts=counts, diary=True))
    speaker = call.speaker
    async with _conversations(contestant, [call]):
        over = lambda: bool(speaker.played) and speaker.played[-1].marker == last_marker  # noqa: E731
        await _until(over, "the last response", seconds)
        await asyncio.sleep(0.3)
        return {
            "played": [asdict(piece) for piece in speaker.played],
            "cleared": [asdict(cleared) for cleared in speaker.cleared],
        }


async def tools(contestant: Contestant, url: str, *, tool_s: float, last_marker: int) -> dict[str, Any]:
    """Hold one conversation in which tools are called that sleep or block; return the delays of the audio.

    Args:
        contestant: Who holds it.
        url: The server.
        tool_s: How long the tools take.
        last_marker: It is over when nothing more comes of this response.
    """

    async def sleep() -> str:
        await asyncio.sleep(tool_s)
        return "slept"

    def block() -> str:
        time.sleep(tool_s)
        return "blocked"

    call = _call(url, microphone_chunks=1, delta_ms=40)
    call.speaker.diary = True
    call.tools = [Tool("sleep", sleep), Tool("block", block)]
    played = call.speaker.played
    async with _conversations(contestant, [call]):
        await _until(lambda: bool(played) and played[-1].marker == last_marker, "the last response", limit_s=60)
        await asyncio.sleep(tool_s + 0.5)
        return {"markers": [piece.marker for piece in played], **call.speaker.stamps.as_lists()}


async def turns(contestant: Contestant, url: str, *, number: int) -> dict[str, Any]:
    """Hold a conversation of so many turns; then go on with it and with a new one, a turn of each in turns.

    Returns:
        The CPU time of a turn of each from then on, in seconds: those of the old conversation, and those of the new.
    """
    old, young = _Turns(url, number), _Turns(url, _FIRST_TURNS)
    times: dict[str, list[float]] = {"old_s": [], "young_s": []}
    async with _conversations(contestant, [old.call]) as group:
        await old.wait()
        group.create_task(contestant.converse(young.call))
        await young.wait()
        for _ in range(_COMPARED_TURNS):
            for which, key in ((old, "old_s"), (young, "young_s")):
                cpu = time.process_time()
                which.go_on()
                await which.wait()
                times[key].append(time.process_time() - cpu)
        for each in (old, young):
            each.end()
    return times


class _Turns:
    """A conversation whose turns end in a call of a tool, which may be held up there.

    Args:
        url: The server.
        freely: So many turns are not held up.
    """

    def __init__(self, url: str, freely: int) -> None:
        self._freely = freely
        self._may_go_on = asyncio.Event()
        self._waits = asyncio.Event()
        self.call = Call(url, Microphone(1), Speaker(instant=True, counts=True), [Tool("note", self._note)])

    async def _note(self) -> str:
        self._freely -= 1
        if self._freely < 0:
            await asyncio.sleep(0.002)  # what came with the call belongs to this turn
            self._may_go_on.clear()
            self._waits.set()
            await self._may_go_on.wait()
        return "noted"

    def go_on(self) -> None:
        """Begin the next turn."""
        self._waits.clear()
        self._may_go_on.set()

    def end(self) -> None:
        """End the conversation."""
        self._may_go_on.set()
        self.call.over.set()

    async def wait(self) -> None:
        """Wait until a turn is over, and the next may begin."""
        async with asyncio.timeout(_TURNS_LIMIT_S):
            await self._waits.wait()


async def recorder(_: Contestant, __: str, *, path: str) -> dict[str, Any]:
    """Record some minutes of sound, with nothing around rtvoice's recorder."""
    from benchmarks.recording import measure  # what it needs would weigh on all other clients

    cost, growth = await measure(Path(path), resident_bytes=_resident_bytes)
    return {"s_per_h": cost, "bytes_per_min": growth}


TASKS: Final[dict[str, Callable[..., Any]]] = {
    "steady": steady,
    "ready": ready,
    "crowd": crowd,
    "memory": memory,
    "diary": diary,
    "tools": tools,
    "turns": turns,
    "recorder": recorder,
}


# --- faster than real time ---


class _FastSelector(selectors.DefaultSelector):
    speed = 1.0

    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout and timeout / self.speed)


def fast_loop(speed: float) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return a maker of event loops whose clock runs so many times faster."""

    class FastLoop(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return super().time() * speed

    def make() -> asyncio.AbstractEventLoop:
        selector = _FastSelector()
        selector.speed = speed
        return FastLoop(selector)

    return make
