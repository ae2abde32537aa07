"""The front door of rtvoice.testing."""

import subprocess
import sys

import pytest

import rtvoice.testing


def test_every_name_is_there() -> None:
    for name in rtvoice.testing.__all__:
        assert getattr(rtvoice.testing, name).__name__ == name
    assert rtvoice.testing.__all__ == sorted(rtvoice.testing._MODULE_OF)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = rtvoice.testing.Nothing


def test_it_loads_no_numpy_and_no_openai() -> None:
    code = (
        "import sys; from rtvoice.testing import *; "
        "print(sorted({'numpy', 'openai', 'sounddevice', 'rtvoice.realtime'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
