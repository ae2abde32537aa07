import subprocess
import sys

import pytest

import rtvoice.audio.echo


def test_every_name_is_there() -> None:
    for name in rtvoice.audio.echo.__all__:
        assert getattr(rtvoice.audio.echo, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = rtvoice.audio.echo.Nothing


def test_importing_it_loads_no_numpy() -> None:
    code = "import sys, rtvoice.audio.echo, rtvoice.components.echo; print('numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
