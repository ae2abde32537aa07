"""A recorded session as one HTML page that can be looked at and listened to anywhere; it loads nothing from outside."""

import functools
import json
from array import array
from base64 import b64encode
from dataclasses import asdict
from hashlib import sha256
from html import escape
from importlib import resources
from string import Template
from typing import Any

from rtvoice.testing.session_summary import about, facts, notices
from rtvoice.testing.session_timeline import SessionTimeline, Sound


def render(timeline: SessionTimeline) -> str:
    """Return the page (UTF-8 text). Its size is about 32 kB per second and speaking side.

    A content security policy in the page allows its own script, style and sound, and no connections.

    Args:
        timeline: The session.
    """
    recording = timeline.recording
    script, style = _part("page.js"), _part("page.css")
    data = {
        "duration": timeline.duration_s,
        "rows": _rows(timeline),
        "sound": None
        if "audio" in recording.redacted
        else {"user": _encoded(timeline.user), "assistant": _encoded(timeline.assistant)},
    }
    return Template(_part("page.html")).substitute(
        policy=escape(
            "default-src 'none'; img-src data:; media-src blob:; "
            f"script-src 'sha256-{_hash(script)}'; style-src 'sha256-{_hash(style)}'"
        ),
        title=escape(recording.path.name),
        about=escape(about(timeline)),
        facts="\n".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts(timeline)
        ),
        notice="".join(f"<p class=notice>{escape(notice)}</p>" for notice in notices(timeline)),
        style=style,
        script=script,
        data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    )


def _rows(timeline: SessionTimeline) -> list[dict[str, Any]]:
    rows = [{"kind": said.who, **asdict(said)} for said in timeline.utterances]
    rows += [{"kind": "tool", **asdict(tool)} for tool in timeline.tools]
    rows += [
        {"kind": incident.kind, "start": incident.at, "end": incident.at, "text": incident.text}
        for incident in timeline.incidents
    ]
    return sorted(rows, key=lambda row: row["start"])


def _encoded(sound: Sound) -> list[dict[str, Any]]:
    return [{"start": start, "audio": b64encode(mu_law(pcm)).decode()} for start, pcm in sound.pieces]


def mu_law(pcm: bytes | bytearray) -> bytes:
    """Return PCM16 in 8 bits a sample (ITU-T G.711 mu-law), which is good enough to listen to and half the size."""
    codes = _mu_law_codes()
    return bytes(map(codes.__getitem__, array("H", pcm)))


@functools.cache
def _mu_law_codes() -> bytes:
    """Return the code of every sample, taken as an unsigned number."""
    bias, clip = 0x84, 32_635
    codes = bytearray(65_536)
    for unsigned in range(65_536):
        sample = unsigned - 65_536 if unsigned >= 32_768 else unsigned
        magnitude = min(abs(sample), clip) + bias
        exponent = magnitude.bit_length() - 8
        mantissa = magnitude >> (exponent + 3) & 0x0F
        codes[unsigned] = ~((0x80 if sample < 0 else 0) | exponent << 4 | mantissa) & 0xFF
    return bytes(codes)


def _part(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
