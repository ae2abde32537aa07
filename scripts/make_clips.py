"""Make the clips of `rtvoice demo`: one WAV file per sentence in src/rtvoice/cli/demo/clips/.

Needs what the project itself does not: espeak-ng and sox (``apt install espeak-ng sox``) for the user's voice, and the
package hibari-tts (Apache-2.0, tried with 0.2.1) for the assistant's. In an environment of its own::

    python -m venv /tmp/clips && /tmp/clips/bin/pip install hibari-tts==0.2.1 pydantic
    /tmp/clips/bin/python scripts/make_clips.py

The same versions give the same bytes: seeds are fixed, sox runs without dither. PCM16, 24 kHz, mono, peaks at -3 dBFS;
the user's clips have 0.3 s of silence before and after, the assistant's begin and end within 60 ms of the voice.
"""

# ruff: noqa: T201, S603, S607 - a script for the maintainers: it prints, and runs the two programs it names

import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
from hibari import Hibari

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from rtvoice.cli.demo.clips import CLIPS, Clip

SAMPLE_RATE = 24_000
PEAK = 10 ** (-3 / 20)
SILENT = 10 ** (-50 / 20)
MARGIN = SAMPLE_RATE * 60 // 1000
USER_PADDING = SAMPLE_RATE * 300 // 1000


def main() -> None:
    """Make all clips and print their lengths."""
    tts = Hibari()
    for clip in CLIPS:
        if clip.speaker == "user":
            sound = np.pad(_trim(_espeak(clip), 0), USER_PADDING)
        else:
            sound = _trim(tts(clip.spelling or clip.text, seed=0), MARGIN)
        _write(clip, sound)
        print(f"{clip.path.name:20} {len(sound) / SAMPLE_RATE:5.2f} s")
    for speaker in ("user", "assistant"):
        total = sum(clip.path.stat().st_size for clip in CLIPS if clip.speaker == speaker)
        print(f"{speaker}: {total / 1e6:.2f} MB")


def _espeak(clip: Clip) -> Any:
    """Return the sentence in espeak-ng's American voice, at 24 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        raw, converted = Path(folder, "raw.wav"), Path(folder, "24k.wav")
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", raw, clip.spelling or clip.text], check=True)
        subprocess.run(["sox", "-R", "-D", raw, "-r", str(SAMPLE_RATE), converted], check=True)
        with wave.open(str(converted), "rb") as file:
            return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32) / 32768


def _trim(sound: Any, margin: int) -> Any:
    """Return the sound without the silence at its ends, but for ``margin`` samples of it."""
    (audible,) = np.nonzero(np.abs(sound) > SILENT)
    return sound[max(0, audible[0] - margin) : audible[-1] + margin]


def _write(clip: Clip, sound: Any) -> None:
    pcm = np.round(sound / np.abs(sound).max() * PEAK * 32767).astype("<i2")
    with wave.open(str(clip.path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm.tobytes())


if __name__ == "__main__":
    main()
