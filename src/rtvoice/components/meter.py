"""Meter: what the conversation uses and costs, how long the user waits, and when it has cost enough."""

import asyncio
import logging
from typing import Final

from rtvoice.events import (
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
    InterruptionDismissedEvent,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SpeechDetectedEvent,
    StopAgentCommand,
    UsageUpdatedEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.events.bus import InboxClosed
from rtvoice.usage import LatencyReport, UsageMeter, UsageReport

logger = logging.getLogger(__name__)

FAREWELL_S: Final = 20.0
"""How long the assistant may take to say goodbye when the budget is used up."""
_FAREWELL: Final = (
    "The budget of this conversation is used up. Say a friendly goodbye in one short sentence, in the language of the "
    "conversation, and that the conversation ends now."
)


class Meter:
    """Counts, and ends the conversation politely when it has cost enough.

    Args:
        bus: The agent's bus.
        meter: Knows the prices.
        max_cost_usd: The budget in US dollars; ``None`` for no limit.
    """

    hears = (
        ResponseStartedEvent,
        ResponseFinishedEvent,
        UserTranscriptCompletedEvent,
        SpeechDetectedEvent,
        UserStoppedSpeakingEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        InterruptionDismissedEvent,
    )
    says = (UsageUpdatedEvent, RequestResponseCommand, StopAgentCommand)

    def __init__(self, bus: EventBus, meter: UsageMeter, *, max_cost_usd: float | None = None) -> None:
        self._bus = bus
        self._meter = meter
        self._max_cost_usd = max_cost_usd
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        self._waiting_since: float | None = None
        self._waits_ms: list[float] = []
        self._ends_at: float | None = None  # when a farewell has to be over
        self._farewell_id: str | None = None

    @property
    def usage(self) -> UsageReport:
        """The totals so far."""
        return self._meter.report()

    @property
    def latency(self) -> LatencyReport:
        """The waits so far."""
        return LatencyReport(turns_ms=tuple(self._waits_ms))

    def stop(self) -> None:
        """Let `run` end once everything is counted."""
        self._inbox.close()

    async def run(self) -> None:
        """Count until `stop`."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                timeout = None if self._ends_at is None else max(0.0, self._ends_at - loop.time())
                event = await self._inbox.get(timeout)
                if event is None:
                    self._end()
                    continue
                self._note(event, loop.time())
        except InboxClosed:
            pass

    def _note(self, event: object, now: float) -> None:
        match event:
            case ResponseStartedEvent():
                if self._ends_at is not None and self._farewell_id is None:
                    self._farewell_id = event.response_id
            case ResponseFinishedEvent():
                self._meter.add_response(event.usage)
                self._report()
            case UserTranscriptCompletedEvent():
                if event.usage:
                    self._meter.add_transcription(event.usage)
                    self._report()
            case UserStoppedSpeakingEvent():
                self._waiting_since = now
            case SpeechDetectedEvent() | InterruptionDismissedEvent():
                self._waiting_since = None
            case AssistantStartedRespondingEvent():
                if self._waiting_since is not None:
                    self._waits_ms.append((now - self._waiting_since) * 1000)
                    self._waiting_since = None
            case AssistantStoppedRespondingEvent():  # pragma: no branch - the last of all that it hears
                if self._farewell_id is not None and event.response_id == self._farewell_id:
                    self._end()

    def _report(self) -> None:
        usage = self._meter.report()
        self._bus.publish(UsageUpdatedEvent(usage=usage))
        spent = usage.cost_usd
        if self._max_cost_usd is None or spent is None or spent < self._max_cost_usd or self._ends_at is not None:
            return
        logger.warning("The conversation has cost %.4f US dollars; the budget is %.4f", spent, self._max_cost_usd)
        self._ends_at = asyncio.get_running_loop().time() + FAREWELL_S
        self._bus.publish(RequestResponseCommand(instructions=_FAREWELL))

    def _end(self) -> None:
        self._ends_at = self._farewell_id = self._max_cost_usd = None
        self._bus.publish(StopAgentCommand(reason="the budget is used up"))
