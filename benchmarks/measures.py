"""The measures: which processes are run, in which order, and what their findings say.

Contestants take turns (A B A B …), so that what happens to the machine happens to all of them, and each repetition
is compared with the bare loop's next to it.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.driver import Driver
from benchmarks.figures import Figure, Row, percentile
from benchmarks.scripts import BARGE_IN_VARIANTS, NEXT_RESPONSE, TOOL_SITUATIONS
from benchmarks.settings import Settings

Measure = Callable[[Driver, Settings], list[Row]]

_BARE_IMPORT: Final = "import pydantic, websockets.asyncio.client"
_BARE_IMPORT_USED: Final = "from pydantic import BaseModel, TypeAdapter; import websockets.asyncio.client"
_IMPORTS: Final = {"rtvoice": ("import rtvoice", "from rtvoice import RealtimeAgent")}
"""What a user writes first, and what for a conversation."""
_IMPORT_TIMER: Final = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
_RECORDING_SPEED: Final = 120.0


def _rounds(names: Sequence[str], repetitions: int) -> list[str]:
    return [name for _ in range(repetitions) for name in names]


def imports(driver: Driver, settings: Settings) -> list[Row]:
    """Import in fresh processes."""
    names = [name for name in settings.others if name in _IMPORTS]
    rows = []
    for index, (title, bare) in enumerate(
        (("import", _BARE_IMPORT), ("import of all that a conversation needs", _BARE_IMPORT_USED))
    ):
        statements = {"bare": bare, **{name: _IMPORTS[name][index] for name in names}}
        figures = {name: Figure() for name in statements}
        for statement in statements.values():
            driver.python("-c", statement)  # compiled once
        for name in _rounds(list(statements), settings.repetitions * 2):
            figures[name].values.append(float(driver.python("-c", _IMPORT_TIMER.format(statements[name]))) * 1000)
        rows.append(Row(title, "ms", figures, budget=None if index else 1.25))
    return rows


def session_ready(driver: Driver, settings: Settings) -> list[Row]:
    """From ``run()`` to the first microphone frame at the server, in a fresh process and again in the same one."""
    first = {name: Figure() for name in settings.names}
    again = {name: Figure() for name in settings.names}
    for name in _rounds(settings.names, settings.repetitions):
        findings, connections = driver.run(name, "ready", sessions=4, log_audio=False)
        pairs = zip(findings["begin_ns"], connections, strict=True)
        times = [(connection["first_audio_ns"] - begin) / 1e6 for begin, connection in pairs]
        first[name].values.append(times[0])
        again[name].values.append(median(times[1:]))
    return [
        Row("session ready, first in the process", "ms", first, budget=1.3),
        Row("session ready, later ones", "ms", again, budget=1.3),
    ]


def microphone(driver: Driver, settings: Settings) -> list[Row]:
    """CPU time and delay of the microphone: 50 chunks a second, the assistant is silent."""
    cpu = {name: Figure() for name in ("harness", *settings.names)}
    middle = {name: Figure() for name in settings.names}
    high = {name: Figure() for name in settings.names}
    for name in _rounds(list(cpu), settings.repetitions):
        findings, connections = driver.run(
            name, "steady", seconds=settings.steady_s, microphone=True, speech=False, warm_s=0.7
        )
        cpu[name].values.append(findings["cpu_s_per_s"] * 1000)
        if name != "harness":
            delays = _within(connections[0]["microphone"], findings)
            middle[name].values.append(percentile(delays, 0.5))
            high[name].values.append(percentile(delays, 0.99))
    net = {name: figure.minus(cpu["harness"]) for name, figure in cpu.items() if name != "harness"}
    return [
        Row("CPU per second of microphone audio", "ms", net, budget=1.25),
        Row("the same with the harness", "ms", cpu),
        Row("microphone chunk → server, p50", "ms", middle, "difference"),
        Row("microphone chunk → server, p99", "ms", high, "difference", budget=0.3),
    ]


def assistant(driver: Driver, settings: Settings) -> list[Row]:
    """CPU time and delay of the assistant's audio: 10 deltas a second with transcripts, the microphone is silent."""
    cpu = {name: Figure() for name in ("harness", *settings.names)}
    middle = {name: Figure() for name in settings.names}
    high = {name: Figure() for name in settings.names}
    for name in _rounds(list(cpu), settings.repetitions):
        findings, _ = driver.run(
            name,
            "steady",
            "speak",
            says={"delta_ms": 100},
            seconds=settings.steady_s + 1,
            microphone=False,
            speech=True,
        )
        cpu[name].values.append(findings["cpu_s_per_s"] * 1000)
        if name != "harness":
            delays = _within(findings["deltas"], findings)
            middle[name].values.append(percentile(delays, 0.5))
            high[name].values.append(percentile(delays, 0.99))
    net = {name: figure.minus(cpu["harness"]) for name, figure in cpu.items() if name != "harness"}
    return [
        Row("CPU per second of assistant audio", "ms", net, budget=1.5),
        Row("the same with the harness", "ms", cpu),
        Row("delta → device, p50", "ms", middle, "difference"),
        Row("delta → device, p99", "ms", high, "difference", budget=0.3),
    ]


