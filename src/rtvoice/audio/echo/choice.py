"""Which way of dealing with echo an agent takes."""

import importlib.util
from dataclasses import dataclass
from typing import Final, Literal, get_args

from rtvoice.audio.devices import ReportsStats, SupportsTap
from rtvoice.audio.echo.canceller import EchoCanceller
from rtvoice.errors import ConfigurationError

EchoMode = Literal["off", "half_duplex", "builtin", "webrtc"]
"""``"off"``: nothing. ``"half_duplex"``: the microphone is muted while the assistant can be heard. ``"builtin"`` and
``"webrtc"``: a canceller takes the echo out of the microphone."""

_WORN_ON_THE_HEAD: Final = (
    "headset",
    "headphone",
    "earphone",
    "earbud",
    "earpod",
    "airpod",
    "buds",
    "hands-free",
    "handsfree",
)
"""Parts of the names of devices without echo, in small letters."""


@dataclass(frozen=True, slots=True)
class EchoChoice:
    """What was chosen, and why, for the log."""

    mode: EchoMode
    reason: str


def check_echo(value: EchoMode | EchoCanceller | None, output: object) -> EchoMode | EchoCanceller | None:
    """Return the user's setting if it can work.

    Args:
        value: The setting; ``None`` leaves it to `default_choice`.
        output: The output device.

    Raises:
        ConfigurationError: There is no such mode, the output device does not show what it renders, or the package for
            ``"webrtc"`` is missing.
        TypeError: It is neither a mode nor a canceller.
    """
    if isinstance(value, str):
        if value not in get_args(EchoMode):
            modes = ", ".join(repr(mode) for mode in get_args(EchoMode))
            raise ConfigurationError(f"echo must be one of {modes}, a canceller, or None, not {value!r}")
        if value == "webrtc" and importlib.util.find_spec("pywebrtc_audio") is None:
            raise ConfigurationError(
                'echo="webrtc" needs the package pywebrtc-audio: pip install "rtvoice[webrtc]"; or use echo="builtin"'
            )
    elif value is not None:
        missing = [name for name in ("process", "reset", "delay_ms") if not hasattr(value, name)]
        if missing or isinstance(value, type):
            lack = f"lacks {', '.join(missing)}" if missing else "is a class; give one of its objects"
            raise TypeError(f"echo must be a mode such as 'builtin', or an EchoCanceller: {value!r} {lack}")
    if value not in (None, "off", "half_duplex") and not isinstance(output, SupportsTap):
        raise ConfigurationError(
            f"echo={value!r} needs an output device that shows what it renders (add_tap(), see SupportsTap), which "
            f'{type(output).__name__} does not: use echo="half_duplex" or "off", or give the device a tap'
        )
    return value


def default_choice(microphone: object, output: object) -> EchoChoice:
    """Return what to do when the user has not chosen; the devices are open, so that their names are known.

    The built-in canceller for a microphone and a loudspeaker of this machine, as far as neither is known to be worn on
    the head. It keeps more of the user's voice than WebRTC's and needs no further package. Nothing for other devices:
    how they sound and where, only their author knows.
    """
    from rtvoice.audio.microphone import MicrophoneInput
    from rtvoice.audio.speaker import SpeakerOutput

    for device, kind in ((microphone, MicrophoneInput), (output, SpeakerOutput)):
        if not isinstance(device, kind):
            return EchoChoice("off", f"{type(device).__name__} is not a device of rtvoice's, and may need nothing")
    names = [device.stats().device for device in (microphone, output) if isinstance(device, ReportsStats)]
    for name in names:
        if any(word in name.casefold() for word in _WORN_ON_THE_HEAD):
            return EchoChoice("off", f"{name!r} is worn on the head by its name")
    return EchoChoice("builtin", f"{names[-1]!r} may be a loudspeaker that the microphone hears")


def make_canceller(setting: Literal["builtin", "webrtc"] | EchoCanceller) -> EchoCanceller:
    """Return the canceller that a setting names; `check_echo` has seen that there is one."""
    if setting == "builtin":
        from rtvoice.audio.echo.builtin import BuiltinCanceller

        return BuiltinCanceller()
    if setting == "webrtc":
        from rtvoice.audio.echo.webrtc import WebRtcCanceller

        return WebRtcCanceller()
    return setting
