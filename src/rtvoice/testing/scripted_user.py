"""A user who follows a script: speaks, listens, interrupts, keeps silent."""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rtvoice.testing.audio_formats import PCM_BYTES_PER_MS, SAMPLE_RATE
from rtvoice.testing.narration import Narration
from rtvoice.testing.observations import Answer, Observations
from rtvoice.testing.speaker import VirtualSpeaker
from rtvoice.testing.user_voice import UserVoice, murmur

PATIENCE_S: Final = 10.0
"""How long a user waits, by default, while nothing happens."""
_STALLED_S: Final = 0.02
"""How often to look whether the loudspeaker plays again, when the assistant's sound has run dry."""


class ScriptedUser:
    """The user of a rehearsal; ``Rehearsal.run()`` brings one.

    All methods are to be awaited one after the other, like lines of a play. Whatever does not come as the script
    says raises an ``AssertionError`` that shows the conversation so far.

    Args:
        voice: The microphone that hears the user.
        speaker: The loudspeaker that the user hears.
        words: Where to put down what is being said; the server takes it as the transcript.
        observations: What has happened so far.
        drop: Drops the connection.
        narration: Where to tell what the user says; ``None`` for nowhere.
        patience: Seconds that the user waits while nothing happens, unless a call says otherwise.
    """

    def __init__(
        self,
        *,
        voice: UserVoice,
        speaker: VirtualSpeaker,
        words: deque[str],
        observations: Observations,
        drop: Callable[[], None],
        narration: Narration | None = None,
        patience: float = PATIENCE_S,
    ) -> None:
        self._voice = voice
        self._speaker = speaker
        self._words = words
        self._seen = observations
        self._drop = drop
        self._narration = narration
        self._patience = patience
        self._listened_to = 0

    async def says(self, words: str, *, clip: bytes | str | Path | None = None) -> None:
        """Say something, at once, and wait until the server has noticed that the turn is over.

        Args:
            words: What the server takes as said: it hears speech, but does not understand it.
            clip: The sound: a WAV file, or PCM16 24 kHz mono. ``None``: a hum as long as the words take to say, which
                turn detection hears as speech.

        Raises:
            AssertionError: Turn detection did not hear it, or the conversation is over.
            AudioDeviceError: The file cannot be read as a WAV file.
        """
        seen = self._seen
        pcm = _sound_of(words, clip)
        await seen.wait_for(
            lambda: self._voice.is_active or None,
            patience=self._patience,
            missing=lambda: f"cannot say {words!r}: the agent does not listen to the rehearsal's microphone",
        )
        turns_before = seen.user_turns
        now = _now()
        self._words.append(words)
        self._voice.say(pcm)
        seen.user_says(words, end_at=now + _speech_s(pcm))
        if self._narration is not None:
            self._narration.line("user", words)
        await seen.pass_time(now + _length_s(pcm))
        await seen.wait_for(
            lambda: True if seen.user_turns > turns_before and not seen.user_is_speaking else None,
            patience=self._patience,
            missing=lambda: f"the server's turn detection did not hear {words!r} begin and end",
        )

    async def hears(self, words: str = "", *, patience: float | None = None) -> Answer:
        """Listen until an answer that contains these words has been heard to its end.

        Answers without them are listened to and passed over; so are those that came before the one found.

        Args:
            words: A part of what the user must hear, in upper or lower case. Of an answer that was cut short only what
                was heard counts. "" takes the next answer, whatever it says.
            patience: Seconds to wait while nothing happens; the assistant's speech does not count.

        Returns:
            The answer.

        Raises:
            AssertionError: No such answer came, or the conversation is over.
        """
        return await self._seen.wait_for(
            lambda: self._next_heard(words),
            patience=self._patience if patience is None else patience,
            missing=lambda: f"the user did not hear {words!r}" if words else "the user did not hear an answer",
        )

    def _next_heard(self, words: str) -> Answer | None:
        for index, answer in enumerate(self._seen.answers[self._listened_to :], self._listened_to):
            if not answer.ended:
                return None
            if words.casefold() in answer.heard.casefold():
                self._listened_to = index + 1
                return answer
        return None

    async def interrupts(
        self,
        words: str,
        *,
        after_ms: int,
        clip: bytes | str | Path | None = None,
        patience: float | None = None,
    ) -> Answer:
        """Speak into the answer that can be heard, or into the next one.

        Turn detection takes about 0.1 s of the user's speech to notice, so the answer is cut that much later than
        ``after_ms``.

        Args:
            words: What the server takes as said.
            after_ms: How much of the answer the user hears before speaking, in milliseconds. If more of it has been
                heard already, the user speaks at once.
            clip: The sound, as for ``says()``.
            patience: Seconds to wait for an answer while nothing happens.

        Returns:
            The answer; ``interrupted_at_ms`` tells where it was cut.

        Raises:
            AssertionError: No answer came, or it was over too soon, or the agent talked on.
            AudioDeviceError: The file cannot be read as a WAV file.
        """
        seen = self._seen
        answer = await seen.wait_for(
            lambda: next((answer for answer in seen.answers[self._listened_to :] if not answer.ended), None),
            patience=self._patience if patience is None else patience,
            missing=lambda: f"the user had nothing to interrupt with {words!r}",
        )
        self._listened_to = seen.answers.index(answer) + 1
        last_sample = answer.first_sample + after_ms * SAMPLE_RATE // 1000
        while (missing := last_sample - self._speaker.heard_samples) > 0:
            if answer.ended or seen.over:
                raise seen.failure(f"{str(answer)!r} was over before the user had heard {after_ms} ms of it")
            wait_s = missing / SAMPLE_RATE if self._speaker.is_playing else _STALLED_S
            await seen.pause(_now() + wait_s)
        await self.says(words, clip=clip)
        if answer.interrupted_at_ms is None:
            raise seen.failure(f"the agent was not interrupted by {words!r}")
        return answer

    async def stays_silent(self, seconds: float) -> None:
        """Say nothing for so long, or until the conversation is over."""
        await self._seen.pass_time(_now() + seconds)

    async def loses_the_connection(self, *, patience: float | None = None) -> None:
        """Have the agent's connection dropped, and wait until it has restored it.

        Args:
            patience: Seconds to wait while nothing happens.

        Raises:
            AssertionError: It did not.
        """
        before = self._seen.reconnections
        self._drop()
        await self._seen.wait_for(
            lambda: self._seen.reconnections > before or None,
            patience=self._patience if patience is None else patience,
            missing=lambda: "the agent has not restored the connection",
        )

    async def waits_for_the_end(self, *, patience: float | None = None) -> None:
        """Wait until the agent ends the conversation.

        Args:
            patience: Seconds to wait while nothing happens.

        Raises:
            AssertionError: It did not.
        """
        await self._seen.wait_for(
            lambda: self._seen.over or None,
            patience=self._patience if patience is None else patience,
            missing=lambda: "the agent did not end the conversation",
        )


def _sound_of(words: str, clip: bytes | str | Path | None) -> bytes:
    if clip is None:
        return murmur(words)
    if isinstance(clip, bytes):
        return clip
    from rtvoice.audio.wav import read_wav  # it needs numpy, which only sound needs

    return b"".join(read_wav(clip))


def _length_s(pcm: bytes) -> float:
    return len(pcm) / PCM_BYTES_PER_MS / 1000


def _speech_s(pcm: bytes) -> float:
    """Return where the last word ends: clips often end with silence, which is no time that the user waits."""
    from rtvoice.audio.vad import FRAME_MS, SpeechDetector

    frames = [index for index, is_speech in enumerate(SpeechDetector().feed(pcm)) if is_speech]
    return (frames[-1] + 1) * FRAME_MS / 1000 if frames else _length_s(pcm)


def _now() -> float:
    return asyncio.get_running_loop().time()
