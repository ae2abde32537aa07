"""A Chat Completions server on 127.0.0.1 that answers as the test says, and notices connections left open."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from rtvoice.llm import ChatOpenAI


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]
    stall: bool = False  # send all but the last byte, then wait until the client gives up


@dataclass
class ChatServer:
    requests: list[Request] = field(default_factory=list)
    replies: deque[Reply] = field(default_factory=deque)
    url: str = ""
    connections: int = 0
    accepted: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the only or latest request."""
        return self.requests[-1].body

    def will_say(
        self, content: str | None = "Hello!", *, finish: str = "stop", usage: Any = None, **message: Any
    ) -> None:
        choice = {
            "index": 0,
            "finish_reason": finish,
            "message": {"role": "assistant", "content": content, **message},
        }
        self.will_send({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    def will_send(
        self, body: Any, *, status: int = 200, kind: str = "application/json", stall: bool = False, **headers: str
    ) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies.append(Reply(status, raw, {"content-type": kind, **named}, stall))

    def will_fail(self, status: int, message: str = "no", **error: Any) -> None:
        self.will_send({"error": {"message": message, **error}}, status=status, retry_after_ms="1")

    def will_stream(self, *chunks: Any, end: bytes = b"data: [DONE]\n\n", stall: bool = False) -> None:
        lines = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
        self.will_send(lines + end, kind="text/event-stream", stall=stall)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.accepted += 1
        try:
            while request := await self._read(reader):
                self.requests.append(request)
                self.arrived.set()
                reply = self.replies.popleft()
                head = [f"HTTP/1.1 {reply.status} Scripted", f"content-length: {len(reply.body)}"]
                head += [f"{name}: {value}" for name, value in reply.headers.items()]
                raw = "\r\n".join([*head, "", ""]).encode() + reply.body
                writer.write(raw[:-1] if reply.stall else raw)
                await writer.drain()
                if reply.stall:
                    await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()
            async with self._closed:
                self.connections -= 1
                self._closed.notify_all()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        return Request(first.split()[1], headers, json.loads(body))

    async def all_closed(self) -> None:
        """Return once every client has closed its connections."""
        async with asyncio.timeout(5), self._closed:
            await self._closed.wait_for(lambda: self.connections == 0)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def chat_server() -> AsyncIterator[ChatServer]:
    chat_server = ChatServer()
    server = await asyncio.start_server(chat_server.serve, "127.0.0.1", 0)
    chat_server.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield chat_server
        await chat_server.all_closed()
    assert not chat_server.replies, "replies that nobody asked for"


@pytest.fixture
async def model(chat_server: ChatServer) -> AsyncIterator[ChatOpenAI]:
    async with ChatOpenAI("a-model", base_url=f"{chat_server.url}/v1") as model:
        yield model


@pytest.fixture
def dead_url() -> Iterator[str]:
    """An address that refuses connections: its port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
