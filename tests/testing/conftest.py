"""A bare Realtime client that holds every server event against the types of the ``openai`` package."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from rtvoice.testing import RealtimeEmulator

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
FIXTURES = Path(__file__).parents[1] / "fixtures"


class Client:
    """Sends events, and reads those of the server, each validated strictly."""

    def __init__(self, ws: ClientConnection, *, strict: bool = True) -> None:
        self.ws = ws
        self.events: list[dict[str, Any]] = []
        self.closing: tuple[int, str] | None = None
        self._strict = strict

    async def send(self, event_type: str, **fields: Any) -> None:
        await self.ws.send(json.dumps({"type": event_type, **fields}))

    async def append(self, audio: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    async def say(self, text: str, item_id: str | None = None) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        if item_id:
            item["id"] = item_id
        await self.send("conversation.item.create", item=item)

    async def update(self, event_id: str | None = None, **session: Any) -> None:
        extra = {"event_id": event_id} if event_id else {}
        await self.send("session.update", session={"type": "realtime", **session}, **extra)

    async def receive(self) -> dict[str, Any]:
        frame = await self.ws.recv()
        if self._strict:
            SERVER_EVENT.validate_json(frame, strict=True)
        event = json.loads(frame)
        self.events.append(event)
        return event

    async def until(self, event_type: str) -> dict[str, Any]:
        """Return the next event of a type; an ``error`` that was not asked for fails the test."""
        while True:
            event = await self.receive()
            if event["type"] == event_type:
                return event
            assert event["type"] != "error", event

    async def refused(self, event_type: str, **fields: Any) -> dict[str, Any]:
        """Send an event and return the error object that answers it."""
        await self.send(event_type, **fields)
        return (await self.until("error"))["error"]

    async def until_closed(self) -> list[dict[str, Any]]:
        """Return the errors that come before the end.

        ``closing`` is then the code and reason that the server sent, or ``None`` if it just went away.
        """
        with pytest.raises(ConnectionClosed) as ended:  # noqa: PT012 - whichever read it is
            while True:
                await self.receive()
        if ended.value.rcvd is not None:
            self.closing = (ended.value.rcvd.code, ended.value.rcvd.reason)
        return [event for event in self.events if event["type"] == "error"]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def clear(self) -> None:
        self.events.clear()


Dial = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def dial() -> Dial:
    @asynccontextmanager
    async def dial_in(
        server: RealtimeEmulator,
        *,
        model: str = "gpt-realtime-2.1",
        url: str = "",
        transcription: bool = False,
        strict: bool = True,
        **options: Any,
    ) -> AsyncIterator[Client]:
        if transcription:
            url = f"{server.url}?intent=transcription"
        options.setdefault("additional_headers", server.provider.build_headers())
        options.setdefault("compression", None)
        async with connect(url or server.provider.build_url(model), max_size=None, **options) as ws:
            yield Client(ws, strict=strict)

    return dial_in


@pytest.fixture
def fixtures() -> Path:
    return FIXTURES
