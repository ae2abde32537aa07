"""What a test can know of a conversation: what was heard, what tools were called, how long everything took."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AgentReconnectedEvent,
    AgentReconnectingEvent,
    AgentSessionConnectedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    EventBus,
    InterruptionDismissedEvent,
    PlaybackCut,
    SpeechDetectedEvent,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
)
from rtvoice.testing.speaker import VirtualSpeaker

_T = TypeVar("_T")
_Part = tuple[str, int]
"""A content part: item id and index."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """A response of the assistant that could be heard (in text mode: read).

    Attributes:
        response_id: The server's id of it.
        started_at: When it was first heard, in seconds since the session was connected.
        latency_ms: How long the user had waited for it, from the end of their own words; ``None`` if it did not follow
            words of the user, for example the second answer to one question.
        ended: Whether it was heard to its end, or cut.
        interrupted_at_ms: If it was cut short: how much of it was heard, in milliseconds, as the model was told.
    """

    response_id: str
    started_at: float
    latency_ms: float | None
    ended: bool = False
    interrupted_at_ms: int | None = None
    first_sample: int = field(repr=False)
    _texts: Mapping[_Part, str] = field(repr=False)
    _cuts: Mapping[_Part, PlaybackCut] = field(repr=False)

    @property
    def text(self) -> str:
        """What the assistant wanted to say."""
        return " ".join(text.strip() for text in self._texts.values())

    @property
    def heard(self) -> str:
        """What the user heard of it: all, unless it was cut short; then an estimate."""
        cuts = self._cuts
        heard = (cuts[part].heard_of(text) if part in cuts else text for part, text in self._texts.items())
        return " ".join(words for text in heard if (words := text.strip()))

    def __str__(self) -> str:
        if self.interrupted_at_ms is None:
            return self.text
        return f"{self.text} [interrupted after {self.interrupted_at_ms} ms; heard: {self.heard!r}]"


@dataclass(slots=True, kw_only=True)
class CalledTool:
    """A tool call of the assistant.

    Attributes:
        name: The tool.
        arguments: Its arguments as the model gave them.
        started_at: When it was called, in seconds since the session was connected.
        output: What the model was told; ``None`` while the tool runs.
        success: Whether the tool did what it was asked; ``None`` while it runs.
    """

    name: str
    arguments: Mapping[str, Any]
    started_at: float
    output: str | None = None
    success: bool | None = None

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        result = "(still running)" if self.output is None else f"-> {self.output}"
        return f"{self.name}({arguments}) {result}"


@dataclass(frozen=True, slots=True)
class _Line:
    at: float
    who: str
    what: Callable[[], str]


class Observations:
    """Follows an agent's bus and writes down what a person in the room would notice.

    Args:
        bus: The agent's bus.
        speaker: Where the agent is heard.
    """

    _HEARS: Final = (
        AgentSessionConnectedEvent,
        SpeechDetectedEvent,
        UserStartedSpeakingEvent,
        UserStoppedSpeakingEvent,
        InterruptionDismissedEvent,
        AssistantTranscriptDeltaEvent,
        AssistantTranscriptCompletedEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        AssistantInterruptedEvent,
        ToolCallRequestedEvent,
        ToolCallFinishedEvent,
        AgentErrorEvent,
        AgentReconnectingEvent,
        AgentReconnectedEvent,
    )

    def __init__(self, bus: EventBus, speaker: VirtualSpeaker) -> None:
        self.connected = False
        self.reconnections = 0
        self.over = False
        self.user_is_speaking = False
        self.user_turns = 0
        self.answers: list[Answer] = []
        self.interruptions_ms: list[int] = []
        self.tool_calls: list[CalledTool] = []
        self.errors: list[AgentError] = []
        self.latencies_ms: list[float] = []
        self._inbox = bus.open_inbox(*self._HEARS, in_order=True)
        self._speaker = speaker
        self._texts: dict[str, dict[_Part, str]] = {}
        self._cuts: dict[_Part, PlaybackCut] = {}
        self._calls: dict[str, CalledTool] = {}
        self._lines: list[_Line] = []
        self._words_end_at: float | None = None
        self._zero = self._last_sign = _now()
        self._changed = asyncio.get_running_loop().create_future()

    async def follow(self) -> None:
        """Write down what happens until the conversation is over."""
        async for event in self._inbox:
            self._note(event)
            self.touch()

    def end(self) -> None:
        """Note that the conversation is over."""
        self._inbox.close()
        self.over = True
        self.touch()

    def user_says(self, words: str, *, end_at: float) -> None:
        """Note what the user is saying, and at which loop time the last word will be over."""
        self._words_end_at = self._last_sign = end_at
        self._write("user", lambda: words)

    def touch(self) -> None:
        """Wake whoever waits: something has happened."""
        self._last_sign = max(self._last_sign, _now())
        self._changed.set_result(None)
        self._changed = asyncio.get_running_loop().create_future()

    # --- waiting ---

    async def wait_for(self, look: Callable[[], _T | None], *, patience: float, missing: Callable[[], str]) -> _T:
        """Wait until ``look`` finds something, and return it.

        Args:
            look: Returns what is waited for, or ``None``.
            patience: Seconds in which nothing may happen; the assistant's speech does not count.
            missing: What to say when it does not come.

        Raises:
            AssertionError: It did not come in time, or the conversation is over.
        """
        while True:
            found = look()
            if found is not None:
                return found
            if self.over:
                raise self.failure(f"{missing()}: the conversation is over")
            if not await self.pause(None if self._audible else self._last_sign + patience):
                raise self.failure(f"{missing()}: nothing has happened for {patience:g} s")

    async def pass_time(self, until: float) -> None:
        """Wait until this loop time, or until the conversation is over."""
        while not self.over and await self.pause(until):
            pass

    async def pause(self, until: float | None) -> bool:
        """Wait until something happens, at the longest until this loop time; return whether something has."""
        timeout = None if until is None else max(0.0, until - _now())
        done, _ = await asyncio.wait([self._changed], timeout=timeout)
        return bool(done)

    @property
    def _audible(self) -> bool:
        return bool(self.answers) and not self.answers[-1].ended

    def failure(self, problem: str) -> AssertionError:
        """Return the error that the test shall see: the problem, and the conversation so far."""
        return AssertionError(f"{problem}.\n\nThe conversation:\n{self.transcript() or '  (nothing was said)'}")

    def transcript(self) -> str:
        """Return the conversation, a line for everything that was said or done."""
        return "\n".join(f"{line.at:7.2f} s  {line.who:<10} {line.what()}" for line in self._lines)

    # --- noting ---

    def _note(self, event: object) -> None:
        match event:
            case AgentSessionConnectedEvent():
                self.connected = True
                self._zero = _now()
            case SpeechDetectedEvent():
                self.user_is_speaking = True
            case UserStoppedSpeakingEvent():
                self.user_is_speaking = False
            case UserStartedSpeakingEvent():  # with an interruption policy this may come after the end of a short word
                self.user_turns += 1
            case InterruptionDismissedEvent():  # the agent takes no notice, but the user has made a sound
                self.user_turns += event.reason in ("too_short", "nothing_said")
            case AssistantTranscriptDeltaEvent():
                texts, part = self._texts_of(event.response_id), (event.item_id, event.content_index)
                texts[part] = texts.get(part, "") + event.delta
            case AssistantTranscriptCompletedEvent():
                self._texts_of(event.response_id)[event.item_id, event.content_index] = event.transcript
            case AssistantStartedRespondingEvent():
                self._answer_starts(event.response_id)
            case AssistantStoppedRespondingEvent():
                for answer in self.answers:
                    answer.ended |= answer.response_id == event.response_id
            case AssistantInterruptedEvent():
                self._interrupted(event)
            case ToolCallRequestedEvent():
                call = CalledTool(name=event.name, arguments=event.arguments, started_at=self._time())
                self._calls[event.call_id] = call
                self.tool_calls.append(call)
                self._write("tool", lambda: str(call))
            case ToolCallFinishedEvent():
                call = self._calls[event.call_id]
                call.output, call.success = event.output, event.success
            case AgentErrorEvent():
                error = event.error
                self.errors.append(error)
                self._write("error", lambda: str(error))
            case AgentReconnectingEvent():
                line = f"reconnecting, attempt {event.attempt}: {event.reason}"
                self._write("network", lambda: line)
            case AgentReconnectedEvent():  # pragma: no branch - nothing else is heard
                self.reconnections += 1
                self._write("network", lambda: "the connection is restored")

    def _answer_starts(self, response_id: str) -> None:
        latency_ms = None
        if self._words_end_at is not None and _now() >= self._words_end_at:
            latency_ms = (_now() - self._words_end_at) * 1000
            self.latencies_ms.append(latency_ms)
            self._words_end_at = None
        answer = Answer(
            response_id=response_id,
            started_at=self._time(),
            latency_ms=latency_ms,
            first_sample=self._speaker.heard_samples,
            _texts=self._texts_of(response_id),
            _cuts=self._cuts,
        )
        self.answers.append(answer)
        self._write("assistant", lambda: str(answer))

    def _interrupted(self, event: AssistantInterruptedEvent) -> None:
        self._cuts.update({(cut.item_id, cut.content_index): cut for cut in event.cuts})
        self.interruptions_ms.append(event.played_ms or 0)
        if self._audible:
            self.answers[-1].interrupted_at_ms = event.played_ms or 0

    def _texts_of(self, response_id: str) -> dict[_Part, str]:
        return self._texts.setdefault(response_id, {})

    def _write(self, who: str, what: Callable[[], str]) -> None:
        self._lines.append(_Line(self._time(), who, what))

    def _time(self) -> float:
        return _now() - self._zero


def _now() -> float:
    return asyncio.get_running_loop().time()
