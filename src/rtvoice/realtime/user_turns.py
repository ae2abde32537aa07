"""The user's turns: when the user speaks, what was said, and turns that are ended by hand."""

import logging
from collections.abc import Callable
from typing import Final

from rtvoice.events import (
    Event,
    SpeechDetectedEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
)
from rtvoice.realtime import client_events, refusals, server_events
from rtvoice.realtime.audio_codec import AudioCodec
from rtvoice.realtime.conversation_items import ConversationItems
from rtvoice.realtime.judged_turns import JudgedTurns
from rtvoice.realtime.memory import ConversationMemory
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.responses import ResponseArbiter

logger = logging.getLogger(__name__)

MINIMUM_TURN_BYTES: Final = 4_800
"""The least audio that the server accepts as a turn committed by hand: 100 ms."""


class UserTurns:
    """The user's side of a session.

    Args:
        emit: Takes the facts.
        outbox: Takes the frames.
        arbiter: Learns when the user speaks.
        items: Learns the place of a turn.
        memory: Learns that there are words to come.
        by_hand: Whether the server has no turn detection.
        judged: Whether we decide which turns are answered, not the server.
        codec: What their audio is sent in; ``None``: PCM16 at 24 kHz.

    Attributes:
        judged: Takes the decisions.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        outbox: Outbox,
        arbiter: ResponseArbiter,
        items: ConversationItems,
        memory: ConversationMemory,
        *,
        by_hand: bool,
        judged: bool = False,
        codec: AudioCodec | None = None,
    ) -> None:
        self.judged = JudgedTurns(outbox, arbiter, memory)
        self._are_judged = judged
        self._codec = codec
        self._emit = emit
        self._outbox = outbox
        self._arbiter = arbiter
        self._items = items
        self._memory = memory
        self._by_hand = by_hand
        self._speaks = False  # as we have told; the arbiter may know better
        self._uncommitted_bytes = 0
        self._awaits_commit = False  # the turn was committed by hand, and the server has not said so yet

    @property
    def under_way(self) -> bool:
        """Whether the user speaks, or audio waits to be committed by hand."""
        recording = self._by_hand and self._uncommitted_bytes >= MINIMUM_TURN_BYTES
        return self._arbiter.user_speaks or self._awaits_commit or recording

    def connection_lost(self) -> None:
        """Note that the session is gone: what the user was saying is lost."""
        speaks = self._speaks or self._arbiter.user_speaks
        if self._speaks:
            self._emit(UserStoppedSpeakingEvent())
        self._speaks = False
        if speaks or self._awaits_commit:
            self._memory.expect_words(self._outbox.new_id("lost"))

    def begin_anew(self) -> None:
        """Note that a new session takes over, whose audio buffer is empty."""
        self._uncommitted_bytes, self._awaits_commit = 0, False
        self.judged.begin_anew()

    # --- from the server ---

    def speech_started(self, event: server_events.SpeechStarted) -> list[str]:
        """Take in that the user began to speak; return the calls whose holding phrase is dropped for it."""
        dropped = self._arbiter.user_started()
        if self._are_judged:
            self.judged.began(event.item_id)
        self._speaks = True
        self._emit(SpeechDetectedEvent(item_id=event.item_id, audio_start_ms=event.audio_start_ms))
        return dropped

    def speech_stopped(self, event: server_events.SpeechStopped, now: float) -> None:
        """Take in that the user has finished."""
        self._arbiter.user_stopped(now)
        self._speaks = False
        self._emit(UserStoppedSpeakingEvent(audio_end_ms=event.audio_end_ms))

    def committed(self, event: server_events.Committed, now: float) -> None:
        """Take in that the turn is an item now."""
        self._arbiter.user_stopped(now)
        self._awaits_commit = False
        self._items.place(event.item_id, event.previous_item_id, "user")
        if event.item_id:
            self._memory.expect_words(event.item_id)
            self.judged.completed(event.item_id)

    def transcript_delta(self, event: server_events.UserTranscriptDelta) -> None:
        """Pass on some words."""
        self._emit(UserTranscriptChunkReceivedEvent(event.delta, item_id=event.item_id))

    def transcript_completed(self, event: server_events.UserTranscriptCompleted) -> None:
        """Pass on all words of a turn; if nobody has said them, only what writing them down has used."""
        transcript = "" if self.judged.is_forgotten(event.item_id) else event.transcript
        self._emit(UserTranscriptCompletedEvent(transcript, event.item_id, usage=event.usage or {}))

    def transcript_failed(self, event: server_events.UserTranscriptFailed) -> None:
        """Pass on that the words are not known."""
        self._emit(UserTranscriptFailedEvent(item_id=event.item_id, error=refusals.as_agent_error(event.error)))

    # --- to the server ---

    def append_audio(self, pcm: bytes) -> bytes:
        """Return the frame for microphone audio."""
        self._uncommitted_bytes += len(pcm)
        return client_events.append_audio(pcm if self._codec is None else self._codec.encode(pcm))

    def commit(self) -> bool:
        """End the turn by hand; return whether there was one."""
        if not self._by_hand:
            logger.warning("The user's turn was not committed by hand: turn detection does it")
            return False
        if self._uncommitted_bytes < MINIMUM_TURN_BYTES:
            logger.info("The user's turn was not committed: it has less than 100 ms of audio")
            return False
        self._uncommitted_bytes, self._awaits_commit = 0, True
        self._outbox.put(client_events.commit_audio(self._outbox.new_id("commit")))
        return True
