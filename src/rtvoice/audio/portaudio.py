"""Finding and opening PortAudio devices, off the event loop.

``sounddevice`` is imported by the first device that starts, never earlier: importing it loads the
PortAudio library and lists the devices. That list is a snapshot; see `rtvoice.audio.device_list`.
"""

import importlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rtvoice.errors import AudioDeviceError, AudioExtraMissingError, ConfigurationError

Kind = Literal["input", "output"]

# https://portaudio.com/docs/v19-doxydocs/portaudio_8h.html, PaErrorCode
INVALID_CHANNEL_COUNT = -9998
INVALID_SAMPLE_RATE = -9997

FALLBACK_RATES = (48_000, 44_100, 16_000, 8_000)
"""Rates to try, in Hz, when a device accepts neither the wanted one nor the one it calls its own.

The last two are those of a Bluetooth headset whose microphone is in use (hands-free profile: mSBC, CVSD).
"""

one_at_a_time = threading.Lock()
"""Held while a stream is opened or closed: PortAudio does not do that from two threads at once."""


class RawStream(Protocol):
    """The part of sounddevice's ``RawInputStream`` and ``RawOutputStream`` that is used."""

    @property
    def time(self) -> float:
        """PortAudio's clock, in seconds."""
        ...

    @property
    def latency(self) -> float:
        """The latency that the host reports, in seconds."""
        ...

    def start(self) -> None:
        """Begin to call back."""
        ...

    def abort(self) -> None:
        """Stop at once; buffered audio is dropped."""
        ...

    def close(self) -> None:
        """Give the device back."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device as PortAudio lists it."""

    index: int
    name: str
    default_rate: int
    host_api: str

    def __str__(self) -> str:
        """Return the name with what makes it unique."""
        return f"{self.name!r} (device {self.index}, {self.host_api})"


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream that is open but not started, and the format that the device agreed to."""

    stream: RawStream
    device: DeviceInfo
    rate: int
    channels: int

    @property
    def latency_s(self) -> float:
        """The latency that the host reports, in seconds."""
        return self.stream.latency


def choose_device(device_index: int | None, device: int | str | None) -> int | str | None:
    """Return the one device that a constructor's two parameters mean.

    Raises:
        ConfigurationError: Both are given.
    """
    if device_index is not None and device is not None:
        raise ConfigurationError("give either device_index or device, not both")
    return device if device_index is None else device_index


def load_sounddevice() -> Any:
    """Import and return ``sounddevice``.

    Raises:
        AudioExtraMissingError: The package or the PortAudio library is missing; says how to install it.
    """
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise AudioExtraMissingError(
            "microphone and speaker need the sounddevice package: pip install 'rtvoice[audio]'"
        ) from error
    except OSError as error:
        raise AudioExtraMissingError(
            "the PortAudio library was not found. On Debian, Ubuntu and Raspberry Pi OS: "
            "sudo apt install libportaudio2; on Fedora: sudo dnf install portaudio; "
            "elsewhere reinstall with: pip install --force-reinstall sounddevice"
        ) from error


def find_device(sd: Any, wanted: int | str | None, kind: Kind) -> DeviceInfo:
    """Return the device that ``wanted`` means.

    Args:
        sd: The ``sounddevice`` module.
        wanted: An index, a part of the name in any case, or ``None`` for the system's default. An exact name wins
            over a part of one, the default host API over others, then the first in the list.
        kind: The direction it must be able to work in.

    Raises:
        AudioDeviceError: There is no such device; lists those that exist. Or PortAudio is not initialised.
    """
    try:
        candidates = [info for info in sd.query_devices() if info[f"max_{kind}_channels"] > 0]
    except sd.PortAudioError as error:
        raise AudioDeviceError(f"PortAudio does not say which devices there are: {error}") from error
    listing = "\n".join(f"  {info['index']}: {info['name']}" for info in candidates) or "  (none)"
    known = f"The {kind} devices are:\n{listing}\nA device that was plugged in later needs a restart of the program."
    matches: list[Any]
    if wanted is None:
        try:
            matches = [sd.query_devices(kind=kind)]
        except (sd.PortAudioError, ValueError) as error:
            raise AudioDeviceError(f"the system has no default {kind} device. {known}") from error
    elif isinstance(wanted, int):
        matches = [info for info in candidates if info["index"] == wanted]
    else:
        part = wanted.casefold()
        default_api = sd.default.hostapi
        matches = [info for info in candidates if part in info["name"].casefold()]
        matches.sort(key=lambda info: (info["name"].casefold() != part, info["hostapi"] != default_api))
    if not matches:
        raise AudioDeviceError(f"no {kind} device matches {wanted!r}. {known}")
    info = matches[0]
    return DeviceInfo(
        index=int(info["index"]),
        name=str(info["name"]),
        default_rate=round(info["default_samplerate"]),
        host_api=str(sd.query_hostapis(info["hostapi"])["name"]),
    )


def open_stream(
    sd: Any,
    device: DeviceInfo,
    kind: Kind,
    *,
    sample_rate: int,
    block_ms: float,
    latency: float | str,
    callback: Callable[[Any, int, Any, Any], None],
    finished_callback: Callable[[], None],
) -> OpenedStream:
    """Open a 16-bit stream as close to mono at ``sample_rate`` as the device allows; see the ladder below.

    Args:
        sd: The ``sounddevice`` module.
        device: The device.
        kind: The direction.
        sample_rate: The wanted rate, in Hz.
        block_ms: Length of the blocks that ``callback`` gets, in milliseconds.
        latency: ``"low"``, ``"high"`` or seconds.
        callback: sounddevice's raw callback.
        finished_callback: Called when the stream has ended, for whatever reason.

    Raises:
        AudioDeviceError: The device refused every attempt; says what to try.
    """
    factory = sd.RawInputStream if kind == "input" else sd.RawOutputStream
    refusal: Exception | None = None
    for rate, channels, extra_settings in _formats(sd, device, sample_rate):
        try:
            stream = factory(
                samplerate=rate,
                blocksize=round(rate * block_ms / 1000),
                device=device.index,
                channels=channels,
                dtype="int16",
                latency=latency,
                extra_settings=extra_settings,
                callback=callback,
                finished_callback=finished_callback,
            )
        except sd.PortAudioError as error:
            refusal = error
            if _code(error) not in (INVALID_SAMPLE_RATE, INVALID_CHANNEL_COUNT):
                break
        else:
            return OpenedStream(stream, device, rate, channels)
    raise AudioDeviceError(
        f"the {kind} device {device} cannot be opened: {refusal}. Check that it is connected, that no other program "
        f"holds it and that this program may use the {'microphone' if kind == 'input' else 'loudspeaker'}; "
        "`python -m sounddevice` lists the devices to choose from with device=."
    ) from refusal


def _formats(sd: Any, device: DeviceInfo, sample_rate: int) -> Iterator[tuple[int, int, Any]]:
    """Yield the (rate, channels, extra settings) to try, best first.

    The wanted rate first: most hosts resample by themselves. WASAPI does so on request. The rest of the world
    (ALSA hardware, JACK, Bluetooth) opens at its own rate only, and some devices in stereo only.
    """
    rates = dict.fromkeys((sample_rate, device.default_rate, *FALLBACK_RATES))
    for rate in rates:
        settings = [None]
        if rate == sample_rate and "WASAPI" in device.host_api:
            settings.append(sd.WasapiSettings(auto_convert=True))
        for extra_settings in settings:
            for channels in (1, 2):
                yield rate, channels, extra_settings


def _code(error: Exception) -> int | None:
    """Return the ``PaErrorCode`` of a ``sounddevice.PortAudioError``."""
    return error.args[1] if len(error.args) > 1 else None
