"""Microphone and loudspeaker: do they work, and do they hear each other?"""

import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Final

from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.audio.loopback import LoopbackReport, measure_loopback
from rtvoice.cli.doctor.findings import Finding
from rtvoice.errors import AudioDeviceError

_SILENT_DBFS: Final = -90.0
"""Quieter than any room: a muted microphone, or one that the system lets nobody hear."""
_LOUD_DBFS: Final = -35.0
"""A room in which turn detection has a hard time."""
_CLIPPED_SHARE: Final = 0.001
_SLOW_MS: Final = 300.0
_LOUD_ECHO_DB: Final = -6.0
"""An echo that loud is as loud as the user, or louder."""


async def check_sound(input_device: int | str | None, output_device: int | str | None) -> AsyncIterator[Finding]:
    """Play a chirp, listen, and yield what is found."""
    microphone, loudspeaker = MicrophoneInput(device=input_device), SpeakerOutput(device=output_device)
    try:
        report = await measure_loopback(microphone, loudspeaker)
    except AudioDeviceError as error:
        message, _, remedy = str(error).partition(". ")
        yield Finding("sound", "problem", f"{message.rstrip('.')}.", remedy or "'rtvoice devices' lists what there is.")
        return
    for finding in judge(report):
        yield finding


def judge(report: LoopbackReport) -> Iterator[Finding]:
    """Yield what a measurement means."""
    yield _microphone(report)
    yield _echo(report)


def _microphone(report: LoopbackReport) -> Finding:
    details = {name: value for name, value in asdict(report).items() if name not in ("latency_ms", "echo_db", "heard")}
    if details["noise_dbfs"] == -math.inf:
        details["noise_dbfs"] = None  # JSON knows no infinity
    if report.captured_ms < 1000:
        remedy = "Another program may hold it: close that one, or unplug the device and plug it in again."
        return Finding("microphone", "problem", f"It gave only {report.captured_ms} ms of sound.", remedy, details)
    if report.noise_dbfs < _SILENT_DBFS and not report.heard:
        remedy = (
            "Switch it on, raise its level in the system's sound settings, and allow this program to use the "
            "microphone (on macOS and Windows in the privacy settings, for the terminal); or choose one with --input."
        )
        return Finding("microphone", "problem", "It delivers perfect silence.", remedy, details)
    if report.clipped_share > _CLIPPED_SHARE:
        share = f"{100 * report.clipped_share:.1f} %"
        return Finding("microphone", "warning", f"It is overdriven: {share} clipped.", "Lower its level.", details)
    if report.noise_dbfs > _LOUD_DBFS:
        remedy = "Come closer to the microphone, or use a headset; noise_reduction=NoiseReduction.FAR_FIELD helps."
        return Finding("microphone", "warning", f"The room is loud: {report.noise_dbfs:.0f} dBFS.", remedy, details)
    level = "silence" if report.noise_dbfs == -math.inf else f"{report.noise_dbfs:.0f} dBFS"
    return Finding("microphone", "ok", f"It hears; the room is at {level}.", details=details)


def _echo(report: LoopbackReport) -> Finding:
    details = {"heard": report.heard, "latency_ms": report.latency_ms, "echo_db": report.echo_db}
    if not report.heard or report.latency_ms is None or report.echo_db is None:
        message = "The microphone does not hear the loudspeaker: a headset, or not the devices that you think."
        remedy = "If you heard no chirp, turn up the volume, or choose another loudspeaker with --output."
        return Finding("loudspeaker", "ok", message, remedy, details)
    heard = f"The microphone hears it after {report.latency_ms:.0f} ms at {report.echo_db:+.0f} dB."
    if report.echo_db > _LOUD_ECHO_DB:
        remedy = "Turn it down or move it away; or use a headset. echo='webrtc' or 'builtin' takes out the rest."
        return Finding("loudspeaker", "warning", f"{heard} That is loud.", remedy, details)
    if report.latency_ms > _SLOW_MS:
        remedy = "Bluetooth is slow: use a cable, or the computer's own loudspeaker."
        return Finding("loudspeaker", "warning", f"{heard} That is late.", remedy, details)
    return Finding("loudspeaker", "ok", heard, details=details)
