"""A client process: one contestant, one task.

``python -m benchmarks.client CONTESTANT TASK URL OPTIONS`` (options as a JSON object) carries out a task of
`benchmarks.tasks` and prints its findings as one line of JSON.
"""

import asyncio
import json
import os
import sys

from benchmarks import contestants, tasks


def main() -> None:
    """Do what the command line says."""
    name, task, url, options = sys.argv[1:]
    parameters = json.loads(options)
    loop_factory = tasks.fast_loop(parameters.pop("speed")) if "speed" in parameters else None
    cpus = parameters.pop("cpus", None)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    contestant = contestants.load(name)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        findings = runner.run(tasks.TASKS[task](contestant, url, **parameters))
        sys.stdout.write(json.dumps(findings) + "\n")
        sys.stdout.flush()
        os._exit(0)  # hundreds of sessions take long to say goodbye, and nobody waits for it


if __name__ == "__main__":
    main()
