"""Tells a conversation to a reader while it happens, and sums it up at the end."""

import asyncio
import textwrap
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Final

from rtvoice.cli.terminal import Style, Terminal
from rtvoice.events import (
    AgentError,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptDeltaEvent,
    EventBus,
    PlaybackCut,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
)
from rtvoice.listener import AgentListener

_STYLES: Final = {"assistant": Style.GREEN, "tool": Style.YELLOW, "interrupt": Style.MAGENTA}
_MARGIN: Final = 21
"""Columns of the clock and the name before the words."""


@dataclass(slots=True)
class Speech:
    """What the assistant is saying.

    Attributes:
        response_id: The response.
        began: Loop time of its first sound, in seconds.
        note: Something about it for the reader.
    """

    response_id: str
    began: float
    note: str = ""


class Narrator(AgentListener):
    """Prints who says what, as it happens.

    A person's or the assistant's words become a line when they are over; until then they stand in the live line.

    Args:
        terminal: Where to print.
        user: What to call the user.
        knows_words: Whether the server writes down what the user says.

    Attributes:
        errors: Messages of the errors that were reported.
        turns: How often the user spoke.
        tool_calls: How often a tool was called.
        interruptions: What each interruption left of an answer, in words.
    """

    def __init__(self, terminal: Terminal, *, user: str = "user", knows_words: bool = True) -> None:
        self.errors: list[str] = []
        self.turns = 0
        self.tool_calls = 0
        self.interruptions: list[str] = []
        self._terminal = terminal
        self._user = user
        self._knows_words = knows_words
        self._zero = 0.0
        self._user_began: deque[float] = deque()
        self._user_words: defaultdict[str, str] = defaultdict(str)
        self._turn_ended: float | None = None
        self._words: defaultdict[str, str] = defaultdict(str)
        self._speech: Speech | None = None
        self._calls: dict[str, float] = {}

    def follow(self, bus: EventBus) -> None:
        """Begin to listen to what has no callback, or whose details a callback does not tell."""
        bus.subscribe(UserStartedSpeakingEvent, self._user_started)
        bus.subscribe(UserStoppedSpeakingEvent, self._user_stopped)
        bus.subscribe(UserTranscriptChunkReceivedEvent, self._user_chunk)
        bus.subscribe(UserTranscriptCompletedEvent, self._user_completed)
        bus.subscribe(UserTranscriptFailedEvent, self._user_failed)
        bus.subscribe(AssistantStartedRespondingEvent, self._assistant_started)
        bus.subscribe(AssistantTranscriptDeltaEvent, self._assistant_delta)
        bus.subscribe(AssistantStoppedRespondingEvent, self._assistant_stopped)
        bus.subscribe(AssistantInterruptedEvent, self._interrupted)
        bus.subscribe(ToolCallRequestedEvent, self._tool_called)
        bus.subscribe(ToolCallFinishedEvent, self._tool_finished)

    # --- the agent ---

    async def on_agent_session_connected(self) -> None:
        """Start the clock."""
        self._zero = _now()

    async def on_agent_error(self, error: AgentError) -> None:
        """Report an error at once."""
        self.errors.append(error.message)
        self._terminal.error(self._terminal.paint(f"error: {error.message}", Style.RED))

    # --- the user ---

    def _user_started(self, _: UserStartedSpeakingEvent) -> None:
        self.turns += 1
        self._user_began.append(_now())
        self._turn_ended = None
        self._show_live()

    def _user_stopped(self, _: UserStoppedSpeakingEvent) -> None:
        now = _now()
        self._turn_ended = now
        if not self._knows_words and self._user_began:
            self._say_for_user(f"({now - self._user_began[0]:.1f} s of speech)")

    def _user_chunk(self, event: UserTranscriptChunkReceivedEvent) -> None:
        self._user_words[event.item_id or ""] += event.chunk
        self._show_live(self._user_words[event.item_id or ""])

    def _user_completed(self, event: UserTranscriptCompletedEvent) -> None:
        self._say_for_user(event.transcript or "(no words)")

    def _user_failed(self, event: UserTranscriptFailedEvent) -> None:
        self._say_for_user(f"(not written down: {event.error.message})")

    def _say_for_user(self, words: str) -> None:
        # Transcripts may be late, but they come in the order of the turns.
        began = self._user_began.popleft() if self._user_began else _now()
        self._print(self._user, words, began)

    # --- the assistant ---

    def _assistant_started(self, event: AssistantStartedRespondingEvent) -> None:
        now = _now()
        self._finish_speech()
        self._speech = Speech(event.response_id, now)
        if self._turn_ended is not None:
            self._speech.note = f"[first sound after {(now - self._turn_ended) * 1000:.0f} ms]"
            self._turn_ended = None
        self._show_live()

    def _assistant_delta(self, event: AssistantTranscriptDeltaEvent) -> None:
        self._words[event.response_id] += event.delta
        self._show_live()

    def _assistant_stopped(self, event: AssistantStoppedRespondingEvent) -> None:
        if self._speech is not None and self._speech.response_id == event.response_id:
            self._finish_speech()

    def _interrupted(self, event: AssistantInterruptedEvent) -> None:
        cut = next((cut for cut in event.cuts if cut.item_id == event.item_id), None)
        if cut is None:
            heard = "the answer was stopped before any of it could be heard"
        else:
            heard = f"{cut.played_ms / 1000:.2f} s were heard of the {cut.received_ms / 1000:.2f} s received so far"
        self.interruptions.append(heard)
        self._finish_speech(cut)
        self._print("interrupt", heard, _now())

    def _finish_speech(self, cut: PlaybackCut | None = None) -> None:
        if self._speech is None:
            return
        speech, self._speech = self._speech, None
        words = self._words[speech.response_id].strip()
        if cut is not None:
            words = f"{cut.heard_of(words)} --"
        self._print("assistant", words or "(sound without words)", speech.began, speech.note)

    # --- tools ---

    def _tool_called(self, event: ToolCallRequestedEvent) -> None:
        self.tool_calls += 1
        self._calls[event.call_id] = _now()
        arguments = ", ".join(f"{name}={value!r}" for name, value in event.arguments.items())
        self._print("tool", f"{event.name}({arguments}) ...", _now())

    def _tool_finished(self, event: ToolCallFinishedEvent) -> None:
        now = _now()
        took_s = now - self._calls.pop(event.call_id, now)
        self._print("tool", f"... {event.name} returned after {took_s:.1f} s: {event.output}", now)

    # --- lines ---

    def _show_live(self, user_words: str = "") -> None:
        """Show who is speaking now, as much of it as fits; the assistant, if both are."""
        if self._speech is not None:
            who, words, began = "assistant", self._words[self._speech.response_id], self._speech.began
        elif self._user_began:
            who, words, began = self._user, user_words or "(speaks)", self._user_began[0]
        else:
            self._terminal.live("")
            return
        words = " ".join(words.split())
        room = self._terminal.width - _MARGIN
        if len(words) > room:
            words = "..." + words[len(words) - room + 3 :]
        self._terminal.live(self._margin(who, began) + words)

    def _print(self, who: str, words: str, at: float, note: str = "") -> None:
        """Print a line, wrapped under its own beginning; a note that does not fit behind it goes below it."""
        room = max(10, self._terminal.width - _MARGIN)
        lines = textwrap.wrap(words, room)
        if note and len(lines[-1]) + 2 + len(note) <= room:
            lines[-1] += f"  {self._terminal.paint(note, Style.DIM)}"
        elif note:
            lines.append(self._terminal.paint(note, Style.DIM))
        self._terminal.live("")
        self._terminal.line(self._margin(who, at) + f"\n{' ' * _MARGIN}".join(lines))
        self._show_live()

    def _margin(self, who: str, at: float) -> str:
        """Return when and who: ``_MARGIN`` columns."""
        seconds = max(0.0, at - self._zero)
        clock = self._terminal.paint(f"{seconds // 60:3.0f}:{seconds % 60:04.1f}", Style.DIM)
        return f"{clock}  {self._terminal.paint(f'{who:<11}', Style.BOLD, _STYLES.get(who, Style.CYAN))}"


def _now() -> float:
    return asyncio.get_running_loop().time()
