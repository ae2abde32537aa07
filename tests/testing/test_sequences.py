"""The emulator reproduces the sequences of tests/fixtures/events: it answers their client lines as they show.

The script is made from the sequence: same words, same length of audio. Compared are the order of all events (but for
transcription, which runs beside the rest), the keys and values of each, and ids up to renaming. Left out are the
number and sizes of text-like deltas, token counts, dates and the default instructions.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from rtvoice.testing import Hold, McpCall, Quirks, RealtimeEmulator, Reply, ToolCall, Transcript
from rtvoice.testing.faults import NO_QUOTA

Json = dict[str, Any]
ALL = sorted((Path(__file__).parents[1] / "fixtures" / "events" / "sequences").glob("*.jsonl"))
TRANSCRIPTION = "conversation.item.input_audio_transcription."
OPTIONAL = ("transcript.delta", "text.delta", "arguments.delta", "transcription.delta")
"""Events whose number is free."""
UNCOMPARED = {"event_id", "obfuscation", "usage", "expires_at", "logprobs"}
ID = re.compile(r"(item|resp|call|sess|conv)_\w+")
NOTES_TOOL = {
    "name": "search_notes",
    "description": "Search the notes.",
    "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
}


def test_there_are_31_sequences() -> None:
    assert len(ALL) == 31


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
async def test_sequence(path: Path, dial: Any) -> None:
    lines = read(path)
    number = path.stem[:2]
    replies = list(replies_of(lines))
    server = RealtimeEmulator(
        replies,
        list(transcripts_of(lines)),
        api_key="right" if number == "23" else None,
        models=["gpt-realtime-2.1"],
        detect_speech=False,
        mcp_servers={} if number == "18" else {"notes": [NOTES_TOOL]},
        quirks=Quirks(rate_limits="end", obfuscation=True),
    )
    async with server:
        if number == "26":
            server.refuse(NO_QUOTA)
        async with dialled(dial, server, number) as client:
            holds = [reply.hold for reply in replies if reply.hold is not None]
            await Player(client, server, lines, holds).play()


def read(path: Path) -> list[Json]:
    # Sequence 29 calls its one session by two names.
    text = path.read_text().replace("sess_fixture02", "sess_fixture01")
    return [json.loads(line) for line in text.splitlines()]


@asynccontextmanager
async def dialled(dial: Any, server: RealtimeEmulator, number: str) -> Any:
    headers = server.provider.build_headers()
    if number == "23":
        headers = {"Authorization": "Bearer wrong"}
    if number == "25":
        headers["OpenAI-Beta"] = "realtime=v1"
    url = f"{server.url}?intent=transcription" if number == "30" else ""
    model = "gpt-no-such-model" if number == "24" else "gpt-realtime-2.1"
    async with dial(server, model=model, url=url, additional_headers=headers) as client:
        yield client


def server_events(lines: list[Json]) -> list[Json]:
    return [line["event"] for line in lines if line["dir"] == "server" and "event" in line]


def replies_of(lines: list[Json]) -> Iterator[Reply]:
    """Yield the replies that the sequence shows."""
    responses = [event["response"]["id"] for event in server_events(lines) if event["type"] == "response.created"]
    replies = [reply_of(lines, response_id) for response_id in responses]
    for position, reply in enumerate(replies):
        call = next((call for call in reply.calls if isinstance(call, McpCall)), None)
        if call is not None and call.output is WAITS:
            # The approved call and the words come in a response of their own, which continues this reply.
            after = replies.pop(position + 1)
            reply = replace(reply, text=after.text, audio=after.audio, calls=after.calls)
        yield reply


WAITS = "waits for approval"


def reply_of(lines: list[Json], response_id: str) -> Reply:
    done: Json = {"status": "cancelled", "output": []}
    audio_ms, hold_ms, is_running, text = 0, None, False, ""
    calls: list[ToolCall | McpCall] = []
    for line in lines:
        event = line.get("event", {"type": "close"})
        kind = event["type"]
        if kind == "response.created" and event["response"]["id"] == response_id:
            is_running = True
        elif kind == "response.done" and event["response"]["id"] == response_id:
            done, is_running = event["response"], False
        elif kind == "response.output_audio.delta" and event["response_id"] == response_id:
            audio_ms += len(event["delta"]) // 4 * 3 // 48
        elif is_running and (line["dir"] == "client" or kind == "error"):
            hold_ms = audio_ms
    for item in done["output"]:
        if item["type"] == "message":
            text = next(part.get("transcript") or part.get("text") for part in item["content"])
        elif item["type"] == "function_call":
            calls.append(ToolCall(item["name"], item["arguments"], item["call_id"]))
        else:
            output = item.get("output") or (WAITS if item["type"] == "mcp_approval_request" else "")
            arguments = json.loads(item["arguments"])
            calls.append(McpCall(item["server_label"], item["name"], arguments, output, item.get("error")))
    hold = None if hold_ms is None else Hold(hold_ms)
    if done["status"] == "cancelled":
        text, audio_ms = text + " and more, which nobody will hear", audio_ms + 5000
    extra: Json = {}
    if done["status"] == "incomplete":
        extra = {"status": "incomplete", "reason": done["status_details"]["reason"]}
    elif done["status"] == "failed":
        extra = {"status": "failed", "error": done["status_details"]["error"]}
    audio = b"\x10\x00" * 24 * audio_ms if audio_ms else None
    return Reply(text, audio=audio, calls=calls, delta_ms=[100], hold=hold, **extra)


def transcripts_of(lines: list[Json]) -> Iterator[Transcript]:
    events = server_events(lines)
    for event in events:
        if event["type"] == f"{TRANSCRIPTION}completed":
            languages = event.get("languages", [{"code": None}])
            segments = [
                {key: other[key] for key in ("text", "speaker", "start", "end")}
                for other in events
                if other["type"] == f"{TRANSCRIPTION}segment" and other["item_id"] == event["item_id"]
            ]
            yield Transcript(event["transcript"], language=languages[0]["code"], segments=segments)
        elif event["type"] == f"{TRANSCRIPTION}failed":
            yield Transcript(error=event["error"])


class Player:
    """Plays the client's lines and holds what the emulator answers against the server's lines."""

    def __init__(self, client: Any, server: RealtimeEmulator, lines: list[Json], holds: list[Hold]) -> None:
        self.client = client
        self.server = server
        self.lines = lines
        self.waiting: list[Json] = []
        self.own_id: dict[str, str] = {}
        self.silence_sent = False
        self.holds = holds
        self.cut_short = {
            part["transcript"]
            for event in server_events(lines)
            if event["type"] == "response.done" and event["response"]["status"] == "cancelled"
            for item in event["response"]["output"]
            for part in item["content"]
        }

    async def play(self) -> None:
        for line in self.lines:
            if line["dir"] == "client":
                await self.send(line["event"])
            elif "close" in line:
                await self.expect_close(line["close"])
            else:
                await self.expect(line["event"])
        assert [event["type"] for event in self.waiting if not event["type"].endswith(OPTIONAL)] == []

    async def send(self, event: Json) -> None:
        text = json.dumps(event)
        for shown, own in self.own_id.items():
            text = text.replace(json.dumps(shown), json.dumps(own))
        await self.client.ws.send(text)
        await self.server.received(event["type"])

    async def expect_close(self, close: Json) -> None:
        with pytest.raises(ConnectionClosed) as ended:
            await self.client.receive()
        assert ended.value.rcvd is not None
        assert {"code": ended.value.rcvd.code, "reason": ended.value.rcvd.reason} == close

    async def expect(self, shown: Json) -> None:
        kind = shown["type"]
        if kind.endswith(OPTIONAL):
            if kind.endswith("transcription.delta"):
                self.maybe_transcribe_early(shown)
            return
        self.nudge(shown)
        if kind == "input_audio_buffer.timeout_triggered" and not self.silence_sent:
            # The fixture leaves the silence out.
            self.silence_sent = True
            await self.client.append(bytes(48 * (shown["audio_end_ms"] - shown["audio_start_ms"])))
        event = await self.next_of(kind)
        self.compare(shown, event, kind)

    async def next_of(self, kind: str) -> Json:
        """Return the next event of the main thread, or of the transcription, and check that it is of this type."""
        beside = kind.startswith(TRANSCRIPTION)
        while True:
            for position, event in enumerate(self.waiting):
                if event["type"].endswith(OPTIONAL) or event["type"].startswith(TRANSCRIPTION) != beside:
                    continue
                assert event["type"] == kind, f"{event} instead of {kind}"
                return self.waiting.pop(position)
            self.waiting.append(await asyncio.wait_for(self.client.receive(), 5))

    def nudge(self, shown: Json) -> None:
        """Let happen what the test has to decide: speech (the fixtures have tones), time, and the end of a hold."""
        if not self.server.sessions:
            return
        session, kind = self.server.current, shown["type"]
        if kind == "input_audio_buffer.speech_started":
            session.speech_started(shown["audio_start_ms"])
        elif kind == "input_audio_buffer.speech_stopped":
            session.speech_stopped(shown["audio_end_ms"])
        elif kind == "response.output_audio.done":
            for hold in self.holds:
                hold.release()
        elif kind == "error" and shown["error"]["code"] == "session_expired":
            session.expire()

    def maybe_transcribe_early(self, shown: Json) -> None:
        session = self.server.current
        if "input_audio_buffer.commit" not in session.types("received") and "input_audio_buffer.committed" not in (
            event["type"] for event in self.client.events
        ):
            session.transcribe_early(shown["delta"])

    def compare(self, shown: Any, got: Any, where: str) -> None:
        if isinstance(shown, dict):
            assert isinstance(got, dict), where
            assert shown.keys() - UNCOMPARED == got.keys() - UNCOMPARED, where
            assert ("usage" in shown) == ("usage" in got), where
            for key in shown.keys() - UNCOMPARED:
                if key != "instructions" or "Default" not in shown[key]:
                    self.compare(shown[key], got[key], f"{where}.{key}")
        elif isinstance(shown, list):
            assert len(shown) == len(got), where
            for index, value in enumerate(shown):
                self.compare(value, got[index], f"{where}[{index}]")
        elif isinstance(shown, str) and where.endswith("output_audio.delta.delta"):
            assert len(shown) == len(got), where
        elif isinstance(shown, str) and ID.fullmatch(shown):
            assert self.own_id.setdefault(shown, got) == got, where
            assert list(self.own_id.values()).count(got) == 1, where
        elif isinstance(shown, str):
            for shown_id, own in self.own_id.items():
                shown = shown.replace(shown_id, own)
            if where.endswith(".transcript") and shown in self.cut_short:
                assert got
                assert got.startswith(shown) or shown.startswith(got), where
            else:
                assert shown == got, where
        else:
            assert (shown, type(shown)) == (got, type(got)), where
