"""A Realtime server to test against: a real WebSocket server on loopback that keeps the service's rules."""

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, quote, urlsplit
from weakref import WeakKeyDictionary

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from rtvoice.testing.event_log import EventLog, JsonObject
from rtvoice.testing.faults import (
    BAD_KEY,
    BETA_HEADER,
    MISSING_MODEL,
    MODEL_FOR_TRANSCRIPTION,
    Faults,
    StartRefusal,
    model_not_found,
)
from rtvoice.testing.input_audio import VoiceActivity, energy_detector
from rtvoice.testing.link import Link
from rtvoice.testing.mcp import McpServers
from rtvoice.testing.quirks import Quirks
from rtvoice.testing.script import Replies, ReplyLike, Script, TranscriptLike, Transcripts
from rtvoice.testing.session import EmulatedSession
from rtvoice.testing.session_setup import SessionSetup

logger = logging.getLogger(__name__)

DEFAULT_KEY = "emulator-key"
_OPENAI_PATH = "/v1/realtime"
_AZURE_PATH = "/openai/v1/realtime"
_RETIRED_MODELS = ("gpt-4o-realtime-preview", "gpt-4o-mini-realtime-preview")
_OPEN_TIMEOUT_S = 5.0
"""Seconds that a client has for its HTTP request; the end of an emulator may wait so long for a mute one."""
_MAX_FRAME_BYTES = 32 * 1024 * 1024
_FAILED = 4500
"""Close code of a session in which the emulator failed: one that no client takes for a reason to connect again."""
_KEY_SUBPROTOCOL = "openai-insecure-api-key."


@dataclass(frozen=True, slots=True)
class EmulatorProvider:
    """Tells a ``RealtimeAgent`` where the emulator is: ``RealtimeAgent(provider=server.provider)``.

    Attributes:
        url: The emulator's address without the model.
        api_key: The key it accepts.
    """

    url: str
    api_key: str

    def build_url(self, model: str) -> str:
        """Return the address for a model."""
        return f"{self.url}?model={quote(model)}"

    def build_headers(self) -> dict[str, str]:
        """Return the headers that let a client in."""
        return {"Authorization": f"Bearer {self.api_key}"}


