"""The user's side of a session: audio comes in, turns come out (protocol page, sections 3.6, 7.3, 7.4 and 7.11)."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rtvoice.testing.conversation import Item
from rtvoice.testing.input_audio import (
    MAX_APPEND_BYTES,
    MIN_COMMIT_MS,
    InputBuffer,
    TurnDetector,
    VoiceActivity,
)
from rtvoice.testing.item_rules import decode_audio
from rtvoice.testing.script import UserTurn
from rtvoice.testing.session_rules import STREAMING_TRANSCRIBERS
from rtvoice.testing.transcription import transcribe
from rtvoice.testing.validation import RequestRefused

if TYPE_CHECKING:
    from rtvoice.testing.responses import Response
    from rtvoice.testing.session import EmulatedSession

_DEFAULT_PREFIX_MS = 300
_SPARE_MS = 200
"""Audio kept besides the padding while nobody speaks: speech is noticed some frames after it began."""


class UserTurns:
    """Input buffer, turn detection and transcription of one session.

    Args:
        session: The session.
        voice_activity: Makes what finds speech in the audio; ``None``: only the test starts and stops speech.
    """

    def __init__(self, session: "EmulatedSession", *, voice_activity: VoiceActivity | None) -> None:
        self._session = session
        self._voice_activity = voice_activity
        self.buffer = InputBuffer(session.input_format)
        self._detector: TurnDetector | None = None
        self._detector_settings = self._settings
        self._next_item_id = ""
        self._early_text = ""
        self._speech_start_ms: int | None = None
        self._idle_since_ms: int | None = None

    @property
    def in_speech(self) -> bool:
        """Whether the user is speaking, as far as turn detection knows."""
        return self._speech_start_ms is not None

    @property
    def _settings(self) -> Mapping[str, Any] | None:
        settings: Mapping[str, Any] | None = self._session.config["audio"]["input"]["turn_detection"]
        return settings

    def reconfigure(self) -> None:
        """Take over changed settings; an utterance in progress survives while turn detection is on."""
        audio_format = self._session.input_format
        if audio_format != self.buffer.audio_format:
            self.buffer = InputBuffer(audio_format, self.buffer.clock_ms)
        elif self._settings == self._detector_settings:
            return
        self._detector, self._detector_settings = None, self._settings
        if self._settings is None:
            self._speech_start_ms = None
        if not (self._settings or {}).get("idle_timeout_ms"):
            self._idle_since_ms = None

    def append(self, encoded: str) -> None:
        """Write audio into the buffer, and let turn detection hear it.

        Raises:
            RequestRefused: It is not base64, empty, or above 15 MiB.
        """
        audio = decode_audio(encoded, "audio")
        if len(audio) > MAX_APPEND_BYTES:
            raise RequestRefused("invalid_value", "Invalid 'audio'. At most 15 MiB can be appended at once.", "audio")
        self.buffer.append(audio)
        if self._settings is None:
            return
        if self._voice_activity is not None:
            self._listen(audio, self._settings, self._voice_activity)
        self._check_idle()

    def _listen(self, audio: bytes, settings: Mapping[str, Any], voice_activity: VoiceActivity) -> None:
        if self._detector is None:
            begin_ms = self.buffer.clock_ms - len(audio) // self.buffer.audio_format.bytes_per_ms
            self._detector = TurnDetector(settings, self.buffer.audio_format, begin_ms, voice_activity)
        for edge in self._detector.feed(audio):
            if edge.kind == "started" and not self.in_speech:
                self.speech_started(edge.at_ms - settings.get("prefix_padding_ms", _DEFAULT_PREFIX_MS))
            elif edge.kind == "stopped" and self.in_speech:
                self.speech_stopped(edge.at_ms)
        if not self.in_speech:
            padding = settings.get("prefix_padding_ms", _DEFAULT_PREFIX_MS) + _SPARE_MS
            idle_ms = 0 if self._idle_since_ms is None else self.buffer.clock_ms - self._idle_since_ms
            self.buffer.keep_last(max(padding, idle_ms))

    def speech_started(self, audio_start_ms: int | None = None) -> None:
        """Act as if turn detection had noticed speech."""
        settings = self._required_settings()
        if audio_start_ms is None:
            audio_start_ms = self.buffer.clock_ms - settings.get("prefix_padding_ms", _DEFAULT_PREFIX_MS)
        self._speech_start_ms = max(audio_start_ms, self.buffer.start_ms, 0)
        self._idle_since_ms = None
        self._session.emit(
            "input_audio_buffer.speech_started",
            audio_start_ms=self._speech_start_ms,
            item_id=self._item_id(),
        )
        if settings.get("interrupt_response", True):
            self._session.responses.interrupt()

    def speech_stopped(self, audio_end_ms: int | None = None) -> None:
        """Act as if turn detection had noticed that the user is done: the turn is committed and answered."""
        settings = self._required_settings()
        end_ms = self.buffer.clock_ms if audio_end_ms is None else audio_end_ms
        if self._speech_start_ms is None:
            raise RuntimeError("speech_stopped() without speech_started(): the user is not speaking")
        self._session.emit("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=self._item_id())
        self._commit(self.buffer.take(self._speech_start_ms, end_ms))
        if settings.get("create_response", True):
            self._session.responses.answer_turn()

    def _required_settings(self) -> Mapping[str, Any]:
        if self._settings is None:
            raise RuntimeError("turn detection is off in this session (turn_detection: null): the client must commit")
        return self._settings

    def commit(self) -> None:
        """Make a user item of the buffer.

        Raises:
            RequestRefused: There is less than 100 ms in it.
        """
        if self.buffer.duration_ms < MIN_COMMIT_MS:
            raise RequestRefused(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of "
                f"audio, but buffer only has {self.buffer.duration_ms:.2f}ms of audio.",
            )
        self._forget_utterance()
        self._commit(self.buffer.take())

    def clear(self) -> None:
        """Throw the buffer away, with an utterance in progress."""
        self._forget_utterance()
        self._next_item_id = self._early_text = ""
        self.buffer.clear()

    def _forget_utterance(self) -> None:
        self._speech_start_ms = None
        if self._detector is not None:
            self._detector.reset()

    def transcribe_early(self, text: str) -> None:
        """Send a transcription delta for the audio that is not committed yet, as ``gpt-live-transcribe`` does."""
        transcription = self._session.config["audio"]["input"]["transcription"] or {}
        if transcription.get("model") not in STREAMING_TRANSCRIBERS:
            raise RuntimeError(f"only {' and '.join(STREAMING_TRANSCRIBERS)} transcribe before the commit")
        self._early_text += text
        self._session.emit(
            "conversation.item.input_audio_transcription.delta", item_id=self._item_id(), content_index=0, delta=text
        )

    def _item_id(self) -> str:
        """Return the id that the running utterance will have once it is committed."""
        if not self._next_item_id:
            self._next_item_id = self._session.new_id("item")
        return self._next_item_id

    def _commit(self, audio: bytes) -> None:
        item_id, early_text = self._item_id(), self._early_text
        self._next_item_id = self._early_text = ""
        self._speech_start_ms = None
        session = self._session
        session.emit(
            "input_audio_buffer.committed",
            previous_item_id=session.conversation.previous_id(),
            item_id=item_id,
        )
        data = {
            "id": item_id,
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        item = Item(data, {0: bytearray(audio)}, self.buffer.audio_format)
        item.heard = asyncio.get_running_loop().create_future()
        session.add_item(item)
        session.emit_item_done(item)
        session.start_soon(self._hear(item, item.heard, early_text))

    async def _hear(self, item: Item, heard: asyncio.Future[str], early_text: str) -> None:
        """Ask the script what was said, let the reply have it, and report it to the client if it wants that."""
        session = self._session
        turn = UserTurn(item.audio_format.to_pcm(bytes(item.audio[0])), item.id, session.id)
        transcript = await session.script.transcript(turn)
        heard.set_result(transcript.text)
        transcription = session.config["audio"]["input"]["transcription"]
        if transcription is not None:
            model = transcription.get("model", "")
            await transcribe(session, item, transcript, already_sent=early_text, model=model)

    def response_started(self) -> None:
        """Note that the assistant has the word: nobody is idle."""
        self._idle_since_ms = None

    def response_ended(self, response: "Response") -> None:
        """Note when the assistant's audio will have been played: from then on the user may be idle."""
        if (self._settings or {}).get("idle_timeout_ms") and not self.in_speech:
            self._idle_since_ms = self.buffer.clock_ms + response.audio_ms

    def _check_idle(self) -> None:
        timeout_ms = (self._settings or {}).get("idle_timeout_ms")
        start_ms = self._idle_since_ms
        if timeout_ms is None or start_ms is None or self.buffer.clock_ms < start_ms + timeout_ms:
            return
        self._idle_since_ms = None
        end_ms = start_ms + timeout_ms
        self._session.emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=start_ms,
            audio_end_ms=end_ms,
            item_id=self._item_id(),
        )
        self._commit(self.buffer.take(start_ms, end_ms))
        self._session.responses.answer_turn()
