import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets.asyncio.server

from rtvoice.components.session import UNSENT_AUDIO_LIMIT_MS, Session
from rtvoice.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    ServerError,
    SessionError,
)
from rtvoice.events import (
    AgentErrorEvent,
    AssistantAudioReceivedEvent,
    EventBus,
    RequestResponseCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    SendMessageCommand,
    SpeechDetectedEvent,
    StopAgentCommand,
    UpdateInstructionsCommand,
    UserAudioCapturedEvent,
    UserAudioDroppedEvent,
)
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.protocol import RealtimeProtocol
from rtvoice.settings import SemanticVAD
from rtvoice.testing import Faults, Hold, RealtimeEmulator, Reply, StartRefusal
from rtvoice.testing.faults import BAD_KEY, BETA_HEADER, MISSING_MODEL, NO_QUOTA, model_not_found

pytestmark = pytest.mark.virtual_clock


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Address:
    """A provider that only looks like one."""

    def __init__(self, url: str) -> None:
        self.url = url

    def build_url(self, model: str) -> str:
        return self.url

    def build_headers(self) -> dict[str, str]:
        return {"Authorization": "Bearer secret-key"}


class Bench:
    def __init__(self, provider: Any) -> None:
        self.bus = EventBus()
        self.heard = self.bus.open_inbox(*Session.says, in_order=True)
        config = SessionConfig(model="gpt-realtime-2.1-mini", turn_detection=SemanticVAD())
        loop = asyncio.get_running_loop()
        self.session = Session(self.bus, provider, RealtimeProtocol(config, loop.time), model=config.model, proxy=None)
        self.running: asyncio.Task[None]

    async def next(self, kind: type) -> Any:
        async with asyncio.timeout(20):
            while type(event := await self.heard.get()) is not kind:
                pass
        return event

    def rest(self, *kinds: type) -> list[Any]:
        return [event for event in self.heard.take_all() if type(event) in kinds]


@asynccontextmanager
async def session_with(provider: Any) -> AsyncIterator[Bench]:
    bench = Bench(provider)
    await bench.session.connect()
    async with asyncio.TaskGroup() as group:
        bench.running = group.create_task(bench.session.run())
        try:
            yield bench
        finally:
            await bench.session.close()


async def refusal_by(provider: Any) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT012 - a refusal may come in either step
        async with asyncio.timeout(60):
            bench = Bench(provider)
            await bench.session.connect()
            async with asyncio.TaskGroup() as group:
                group.create_task(bench.session.run())
                try:
                    await bench.session.wait_for_server()
                except SessionError as error:
                    refused: Exception = error
                finally:
                    await bench.session.close()
            raise refused
    assert "secret-key" not in str(caught.value)
    return caught.value


# --- connecting --------------------------------------------------------------------------------------


async def test_the_configuration_is_sent_at_once() -> None:
    async with RealtimeEmulator() as server, session_with(server.provider) as bench:
        assert bench.session.connected
        await bench.session.wait_for_server()
        assert (await server.received("session.update"))["session"]["model"] == "gpt-realtime-2.1-mini"
    assert not bench.session.connected


@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (BAD_KEY, AuthenticationFailed, 3000),
        (NO_QUOTA, AuthenticationFailed, 1013),
        (BETA_HEADER, ConnectionFailed, 4000),
        (MISSING_MODEL, ConnectionFailed, 4000),
        (model_not_found("gpt-nonsense"), ConnectionFailed, 4004),
        (StartRefusal(close_code=1011), ConnectionFailed, 1011),
        (StartRefusal(close_code=1000), ConnectionFailed, 1000),
    ],
    ids=str,
)
async def test_refusals_over_the_socket(refusal: StartRefusal, kind: type[SessionError], code: int) -> None:
    async with RealtimeEmulator() as server:
        server.refuse(refusal)
        error = await refusal_by(server.provider)
    assert type(error) is kind
    assert isinstance(error, SessionError)
    assert error.close_code == code
    if refusal.error is not None:
        assert error.code == refusal.error["code"]
        assert refusal.error["message"].rstrip(".") in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ConnectionFailed),
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (404, ConnectionFailed),
        (429, ConnectionFailed),
        (503, ConnectionFailed),
    ],
)
async def test_refusals_of_the_upgrade(status: int, kind: type[SessionError]) -> None:
    async with RealtimeEmulator() as server:
        server.refuse(StartRefusal(http_status=status))
        error = await refusal_by(server.provider)
    assert type(error) is kind
    assert error.close_code == status
    assert str(status) in str(error)


