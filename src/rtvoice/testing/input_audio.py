"""The input audio buffer and its clock, and when turn detection sees a turn begin and end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from rtvoice.testing.audio_formats import AudioFormat

MIN_COMMIT_MS = 100
MAX_APPEND_BYTES = 15 * 1024 * 1024
SEMANTIC_SILENCE_MS: Mapping[str, int] = {"high": 600, "medium": 1000, "auto": 1000, "low": 2000}
"""Silence that ends a turn under ``semantic_vad``, by eagerness.

The service decides by meaning and waits at most 2, 4 or 8 s; these are this emulator's own, fixed stand-ins.
"""
_ONSET_MS = 60
"""Speech without a gap that makes a beginning: a shorter one may be a click."""


class SpeechDetecting(Protocol):
    """Says for every stretch of audio, a frame, whether there is speech in it; one for each session."""

    @property
    def frame_ms(self) -> int:
        """Length of a frame, in milliseconds."""
        ...

    def feed(self, pcm: bytes) -> list[bool]:
        """Return a decision for each frame that this audio completes.

        It is called in the event loop, for every piece of audio that comes in: a frame should take well under 1 ms.

        Args:
            pcm: PCM16, 24 kHz, mono; any length, what makes no whole frame is kept for the next call.
        """
        ...


VoiceActivity: TypeAlias = Callable[[float], SpeechDetecting]
"""Makes a detector of a threshold, 0 to 1: higher needs louder or clearer speech."""


def energy_detector(threshold: float) -> SpeechDetecting:
    """Return the built-in detector, which needs no model (``rtvoice.audio.vad``)."""
    from rtvoice.audio.vad import SpeechDetector  # it needs numpy, which only audio needs

    return SpeechDetector(threshold)


class InputBuffer:
    """Audio that the client has written and not yet committed, and the clock it keeps.

    The clock counts milliseconds of all audio written in the session, whatever became of it.
    """

    def __init__(self, audio_format: AudioFormat, clock_ms: int = 0) -> None:
        self.audio_format = audio_format
        self._audio = bytearray()
        self._first_byte = clock_ms * audio_format.bytes_per_ms

    def __len__(self) -> int:
        return len(self._audio)

    @property
    def clock_ms(self) -> int:
        """Milliseconds of audio written in this session."""
        return (self._first_byte + len(self._audio)) // self.audio_format.bytes_per_ms

    @property
    def start_ms(self) -> int:
        """Position of the first byte that is still here."""
        return self._first_byte // self.audio_format.bytes_per_ms

    @property
    def duration_ms(self) -> float:
        """Length of the audio that is here."""
        return len(self._audio) / self.audio_format.bytes_per_ms

    def append(self, audio: bytes) -> None:
        """Write audio."""
        self._audio += audio

    def clear(self) -> None:
        """Throw everything away; the clock goes on."""
        self._first_byte += len(self._audio)
        self._audio.clear()

    def take(self, start_ms: int | None = None, end_ms: int | None = None) -> bytes:
        """Return the audio between two positions; what lies before the end is gone then."""
        per_ms = self.audio_format.bytes_per_ms
        start = 0 if start_ms is None else max(0, start_ms * per_ms - self._first_byte)
        end = len(self._audio) if end_ms is None else max(0, end_ms * per_ms - self._first_byte)
        taken = bytes(self._audio[start:end])
        self._drop(end)
        return taken

    def keep_last(self, milliseconds: int) -> None:
        """Throw away what is older than that."""
        self._drop(len(self._audio) - milliseconds * self.audio_format.bytes_per_ms)

    def _drop(self, count: int) -> None:
        count = max(0, min(count, len(self._audio)))
        self._first_byte += count
        del self._audio[:count]


@dataclass(frozen=True, slots=True)
class TurnEdge:
    """Turn detection saw a turn begin or end.

    Attributes:
        kind: Which of the two.
        at_ms: For a beginning: where speech began, padding not included. For an end: where the closing silence
            was long enough, silence included. On the session's audio clock.
    """

    kind: Literal["started", "stopped"]
    at_ms: int


class TurnDetector:
    """Decides by speech and silence in the audio itself, never by the time of day.

    Args:
        settings: The session's ``turn_detection``.
        audio_format: Format of the audio.
        clock_ms: Where on the session's audio clock it begins to listen.
        voice_activity: Makes what tells speech from the rest.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        audio_format: AudioFormat,
        clock_ms: int,
        voice_activity: VoiceActivity = energy_detector,
    ) -> None:
        if settings["type"] == "semantic_vad":
            self._silence_ms = SEMANTIC_SILENCE_MS[settings["eagerness"]]
        else:
            self._silence_ms = settings["silence_duration_ms"]
        self._audio_format = audio_format
        self._now_ms = clock_ms
        self._detector = voice_activity(settings.get("threshold", 0.5))
        self._frame_ms = self._detector.frame_ms
        self._onset_frames = -(-_ONSET_MS // self._frame_ms)
        self._run = 0
        self._speech_end_ms: int | None = None

    @property
    def in_speech(self) -> bool:
        """Whether a turn has begun and not ended."""
        return self._speech_end_ms is not None

    def reset(self) -> None:
        """Forget an utterance in progress."""
        self._run = 0
        self._speech_end_ms = None

    def feed(self, audio: bytes) -> list[TurnEdge]:
        """Return what is found up to the end of this audio."""
        edges = []
        for is_speech in self._detector.feed(self._audio_format.to_pcm(audio)):
            self._now_ms += self._frame_ms
            edge = self._step(is_speech)
            if edge is not None:
                edges.append(edge)
        return edges

    def _step(self, is_speech: bool) -> TurnEdge | None:
        self._run = self._run + 1 if is_speech else 0
        if self._speech_end_ms is None:
            if self._run < self._onset_frames:
                return None
            self._speech_end_ms = self._now_ms
            return TurnEdge("started", self._now_ms - self._onset_frames * self._frame_ms)
        if is_speech:
            self._speech_end_ms = self._now_ms
        elif self._now_ms - self._speech_end_ms >= self._silence_ms:
            self._speech_end_ms = None
            return TurnEdge("stopped", self._now_ms)
        return None
