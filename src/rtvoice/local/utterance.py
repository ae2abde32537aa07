"""The speech in a turn, without the silence around it."""

from typing import Final

from rtvoice.local.slots import SpeechDetecting

_BYTES_PER_MS: Final = 48
_SHORTEST_MS: Final = 60
"""Speech without a gap that is more than a click."""
_PADDING_MS: Final = 300
"""Silence kept on both sides: a detector notices soft beginnings and ends late."""


def speech_in(pcm: bytes, detector: SpeechDetecting) -> bytes:
    """Return the audio from the first to the last speech, with a little silence around it.

    Args:
        pcm: PCM16, 24 kHz, mono.
        detector: A new one.

    Returns:
        The same format; nothing if there is no speech in it.
    """
    begin_ms, end_ms, run_ms = None, 0, 0
    for number, is_speech in enumerate(detector.feed(pcm), 1):
        run_ms = run_ms + detector.frame_ms if is_speech else 0
        if run_ms >= _SHORTEST_MS:
            end_ms = number * detector.frame_ms
            begin_ms = end_ms - run_ms if begin_ms is None else begin_ms
    if begin_ms is None:
        return b""
    return pcm[max(0, begin_ms - _PADDING_MS) * _BYTES_PER_MS : (end_ms + _PADDING_MS) * _BYTES_PER_MS]
