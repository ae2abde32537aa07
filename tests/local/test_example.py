"""``examples/offline_voice.py`` shows what it promises, and says what it needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "offline_voice.py"


@pytest.mark.usefixtures("installed")
def test_it_asks_and_is_answered(tmp_path: Path) -> None:
    keys = ("_PROXY", "_API_KEY", "_BASE_URL")
    environment = {name: value for name, value in os.environ.items() if not name.upper().endswith(keys)}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "assistant  It is eighteen degrees and partly cloudy in Berlin." in done.stdout
    assert "Berlin" in done.stdout.partition("\n")[0]