async def test_refused_settings() -> None:
    problem = {"type": "invalid_request_error", "code": "invalid_value", "message": "No such voice.", "param": "voice"}
    async with RealtimeEmulator(faults=Faults(refuse_session_updates=problem)) as server:
        async with session_with(server.provider) as bench:
            stop = await bench.next(StopAgentCommand)
        assert isinstance(stop.exception, ServerError)
        assert bench.rest(AgentErrorEvent) == []


async def test_nobody_listens() -> None:
    async with RealtimeEmulator() as server:
        provider = server.provider
        await server.stop_listening()
        error = await refusal_by(provider)
    assert type(error) is ConnectionFailed
    assert "127.0.0.1" in str(error)
    assert "model=" not in str(error)


async def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    error = await refusal_by(Address("wss://nowhere.example/v1/realtime"))
    assert type(error) is ConnectionFailed
    assert "nowhere.example" in str(error)
    assert "Name or service not known" in str(error)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "127.0.0.1", "ws://"])
async def test_an_address_of_another_kind(url: str) -> None:
    error = await refusal_by(Address(url))
    assert type(error) is ConfigurationError
    assert repr(url) in str(error)


async def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(Address("ws://127.0.0.1:9/"))
    monkeypatch.setattr(bench.session._dialler, "_proxy", "nonsense")
    with pytest.raises(ConfigurationError, match="proxy"):
        await bench.session.connect()


@asynccontextmanager
async def a_server_that(serve: Serve) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await asyncio.sleep(0.1)


