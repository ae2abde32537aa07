import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtvoice.testing.replay_microphone import RecordedVoice
from rtvoice.testing.session_log import LogLine, SessionRecording

pytestmark = pytest.mark.virtual_clock


def line(at: float, frame: dict[str, Any] | None = None, **fields: Any) -> LogLine:
    return LogLine(number=2, at=at, to="server", frame=frame or {}, fields={"frame": frame, **fields})


def append(at: float, audio: str = "AQA=") -> LogLine:
    return line(at, {"type": "input_audio_buffer.append", "audio": audio})


def recording(*lines: LogLine) -> SessionRecording:
    return SessionRecording(
        path=Path("x"), model="m", started="", made_by="", redacted=frozenset(), lines=lines, truncated=False
    )


async def delivered(voice: RecordedVoice, count: int) -> list[tuple[float, bytes]]:
    now: Callable[[], float] = asyncio.get_running_loop().time
    chunks = []
    async for chunk in voice.stream_chunks():
        chunks.append((now(), chunk))
        if len(chunks) == count:
            await voice.stop()
    return chunks


async def test_chunks_come_when_they_came(tmp_path: Path) -> None:
    voice = RecordedVoice(
        recording(append(0.5), line(0.6, {"type": "other"}), append(2.0), append(3.0, "")), lambda at: at + 1
    )
    await voice.start()
    assert voice.is_active
    async with asyncio.TaskGroup() as group:
        streaming = group.create_task(delivered(voice, 9))
        await asyncio.sleep(60)
        await voice.stop()
    assert streaming.result() == [(1.5, b"\x01\x00"), (3.0, b"\x01\x00")]
    assert not voice.is_active


async def test_closing_ends_the_stream_at_once() -> None:
    voice = RecordedVoice(recording(append(0.5), append(1000.0)), lambda at: at)
    await voice.start()
    assert await delivered(voice, 1) == [(0.5, b"\x01\x00")]
    assert asyncio.get_running_loop().time() == 0.5
