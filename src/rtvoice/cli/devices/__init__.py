"""``rtvoice devices``: what can hear and what can play."""

import argparse
import json

from rtvoice.audio.catalogue import CataloguedDevice, list_devices
from rtvoice.cli.exit_codes import DONE, FAILED
from rtvoice.cli.terminal import Style, Terminal

_DESCRIPTION = """\
List microphones and loudspeakers with their index, host API, channels, sample
rate and latency. MicrophoneInput(device=...) and SpeakerOutput(device=...) take
the index, or a part of the name. Needs rtvoice[audio].
"""

_EPILOG = """\
exit codes:
  0  there is a device to hear with and one to play with
  1  one of the two is missing
  2  wrong arguments, no rtvoice[audio], no PortAudio
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="print a JSON list, for programs")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print the list.

    Raises:
        AudioExtraMissingError: sounddevice or PortAudio is missing.
    """
    devices = list_devices()
    if options.json:
        terminal.line(json.dumps([device.as_dict() for device in devices], indent=2))
    else:
        _show(devices, terminal)
    can_hear = any(device.input_channels for device in devices)
    can_play = any(device.output_channels for device in devices)
    return DONE if can_hear and can_play else FAILED


def _show(devices: list[CataloguedDevice], terminal: Terminal) -> None:
    for title, devices_of_kind in (
        ("Microphones", [device for device in devices if device.input_channels]),
        ("Loudspeakers", [device for device in devices if device.output_channels]),
    ):
        is_input = title == "Microphones"
        terminal.line(terminal.paint(title, Style.BOLD))
        if not devices_of_kind:
            terminal.line("  (none)")
        for device in devices_of_kind:
            is_default = device.is_default_input if is_input else device.is_default_output
            channels = device.input_channels if is_input else device.output_channels
            latency = device.input_latency_ms if is_input else device.output_latency_ms
            facts = f"{device.host_api}, {channels} ch, {device.default_rate} Hz, {latency:g} ms"
            mark = terminal.paint("  <- default", Style.GREEN) if is_default else ""
            terminal.line(f"  {device.index:>3}  {device.name}  ({facts}){mark}")
    terminal.line("An index changes when devices come and go; a part of the name stays.")
