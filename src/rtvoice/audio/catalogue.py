"""The sound devices of this machine, for a person to choose from."""

from dataclasses import asdict, dataclass
from typing import Any

from rtvoice.audio.portaudio import load_sounddevice


@dataclass(frozen=True, slots=True, kw_only=True)
class CataloguedDevice:
    """A device as PortAudio lists it.

    Attributes:
        index: What ``device=`` takes; it changes when devices come and go.
        name: What ``device=`` takes as well, or a part of it.
        host_api: The system's audio interface through which it is reached; a device may be listed once for each.
        input_channels: 0 for a device that cannot hear.
        output_channels: 0 for a device that cannot play.
        default_rate: The sample rate it calls its own, in Hz.
        input_latency_ms: The latency it promises for interactive capture, in milliseconds.
        output_latency_ms: The same for playback.
        is_default_input: Whether ``device=None`` means it as a microphone.
        is_default_output: Whether ``device=None`` means it as a loudspeaker.
    """

    index: int
    name: str
    host_api: str
    input_channels: int
    output_channels: int
    default_rate: int
    input_latency_ms: float
    output_latency_ms: float
    is_default_input: bool
    is_default_output: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def list_devices() -> list[CataloguedDevice]:
    """Return all devices, in PortAudio's order.

    Raises:
        AudioExtraMissingError: sounddevice or PortAudio is missing.
    """
    sd = load_sounddevice()
    default_input, default_output = _defaults(sd)
    return [
        CataloguedDevice(
            index=int(info["index"]),
            name=str(info["name"]),
            host_api=str(sd.query_hostapis(info["hostapi"])["name"]),
            input_channels=int(info["max_input_channels"]),
            output_channels=int(info["max_output_channels"]),
            default_rate=round(info["default_samplerate"]),
            input_latency_ms=round(info["default_low_input_latency"] * 1000, 1),
            output_latency_ms=round(info["default_low_output_latency"] * 1000, 1),
            is_default_input=info["index"] == default_input,
            is_default_output=info["index"] == default_output,
        )
        for info in sd.query_devices()
    ]


def portaudio_version() -> str:
    """Return the name and version of the PortAudio library.

    Raises:
        AudioExtraMissingError: sounddevice or PortAudio is missing.
    """
    return str(load_sounddevice().get_portaudio_version()[1])


def _defaults(sd: Any) -> tuple[int | None, int | None]:
    found: list[int | None] = []
    for kind in ("input", "output"):
        try:
            found.append(int(sd.query_devices(kind=kind)["index"]))
        except (sd.PortAudioError, ValueError):  # there is none
            found.append(None)
    return found[0], found[1]
