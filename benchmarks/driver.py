"""Starts the processes: one server for all measures, a client of its own for every repetition."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_ROOT: Final = Path(__file__).resolve().parent.parent
_CLIENT_LIMIT_S: Final = 180


class Driver(AbstractContextManager["Driver"]):
    """The server process, and the way to client processes.

    Raises:
        RuntimeError: A process failed; what it wrote to stderr is in the message.
    """

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._bytecode = tempfile.TemporaryDirectory(prefix="rtvoice-benchmarks-")
        self._environment = {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONHASHSEED": "0",
            "PYTHONPYCACHEPREFIX": self._bytecode.name,  # as after an installation: compiled once, by the first process
        }
        for name in ("PYTHONDONTWRITEBYTECODE", "http_proxy", "https_proxy", "all_proxy"):
            self._environment.pop(name, None)
            self._environment.pop(name.upper(), None)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server"],
            cwd=_ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._port = 0

    def __enter__(self) -> Self:
        self._port = self._answer()["port"]
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None  # noqa: S101 - it is a pipe
        self._server.stdin.close()
        try:
            self._server.wait(5)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._bytecode.cleanup()

    def pin_server(self, cpus: set[int] | None) -> None:
        """Let the server use these processors only; ``None`` for all."""
        os.sched_setaffinity(self._server.pid, cpus or set(range(os.cpu_count() or 1)))

    def run(
        self,
        contestant: str,
        task: str,
        script: str = "listen",
        *,
        says: dict[str, Any] | None = None,
        log_audio: bool = True,
        **options: Any,
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Run a client process against a script.

        Args:
            contestant: Whose.
            task: Name of a task of `benchmarks.tasks`.
            script: Name of a script of `benchmarks.scripts`.
            says: Options of the script.
            log_audio: Whether the server reads the stamps of the microphone.
            options: Options of the task; besides, ``speed`` of its loop's clock and ``cpus`` that it may use.

        Returns:
            The client's findings, and what the server observed of each of its connections.
        """
        self._ask({"script": script, "options": says or {}, "log_audio": log_audio})
        url = f"ws://127.0.0.1:{self._port}/v1"
        command = ["-m", "benchmarks.client", contestant, task, url, json.dumps(options)]
        findings: dict[str, Any] = json.loads(self.python(*command))
        return findings, self._ask({"report": True})["connections"]

    def python(self, *arguments: str) -> str:
        """Run Python with these arguments and return what it prints."""
        done = subprocess.run(  # noqa: S603 - our own modules
            [sys.executable, *arguments],
            cwd=_ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_CLIENT_LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"python {' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
        return done.stdout

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None  # noqa: S101 - it is a pipe
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._server.stdout is not None  # noqa: S101 - it is a pipe
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError("the benchmark server has ended; see its error output above")
        answer: dict[str, Any] = json.loads(line)
        return answer
