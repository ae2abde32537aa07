"""Sound: what a device is, the devices that come with rtvoice, and what else knows a sample.

Importing this package loads neither numpy nor sounddevice; the names below load when they are used.
"""

import importlib
from typing import TYPE_CHECKING

from rtvoice.audio.devices import (
    AudioInputDevice,
    AudioOutputDevice,
    AudioStats,
    PlaybackPosition,
    ReportsLoss,
    ReportsStats,
    SupportsDrain,
    SupportsFinishResponse,
    SupportsPause,
    SupportsPosition,
    SupportsReopen,
    SupportsTap,
)
from rtvoice.audio.formats import AudioFormat, HasAudioFormat
from rtvoice.audio.session import AudioSession

AudioInput = AudioInputDevice
"""The name of `AudioInputDevice` in rtvoice 0.8 and later."""
AudioOutput = AudioOutputDevice
"""The name of `AudioOutputDevice` in rtvoice 0.8 and later."""

if TYPE_CHECKING:
    from rtvoice.audio.microphone import MicrophoneInput
    from rtvoice.audio.speaker import SpeakerOutput
    from rtvoice.audio.wav import WavFileInput, WavFileOutput

__all__ = [
    "AudioFormat",
    "AudioInput",
    "AudioInputDevice",
    "AudioOutput",
    "AudioOutputDevice",
    "AudioSession",
    "AudioStats",
    "HasAudioFormat",
    "MicrophoneInput",
    "PlaybackPosition",
    "ReportsLoss",
    "ReportsStats",
    "SpeakerOutput",
    "SupportsDrain",
    "SupportsFinishResponse",
    "SupportsPause",
    "SupportsPosition",
    "SupportsReopen",
    "SupportsTap",
    "WavFileInput",
    "WavFileOutput",
]

_LAZY = {
    "MicrophoneInput": "rtvoice.audio.microphone",
    "SpeakerOutput": "rtvoice.audio.speaker",
    "WavFileInput": "rtvoice.audio.wav",
    "WavFileOutput": "rtvoice.audio.wav",
}


def __getattr__(name: str) -> object:
    """Load a device class when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return __all__
