"""The ``rtvoice.audio`` package itself: ``src/rtvoice/audio/__init__.py``."""

import subprocess
import sys

import pytest

import rtvoice.audio


def test_every_public_name_exists() -> None:
    for name in rtvoice.audio.__all__:
        assert getattr(rtvoice.audio, name).__name__.startswith(name)  # AudioInput is AudioInputDevice
    assert set(rtvoice.audio.__all__) <= set(dir(rtvoice.audio))


def test_star_import() -> None:
    namespace: dict[str, object] = {}
    exec("from rtvoice.audio import *", namespace)  # noqa: S102
    assert set(rtvoice.audio.__all__) <= set(namespace)


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gramophone'"):
        _ = rtvoice.audio.Gramophone


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import rtvoice.audio, rtvoice.audio.position", ("numpy", "sounddevice")),
        (
            "from rtvoice.audio import MicrophoneInput, SpeakerOutput; MicrophoneInput(); SpeakerOutput()",
            ("numpy", "sounddevice"),
        ),
        ("from rtvoice.audio import WavFileInput, WavFileOutput", ("sounddevice", "soxr")),
    ],
)
def test_importing_stays_light(statement: str, absent: tuple[str, ...]) -> None:
    program = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