async def test_a_server_that_never_answers() -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await over.wait()

    async with a_server_that(silent) as url:
        error = await refusal_by(Address(url))
        over.set()
    assert type(error) is ConnectionFailed
    assert "no answer in time" in str(error)
    assert loop.time() < 20


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
async def test_a_server_of_another_kind(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with a_server_that(serve) as url:
        assert isinstance(await refusal_by(Address(url)), ConnectionFailed)


async def test_tls_with_a_server_that_knows_none() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with a_server_that(serve) as url:
        assert type(await refusal_by(Address(url.replace("ws:", "wss:")))) is ConnectionFailed


async def test_tls_settings_are_used() -> None:
    import ssl

    bench = Bench(Address("ws://127.0.0.1:9/"))
    nowhere, settings = Address("ws://127.0.0.1:9/"), ssl.create_default_context()
    session = Session(bench.bus, nowhere, bench.session._backend, model="m", ssl_context=settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ssl"):  # an unencrypted address with TLS settings is a mistake
        await session.connect()


async def test_a_server_that_says_nothing_gets_the_benefit_of_the_doubt(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    frames: list[str | bytes] = []

    async def listen(connection: websockets.asyncio.server.ServerConnection) -> None:
        frames.extend([frame async for frame in connection])

    async with websockets.asyncio.server.serve(listen, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with session_with(Address(f"ws://127.0.0.1:{port}/")) as bench:
            asked_at = loop.time()
            await bench.session.wait_for_server()
            assert loop.time() - asked_at == pytest.approx(3)
    assert "session.update" in str(frames[0])
    assert "has said nothing" in caplog.text


async def test_async_headers_are_asked_for() -> None:
    class Fresh(Address):
        async def connection_headers(self) -> dict[str, str]:
            await asyncio.sleep(0.1)
            return {"Authorization": "Bearer fresh"}

    async with RealtimeEmulator() as server, session_with(Fresh(f"{server.url}?model=m")):
        assert (await server.connected()).headers["authorization"] == "Bearer fresh"


async def test_the_order_of_steps() -> None:
    bench = Bench(Address("ws://127.0.0.1:9/"))
    with pytest.raises(SessionError, match="connect"):
        await bench.session.run()
    await bench.session.close()  # never connected: nothing to close


# --- frames ------------------------------------------------------------------------------------------


def audio_delta(length: int) -> dict[str, Any]:
    pcm = base64.b64encode(bytes(length)).decode()
    return {"type": "response.output_audio.delta", "response_id": "r", "item_id": "a", "content_index": 0, "delta": pcm}


async def test_a_frame_of_sixteen_megabytes() -> None:
    async with RealtimeEmulator() as server, session_with(server.provider) as bench:
        (await server.connected()).send(audio_delta(12_000_000))
        event = await bench.next(AssistantAudioReceivedEvent)
        assert len(event.pcm) == 12_000_000


async def test_frames_that_cannot_be_read_are_skipped() -> None:
    async with RealtimeEmulator() as server, session_with(server.provider) as bench:
        session = await server.connected()
        for frame in ("no JSON", "", "[]", "null", '"text"', "5", '{"type": 5}', "{}", '{"type": "error"', "\ufeff{}"):
            session.send(frame)
        session.send({"type": "response.created"})
        session.send({"type": "an.event.of.the.future", "x": {}})
        session.send(audio_delta(960))
        await bench.next(AssistantAudioReceivedEvent)
        assert not bench.running.done()


async def test_many_frames_leave_others_their_turn() -> None:
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while len(bench.heard) < 500:
            turns += 1
            await asyncio.sleep(0)

    async with RealtimeEmulator() as server, session_with(server.provider) as bench:
        session = await server.connected()
        for _ in range(500):
            session.send(audio_delta(96))
        async with asyncio.timeout(20):
            await bystander()
    assert turns > 10


async def test_what_the_parts_say_is_sent_in_order() -> None:
    async with RealtimeEmulator(replies=["Hello."], detect_speech=False) as server:
        async with session_with(server.provider) as bench:
            session = await server.connected()
            for number in range(3):
                bench.bus.publish(UserAudioCapturedEvent(pcm=bytes([number]) * 960, captured_at=0.0))
            bench.bus.publish(SendMessageCommand(text="Hello?", respond=False))
            bench.bus.publish(UserAudioCapturedEvent(pcm=bytes([3]) * 960, captured_at=0.0))
            bench.bus.publish(RequestResponseCommand())
            await bench.next(ResponseStartedEvent)
            await bench.next(ResponseFinishedEvent)
        assert session.types("received") == [
            "session.update", *["input_audio_buffer.append"] * 3, "conversation.item.create",
            "input_audio_buffer.append", "response.create",
        ]  # fmt: skip
        assert session.user_audio == b"".join(bytes([number]) * 960 for number in range(4))


async def test_microphone_audio_is_sent_at_once_while_the_writer_waits() -> None:
    async with RealtimeEmulator(detect_speech=False) as server, session_with(server.provider) as bench:
        await bench.session.wait_for_server()
        await server.sent("session.updated")
        await asyncio.sleep(1)
        before = bench.session.stats.frames_sent
        bench.bus.publish(UserAudioCapturedEvent(pcm=bytes(960), captured_at=0.0))
        assert bench.session.stats.frames_sent == before + 1
        bench.bus.publish(SendMessageCommand(text="Hello?", respond=False))
        bench.bus.publish(UserAudioCapturedEvent(pcm=bytes(960), captured_at=0.0))
        assert bench.session.stats.frames_sent == before + 1, "it would overtake the message"
        await server.received("conversation.item.create")
        await server.received("input_audio_buffer.append")
        assert bench.session.stats.frames_sent == before + 3


async def test_microphone_audio_alone_looks_at_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, session_with(server.provider) as bench:
        await bench.session.wait_for_server()
        await server.sent("session.updated")
        await asyncio.sleep(1)
        backend, looks = bench.session._backend, 0
        frames = backend.frames

        def counted() -> Any:
            nonlocal looks
            looks += 1
            return frames()

        monkeypatch.setattr(backend, "frames", counted)
        for _ in range(100):
            bench.bus.publish(UserAudioCapturedEvent(pcm=bytes(960), captured_at=0.0))
            await asyncio.sleep(0.02)
        assert looks == 0
        bench.bus.publish(SendMessageCommand(text="Hello?", respond=False))
        await server.received("conversation.item.create")
        assert looks == 1


async def test_a_deadline_that_the_server_sets_is_kept_without_anything_else_happening() -> None:
    """The reader tells the writer that there is one now."""
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator(detect_speech=False) as server, session_with(server.provider) as bench:
        session = await server.connected()
        await bench.session.wait_for_server()
        await asyncio.sleep(1)
        session.send({"type": "response.created", "response": {"id": "r1", "status": "in_progress"}})
        began = loop.time()
        await server.received("response.cancel", timeout=60)
        assert loop.time() - began == pytest.approx(30, abs=0.1)


async def test_a_request_that_has_to_wait_is_sent_when_its_time_has_come() -> None:
    """The writer asks the protocol again although nothing has happened."""
    loop = asyncio.get_running_loop()
    async with (
        RealtimeEmulator(replies=["Hello."], detect_speech=False) as server,
        session_with(server.provider) as bench,
    ):
        session = await server.connected()
        session.send({"type": "input_audio_buffer.speech_started", "item_id": "u"})
        await bench.next(SpeechDetectedEvent)
        bench.bus.publish(RequestResponseCommand())
        session.send({"type": "input_audio_buffer.speech_stopped", "item_id": "u"})
        stopped_at = loop.time()
        await server.received("response.create", timeout=30)  # the server never answered by itself
        assert 1 < loop.time() - stopped_at < 10


# --- a slow network ----------------------------------------------------------------------------------


async def test_a_stalled_server_costs_the_oldest_audio_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, session_with(server.provider) as bench:
        await bench.session.wait_for_server()
        session = await server.connected()
        session.stall(writing=False)
        published, second = bytearray(), 48_000
        count = 0
        while bench.bus.queued_ms(UserAudioCapturedEvent) < UNSENT_AUDIO_LIMIT_MS or count < 100:
            pcm = count.to_bytes(4, "little") * (second // 4)
            published += pcm
            bench.bus.publish(UserAudioCapturedEvent(pcm=pcm, captured_at=0.0))
            count += 1
            await asyncio.sleep(0)
            assert count < 2_000, "the writer was never blocked"
        for number in range(20):
            bench.bus.publish(SendMessageCommand(text=f"message {number}", respond=False))
            pcm = count.to_bytes(4, "little") * (second // 4)
            published += pcm
            bench.bus.publish(UserAudioCapturedEvent(pcm=pcm, captured_at=0.0))
            count += 1
        assert bench.bus.queued_ms(UserAudioCapturedEvent) <= UNSENT_AUDIO_LIMIT_MS == 5_000
        session.resume()
        dropped = await bench.next(UserAudioDroppedEvent)
        await asyncio.sleep(1)
        assert dropped.dropped_ms > 10_000
        assert len(session.user_audio) == len(published) - dropped.dropped_ms * 48
        gap = next(i for i in range(0, len(published), second) if session.user_audio[i : i + 4] != published[i : i + 4])
        assert session.user_audio[gap:] == published[-(len(session.user_audio) - gap) :]
        texts = [item["content"][0]["text"] for item in session.items if item.get("role") == "user"]
        assert texts == [f"message {number}" for number in range(20)]
        assert "too slow" in caplog.text
        bench.bus.publish(SendMessageCommand(text="and on it goes", respond=False))
        await server.received("conversation.item.create", lambda event: "and on" in str(event))
        assert bench.rest(UserAudioDroppedEvent) == []  # told once


# --- the end -----------------------------------------------------------------------------------------


async def test_what_is_queued_is_sent_before_closing() -> None:
    async with RealtimeEmulator(detect_speech=False) as server:
        async with session_with(server.provider) as bench:
            await bench.session.wait_for_server()
            session = await server.connected()
            bench.bus.publish(SendMessageCommand(text="Last words.", respond=False))
        await session.wait_closed()
        assert session.types("received")[-1] == "conversation.item.create"
        assert session.close_code == 1000
        assert bench.rest(AgentErrorEvent, StopAgentCommand) == []


async def test_the_server_closes_normally() -> None:
    async with RealtimeEmulator() as server, session_with(server.provider) as bench:
        await bench.session.wait_for_server()
        await server.received("session.update")
        await server.sent("session.updated")
        (await server.connected()).close(1000)
        stop = await bench.next(StopAgentCommand)
        assert stop.exception is None
        assert bench.rest(AgentErrorEvent) == []
        await bench.running


@pytest.mark.parametrize("how", ["drop", "going away", "server error", "expiry"])
async def test_the_connection_is_lost(how: str) -> None:
    async with RealtimeEmulator() as server, session_with(server.provider) as bench:
        await server.sent("session.updated")
        session = await server.connected()
        await asyncio.sleep(0.1)
        match how:
            case "drop":
                session.drop()
            case "going away":
                session.close(1001, "restart")
            case "server error":
                session.close(1011, "internal error")
            case "expiry":
                session.expire()
        error = (await bench.next(AgentErrorEvent)).error
        assert error.code == ("session_expired" if how == "expiry" else None)
        assert error.type == "connection_closed"
        assert {"drop": "broke", "going away": "1001", "server error": "1011", "expiry": "1001"}[how] in error.message
        assert (await bench.next(StopAgentCommand)).exception is None
        await bench.running
        bench.bus.publish(SendMessageCommand(text="too late"))  # nobody minds


async def test_the_connection_is_lost_while_the_writer_is_busy() -> None:
    async with RealtimeEmulator(detect_speech=False) as server, session_with(server.provider) as bench:
        await server.sent("session.updated")
        session = await server.connected()
        await asyncio.sleep(0.1)
        session.stall(writing=False)
        for _ in range(200):
            bench.bus.publish(UserAudioCapturedEvent(pcm=bytes(240_000), captured_at=0.0))
            await asyncio.sleep(0)
        session.drop()
        session.resume()
        await bench.next(StopAgentCommand)
        await bench.running


async def test_a_dead_network_is_noticed() -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator() as server, session_with(server.provider) as bench:
        await server.sent("session.updated")
        await asyncio.sleep(0.1)
        (await server.connected()).go_silent()
        async with asyncio.timeout(200):
            await asyncio.wait([bench.running])
        assert 20 < loop.time() < 100
        assert bench.rest(AgentErrorEvent)[0].error.type == "connection_closed"
        server.current.drop()


async def test_closing_with_a_stalled_server_takes_two_seconds() -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator(detect_speech=False) as server:
        async with session_with(server.provider) as bench:
            await bench.session.wait_for_server()
            session = await server.connected()
            session.go_silent()
            for _ in range(300):
                bench.bus.publish(UserAudioCapturedEvent(pcm=bytes(240_000), captured_at=0.0))
                await asyncio.sleep(0)
            asked_at = loop.time()
            await bench.session.close()
            assert loop.time() - asked_at < 2.1
        session.drop()


@pytest.mark.parametrize("speaking", [False, True])
def test_a_server_that_never_answers_the_close_holds_nobody_up(speaking: bool) -> None:
    """On the clock on the wall: three seconds."""

    async def main() -> float:
        hold = Hold(after_ms=100)
        faults = Faults(never_answer_close=True)
        async with (
            RealtimeEmulator([Reply("One two three", hold=hold)], faults=faults, close_timeout_s=0.1) as server,
            session_with(server.provider) as bench,
        ):
            await bench.session.wait_for_server()
            if speaking:
                bench.bus.publish(RequestResponseCommand())
                await bench.next(AssistantAudioReceivedEvent)
            asked_at = time.monotonic()
            await bench.session.close()
            return time.monotonic() - asked_at

    assert asyncio.run(main()) < 3


async def test_a_session_that_was_never_opened_cannot_be_restarted() -> None:
    with pytest.raises(SessionError, match="no session"):
        await Bench(Address("ws://127.0.0.1:9/")).session.restart()


async def test_what_is_said_before_the_connection_stands_is_sent_in_order() -> None:
    async with RealtimeEmulator(detect_speech=False) as server:
        bench = Bench(server.provider)
        bench.bus.publish(UpdateInstructionsCommand("You are Eva."))
        bench.bus.publish(SendMessageCommand(text="Hello?", respond=False))
        await bench.session.connect()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.session.run())
            await server.received("conversation.item.create")
            await bench.session.close()
        session = await server.connected()
        assert session.types("received") == ["session.update", "conversation.item.create"]
        assert session.received[0]["session"]["instructions"] == "You are Eva."