def _within(stamps: dict[str, list[int]], findings: dict[str, Any]) -> list[float]:
    """Return the delays, in milliseconds, of what was sent while the client measured."""
    begin, end = findings["begin_ns"], findings["end_ns"]
    pairs = zip(stamps["sent_ns"], stamps["delays_ns"], strict=True)
    return [delay / 1e6 for sent, delay in pairs if begin <= sent < end]


def crowd(driver: Driver, settings: Settings) -> list[Row]:
    """Sessions on one processor, at real-time rate both ways, with the assistant's audio under 20 ms late (p99)."""
    figures = {name: Figure() for name in settings.names}
    cpu = {name: Figure() for name in settings.names}
    options: dict[str, Any] = {
        "says": {"delta_ms": 100},
        "log_audio": False,
        "limit_ms": 20,
        "step_s": settings.crowd_step_s,
    }
    driver.pin_server({0})
    try:
        for name in _rounds(settings.names, settings.repetitions):
            findings, _ = driver.run(name, "crowd", "speak", **options, most=0, cpus=[1])
            cpu[name].values.append(findings["steps"][0]["cpu"] * 1000 / findings["steps"][0]["sessions"])
        for name in _rounds(settings.names, settings.crowd_repetitions):
            findings, _ = driver.run(name, "crowd", "speak", **options, most=400, cpus=[1])
            figures[name].values.append(findings["sessions"])
    finally:
        driver.pin_server(None)
    return [
        Row("CPU per second and session, 40 at once, both ways", "ms", cpu),
        Row("sessions per core, p99 under 20 ms", "sessions", figures, budget=0.85, at_least=True),
    ]


def memory(driver: Driver, settings: Settings) -> list[Row]:
    """Memory that a further session takes."""
    figures = {name: Figure() for name in settings.names}
    for name in _rounds(settings.names, settings.long_repetitions):
        findings, _ = driver.run(name, "memory", "speak", says={"delta_ms": 100}, log_audio=False, base=20, more=60)
        figures[name].values.append(findings["bytes_per_session"] / 1000)
    return [Row("memory per further session", "kB", figures, "difference", budget=300)]


def barge_in(driver: Driver, settings: Settings) -> list[Row]:
    """The user interrupts, in every variant, with a loudspeaker that counts and with one that does not."""
    rows = []
    for counts, device in settings.devices.items():
        clear, truncate, error, old = ({name: Figure() for name in settings.names} for _ in range(4))
        for name in _rounds(settings.names, settings.long_repetitions):
            last = max(BARGE_IN_VARIANTS) + NEXT_RESPONSE
            findings, connections = driver.run(
                name, "diary", "barge in", log_audio=False, seconds=20, last_marker=last, counts=counts
            )
            for seen in connections[0]["observed"]:
                found = _interruption(seen, findings)
                clear[name].values.append(found[0])
                truncate[name].values.append(found[1])
                error[name].values.append(found[2])
                old[name].values.append(found[3])
        rows += [
            Row(f"speech_started → clear, {device}", "ms", clear, "difference", budget=1),
            Row(f"speech_started → truncate at the server, {device}", "ms", truncate, "difference", budget=1),
            Row(f"largest error of audio_end_ms, {device}", "ms", _largest(error), "value", budget=1),
            Row(f"most old audio played, {device}", "ms", _largest(old), "value", budget=0),
        ]
    return rows


def _interruption(seen: dict[str, Any], findings: dict[str, Any]) -> tuple[float, float, float, float]:
    """Return delay to silence, delay to truncation, error and old audio, all in milliseconds."""
    number, sent_ns, truncate = seen["number"], seen["sent_ns"], seen["truncate"]
    cleared = next((entry for entry in findings["cleared"] if entry["marker"] == number), None)
    silent_ns = cleared["at_ns"] if cleared else float("inf")
    pieces = [piece for piece in findings["played"] if piece["marker"] == number and piece["at_ns"] > sent_ns]
    old_ms = sum(piece["milliseconds"] for piece in pieces if piece["at_ns"] > silent_ns)
    if cleared is None or truncate is None:
        return 1000.0, 1000.0, 1000.0, old_ms + (0 if cleared else 1000)
    error_ms = abs(truncate["audio_end_ms"] - cleared["heard_ms"])
    return (silent_ns - sent_ns) / 1e6, (truncate["at_ns"] - sent_ns) / 1e6, error_ms, old_ms


