"""Session: the WebSocket to the Realtime server, one reader and one writer.

What the frames mean is the backend's business; this part moves them, and restores a connection that is lost.
"""

import asyncio
import contextlib
import logging
import ssl
from typing import Any, Final, Literal

import websockets
from websockets.asyncio.client import ClientConnection

from rtvoice.errors import ConfigurationError, ConnectionFailed, RtvoiceError, SessionError
from rtvoice.events import (
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
    EventBus,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    RestoredConversation,
    SayCommand,
    SendMessageCommand,
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
)
from rtvoice.events.bus import InboxClosed
from rtvoice.realtime.backend import SessionBackend
from rtvoice.realtime.providers import RealtimeProvider
from rtvoice.realtime.refusals import http_refusal, is_final
from rtvoice.settings import ReconnectPolicy

logger = logging.getLogger(__name__)

UNSENT_AUDIO_LIMIT_MS: Final = 5_000
"""Microphone audio that may wait for the network; beyond it the oldest is dropped, counted and reported."""

_OPEN_TIMEOUT_S: Final = 15.0
_FIRST_EVENT_TIMEOUT_S: Final = 3.0
_CLOSE_TIMEOUT_S: Final = 1.0
_PING_INTERVAL_S: Final = 20.0
_PING_TIMEOUT_S: Final = 60.0  # 20 s is too short when a host application blocks the loop
_WRITE_LIMIT: Final = 32_768  # bytes that may wait for the network before a send does
_SEND_TIMEOUT_S: Final = 20.0  # pings, too, wait behind what a dead network does not take
_FAIR_SHARE: Final = 32  # frames read in a row before the others get their turn


class _Wake:
    """Tells the writer that the reader has left it something to send."""


_WAKE: Final = _Wake()


