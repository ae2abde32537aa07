import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import rtvoice
from rtvoice import __version__

# By its path: rtvoice is also a plugin of pytest, whose loader of plugins knows nothing of running modules.
MAIN = str(Path(rtvoice.__file__).with_name("__main__.py"))


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m rtvoice`` as users do, with standard input closed."""
    return subprocess.run(
        [sys.executable, "-m", "rtvoice", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_python_m_rtvoice() -> None:
    version = call("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"rtvoice {__version__}\n", "")
    explained = call("demo", "--help")
    assert explained.returncode == 0
    assert "usage: rtvoice demo" in explained.stdout
    wrong = call("demo", "--loud")
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert "--loud" in wrong.stderr


def test_the_exit_code_is_that_of_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["rtvoice", "--version"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(MAIN, run_name="__main__")
    assert stop.value.code == 0


def test_importing_it_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(MAIN, run_name="rtvoice.__main__")
    assert capsys.readouterr().out == ""


def test_help_loads_neither_numpy_nor_the_agent() -> None:
    code = (
        "import sys; from rtvoice.cli import main; main(['demo', '--help']); "
        "print(sorted({'numpy', 'websockets', 'openai', 'sounddevice'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stderr == "[]\n"
