"""``uv run python -m benchmarks``: measure, print a table, write JSON."""

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.contestants import CONTESTANTS
from benchmarks.driver import Driver
from benchmarks.figures import Row, table
from benchmarks.measures import MEASURES
from benchmarks.settings import Settings, quick

_RESULTS: Final = Path("benchmarks/results/latest.json")


def main() -> int:
    """Run the measures that the command line names."""
    choices = [name for name in CONTESTANTS if name not in ("bare", "harness")]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; default: all")
    parser.add_argument("--contestant", action="append", choices=choices, help="default: rtvoice; may be repeated")
    parser.add_argument("--repetitions", type=int, help="how often the cheap measures are repeated")
    parser.add_argument("--quick", action="store_true", help="under a minute, without 'crowd': to see that it works")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="run before everything else on this machine (SCHED_FIFO; needs root): for a machine that is not idle",
    )
    parser.add_argument("--json", type=Path, default=_RESULTS, help="where the figures go; default: %(default)s")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.measures if name not in MEASURES]
    if unknown:
        parser.error(f"unknown measure {unknown[0]!r}: choose from {', '.join(MEASURES)}")
    others = tuple(arguments.contestant or ["rtvoice"])
    settings = quick(others) if arguments.quick else Settings(others=others)
    if arguments.repetitions:
        settings = replace(
            settings,
            repetitions=arguments.repetitions,
            long_repetitions=arguments.repetitions,
            crowd_repetitions=arguments.repetitions,
        )
    if arguments.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))  # the processes that we start inherit it
    everything = [name for name in MEASURES if not (arguments.quick and name == "crowd")]
    rows = _measure(arguments.measures or everything, settings, arguments.json)
    _say(table(rows))
    return 0


def _measure(names: list[str], settings: Settings, file: Path) -> list[Row]:
    machine = _machine()
    _say(f"Python {machine['python']}, {machine['cpus']} CPUs, load {machine['load']}\n")
    rows: list[Row] = []
    with Driver() as driver:
        for name in names:
            begin = time.perf_counter()
            rows += MEASURES[name](driver, settings)
            sys.stderr.write(f"{name}: {time.perf_counter() - begin:.0f} s\n")
    file.parent.mkdir(parents=True, exist_ok=True)
    machine["load_at_the_end"] = os.getloadavg()[0]
    file.write_text(json.dumps({"machine": machine, "rows": [row.as_json() for row in rows]}, indent=2) + "\n")
    return rows


def _machine() -> dict[str, Any]:
    packages = ("rtvoice", "websockets", "pydantic")
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