class Session:
    """The connection and what goes over it.

    Args:
        bus: The agent's bus.
        provider: Where to connect and with which credentials.
        backend: The protocol.
        model: For the provider's URL.
        ssl_context: TLS settings; ``None`` for the defaults.
        proxy: ``True`` for the proxy that the environment names, a URL, or ``None`` for no proxy.
        reconnect: How a lost connection is restored; ``None``: it is not, and the conversation ends.
    """

    hears = (
        UserAudioCapturedEvent,
        AssistantInterruptedEvent,
        ToolCallFinishedEvent,
        SpeakHoldingPhraseCommand,
        SpeakProgressCommand,
        SendMessageCommand,
        RequestResponseCommand,
        SayCommand,
        CommitUserTurnCommand,
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
    ) -> None:
        self._bus = bus
        self._provider = provider
        self._backend = backend
        self._model = model
        self._ssl = ssl_context
        self._proxy = proxy
        self._policy = reconnect
        self._inbox = bus.open_inbox(*self.hears, limits_ms={UserAudioCapturedEvent: UNSENT_AUDIO_LIMIT_MS})
        self._socket: ClientConnection | None = None
        self._answered: asyncio.Event = asyncio.Event()  # the server has said something, or has hung up
        self._written = asyncio.Event()  # the writer has nothing more to write
        self._written.set()
        self._failure: BaseException | None = None
        self._closing = False
        self._connected_at = 0.0
        self._loss: str | None = None  # why the connection is gone and shall be restored
        self._attempts = 0  # to restore it, in a row
        self._restoring: asyncio.Task[bool] | None = None
        self._restored: RestoredConversation | None = None  # what this session began with, if it is not the first

    @property
    def connected(self) -> bool:
        """Whether the connection is open, or is being restored."""
        return self._socket is not None and not self._closing

    async def connect(self) -> None:
        """Open the connection and queue the first frames.

        Raises:
            ConnectionFailed: The server cannot be reached, or is none.
            AuthenticationFailed: It refused the credentials.
            ConfigurationError: The provider's URL is none.
        """
        self._socket = await self._open()
        self._connected_at = asyncio.get_running_loop().time()
        self._backend.start()

    async def _open(self) -> ClientConnection:
        url = self._provider.build_url(self._model)
        headers = await _connection_headers(self._provider)
        options: dict[str, Any] = {"ssl": self._ssl} if self._ssl is not None else {}
        try:
            return await websockets.connect(
                url,
                additional_headers=headers,
                compression=None,  # base64 of sound does not compress
                max_size=None,
                max_queue=256,
                write_limit=_WRITE_LIMIT,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=_PING_INTERVAL_S,
                ping_timeout=_PING_TIMEOUT_S,
                proxy=self._proxy,
                **options,
            )
        except websockets.InvalidStatus as error:
            raise http_refusal(error.response.status_code) from error
        except websockets.InvalidURI as error:
            raise ConfigurationError(f"The provider's URL {url!r} is not a WebSocket URL (ws:// or wss://)") from error
        except websockets.InvalidProxy as error:
            raise ConfigurationError(f"{error}: check the proxy that the environment names") from error
        except (OSError, websockets.InvalidHandshake, ssl.SSLError) as error:
            place = url.split("?", 1)[0]
            what = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise ConnectionFailed(
                f"Cannot connect to {place}: {what}. Check the network, the address, and proxy or TLS settings."
            ) from error

    async def run(self) -> None:
        """Move frames both ways until `close`, or until the connection is closed and cannot be restored."""
        policy = self._policy
        try:
            await self._serve()
            while policy is not None and self._loss is not None and await self._reconnect(policy, self._loss):
                await self._serve()
        finally:
            self._inbox.close()

    async def _serve(self) -> None:
        """Move frames until the connection is gone."""
        socket = self._connection()
        self._loss = None
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write(socket), name="session writer")
            await self._read(socket)
            writer.cancel()  # what waits in the inbox is for the next connection

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
        if self._restoring is not None:
            self._restoring.cancel()
        if self._socket is None:
            return
        try:
            async with asyncio.timeout(2 * _CLOSE_TIMEOUT_S):
                await self._written.wait()
                await self._socket.close()
        except TimeoutError:
            logger.debug("The server did not let the connection close in time")
        finally:
            self._socket.transport.abort()

    # --- a lost connection ---

    async def _reconnect(self, policy: ReconnectPolicy, loss: str) -> bool:
        """Restore the connection; return whether that was possible."""
        self._connection().transport.abort()  # a server that refuses a token may leave it open
        for fact in self._backend.connection_lost():
            self._bus.publish(fact)
        async with asyncio.TaskGroup() as group:
            self._restoring = group.create_task(self._restore(policy, loss), name="session restorer")
        restored, self._restoring = self._restoring, None
        return not self._closing and restored.result()

    async def _restore(self, policy: ReconnectPolicy, loss: str) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() - self._connected_at >= policy.max_delay_s:
            self._attempts = 0
        reason = loss
        while self._attempts < policy.max_attempts:
            self._attempts += 1
            logger.warning("%s Attempt %d to restore it", reason, self._attempts)
            self._bus.publish(AgentReconnectingEvent(attempt=self._attempts, reason=reason))
            await asyncio.sleep(policy.delay_s(self._attempts))
            try:
                self._socket = await self._open()
            except Exception as error:  # noqa: BLE001 - also whatever a provider's token function raises
                reason = str(error) or type(error).__name__
                if is_final(error):
                    break
                continue
            self._restored = self._backend.restart()
            self._answered = asyncio.Event()
            self._connected_at = loop.time()
            return True
        problem = "" if reason == loss else f": {reason}"
        self._end_in_error(f"{loss} It could not be restored in {self._attempts} attempts{problem}")
        return False

    def _end_in_error(self, message: str) -> None:
        error = AgentError("connection_closed", message, code=self._backend.last_error_code)
        self._bus.publish(AgentErrorEvent(error))
        self._bus.publish(StopAgentCommand(reason="the connection was closed"))

    # --- the reader ---

    async def _read(self, socket: ClientConnection) -> None:
        backend, publish = self._backend, self._bus.publish
        count = 0
        try:
            while True:
                frame = await socket.recv(decode=False)
                for fact in backend.receive(frame):
                    publish(fact)
                if backend.wants_to_send:
                    self._inbox.put(_WAKE)
                if not self._answered.is_set() and backend.heard_from_server:
                    self._server_answers()
                if backend.refusal is not None:
                    self._refused(backend.refusal)
                    return
                count += 1
                if count % _FAIR_SHARE == 0:
                    await asyncio.sleep(0)
        except websockets.ConnectionClosed as closed:
            self._closed_by_server(closed)
        finally:
            self._answered.set()

    def _server_answers(self) -> None:
        self._answered.set()
        if self._restored is not None:
            logger.info("The connection to the server is restored")
            self._bus.publish(AgentReconnectedEvent(restored=self._restored))

    def _refused(self, failure: RtvoiceError) -> None:
        """Note that the server does not want this session, or not like this."""
        if self._restored is None:
            self._refuse(failure)
        elif isinstance(failure, SessionError):  # an old token: the next may be fresh
            self._loss = str(failure)
        else:
            self._end_in_error(str(failure))

    def _refuse(self, failure: BaseException) -> None:
        self._failure = failure
        self._bus.publish(StopAgentCommand(reason="the server refused the session", exception=failure))

    def _closed_by_server(self, closed: websockets.ConnectionClosed) -> None:
        if self._closing:
            return
        code = closed.rcvd.code if closed.rcvd else None
        reason = closed.rcvd.reason if closed.rcvd else ""
        failure = self._backend.connection_failure(code, reason)
        if failure is not None and self._restored is None:
            self._refuse(failure)
            return
        if code == websockets.CloseCode.NORMAL_CLOSURE:
            logger.info("The server has ended the session")
            self._bus.publish(StopAgentCommand(reason="the connection was closed"))
            return
        how = f"close code {code}" if code else "the connection broke"
        loss = str(failure or f"The connection to the server was lost: {reason.rstrip('.') or how} ({how}).")
        if self._policy is None or self._backend.is_final(code, reason):
            self._end_in_error(loss)
        else:
            self._loss = loss

    # --- the writer ---

    async def _write(self, socket: ClientConnection) -> None:
        backend, inbox = self._backend, self._inbox
        loop = asyncio.get_running_loop()
        self._written.clear()
        try:
            await self._flush(socket)
            with contextlib.suppress(TimeoutError):  # else audio would be lost with a connection that is refused
                async with asyncio.timeout(_FIRST_EVENT_TIMEOUT_S):
                    await self._answered.wait()
            while True:
                await self._flush(socket)
                deadline = backend.deadline()
                event = await inbox.get(None if deadline is None else max(0.0, deadline - loop.time()))
                while event is not None:
                    if type(event) is UserAudioCapturedEvent:
                        if backend.wants_to_send:
                            await self._flush(socket)  # in order: a commit ends the audio before it
                        await self._send(socket, backend.append_audio(event.pcm))
                    elif event is _WAKE:
                        await asyncio.sleep(0)  # first hear what the others say to the same frames
                    else:
                        backend.send(event)
                    event = inbox.take()
                if inbox.dropped:
                    self._report_dropped_audio()
        except InboxClosed:
            with contextlib.suppress(websockets.ConnectionClosed):
                await self._flush(socket)
        except websockets.ConnectionClosed:
            logger.debug("The connection is closed; what was still to be sent is dropped")
        finally:
            self._written.set()

    async def _flush(self, socket: ClientConnection) -> None:
        for frame in self._backend.frames():
            await self._send(socket, frame)

    async def _send(self, socket: ClientConnection, frame: bytes) -> None:
        if socket.transport.get_write_buffer_size() + len(frame) < _WRITE_LIMIT:  # it will not wait
            await socket.send(frame, text=True)
            return
        try:
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                await socket.send(frame, text=True)
        except TimeoutError:
            logger.warning("The network has taken nothing for %.0f s: the connection is given up", _SEND_TIMEOUT_S)
            socket.transport.abort()

    def _report_dropped_audio(self) -> None:
        dropped_ms = round(self._inbox.take_dropped_ms(UserAudioCapturedEvent))
        if dropped_ms:
            logger.warning("The network is too slow: %d ms of microphone audio were not sent", dropped_ms)
            self._bus.publish(UserAudioDroppedEvent(dropped_ms=dropped_ms))

    def _connection(self) -> ClientConnection:
        if self._socket is None:
            raise SessionError("connect() comes before run()")
        return self._socket


async def _connection_headers(provider: RealtimeProvider) -> dict[str, str]:
    """Return the provider's headers; a provider that only looks like one has the plain method alone."""
    fetch = getattr(provider, "connection_headers", None)
    return await fetch() if fetch is not None else provider.build_headers()
