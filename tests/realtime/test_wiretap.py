import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rtvoice.realtime import AzureOpenAIProvider, OpenAIProvider
from rtvoice.realtime.session_log import SessionLogWriter
from rtvoice.realtime.wiretap import WatchedProvider, Wiretap
from rtvoice.settings import SessionLog

KEY = "key-of-the-azure-resource"


@pytest.fixture
def log(tmp_path: Path) -> SessionLogWriter:
    return SessionLogWriter(SessionLog(tmp_path / "talk.jsonl"), header={}, on_error=print)


class ClosedError(Exception):
    def __init__(self, rcvd: Any, sent: Any, rcvd_then_sent: bool | None) -> None:
        super().__init__("closed")
        self.rcvd, self.sent, self.rcvd_then_sent = rcvd, sent, rcvd_then_sent


class Socket:
    """A connection that gives what it is told to, and fails with the rest."""

    def __init__(self, *frames: bytes, failure: Exception) -> None:
        self.frames = list(frames)
        self.failure = failure
        self.sent: list[Any] = []
        self.transport = "transport"
        self.protocol = SimpleNamespace(close_exc=failure)
        self.closed_with: tuple[int, str] | None = None

    async def close(self, code: int, reason: str) -> None:
        self.closed_with = (code, reason)

    async def recv(self, decode: bool | None = None) -> bytes:
        assert decode is False
        if not self.frames:
            raise self.failure
        return self.frames.pop(0)

    @property
    def can_send_now(self) -> bool:
        return not self.sent

    def send_now(self, frame: bytes) -> None:
        self.sent.append(frame)

    async def send(self, message: Any, text: bool | None = None) -> None:
        if len(self.sent) == 2:
            raise self.failure
        self.sent.append((message, text))


async def lines(log: SessionLogWriter) -> list[dict[str, Any]]:
    await log.close()
    return [json.loads(line) for line in log.path.read_bytes().splitlines()][1:]


FRAME = SimpleNamespace(code=1001, reason="going away")


@pytest.mark.parametrize(
    ("closed", "by", "code"),
    [
        (ClosedError(FRAME, FRAME, True), "server", 1001),
        (ClosedError(FRAME, FRAME, False), "agent", 1001),
        (ClosedError(None, FRAME, None), "agent", None),
        (ClosedError(None, None, None), "network", None),
    ],
)
async def test_frames_both_ways_and_the_end(
    log: SessionLogWriter, closed: ClosedError, by: str, code: int | None
) -> None:
    log.start()
    socket = Socket(b'{"type":"a"}', failure=closed)
    wiretap = Wiretap(socket, log, "wss://host/path?key=1")
    assert await wiretap.recv(decode=False) == b'{"type":"a"}'
    assert wiretap.can_send_now
    wiretap.send_now(b'{"type":"b"}')
    assert not wiretap.can_send_now
    await wiretap.send(b'{"type":"c"}', text=True)
    assert socket.sent == [b'{"type":"b"}', (b'{"type":"c"}', True)]
    assert wiretap.transport == "transport"
    with pytest.raises(ClosedError):
        await wiretap.recv(decode=False)
    with pytest.raises(ClosedError):
        await wiretap.recv(decode=False)  # the end is told once
    opened, received, sent, sent_after_waiting, end = await lines(log)
    assert opened["url"] == "wss://host/path"
    assert (received["to"], received["frame"]) == ("agent", {"type": "a"})
    assert (sent["to"], sent["frame"]) == ("server", {"type": "b"})
    assert (sent_after_waiting["to"], sent_after_waiting["frame"]) == ("server", {"type": "c"})
    assert (end["event"], end["by"], end["code"]) == ("closed", by, code)
    assert end["reason"] == ("going away" if code else "")


async def test_the_end_can_be_noticed_while_sending(log: SessionLogWriter) -> None:
    log.start()
    wiretap = Wiretap(Socket(failure=ClosedError(None, None, None)), log, "wss://host")
    for _ in range(2):
        await wiretap.send(b"{}", text=True)
    with pytest.raises(ClosedError):
        await wiretap.send(b"{}", text=True)
    assert (await lines(log))[-1]["by"] == "network"


async def test_a_connection_that_is_left(log: SessionLogWriter) -> None:
    """Nobody reads from it any more: a rotation has taken its reader away."""
    log.start()
    socket = Socket(failure=ClosedError(FRAME, FRAME, False))
    wiretap = Wiretap(socket, log, "wss://host")
    await wiretap.close(1001, "over")
    assert socket.closed_with == (1001, "over")
    with pytest.raises(ClosedError):
        await wiretap.recv(decode=False)
    _, end = await lines(log)
    assert (end["event"], end["connection"], end["by"], end["code"]) == ("closed", 1, "agent", 1001)


async def test_another_failure_is_not_the_end(log: SessionLogWriter) -> None:
    log.start()
    wiretap = Wiretap(Socket(failure=ValueError("x")), log, "wss://host")
    with pytest.raises(ValueError, match="x"):
        await wiretap.recv(decode=False)
    assert [line["event"] for line in await lines(log)] == ["opened"]


async def told(log: SessionLogWriter, *secrets: str) -> list[str]:
    """Return what becomes of these texts in the log."""
    for secret in secrets:
        log.note("said", text=secret)
    return [line["text"] for line in await lines(log)]


async def test_the_keys_of_a_provider(log: SessionLogWriter) -> None:
    log.start()
    provider = WatchedProvider(OpenAIProvider("some-key-without-a-shape", base_url="wss://host"), log)
    assert provider.build_url("the-model") == provider.url == "wss://host/realtime?model=the-model"
    assert provider.build_headers()["Authorization"] == "Bearer some-key-without-a-shape"
    assert await told(log, "some-key-without-a-shape", "the-model") == ["[secret]", "the-model"]


async def test_a_key_in_the_url(log: SessionLogWriter) -> None:
    class Provider(OpenAIProvider):
        def build_url(self, model: str) -> str:
            return f"wss://host?name={model}&token=0123456789"

    log.start()
    assert WatchedProvider(Provider("k"), log).build_url("some-model").endswith("token=0123456789")
    assert await told(log, "0123456789", "some-model") == ["[secret]", "some-model"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_fresh_token(log: SessionLogWriter, is_async: bool) -> None:
    async def fetch() -> str:
        return "token-of-today"

    log.start()
    azure = AzureOpenAIProvider("resource", "model", token_provider=fetch if is_async else lambda: "token-of-today")
    headers = await WatchedProvider(azure, log).connection_headers()
    assert headers == {"Authorization": "Bearer token-of-today"}
    assert await told(log, "token-of-today") == ["[secret]"]


async def test_providers_that_only_look_like_one(log: SessionLogWriter) -> None:
    class Plain:
        def build_url(self, model: str) -> str:
            return f"wss://host?model={model}"

        def build_headers(self) -> dict[str, str]:
            return {"api-key": KEY}

    class Hasty(Plain):
        def connection_headers(self) -> dict[str, str]:
            return {"api-key": "another-long-key"}

    log.start()
    plain: Any = Plain()
    hasty: Any = Hasty()
    assert await WatchedProvider(plain, log).connection_headers() == {"api-key": KEY}
    assert await WatchedProvider(hasty, log).connection_headers() == {"api-key": "another-long-key"}
    assert await told(log, KEY, "another-long-key") == ["[secret]", "[secret]"]