def _largest(figures: dict[str, Figure]) -> dict[str, Figure]:
    return {name: Figure([max(figure.values)]) for name, figure in figures.items()}


def tools(driver: Driver, settings: Settings) -> list[Row]:
    """Delay of the assistant's audio while tools run."""
    delays: dict[int, dict[str, list[float]]] = {
        number: {name: [] for name in settings.names} for number in TOOL_SITUATIONS
    }
    for name in _rounds(settings.names, settings.long_repetitions):
        findings, _ = driver.run(
            name,
            "tools",
            "call tools",
            says={"seconds": settings.tool_s + 0.2},
            log_audio=False,
            tool_s=settings.tool_s,
            last_marker=max(TOOL_SITUATIONS),
        )
        for number, each in delays.items():
            pairs = zip(findings["markers"], findings["delays_ns"], strict=True)
            each[name] += [delay / 1e6 for marker, delay in pairs if marker == number]
    without = {name: percentile(each, 0.99) for name, each in delays[1].items()}
    rows = [Row("delta → device, p99, no tool", "ms", {name: Figure([value]) for name, value in without.items()})]
    for number, (situation, _) in list(TOOL_SITUATIONS.items())[1:]:
        more = {name: Figure([percentile(each, 0.99) - without[name]]) for name, each in delays[number].items()}
        rows.append(Row(f"… more while {situation}", "ms", more, "value", budget=1))
    return rows


def recording(driver: Driver, settings: Settings) -> list[Row]:
    """What recording adds to one conversation: CPU time, stalls of the loop, memory."""
    cost, growth, stall, busy, busy_without, collection = (Figure() for _ in range(6))
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "conversation.wav")
        for _ in range(settings.recordings):
            findings, _ = driver.run("rtvoice", "recorder", path=file, speed=_RECORDING_SPEED)
            cost.values.append(findings["s_per_h"])
            growth.values.append(findings["bytes_per_min"] / 1000)
        for _ in range(settings.long_repetitions):
            for path in (None, file):
                findings, _ = driver.run(
                    "rtvoice",
                    "steady",
                    "speak",
                    says={"delta_ms": 100},
                    log_audio=False,
                    seconds=settings.steady_s,
                    microphone=True,
                    speech=True,
                    recording=path,
                    beat=True,
                )
                (busy if path else busy_without).values.append(findings["longest_busy_ms"])
                collection.values.append(findings["longest_collection_ms"])
                if path:
                    stall.values.append(findings["longest_gap_ms"])
    return [
        Row("recording: CPU per hour", "s", {"rtvoice": cost}, "value", budget=1),
        Row("recording: memory growth per minute", "kB", {"rtvoice": growth}, "value", budget=50),
        Row("recording: longest the loop was busy", "ms", {"rtvoice": busy}, "value", budget=2),
        Row("without recording: longest the loop was busy", "ms", {"rtvoice": busy_without}, "value"),
        Row("recording: longest stall by the wall clock, all included", "ms", {"rtvoice": stall}, "value"),
        Row("longest garbage collection, with or without", "ms", {"rtvoice": collection}, "value"),
    ]


def growth(driver: Driver, settings: Settings) -> list[Row]:
    """CPU time of a turn of a long conversation, compared with one of a short conversation at the same time."""
    young = {name: Figure() for name in settings.names}
    ratio = {name: Figure() for name in settings.names}
    for name in _rounds(settings.names, settings.growth_repetitions):
        findings, _ = driver.run(
            name, "turns", "take turns", says={"turns": settings.turns + 1_000}, log_audio=False, number=settings.turns
        )
        young[name].values.append(median(findings["young_s"]) * 1000)
        ratio[name].values.append(
            median(old / new for old, new in zip(findings["old_s"], findings["young_s"], strict=True))
        )
    return [
        Row("CPU per turn, first 200 turns", "ms", young),
        Row(f"CPU per turn, after {settings.turns} turns, over that", "x", ratio, "value", budget=1.1),
    ]


MEASURES: Final[dict[str, Measure]] = {
    "import": imports,
    "ready": session_ready,
    "microphone": microphone,
    "assistant": assistant,
    "crowd": crowd,
    "memory": memory,
    "barge-in": barge_in,
    "tools": tools,
    "recording": recording,
    "growth": growth,
}