class RealtimeEmulator:
    """A server that behaves like the OpenAI Realtime API (GA, November 2026), scripted by the test.

    Example::

        async with RealtimeEmulator(replies=["Hello!"], transcripts=["Hi."]) as server:
            agent = RealtimeAgent(provider=server.provider, ...)
            ...
            cut = await server.received("conversation.item.truncate")

    The rules are those of the design page "OpenAI Realtime API: protocol facts", the wording of errors too. An error in
    the emulator or in a script's function closes the connection with 4500 and is raised when the ``async with`` ends.

    Args:
        replies: What the assistant does, response by response: ``Reply`` objects or strings (any iterable, also
            endless), or a function of a ``ReplyRequest``, sync or async. After the end of a list the assistant
            says that nothing is scripted. Out-of-band responses take from the same list.
        transcripts: What the user is taken to say, turn by turn: strings, ``Transcript`` objects or ``None``, or a
            function of a ``UserTurn`` with its audio. After the end of a list: nothing ("").
        api_key: The only key that is let in; ``None`` lets in every key that is not empty.
        require_key: Whether a client needs a key at all, if ``api_key`` names none. Without it all are let in but web
            pages of other hosts, which a browser on this machine could show.
        models: The only models that exist; ``None``: all but the retired ones.
        detect_speech: Whether turn detection listens to the audio, or a function that makes what finds
            speech in it. If not, only ``session.speech_started()`` and ``speech_stopped()`` make turns.
        session_length_s: Seconds until a session expires.
        mcp_servers: Tools of the MCP servers that sessions may use, by server label.
        quirks: What varies on the live service.
        faults: What goes wrong in every session.
        tls: Settings with a certificate, to be reached by ``wss://``. With one that the client does not trust, its
            connections fail.
        host: Address of the interface to listen on. Others than loopback let the network in: choose an ``api_key``.
        port: Port to listen on; 0 for any free one.
        keep_records: Whether to remember what tests look at: closed sessions, all events, all audio of the users. A
            server that runs for days does not; then ``received()``, ``sent()`` and ``connected()`` know nothing, and
            errors in the script's functions are logged.
        seed: Seed of everything made up: delta sizes, placeholder voices.
        close_timeout_s: Seconds that clients get at the end to answer the close frame; then they are cut off.
    """

    def __init__(
        self,
        replies: Replies = (),
        transcripts: Transcripts = (),
        *,
        api_key: str | None = None,
        require_key: bool = True,
        models: Collection[str] | None = None,
        detect_speech: bool | VoiceActivity = True,
        session_length_s: float = 3600.0,
        mcp_servers: McpServers | None = None,
        quirks: Quirks | None = None,
        faults: Faults | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        keep_records: bool = True,
        seed: int = 0,
        close_timeout_s: float = 1.0,
    ) -> None:
        self.api_key = api_key or DEFAULT_KEY
        self.sessions: list[EmulatedSession] = []
        self._only_key = api_key
        self._requires_key = require_key or bool(api_key)
        self._models = models
        self._close_timeout_s = close_timeout_s
        self._tls = tls
        self._scheme = "ws" if tls is None else "wss"
        self._script = Script(replies, transcripts)
        self._received = EventLog("client")
        self._sent = EventLog("server")
        self._connected: asyncio.Queue[EmulatedSession] = asyncio.Queue()
        self._ids: Counter[str] = Counter()
        self._refusals: list[StartRefusal] = []
        self._errors: list[Exception] = []
        self._refused: WeakKeyDictionary[ServerConnection, StartRefusal] = WeakKeyDictionary()
        self._open: set[ServerConnection] = set()
        self._server: Server | None = None
        self._retired: list[Server] = []
        self._host = host
        self._port = port
        self._keeps_records = keep_records
        if detect_speech is True:
            detect_speech = energy_detector
        self._setup = SessionSetup(
            script=self._script,
            faults=faults or Faults(),
            quirks=quirks or Quirks(),
            mcp_servers=mcp_servers or {},
            voice_activity=detect_speech or None,
            keeps_records=keep_records,
            length_s=session_length_s,
            seed=seed,
            new_id=self._new_id,
            on_received=self._received.add,
            on_sent=self._sent.add,
        )

    # --- where it is --------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Address of the endpoint, ``ws://127.0.0.1:PORT/v1/realtime``; clients add ``?model=``."""
        return f"{self._scheme}://{self._address}{_OPENAI_PATH}"

    @property
    def _address(self) -> str:
        """Host and port to dial; an address of all interfaces can be reached by loopback."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """``websocket_base_url`` for the ``openai`` package."""
        return f"{self._scheme}://{self._address}/v1"

    @property
    def provider(self) -> EmulatorProvider:
        """A provider for a ``RealtimeAgent``."""
        return EmulatorProvider(self.url, self.api_key)

    @property
    def azure_provider(self) -> EmulatorProvider:
        """The same at the path of Azure OpenAI."""
        return EmulatorProvider(f"{self._scheme}://{self._address}{_AZURE_PATH}", self.api_key)

    # --- what tests look at and wait for ------------------------------------------------------------------------

    @property
    def current(self) -> EmulatedSession:
        """The youngest session.

        Raises:
            RuntimeError: No client has connected yet.
        """
        if not self.sessions:
            raise RuntimeError("no client has connected yet: await server.connected() first")
        return self.sessions[-1]

    async def connected(self, *, timeout: float = 5.0) -> EmulatedSession:
        """Return the next session that a client opens; each is returned once, the first one first.

        Raises:
            TimeoutError: No (further) client came within ``timeout`` seconds.
        """
        try:
            return await asyncio.wait_for(self._connected.get(), timeout)
        except TimeoutError:
            raise TimeoutError(f"no (further) client connected within {timeout} s") from None

    async def received(
        self, event_type: str, where: Callable[[JsonObject], bool] | None = None, *, timeout: float = 5.0
    ) -> JsonObject:
        """Return the next client event of a type, of any session. Each is returned once.

        Args:
            event_type: For example ``"conversation.item.truncate"``.
            where: Further condition; events of the type that do not meet it are passed over.
            timeout: Seconds to wait.

        Raises:
            TimeoutError: None came; the message lists what did.
        """
        return await self._received.next(event_type, where, timeout=timeout)

    async def sent(
        self, event_type: str, where: Callable[[JsonObject], bool] | None = None, *, timeout: float = 5.0
    ) -> JsonObject:
        """Return the next event of a type that went out, of any session. Each is returned once.

        Raises:
            TimeoutError: None did; the message lists what did.
        """
        return await self._sent.next(event_type, where, timeout=timeout)

    # --- what tests do ------------------------------------------------------------------------------------------

    @property
    def faults(self) -> Faults:
        """What goes wrong in every session; a change is for the sessions to come."""
        return self._setup.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._setup = replace(self._setup, faults=faults)

    def add_replies(self, *replies: ReplyLike) -> None:
        """Append to the list of replies."""
        self._script.add_replies(*replies)

    def add_transcripts(self, *transcripts: TranscriptLike) -> None:
        """Append to the list of transcripts."""
        self._script.add_transcripts(*transcripts)

    def refuse(self, refusal: StartRefusal, *, times: int = 1) -> None:
        """Turn the next connections away."""
        self._refusals += [refusal] * times

    async def stop_listening(self) -> None:
        """Let new connections fail at once, as if the host were down; open sessions stay."""
        if self._server is not None:
            self._server.server.close()

    async def listen(self) -> None:
        """Take connections; after ``stop_listening()`` at the same address again."""
        if self._server is not None:
            self._retired.append(self._server)
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            process_request=self._answer_upgrade,
            select_subprotocol=_select_subprotocol,
            max_size=_MAX_FRAME_BYTES,
            ping_interval=None,
            ssl=self._tls,
            close_timeout=self._close_timeout_s,
            open_timeout=_OPEN_TIMEOUT_S,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    # --- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._shut_down()
        if not self._errors:
            return
        if exc is None:
            raise self._errors[0] if len(self._errors) == 1 else ExceptionGroup("the emulator failed", self._errors)
        for error in self._errors:
            exc.add_note(f"The emulator failed, too: {error!r}")

    async def _shut_down(self) -> None:
        servers = [server for server in (*self._retired, self._server) if server is not None]
        for server in servers:
            server.close()
        for server in servers:
            try:
                await asyncio.wait_for(server.wait_closed(), self._close_timeout_s)
            except TimeoutError:
                for connection in self._open:
                    connection.transport.abort()
                await server.wait_closed()

    def _new_id(self, prefix: str) -> str:
        self._ids[prefix] += 1
        return f"{prefix}_{self._ids[prefix]:06}"

    def _answer_upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        if address.path not in (_OPENAI_PATH, _AZURE_PATH):
            return connection.respond(HTTPStatus.NOT_FOUND, f"There is no {address.path} here.\n")
        refusal = self._refusals.pop(0) if self._refusals else None
        if refusal is not None and refusal.http_status is not None:
            return connection.respond(HTTPStatus(refusal.http_status), "Refused by the test.\n")
        key = _key_of(request)
        accepted = key == self._only_key if self._only_key else bool(key)
        if not self._requires_key:
            if _is_of_another_host(request):
                return connection.respond(HTTPStatus.FORBIDDEN, "Web pages of other hosts need an API key here.\n")
            accepted = True
        elif not key or (not accepted and address.path == _AZURE_PATH):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "Access denied: no or wrong credentials.\n")
        if refusal is None:
            refusal = self._reason_to_refuse(request, accepted=accepted)
        if refusal is not None:
            self._refused[connection] = refusal
        return None

    def _reason_to_refuse(self, request: Request, *, accepted: bool) -> StartRefusal | None:
        if "OpenAI-Beta" in request.headers:
            return BETA_HEADER
        if not accepted:
            return BAD_KEY
        query = parse_qs(urlsplit(request.path).query)
        model = query.get("model", [""])[0]
        if query.get("intent") == ["transcription"]:
            return MODEL_FOR_TRANSCRIPTION if model else None
        if not model:
            return MISSING_MODEL
        if model.startswith(_RETIRED_MODELS) or (self._models is not None and model not in self._models):
            return model_not_found(model)
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        self._open.add(connection)
        try:
            await self._serve_one(connection)
        finally:
            self._open.remove(connection)

    async def _serve_one(self, connection: ServerConnection) -> None:
        refusal = self._refused.pop(connection, None)
        link = Link(connection, self._setup.faults)
        if refusal is not None:
            if refusal.error is not None:
                link.send({"type": "error", "event_id": self._new_id("event"), "error": dict(refusal.error)})
            link.close(refusal.close_code, refusal.close_reason)
            await link.write()
            return
        session = self._new_session(connection, link)
        try:
            await session.run()
        except Exception as error:
            if self._keeps_records:
                self._errors.append(_single(error))  # raised when the emulator ends: the test must see it
            else:
                logger.exception("A session failed")
            await connection.close(_FAILED, "the emulator or its script failed")
        finally:
            if not self._keeps_records:
                self.sessions.remove(session)

    def _new_session(self, connection: ServerConnection, link: Link) -> EmulatedSession:
        request = cast("Request", connection.request)  # the handshake is over, so there was a request
        query = parse_qs(urlsplit(request.path).query)
        session = EmulatedSession(
            self._setup,
            link,
            kind="transcription" if query.get("intent") == ["transcription"] else "realtime",
            model=query.get("model", [""])[0],
            # A date for people and clocks outside; nothing in the emulator is timed by it.
            expires_at=int(time.time() + self._setup.length_s),
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.raw_items()},
        )
        self.sessions.append(session)
        if self._keeps_records:
            self._connected.put_nowait(session)
        return session


def _key_of(request: Request) -> str:
    """Return the credentials of a request, from wherever the service takes them."""
    authorization = request.headers.get("Authorization", "")
    if authorization.startswith("Bearer "):
        return authorization.removeprefix("Bearer ")
    for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        if offered.strip().startswith(_KEY_SUBPROTOCOL):
            return offered.strip().removeprefix(_KEY_SUBPROTOCOL)
    from_query: list[Any] = parse_qs(urlsplit(request.path).query).get("api-key", [""])
    return request.headers.get("api-key") or str(from_query[0])


def _is_of_another_host(request: Request) -> bool:
    """Whether a web page asks that does not come from this machine; other programs send no origin."""
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).hostname not in ("localhost", "127.0.0.1", "::1")


def _select_subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    realtime = Subprotocol("realtime")
    return realtime if realtime in offered else None


def _single(error: Exception) -> Exception:
    """Return the one exception inside nested groups of one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
