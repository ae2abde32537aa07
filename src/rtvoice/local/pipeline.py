"""Understands and speaks: what stands behind the protocol when the server is a local one."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE
from rtvoice.local.sentences import Sentences, speakable
from rtvoice.local.slots import ReplyEngine, SpeechToText, TextToSpeech, VoiceActivity
from rtvoice.local.utterance import speech_in
from rtvoice.local.verbatim import words_to_say
from rtvoice.local.worker import Worker
from rtvoice.testing.input_audio import energy_detector
from rtvoice.testing.script import ReplyFailed, ReplyRequest, Spoken, StreamedReply, ToolCall, Transcript, UserTurn

logger = logging.getLogger(__name__)

_WARM_UP: Final = "Hello."
_THRESHOLD: Final = 0.5
"""Of voice activity, when a turn is searched for speech."""


class SpeechPipeline:
    """Gives the server its transcripts and its replies.

    The first sound of an answer does not wait for the whole of it: it is spoken sentence by sentence.

    Args:
        replies: Decides what is said.
        speech_to_text: Writes down what the user says; ``None``: no turn has a transcript.
        text_to_speech: Speaks; ``None``: only text responses can be made.
        voice_activity: Finds the speech in a turn; ``speech_to_text`` gets nothing else.

    Attributes:
        voice_activity: The same.
    """

    def __init__(
        self,
        replies: ReplyEngine,
        *,
        speech_to_text: SpeechToText | None,
        text_to_speech: TextToSpeech | None,
        voice_activity: VoiceActivity = energy_detector,
    ) -> None:
        self._replies = replies
        self._speech_to_text = speech_to_text
        self._text_to_speech = text_to_speech
        self.voice_activity = voice_activity
        self._listener = Worker("speech to text")
        self._speaker = Worker("text to speech")

    async def __aenter__(self) -> Self:
        """Let both engines do something once: the first time takes some of them half a second longer."""
        try:
            sound = bytes(SAMPLE_RATE * SAMPLE_BYTES)
            if self._text_to_speech is not None:
                sound = await self._speaker.run(self._text_to_speech.synthesize, _WARM_UP, 1.0)
            if self._speech_to_text is not None:
                await self._listener.run(self._speech_to_text.transcribe, sound)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the threads of the engines."""
        await self._stop()

    async def _stop(self) -> None:
        await self._listener.stop()
        await self._speaker.stop()

    # --- what the user says -------------------------------------------------------------------------------------

    async def transcript(self, turn: UserTurn) -> Transcript:
        """Return what the user said in a turn; "" if there is no speech in it."""
        if self._speech_to_text is None:
            return _no_transcript("This server has no speech to text: send text.")
        try:
            return Transcript(await self._listener.run(self._transcribe, self._speech_to_text, turn.audio))
        except Exception as error:
            logger.exception("Speech to text failed")
            return _no_transcript(f"Speech to text failed: {type(error).__name__}")

    def _transcribe(self, engine: SpeechToText, pcm: bytes) -> str:
        speech = speech_in(pcm, self.voice_activity(_THRESHOLD))
        return engine.transcribe(speech) if speech else ""

    # --- what the assistant says --------------------------------------------------------------------------------

    def reply(self, request: ReplyRequest) -> StreamedReply:
        """Return what the assistant does; it is made while it is sent."""
        words = words_to_say(request)
        text = self._replies.reply(request) if words is None else _once(words)
        if list(request.output_modalities) == ["audio"]:
            speed = float(request.session["audio"]["output"]["speed"])
            return StreamedReply(self._speak(text, speed))
        return StreamedReply(_write(text))

    async def _speak(
        self, parts: AsyncGenerator[str | ToolCall, None], speed: float
    ) -> AsyncGenerator[Spoken | ToolCall, None]:
        sentences = Sentences()
        async with aclosing(_reporting(parts)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    for sentence in sentences.feed(piece):
                        yield await self._say(sentence, speed)
                else:
                    if rest := sentences.finish():
                        yield await self._say(rest, speed)
                    yield piece
        if rest := sentences.finish():
            yield await self._say(rest, speed)

    async def _say(self, sentence: str, speed: float) -> Spoken:
        if self._text_to_speech is None:
            raise ReplyFailed("This server has no text to speech: ask for text responses.")
        text = speakable(sentence)
        try:
            sound = await self._speaker.run(self._text_to_speech.synthesize, text, speed) if text else b""
        except Exception as error:
            logger.exception("Text to speech failed")
            raise ReplyFailed(f"Text to speech failed: {type(error).__name__}") from error
        return Spoken(sentence, sound)


async def _once(words: str) -> AsyncGenerator[str | ToolCall, None]:
    yield words


async def _write(parts: AsyncGenerator[str | ToolCall, None]) -> AsyncGenerator[Spoken | ToolCall, None]:
    async with aclosing(_reporting(parts)) as pieces:
        async for piece in pieces:
            yield Spoken(piece) if isinstance(piece, str) else piece


async def _reporting(parts: AsyncGenerator[str | ToolCall, None]) -> AsyncGenerator[str | ToolCall, None]:
    """Yield the parts; an error of the engine becomes one that the client is told of."""
    try:
        async with aclosing(parts):
            async for part in parts:
                yield part
    except Exception as error:
        logger.exception("The reply engine failed")
        raise ReplyFailed(f"The reply engine failed: {type(error).__name__}: {error}") from error


def _no_transcript(message: str) -> Transcript:
    return Transcript(error={"type": "transcription_error", "code": "transcription_failed", "message": message})
