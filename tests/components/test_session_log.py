import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rtvoice.components.session_log import SessionLogger
from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AssistantAudioPlayedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    EventBus,
    PlaybackCut,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    WatchdogFiredEvent,
)
from rtvoice.realtime import OpenAIProvider
from rtvoice.settings import SessionLog

pytestmark = pytest.mark.virtual_clock


@asynccontextmanager
async def logging_to(path: Path) -> AsyncIterator[tuple[EventBus, SessionLogger]]:
    bus = EventBus()
    logger = SessionLogger(bus, SessionLog(path), OpenAIProvider("key"), header={"model": "m"})
    async with asyncio.TaskGroup() as group:
        logger.start()
        group.create_task(logger.run())
        yield bus, logger
        await logger.stop()


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()][1:]


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_what_the_wire_does_not_tell(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    async with logging_to(path) as (bus, logger):
        for event in (
            AssistantStartedRespondingEvent(response_id="r"),
            AssistantAudioPlayedEvent(pcm=b"\x01\x00", starts_at=0.5),
            AssistantInterruptedEvent(
                item_id="i",
                played_ms=5,
                cuts=(PlaybackCut(item_id="i", content_index=0, played_ms=5, received_ms=9, complete=True),),
                cut_at=0.25,
            ),
            AssistantInterruptedEvent(),
            AssistantStoppedRespondingEvent(response_id="r"),
            ToolCallRequestedEvent(call_id="c", name="t", arguments={"x": "not here"}, response_id="r"),
            ToolCallFinishedEvent(call_id="c", name="t", output="not here", success=False),
            WatchdogFiredEvent(watchdog="ping", waited_s=15.0, action="retry"),
            AgentErrorEvent(AgentError("kind", "message", code="code")),
        ):
            bus.publish(event)
        await asyncio.sleep(1)
        logger.agent_stops()
    cut = {"item_id": "i", "content_index": 0, "played_ms": 5, "received_ms": 9, "complete": True}
    assert [{key: value for key, value in line.items() if key != "at"} for line in events(path)] == [
        {"event": "answer_started", "response_id": "r"},
        {"event": "heard", "starts_at": 0.5, "audio": "AQA="},
        {"event": "interrupted", "cut_at": 0.25, "item_id": "i", "played_ms": 5, "cuts": [cut]},
        {"event": "interrupted", "cut_at": None, "item_id": None, "played_ms": None, "cuts": []},
        {"event": "answer_stopped", "response_id": "r"},
        {"event": "tool_started", "call_id": "c", "name": "t"},
        {"event": "tool_finished", "call_id": "c", "name": "t", "success": False},
        {"event": "watchdog", "watchdog": "ping", "waited_s": 15.0, "action": "retry"},
        {"event": "error", "kind": "kind", "code": "code", "message": "message"},
        {"event": "stopping"},
        {"event": "end"},
    ]


async def test_a_connection_is_tapped(tmp_path: Path) -> None:
    class Socket:
        async def recv(self, decode: bool | None = None) -> bytes:
            return b'{"type":"t"}'

    path = tmp_path / "talk.jsonl"
    async with logging_to(path) as (_, logger):
        logger.provider.build_url("m")
        assert await logger.wiretap(Socket()).recv() == b'{"type":"t"}'
    opened, frame, _ = events(path)
    assert opened["url"] == "wss://api.openai.com/v1/realtime"
    assert frame["frame"] == {"type": "t"}


async def test_a_log_that_cannot_be_written_is_reported_and_nothing_else_happens(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bus = EventBus()
    errors = bus.open_inbox(AgentErrorEvent)
    path = tmp_path / "file" / "talk.jsonl"
    logger = SessionLogger(bus, SessionLog(path), OpenAIProvider("key"), header={})
    async with asyncio.TaskGroup() as group:
        logger.start()
        group.create_task(logger.run())
        reported = await errors.get()
        bus.publish(AssistantStartedRespondingEvent(response_id="r"))
        await logger.stop()
    assert reported.error.type == "session_log_error"
    assert str(path) in reported.error.message
    assert "The conversation goes on" in reported.error.message
    assert errors.take() is None


async def test_one_that_was_never_started_has_nothing_to_complete(tmp_path: Path) -> None:
    logger = SessionLogger(EventBus(), SessionLog(tmp_path / "x"), OpenAIProvider("key"), header={})
    await logger.stop()
    assert not files_in(tmp_path)
