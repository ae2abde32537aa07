"""Type checkers see ``Inject[T]`` as ``T``, and decorated functions as they were."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(300)  # mypy reads everything when it has no cache yet
def test_typed_usage() -> None:
    usage = Path(__file__).with_name("typed_usage.py")
    finished = subprocess.run(
        [sys.executable, "-m", "mypy", str(usage)],
        cwd=usage.parents[2],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (finished.stdout, finished.returncode) == ("Success: no issues found in 1 source file\n", 0)
