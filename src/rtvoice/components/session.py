"""Session: the connection to the Realtime server, one reader and one writer.

What the frames mean is the backend's business; this part moves them, restores a connection that is lost, and moves
on to a new session before the old one ends.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from rtvoice.errors import ConnectionFailed, RtvoiceError, SessionError
from rtvoice.events import (
    AcceptUserTurnCommand,
    AgentError,
    AgentErrorEvent,
    AgentReconnectedEvent,
    AgentReconnectingEvent,
    AssistantAudioCompletedEvent,
    AssistantAudioReceivedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptChunkReceivedEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    CommitUserTurnCommand,
    ConversationItemAddedEvent,
    DismissUserTurnCommand,
    Event,
    EventBus,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    RestoredConversation,
    SayCommand,
    SendMessageCommand,
    SessionRotatedEvent,
    SpeakHoldingPhraseCommand,
    SpeakProgressCommand,
    SpeechDetectedEvent,
    StopAgentCommand,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UpdateInstructionsCommand,
    UpdateSessionToolsCommand,
    UpdateSpeechSpeedCommand,
    UpdateToolChoiceCommand,
    UserAudioCapturedEvent,
    UserAudioDroppedEvent,
    UserMessageAddedEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
    WatchdogFiredEvent,
)
from rtvoice.events.bus import Inbox, InboxClosed
from rtvoice.realtime.backend import SessionBackend
from rtvoice.realtime.connection import NORMAL_CLOSURE, Connection, ConnectionLost, Dialler
from rtvoice.realtime.connection_watch import ConnectionWatch
from rtvoice.realtime.providers import RealtimeProvider
from rtvoice.realtime.refusals import is_final
from rtvoice.realtime.renewal import Renewal, RestartRequest
from rtvoice.realtime.stats import SessionStats
from rtvoice.realtime.successor import Successor
from rtvoice.settings import ReconnectPolicy, RotationPolicy, WatchdogPolicy

logger = logging.getLogger(__name__)

UNSENT_AUDIO_LIMIT_MS: Final = 5_000
"""Microphone audio that may wait for the network; beyond it the oldest is dropped, counted and reported."""

_FIRST_EVENT_TIMEOUT_S: Final = 3.0
_CLOSE_LIMIT_S: Final = 2.0
_SWITCH_LIMIT_S: Final = 2.0
_FAIR_SHARE: Final = 32  # frames read in a row before the others get their turn
_LEAST_WAIT_S: Final = 0.001  # a timer may go off a little early


class _Wake:
    """Tells the writer that the reader has left it something to send, or a deadline to keep."""


_WAKE: Final = _Wake()


@dataclass(frozen=True, slots=True, eq=False)
class _Switch:
    """Tells the writer to go on with another connection: it alone knows what has gone to which."""

    connection: Connection
    successor: Successor | None
    outcome: asyncio.Future[RestoredConversation | None]


_SETTINGS: Final = (
    UpdateSpeechSpeedCommand,
    UpdateInstructionsCommand,
    UpdateToolChoiceCommand,
    UpdateSessionToolsCommand,
)


class Session:
    """The connection and what goes over it.

    What is to be sent waits in the inbox: microphone audio up to `UNSENT_AUDIO_LIMIT_MS`, all else up to the bus's
    limit for an inbox; the oldest is dropped and counted.

    Args:
        bus: The agent's bus.
        provider: Where to connect and with which credentials.
        backend: The protocol.
        model: For the provider's URL.
        ssl_context: TLS settings; ``None`` for the defaults.
        proxy: ``True`` for the proxy that the environment names, a URL, or ``None`` for no proxy.
        reconnect: How a lost connection is restored; ``None``: it is not, and the conversation ends.
        rotation: When a new session takes over from one that still works; ``None``: only by `restart`.
        watchdogs: How long the network may stand still; the backend watches the server.
        wiretap: Gets every connection that was opened, returns what is used in its place; see
            `rtvoice.realtime.wiretap`.
    """

    hears = (
        UserAudioCapturedEvent,
        AssistantInterruptedEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        ToolCallFinishedEvent,
        SpeakHoldingPhraseCommand,
        SpeakProgressCommand,
        SendMessageCommand,
        RequestResponseCommand,
        SayCommand,
        CommitUserTurnCommand,
        AcceptUserTurnCommand,
        DismissUserTurnCommand,
        UpdateSpeechSpeedCommand,
        UpdateInstructionsCommand,
        UpdateToolChoiceCommand,
        UpdateSessionToolsCommand,
    )
    says = (
        SpeechDetectedEvent,
        UserStoppedSpeakingEvent,
        UserTranscriptChunkReceivedEvent,
        UserTranscriptCompletedEvent,
        UserTranscriptFailedEvent,
        UserMessageAddedEvent,
        UserAudioDroppedEvent,
        ConversationItemAddedEvent,
        ResponseStartedEvent,
        ResponseFinishedEvent,
        AssistantAudioReceivedEvent,
        AssistantAudioCompletedEvent,
        AssistantTranscriptDeltaEvent,
        AssistantTranscriptChunkReceivedEvent,
        AssistantTranscriptCompletedEvent,
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        ToolCallRequestedEvent,
        AgentReconnectingEvent,
        AgentReconnectedEvent,
        SessionRotatedEvent,
        WatchdogFiredEvent,
        AgentErrorEvent,
        StopAgentCommand,
    )

    def __init__(
        self,
        bus: EventBus,
        provider: RealtimeProvider,
        backend: SessionBackend,
        *,
        model: str,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | Literal[True] | None = True,
        reconnect: ReconnectPolicy | None = None,
        rotation: RotationPolicy | None = None,
        watchdogs: WatchdogPolicy | None = None,
        wiretap: Callable[[Any], Any] | None = None,
    ) -> None:
        self._bus = bus
        self._backend = backend
        self._dialler = Dialler(provider, model, ssl_context=ssl_context, proxy=proxy, wiretap=wiretap)
        self._policy = reconnect
        self._limits = watchdogs or WatchdogPolicy()
        self._inbox = bus.open_inbox(
            *self.hears,
            limits_ms={UserAudioCapturedEvent: UNSENT_AUDIO_LIMIT_MS},
            at_once={UserAudioCapturedEvent: self._send_audio_now},
        )
        self._connection: Connection | None = None
        self._watch: ConnectionWatch | None = None  # over it
        self._left: Connection | None = None  # the one before, which is still to be closed
        self._answered: asyncio.Event = asyncio.Event()  # the server has said something, or has hung up
        self._written = asyncio.Event()  # the writer has nothing more to write
        self._written.set()
        self._failure: BaseException | None = None
        self._closing = False
        self._loss: str | None = None  # why the connection is gone and shall be restored
        self._attempts = 0  # to restore it, in a row
        self._completed = 0  # responses, when it was last given up for want of them
        self._restoring: asyncio.Task[bool] | None = None
        self._restored: RestoredConversation | None = None  # what this session began with, if it is not the first
        self._request = RestartRequest()
        self._renewal = Renewal(self._dialler, backend, rotation, self._request, self._switch_to)
        self._counts: Counter[str] = Counter()
        self._fired: Counter[str] = Counter()

    @property
    def connected(self) -> bool:
        """Whether the connection is open, or is being restored."""
        return self._connection is not None and not self._closing

    @property
    def stats(self) -> SessionStats:
        """What the session has gone through so far."""
        return SessionStats(
            frames_refused=self._backend.errors,
            responses_retried=self._backend.retried_responses,
            watchdogs=dict(self._fired),
            **self._counts,
        )

    async def connect(self) -> None:
        """Open the connection and queue the first frames.

        Raises:
            ConnectionFailed: The server cannot be reached, or is none.
            AuthenticationFailed: It refused the credentials.
            ConfigurationError: The provider's URL is none.
        """
        self._use(await self._dialler.open())
        early = self._inbox.take_all()
        for event in early:
            if isinstance(event, _SETTINGS):
                self._backend.send(event)  # then it is part of the first configuration
        self._backend.start()
        for event in early:
            if not isinstance(event, _SETTINGS):
                self._inbox.put(event)

    async def restart(self) -> RestoredConversation:
        """Go on in a new session, now; while a lost connection is being restored, try that now.

        Returns:
            How much of the conversation the new session knows.

        Raises:
            SessionError: There is none, or not in time; if there is an old one, it works on.
        """
        if not self.connected:
            raise SessionError("There is no session to restart")
        return await self._request.make()

    async def run(self) -> None:
        """Move frames both ways until `close`, or until the connection is closed and cannot be restored."""
        try:
            while await self._serve() or await self._reconnect():
                pass
        finally:
            self._inbox.close()
            self._request.refuse(SessionError("The session has ended"))
            if self._left is not None:
                self._left.abort()

    async def _serve(self) -> bool:
        """Move frames until the connection is gone; return whether another one has taken over."""
        connection = self._current()
        watch = self._watch = ConnectionWatch(connection, self._limits, self._tell_of_watchdog)
        self._loss = None
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read(connection, watch), name="session reader")
            tasks = [
                group.create_task(self._write(watch, reader), name="session writer"),
                group.create_task(watch.ping(), name="session pings"),
                group.create_task(self._renewal.run(connection.opened_at), name="session renewal"),
            ]
            if self._left is not None:
                tasks.append(group.create_task(self._left.close(), name="session before"))
            await asyncio.wait([reader])
            for task in tasks:  # what waits in the inbox is for the next connection
                task.cancel()
        return self._connection is not connection

    async def wait_for_server(self) -> None:
        """Wait until the server has greeted us; give it the benefit of the doubt if it stays silent.

        Raises:
            SessionError: It refused the session.
        """
        try:
            async with asyncio.timeout(_FIRST_EVENT_TIMEOUT_S):
                await self._answered.wait()
        except TimeoutError:
            logger.warning("The server has said nothing for %.0f s after connecting", _FIRST_EVENT_TIMEOUT_S)
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Send what is still queued, then close the connection; takes two seconds at most."""
        self._closing = True
        self._inbox.close()
        self._answered.set()
        self._request.refuse(SessionError("The agent is stopping"))
        if self._restoring is not None:
            self._restoring.cancel()
        if self._connection is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_LIMIT_S):
                await self._written.wait()
                await self._connection.close()
        except TimeoutError:
            logger.debug("The server did not let the connection close in time")
        finally:
            self._connection.abort()

    # --- one connection after the other ---

    def _use(self, connection: Connection) -> None:
        connection.in_use = True
        self._connection = connection
        self._answered = asyncio.Event()

    def _current(self) -> Connection:
        if self._connection is None:
            raise SessionError("connect() comes before run()")
        return self._connection

    async def _switch_to(self, connection: Connection, successor: Successor | None) -> RestoredConversation | None:
        """Let another connection take over; see `rtvoice.realtime.renewal.Switch`."""
        order = _Switch(connection, successor, asyncio.get_running_loop().create_future())
        self._inbox.put(order)
        try:
            async with asyncio.timeout(_SWITCH_LIMIT_S):
                return await order.outcome
        except TimeoutError:
            if successor is None and self._watch is not None:
                self._watch.cut("A new session was needed, and the network took nothing any more.")
            return None

    def _obey(self, order: _Switch) -> bool:
        """Go on with another connection, if possible; return whether that is so."""
        if self._closing or order.outcome.done():
            return False
        if order.successor is None:
            self._publish(self._backend.connection_lost())
            restored: RestoredConversation | None = self._backend.restart()
        else:
            restored = self._backend.hand_over(order.successor)
        order.outcome.set_result(restored)
        if restored is None:
            return False
        self._left = self._connection
        self._use(order.connection)
        self._answered.set()
        self._restored = restored
        self._counts["rotations"] += 1
        logger.info("A new session has taken over")
        self._bus.publish(SessionRotatedEvent(restored=restored))
        self._request.grant(restored)
        return True

    async def _reconnect(self) -> bool:
        """Restore the connection if it was lost; return whether that was so, and possible."""
        policy, loss = self._policy, self._loss
        if policy is None or loss is None or not self.connected:
            return False
        self._current().abort()  # a server that refuses a token may leave it open
        self._publish(self._backend.connection_lost())
        async with asyncio.TaskGroup() as group:
            self._restoring = group.create_task(self._restore(policy, loss), name="session restorer")
        restored, self._restoring = self._restoring, None
        return not self._closing and restored.result()

    async def _restore(self, policy: ReconnectPolicy, loss: str) -> bool:
        if asyncio.get_running_loop().time() - self._current().opened_at >= policy.max_delay_s and self._has_worked():
            self._attempts = 0
        reason = loss
        while self._attempts < policy.max_attempts:
            self._attempts += 1
            logger.warning("%s Attempt %d to restore it", reason, self._attempts)
            self._bus.publish(AgentReconnectingEvent(attempt=self._attempts, reason=reason))
            await self._request.wait(policy.delay_s(self._attempts))
            try:
                self._use(await self._dialler.open())
            except Exception as error:  # noqa: BLE001 - also whatever a provider's token function raises
                reason = str(error) or type(error).__name__
                self._request.refuse(error)
                if is_final(error):
                    break
                continue
            self._restored = self._backend.restart()
            return True
        problem = "" if reason == loss else f": {reason}"
        self._end_in_error(f"{loss} It could not be restored in {self._attempts} attempts{problem}")
        return False

    def _has_worked(self) -> bool:
        """Whether the server has not just opened sessions and then failed to answer, time after time."""
        if self._backend.given_up is None:
            return True
        before, self._completed = self._completed, self._backend.completed_responses
        return self._completed > before

    def _publish(self, facts: Iterable[Event]) -> None:
        for fact in facts:
            if type(fact) is WatchdogFiredEvent:
                self._tell_of_watchdog(fact)
            else:
                self._bus.publish(fact)

    def _tell_of_watchdog(self, fact: WatchdogFiredEvent) -> None:
        self._fired[fact.watchdog] += 1
        logger.warning("Watchdog %r after %.1f s: %s", fact.watchdog, fact.waited_s, fact.action)
        self._bus.publish(fact)

    def _end_in_error(self, message: str) -> None:
        error = AgentError("connection_closed", message, code=self._backend.last_error_code)
        self._request.refuse(ConnectionFailed(message))
        self._bus.publish(AgentErrorEvent(error))
        self._bus.publish(StopAgentCommand(reason="the connection was closed"))

    # --- the reader ---

    async def _read(self, connection: Connection, watch: ConnectionWatch) -> None:
        backend, publish, counts = self._backend, self._bus.publish, self._counts
        try:
            while True:
                facts = backend.receive(await connection.receive())
                for fact in facts:
                    publish(fact)
                if backend.wants_to_send:
                    self._inbox.put_first(_WAKE)
                if not self._answered.is_set() and backend.heard_from_server:
                    self._server_answers()
                if backend.refusal is not None:
                    self._refused(backend.refusal)
                    return
                counts["frames_received"] += 1
                has_sound = len(facts) > 0 and type(facts[0]) is AssistantAudioReceivedEvent
                sound_waits = has_sound and self._bus.queued_ms(AssistantAudioReceivedEvent) > 0
                if sound_waits or counts["frames_received"] % _FAIR_SHARE == 0:
                    await asyncio.sleep(0)  # sound is played before what came behind it is looked at
        except ConnectionLost as lost:
            self._closed(lost, watch.verdict)
        finally:
            self._answered.set()

    def _server_answers(self) -> None:
        self._answered.set()
        if self._restored is not None:
            logger.info("The connection to the server is restored")
            self._counts["reconnects"] += 1
            self._bus.publish(AgentReconnectedEvent(restored=self._restored))
            self._request.grant(self._restored)

    def _refused(self, failure: RtvoiceError) -> None:
        """Note that the server does not want this session, or not like this."""
        if self._restored is None:
            self._refuse(failure)
        elif isinstance(failure, SessionError):  # an old token: the next may be fresh
            self._lose(str(failure), final=False)
        else:
            self._end_in_error(str(failure))

    def _refuse(self, failure: BaseException) -> None:
        self._failure = failure
        self._bus.publish(StopAgentCommand(reason="the server refused the session", exception=failure))

    def _closed(self, lost: ConnectionLost, verdict: str | None) -> None:
        if self._closing:
            return
        if verdict is not None:
            self._lose(verdict, final=False)
            return
        failure = self._backend.connection_failure(lost.code, lost.reason)
        if failure is not None and self._restored is None:
            self._refuse(failure)
            return
        if lost.code == NORMAL_CLOSURE:
            logger.info("The server has ended the session")
            self._bus.publish(StopAgentCommand(reason="the connection was closed"))
            return
        how = f"close code {lost.code}" if lost.code else "the connection broke"
        what = f"{lost.reason.rstrip('.')} ({how})" if lost.reason else how
        loss = str(failure or f"The connection to the server was lost: {what}.")
        self._lose(loss, final=self._backend.is_final(lost.code, lost.reason))

    def _lose(self, loss: str, *, final: bool) -> None:
        if self._policy is None or final:
            self._end_in_error(loss)
        else:
            self._loss = loss

    # --- the writer ---

    async def _write(self, watch: ConnectionWatch, reader: asyncio.Task[None]) -> None:
        """Send what the others say, until the connection is gone, or another takes over: then ``reader`` ends, too."""
        self._written.clear()
        try:
            await self._flush(watch)
            with contextlib.suppress(TimeoutError):  # else audio would be lost with a connection that is refused
                async with asyncio.timeout(_FIRST_EVENT_TIMEOUT_S):
                    await self._answered.wait()
            await self._write_on(watch)
            reader.cancel()
        except InboxClosed:
            with contextlib.suppress(ConnectionLost):
                await self._flush(watch)
        except ConnectionLost:
            logger.debug("The connection is closed; what was still to be sent is dropped")
        finally:
            self._written.set()

    async def _write_on(self, watch: ConnectionWatch) -> None:
        """Send what the others say; return when another connection has taken over."""
        backend, inbox, alarm = self._backend, self._inbox, _Alarm(self._inbox)
        look = True  # microphone audio alone changes nothing that would have to be looked at
        try:
            while True:
                if look:
                    await self._flush(watch)
                    alarm.set(backend.deadline())
                event = await inbox.get()
                look = False
                while event is not None:
                    if type(event) is UserAudioCapturedEvent:
                        if look:
                            await self._flush(watch)  # in order: a commit ends the audio before it
                        self._counts["frames_sent"] += 1
                        await watch.send(backend.append_audio(event.pcm))
                    elif event is _WAKE:
                        await asyncio.sleep(0)  # first hear what the others say to the same frames
                        look = True
                    elif type(event) is _Switch:
                        if self._obey(event):
                            return
                    else:
                        backend.send(event)
                        look = True
                    event = inbox.take()
                if inbox.dropped:
                    self._report_dropped_audio()
        finally:
            alarm.off()

    def _send_audio_now(self, event: UserAudioCapturedEvent) -> bool:
        """Send microphone audio while the writer waits for something to send, if the network takes it at once."""
        connection = self._current()
        if not connection.can_send_now:
            return False
        self._counts["frames_sent"] += 1
        connection.send_now(self._backend.append_audio(event.pcm))
        return True

    async def _flush(self, watch: ConnectionWatch) -> None:
        for frame in self._backend.frames():
            self._counts["frames_sent"] += 1
            await watch.send(frame)
        self._publish(self._backend.facts())
        if self._backend.given_up is not None:
            watch.cut(self._backend.given_up)

    def _report_dropped_audio(self) -> None:
        dropped_ms = round(self._inbox.take_dropped_ms(UserAudioCapturedEvent))
        if dropped_ms:
            logger.warning("The network is too slow: %d ms of microphone audio were not sent", dropped_ms)
            self._counts["dropped_user_audio_ms"] += dropped_ms
            self._bus.publish(UserAudioDroppedEvent(dropped_ms=dropped_ms))


class _Alarm:
    """Wakes the writer at a time that mostly moves back; that costs no timer for each move.

    Args:
        inbox: The writer's.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float | None) -> None:
        """Wake it at this loop time, or a little before: it looks again then."""
        if at is None:
            self.off()
        elif self._timer is None or self._timer.when() > at:
            self.off()
            self._timer = self._loop.call_at(max(at, self._loop.time() + _LEAST_WAIT_S), self._ring)

    def off(self) -> None:
        """Do not wake it any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._inbox.put_first(_WAKE)
