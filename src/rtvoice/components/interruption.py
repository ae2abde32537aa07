"""Interruption: decides whether the user's voice interrupts the assistant, where a policy says what that takes.

The server only reports speech (``interrupt_response`` and ``create_response`` are off). Everything else is done here,
by telling the others. From ``SpeechDetectedEvent`` to the verdict:

* **The assistant is silent.** The turn is accepted at once: it is answered when it is complete.
* **It speaks, or is about to.** ``PausePlaybackCommand``: silence within the device's block. Then one of:

  - The user has spoken long enough, or has said a word that is no backchannel: ``InterruptCommand``. Playback cuts, and
    says what was heard; the session truncates, cancels the response if it is still being generated (if it is complete,
    there is nothing to cancel), and answers the turn when it is complete.
  - The turn ends, too short or with nothing in it: ``ResumePlaybackCommand``, and the turn is dismissed and taken out
    of the conversation. Nothing was cancelled or truncated, so the answer goes on as if nothing had been, also when it
    is still being generated: its audio has been waiting.
  - The turn ends with a backchannel: the same, but it stays in the conversation. If the assistant has no more than a
    moment to speak after it, it was the answer to a question, and is answered.
  - It has been quiet for a while, but the server, which may wait for the rest of a sentence, has not ended the turn:
    playback goes on, and the verdict waits.

* **It is the assistant's own voice** that comes back from the loudspeaker (`SelfEchoDetector`). Nothing is paused.
  Since the server hears one long turn as long as the echo lasts, the microphone is compared all the time: as soon as it
  hears more than the echo, the user speaks, and the above begins. If the turn ends before, it is dismissed and taken
  out.

In doubt the user is right: words that do not come, a lost connection, a second turn while the first is undecided.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from rtvoice.audio.devices import AudioOutputDevice, SupportsPause, SupportsTap
from rtvoice.audio.self_echo import MEMORY_S, Hearing, SelfEchoDetector
from rtvoice.audio.taps import let_go
from rtvoice.conversation.backchannels import BACKCHANNELS, BackchannelWords
from rtvoice.events import (
    AcceptUserTurnCommand,
    AgentReconnectingEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    DismissUserTurnCommand,
    EventBus,
    InterruptCommand,
    InterruptionDismissedEvent,
    PausePlaybackCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    ResumePlaybackCommand,
    SessionRotatedEvent,
    SpeechDetectedEvent,
    UserAudioCapturedEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
)
from rtvoice.events.bus import InboxClosed
from rtvoice.settings import InterruptionPolicy, ServerVAD, TurnDetection

logger = logging.getLogger(__name__)

LONGEST_BACKCHANNEL_MS: Final = 1_500
"""Who speaks for longer wants the word; nobody waits for the transcript then."""
LONGEST_BACKCHANNEL_ALOUD_MS: Final = 800
"""The same while the assistant speaks on, because it cannot pause or shall not."""
WORDS_WAIT_S: Final = 2.0
"""How long after the turn its words may take."""
QUIET_MS: Final = 700
"""From here on silence after a short sound means that it was nothing."""
LATE_ANSWER_S: Final = 1.5
"""A backchannel so shortly before the assistant has finished is an answer."""
LONGEST_DOUBT_S: Final = 10.0
"""Then the verdict is that the user interrupts."""

_LOOK_S: Final = 0.1
_LEAD_S: Final = 0.6  # from the first sound until the server's word that somebody speaks has come
_AUDIBLE_MS: Final = 40  # sound that the microphone surely hears; else the server, which hears better, is asked
_DOUBTS: Final = 2  # looks in a row that must find more than the echo
_SURE_MS: Final = 300  # who was heard for so long beside the echo is no echo
_UNCERTAIN_S: Final = 0.9  # how long nothing is done while it cannot be told whose voice it is

Reason = Literal["too_short", "nothing_said", "backchannel", "self_echo"]


@dataclass(slots=True)
class _Turn:
    """A turn of the user's that is not judged yet.

    Attributes:
        item_id: The item that it will become.
        began: Loop time of the server's word, or of the moment from which on it is more than an echo.
        start_ms: Where it begins in the audio sent.
        ended: Loop time of the server's word that it is over.
        said_ms: For how long the microphone has heard somebody other than the assistant.
        words: What is written down of it.
        is_echo: Whether it is the assistant's own voice, as far as we know.
        doubts: Looks in a row that found more than that.
        paused_at: Loop time since when the assistant is silent for it, if it is.
        paused_s: How long it was.
        went_on: Whether the assistant speaks on although it is undecided; it does not stop twice.
    """

    item_id: str | None
    began: float
    start_ms: int | None
    ended: float | None = None
    said_ms: int = 0
    words: str = ""
    is_echo: bool = False
    doubts: int = 0
    paused_at: float | None = None
    paused_s: float = 0.0
    went_on: bool = False


class Interruption:
    """Judges the user's turns while the assistant speaks.

    Args:
        bus: The agent's bus.
        policy: What an interruption takes.
        device: The output device: whether it can pause, and shows what it renders.
        turn_detection: How the server finds the ends of turns.
    """

    hears = (
        SpeechDetectedEvent,
        UserStoppedSpeakingEvent,
        UserTranscriptChunkReceivedEvent,
        UserTranscriptCompletedEvent,
        UserTranscriptFailedEvent,
        UserAudioCapturedEvent,
        ResponseStartedEvent,
        ResponseFinishedEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        AssistantInterruptedEvent,
        AgentReconnectingEvent,
        SessionRotatedEvent,
    )
    says = (
        PausePlaybackCommand,
        ResumePlaybackCommand,
        InterruptCommand,
        InterruptionDismissedEvent,
        UserStartedSpeakingEvent,
        AcceptUserTurnCommand,
        DismissUserTurnCommand,
    )

    def __init__(
        self, bus: EventBus, policy: InterruptionPolicy, device: AudioOutputDevice, turn_detection: TurnDetection
    ) -> None:
        self._bus = bus
        self._min_speech_ms = policy.min_speech_ms
        listed = policy.ignore_backchannels
        phrases = listed if isinstance(listed, tuple) else (BACKCHANNELS if listed else ())
        self._backchannels = BackchannelWords(phrases) if phrases else None
        self._pauses = policy.resume_after_false_alarm and isinstance(device, SupportsPause)
        if policy.resume_after_false_alarm and not self._pauses:
            logger.warning("The output device cannot pause: the assistant speaks on until an interruption is certain")
        self._tap_source = device if policy.ignore_self_echo and isinstance(device, SupportsTap) else None
        if policy.ignore_self_echo and self._tap_source is None:
            logger.warning("The output device has no tap: the assistant's own echo is not told from the user's voice")
        self._closing_ms = None  # what turn detection adds to a turn, before and after
        if isinstance(turn_detection, ServerVAD):
            self._closing_ms = turn_detection.prefix_padding_ms + turn_detection.silence_duration_ms
        self._needed_ms = self._min_speech_ms
        if self._backchannels is not None:
            longest = LONGEST_BACKCHANNEL_MS if self._pauses else LONGEST_BACKCHANNEL_ALOUD_MS
            self._needed_ms = max(self._min_speech_ms, longest)
        self._inbox = bus.open_inbox(*self.hears, in_order=True, limits_ms={UserAudioCapturedEvent: MEMORY_S * 1000})
        self._detector = SelfEchoDetector()
        self._rendered: deque[tuple[bytes, float]] = deque(maxlen=1_000)  # filled by the device's thread
        self._generating: set[str] = set()
        self._audible = False
        self._turn: _Turn | None = None
        self._look_at = 0.0
        self._late_answer: tuple[str | None, float] | None = None
        self._on_event: dict[type, Callable[[Any], None]] = {
            UserAudioCapturedEvent: lambda event: self._detector.heard(event.pcm, event.captured_at),
            SpeechDetectedEvent: self._speech_detected,
            UserStoppedSpeakingEvent: self._speech_ended,
            UserTranscriptChunkReceivedEvent: self._some_words,
            UserTranscriptCompletedEvent: self._all_words,
            UserTranscriptFailedEvent: self._no_words,
            ResponseStartedEvent: lambda event: self._generating.add(event.response_id),
            ResponseFinishedEvent: lambda event: self._generating.discard(event.response_id),
            AssistantStartedRespondingEvent: self._assistant_started,
            AssistantStoppedRespondingEvent: self._assistant_stopped,
            AssistantInterruptedEvent: lambda _: self._accept(),
            AgentReconnectingEvent: lambda _: self._accept(),
            SessionRotatedEvent: lambda _: self._accept(),
        }

    def stop(self) -> None:
        """Let `run` end."""
        self._inbox.close()

    async def run(self) -> None:
        """Judge until `stop`."""
        loop = asyncio.get_running_loop()
        remove_tap = None
        if self._tap_source is not None:
            remove_tap = self._tap_source.add_tap(lambda pcm, at: self._rendered.append((pcm, at)))
        try:
            while True:
                wait_s = None if self._turn is None else max(0.001, self._look_at - loop.time())
                event = await self._inbox.get(wait_s)
                if event is not None:
                    self._on_event[type(event)](event)
                if self._turn is not None and loop.time() >= self._look_at:
                    self._look(self._turn, loop.time())
        except InboxClosed:
            pass
        finally:
            let_go(remove_tap)

    # --- what happens ---

    def _speech_detected(self, event: SpeechDetectedEvent) -> None:
        now = asyncio.get_running_loop().time()
        self._accept()  # who speaks up again means it
        self._late_answer = None
        turn = self._turn = _Turn(event.item_id, now, event.audio_start_ms)
        hearing = self._examine(turn)
        if not (self._generating or self._audible or self._is_echo(hearing)):
            self._accept()
            return
        self._judge(turn, hearing, now)
        self._look_at = now + _LOOK_S

    def _speech_ended(self, event: UserStoppedSpeakingEvent) -> None:
        turn = self._turn
        if turn is None or turn.ended is not None:
            return
        turn.ended = asyncio.get_running_loop().time()
        if turn.is_echo:
            self._dismiss(turn, "self_echo")
            return
        self._examine(turn)
        said_ms: int | None = turn.said_ms
        if turn.said_ms < _AUDIBLE_MS:
            said_ms = self._said_by_server(turn, event)
        if said_ms is not None and said_ms < self._min_speech_ms:
            self._dismiss(turn, "too_short")
        elif self._backchannels is None:
            self._accept()
        else:
            self._look_at = turn.ended + WORDS_WAIT_S

    def _said_by_server(self, turn: _Turn, event: UserStoppedSpeakingEvent) -> int | None:
        """Return for how long the server has heard speech, in milliseconds, if that can be known."""
        if turn.start_ms is None or event.audio_end_ms is None or self._closing_ms is None:
            return None
        return event.audio_end_ms - turn.start_ms - self._closing_ms

    def _some_words(self, event: UserTranscriptChunkReceivedEvent) -> None:
        turn = self._turn_of(event.item_id)
        if turn is None or turn.is_echo or self._backchannels is None:
            return
        turn.words += event.chunk
        if not self._backchannels.may_become(turn.words):
            self._accept()

    def _all_words(self, event: UserTranscriptCompletedEvent) -> None:
        turn = self._turn_of(event.item_id)
        if turn is None or turn.ended is None or self._backchannels is None:
            return
        if not event.transcript.strip():
            self._dismiss(turn, "nothing_said")
        elif self._backchannels.are_all(event.transcript):
            self._dismiss(turn, "backchannel")
        else:
            self._accept()

    def _no_words(self, event: UserTranscriptFailedEvent) -> None:
        turn = self._turn_of(event.item_id)
        if turn is not None and turn.ended is not None:
            self._accept()

    def _turn_of(self, item_id: str | None) -> _Turn | None:
        turn = self._turn
        return turn if turn is not None and turn.item_id in (None, item_id) else None

    def _assistant_started(self, _: AssistantStartedRespondingEvent) -> None:
        self._audible = True

    def _assistant_stopped(self, _: AssistantStoppedRespondingEvent) -> None:
        self._audible = False
        now = asyncio.get_running_loop().time()
        if self._late_answer is not None and now <= self._late_answer[1]:
            self._bus.publish(AcceptUserTurnCommand(item_id=self._late_answer[0]))
        self._late_answer = None
        if self._turn is not None and not self._turn.is_echo and not self._generating:
            self._accept()  # there is nothing left to interrupt

    # --- the verdict ---

    def _look(self, turn: _Turn, now: float) -> None:
        if turn.ended is not None:  # its words have not come
            self._accept()
            return
        self._look_at = now + _LOOK_S
        self._judge(turn, self._examine(turn), now)

    def _judge(self, turn: _Turn, hearing: Hearing, now: float) -> None:
        """Take in what the microphone hears during a turn that is not over."""
        if self._is_echo(hearing) and (turn.is_echo or turn.said_ms < _SURE_MS):
            turn.is_echo, turn.doubts, turn.said_ms = True, 0, 0
            self._go_on(turn)
            return
        if self._tap_source is not None and not hearing.is_certain and now < turn.began + _UNCERTAIN_S:
            return
        if turn.is_echo:
            turn.doubts += 1
            if turn.doubts < _DOUBTS:
                return
            turn.is_echo, turn.began, turn.said_ms = False, now, 0
            self._examine(turn)
        if turn.said_ms >= self._needed_ms or now >= turn.began + LONGEST_DOUBT_S:
            self._accept()
        elif turn.paused_at is None and self._pauses and not turn.went_on:
            turn.paused_at = now
            self._bus.publish(PausePlaybackCommand())
        elif (
            turn.said_ms < self._min_speech_ms and hearing.quiet_ms >= QUIET_MS and now >= turn.began + QUIET_MS / 1000
        ):
            self._go_on(turn)
            turn.went_on = True

    def _examine(self, turn: _Turn) -> Hearing:
        while self._rendered:
            self._detector.played(*self._rendered.popleft())
        hearing = self._detector.examine(turn.began - _LEAD_S)
        if hearing.is_certain or self._tap_source is None:
            turn.said_ms = max(turn.said_ms, hearing.foreign_ms)
        return hearing

    def _is_echo(self, hearing: Hearing) -> bool:
        return self._tap_source is not None and hearing.is_echo

    def _go_on(self, turn: _Turn) -> None:
        if turn.paused_at is not None:
            turn.paused_s += asyncio.get_running_loop().time() - turn.paused_at
            turn.paused_at = None
            self._bus.publish(ResumePlaybackCommand())

    def _accept(self) -> None:
        """The user interrupts, or has the word anyway: the turn is answered."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        self._generating.clear()
        self._audible = False
        self._bus.publish(InterruptCommand(by_user=True, item_id=turn.item_id))

    def _dismiss(self, turn: _Turn, reason: Reason) -> None:
        """It was no interruption: the assistant speaks on."""
        self._turn = None
        self._go_on(turn)
        logger.debug("Not an interruption: %s", reason)
        dismissed = InterruptionDismissedEvent(
            reason=reason, item_id=turn.item_id, paused_ms=round(1000 * turn.paused_s)
        )
        if dismissed.was_speech:
            self._bus.publish(UserStartedSpeakingEvent())
            self._late_answer = turn.item_id, asyncio.get_running_loop().time() + LATE_ANSWER_S
        self._bus.publish(dismissed)
        self._bus.publish(DismissUserTurnCommand(item_id=turn.item_id, forget=not dismissed.was_speech))
