"""The sentences of the demo, each with a recording: PCM16, 24 kHz, mono.

``scripts/make_clips.py`` made the WAV files from the texts below: the user with espeak-ng, the assistant with
hibari-tts (Apache-2.0). About the rights in them see README.md beside this file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rtvoice.testing.audio_formats import load_pcm


@dataclass(frozen=True, slots=True)
class Clip:
    """A spoken sentence.

    Attributes:
        name: Name of the WAV file in this folder, without the suffix.
        speaker: Who says it.
        text: What is said.
        spelling: The same for the synthesiser, where it would mispronounce the text.
    """

    name: str
    speaker: Literal["user", "assistant"]
    text: str
    spelling: str = ""

    @property
    def path(self) -> Path:
        """The WAV file."""
        return Path(__file__).with_name(f"{self.name}.wav")

    def pcm(self) -> bytes:
        """Return the sound."""
        return load_pcm(self.path)


WHO_ARE_YOU: Final = Clip("who_are_you", "user", "Hello! Who am I talking to?")
INTRODUCTION: Final = Clip(
    "introduction",
    "assistant",
    "Hello! I am the demo of rtvoice. Ask me about the weather, or for a story.",
    spelling="Hello! I am the demo of R T voice. Ask me about the weather, or for a story.",
)
WEATHER: Final = Clip("weather", "user", "What is the weather in Berlin?")
ONE_MOMENT: Final = Clip("one_moment", "assistant", "One moment, I am looking that up.")
WEATHER_ANSWER: Final = Clip("weather_answer", "assistant", "It is eighteen degrees and partly cloudy in Berlin.")
STORY: Final = Clip("story", "user", "Tell me a long story about a lighthouse.")
LIGHTHOUSE: Final = Clip(
    "lighthouse",
    "assistant",
    "Gladly. There once was a lighthouse at the end of the world. Every night its keeper counted the ships, and every "
    "night there was one more.",
)
STOP: Final = Clip("stop", "user", "Stop.")
STOPPED: Final = Clip("stopped", "assistant", "All right, I will stop here.")

CLIPS: Final = (
    WHO_ARE_YOU,
    INTRODUCTION,
    WEATHER,
    ONE_MOMENT,
    WEATHER_ANSWER,
    STORY,
    LIGHTHOUSE,
    STOP,
    STOPPED,
)
