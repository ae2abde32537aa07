"""Session log: what the wire does not tell, for whoever reads the log of the session later."""

import asyncio
import logging
from dataclasses import asdict
from typing import Any

from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AssistantAudioPlayedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    WatchdogFiredEvent,
)
from rtvoice.realtime.providers import RealtimeProvider
from rtvoice.realtime.session_log import SessionLogWriter
from rtvoice.realtime.wiretap import WatchedProvider, Wiretap
from rtvoice.settings import SessionLog

logger = logging.getLogger(__name__)


class SessionLogger:
    """Writes the session log: the wire as the `wiretap` shows it, and what could be heard in the room.

    Its lines have an ``event``: ``heard`` (``audio``, and ``starts_at``, when its first sample is heard),
    ``interrupted`` (``cut_at``, ``played_ms``, ``cuts``), ``answer_started`` and ``answer_stopped`` (``response_id``),
    ``tool_started`` and ``tool_finished`` (``call_id``, ``name``, ``success``), ``watchdog``, ``error``,
    ``stopping`` and ``end``.

    Args:
        bus: The agent's bus.
        settings: Where to, and what to leave out.
        provider: The provider.
        header: What the first line tells about the agent.
    """

    hears = (
        AssistantAudioPlayedEvent,
        AssistantInterruptedEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        ToolCallRequestedEvent,
        ToolCallFinishedEvent,
        WatchdogFiredEvent,
        AgentErrorEvent,
    )
    says = (AgentErrorEvent,)

    def __init__(
        self, bus: EventBus, settings: SessionLog, provider: RealtimeProvider, *, header: dict[str, Any]
    ) -> None:
        self._bus = bus
        self._log = SessionLogWriter(settings, header=header, on_error=self._report)
        self.provider = WatchedProvider(provider, self._log)
        self._inbox = bus.open_inbox(*self.hears, in_order=True)
        self._complete = asyncio.Event()
        self._complete.set()

    def wiretap(self, socket: Any) -> Any:
        """Return what the session is to use in place of a connection, so that its frames are logged."""
        return Wiretap(socket, self._log, self.provider.url)

    def start(self) -> None:
        """Begin the log. If that fails it is reported, and the conversation goes on without."""
        self._complete.clear()
        self._log.start()

    def agent_stops(self) -> None:
        """Note that from now on the agent is ending the conversation."""
        self._log.note("stopping")

    async def stop(self) -> None:
        """Take nothing more, and wait until the file is complete."""
        self._inbox.close()
        await self._complete.wait()

    async def run(self) -> None:
        """Write until `stop`."""
        try:
            async for event in self._inbox:
                self._note(event)
            self._log.note("end")
        finally:
            await self._log.close()
            self._complete.set()

    def _note(self, event: object) -> None:
        note, seconds = self._log.note, self._log.seconds
        match event:
            case AssistantAudioPlayedEvent():
                self._log.heard(event.starts_at, event.pcm)
            case AssistantInterruptedEvent():
                cuts = [asdict(cut) for cut in event.cuts]
                cut_at = seconds(event.cut_at) if event.cut_at is not None else None
                note("interrupted", cut_at=cut_at, item_id=event.item_id, played_ms=event.played_ms, cuts=cuts)
            case AssistantStartedRespondingEvent():
                note("answer_started", response_id=event.response_id)
            case AssistantStoppedRespondingEvent():
                note("answer_stopped", response_id=event.response_id)
            case ToolCallRequestedEvent():
                note("tool_started", call_id=event.call_id, name=event.name)
            case ToolCallFinishedEvent():
                note("tool_finished", call_id=event.call_id, name=event.name, success=event.success)
            case WatchdogFiredEvent():
                note("watchdog", watchdog=event.watchdog, waited_s=event.waited_s, action=event.action)
            case AgentErrorEvent():  # pragma: no branch - the last of all that it hears
                note("error", kind=event.error.type, code=event.error.code, message=event.error.message)

    def _report(self, error: Exception) -> None:
        logger.debug("The session log failed", exc_info=error)
        problem = f"Cannot write the session log {self._log.path}: {error}. The conversation goes on."
        self._bus.publish(AgentErrorEvent(AgentError("session_log_error", problem)))
