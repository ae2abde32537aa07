"""The four parts of offline speech, each of which can be replaced by an object of your own.

Voice activity is the fourth: ``VoiceActivity``, a function that makes a ``SpeechDetecting`` for every session.
"""

from collections.abc import AsyncGenerator
from typing import Protocol

from rtvoice.testing.input_audio import SpeechDetecting, VoiceActivity
from rtvoice.testing.script import ReplyRequest, ToolCall

__all__ = ["ReplyEngine", "SpeechDetecting", "SpeechToText", "TextToSpeech", "VoiceActivity"]


class SpeechToText(Protocol):
    """Writes down what was said."""

    def transcribe(self, pcm: bytes) -> str:
        """Return the words.

        It is called in a worker thread, one call at a time.

        Args:
            pcm: One utterance in which voice activity has found speech: PCM16, 24 kHz, mono.

        Raises:
            Exception: The utterance has no transcript then, and the client is told why.
        """
        ...


class TextToSpeech(Protocol):
    """Speaks."""

    def synthesize(self, text: str, speed: float) -> bytes:
        """Return the sound: PCM16, 24 kHz, mono.

        It is called in a worker thread, one call at a time. An interruption takes effect between two calls.

        Args:
            text: A sentence, or a part of a long one.
            speed: 0.25 to 1.5 times the usual speed.

        Raises:
            Exception: The response fails then, and the client is told why.
        """
        ...


class ReplyEngine(Protocol):
    """Decides what the assistant says and which functions it calls."""

    def reply(self, request: ReplyRequest) -> AsyncGenerator[str | ToolCall, None]:
        """Answer, piece by piece: an async generator of text, in pieces of any size, and of function calls.

        It is closed as soon as nobody wants the rest, for example when the user interrupts.

        Args:
            request: The conversation so far, the instructions and the tools.

        Raises:
            Exception: The response fails then, and the client is told why.
        """
        ...
