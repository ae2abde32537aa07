"""Echo: the assistant's own sound, kept out of the microphone.

Importing this package loads no numpy; the names below load when they are used.
"""

import importlib
from typing import TYPE_CHECKING

from rtvoice.audio.echo.canceller import EchoCanceller, MeasuresDrift

if TYPE_CHECKING:
    from rtvoice.audio.echo.builtin import BuiltinCanceller
    from rtvoice.audio.echo.webrtc import WebRtcCanceller

__all__ = ["BuiltinCanceller", "EchoCanceller", "MeasuresDrift", "WebRtcCanceller"]

_LAZY = {"BuiltinCanceller": "rtvoice.audio.echo.builtin", "WebRtcCanceller": "rtvoice.audio.echo.webrtc"}


def __getattr__(name: str) -> object:
    """Load a canceller when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
