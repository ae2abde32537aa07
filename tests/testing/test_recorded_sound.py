from array import array
from base64 import b64decode, b64encode
from typing import Any

import pytest

from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.recorded_sound import PCM, WireFormats, in_format, recorded_audio
from rtvoice.testing.session_log import LogLine

MULAW = AudioFormat("audio/pcmu")


def line(frame: dict[str, Any] | None = None, **fields: Any) -> LogLine:
    return LogLine(number=2, at=0.0, to="server", frame=frame or {}, fields={"frame": frame, **fields})


def delta(**fields: Any) -> dict[str, Any]:
    return {"type": "response.output_audio.delta", **fields}


def update(**audio: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"audio": audio}}


def test_the_sound_of_a_line() -> None:
    assert recorded_audio(line({"audio": "AQA="})) == b"\x01\x00"
    assert recorded_audio(line(delta(delta="AQA="))) == b"\x01\x00"
    assert recorded_audio(line(audio="AQA=")) == b"\x01\x00"
    assert recorded_audio(line({"audio": b64encode(b"\xff\xff").decode()}), MULAW) == bytes(12)
    assert recorded_audio(line(audio="AQA="), MULAW) == b"\x01\x00"  # notes are PCM


def test_silence_stands_in_for_sound_that_was_left_out() -> None:
    assert recorded_audio(line({"audio": "", "audio_bytes": 96})) == bytes(96)
    assert recorded_audio(line({"audio": "", "audio_bytes": 16}), MULAW) == bytes(96)
    assert recorded_audio(line(audio="", audio_bytes=48), MULAW) == bytes(48)


@pytest.mark.parametrize("broken", ["A", "\N{LATIN SMALL LETTER E WITH ACUTE}", 1, None])
def test_what_is_no_sound(broken: object) -> None:
    assert recorded_audio(line({"audio": broken})) == b""


def test_the_formats_are_those_of_the_last_update() -> None:
    formats = WireFormats()
    assert formats.after({"type": "response.create"}) is formats
    assert formats.after({"type": "session.update", "session": {}}) == formats
    assert formats.after(update(input={"format": {"type": "audio/pcmu"}})) == WireFormats(MULAW, PCM)
    assert formats.after(update(output={"format": {"type": "audio/pcmu"}})) == WireFormats(PCM, MULAW)
    assert formats.after(update(output={"format": {"type": "audio/new"}})) == formats


def test_a_delta_in_another_format() -> None:
    same, other = delta(delta="AQA="), {"type": "response.created"}
    assert in_format(same, PCM, PCM) is same
    assert in_format(other, PCM, MULAW) is other
    assert b64decode(in_format(delta(delta="", audio_bytes=96), PCM, PCM)["delta"]) == bytes(96)
    quiet = b64decode(in_format(delta(delta="", audio_bytes=96), PCM, MULAW)["delta"])
    assert len(quiet) == 16
    assert max(array("h", MULAW.to_pcm(quiet))) <= 8
    assert b64decode(in_format(delta(delta="//8="), MULAW, PCM)["delta"]) == bytes(12)
    assert "audio_bytes" not in in_format(delta(delta="", audio_bytes=96), PCM, PCM)
