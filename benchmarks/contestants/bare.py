"""The yardstick: a `websockets` loop that does by hand exactly what the measures need, and nothing else."""

import asyncio
import base64
import inspect
import json
from typing import Any

import websockets.asyncio.client
from websockets.asyncio.client import ClientConnection

from benchmarks.contestants.base import Call, Contestant


class Bare(Contestant):
    """``json.loads``, ``json.dumps``, ``base64``, compression off."""

    async def converse(self, call: Call) -> None:
        """Hold the conversation."""
        url = f"{call.url}/realtime?model=gpt-realtime"
        async with websockets.asyncio.client.connect(url, compression=None, max_size=None) as socket:
            await socket.recv()  # session.created
            await socket.send(json.dumps({"type": "session.update", "session": _session(call)}))
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(_send_microphone(socket, call))
                reading = group.create_task(_Reader(socket, call, group).run())
                await call.over.wait()
                call.microphone.close()
                listening.cancel()
                reading.cancel()


def _session(call: Call) -> dict[str, Any]:
    audio_format = {"type": "audio/pcm", "rate": 24000}
    return {
        "type": "realtime",
        "instructions": "You are a helpful assistant.",
        "output_modalities": ["audio"],
        "tools": [{"type": "function", "name": tool.name, "parameters": {"type": "object"}} for tool in call.tools],
        "audio": {
            "input": {"format": audio_format, "turn_detection": {"type": "semantic_vad"}},
            "output": {"format": audio_format, "voice": "marin"},
        },
    }


async def _send_microphone(socket: ClientConnection, call: Call) -> None:
    async for chunk in call.microphone.chunks():
        audio = base64.b64encode(chunk).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))


class _Reader:
    def __init__(self, socket: ClientConnection, call: Call, group: asyncio.TaskGroup) -> None:
        self._socket = socket
        self._call = call
        self._group = group
        self._tools = {tool.name: tool for tool in call.tools}
        self._transcript = ""
        self._item_id = ""
        self._item_start = 0  # bytes heard before the item, so that its own position is known
        self._received = 0
        self._silenced = ""  # the item that was interrupted
        self._open_calls = 0
        self._silent = asyncio.Event()  # no response is running
        self._silent.set()

    async def run(self) -> None:
        async for frame in self._socket:
            event = json.loads(frame)
            kind = event["type"]
            if kind == "response.output_audio.delta":
                self._play(event)
            elif kind == "response.output_audio_transcript.delta":
                self._transcript += event["delta"]
            elif kind == "input_audio_buffer.speech_started":
                await self._interrupt()
            elif kind == "response.created":
                self._silent.clear()
                self._transcript = ""
            elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
                self._open_calls += 1
                self._group.create_task(self._answer(event["item"]))
            elif kind == "response.done":
                self._silent.set()

    def _play(self, event: dict[str, Any]) -> None:
        if event["item_id"] == self._silenced:
            return
        speaker = self._call.speaker
        if event["item_id"] != self._item_id:
            self._item_id = event["item_id"]
            self._item_start = speaker.accepted_bytes - speaker.discarded_bytes
            self._received = 0
        pcm = base64.b64decode(event["delta"])
        self._received += len(pcm)
        speaker.play(pcm)

    async def _interrupt(self) -> None:
        heard = self._call.speaker.heard_bytes - self._item_start
        if not self._item_id or self._item_id == self._silenced or heard >= self._received:
            return
        self._call.speaker.clear()
        self._silenced = self._item_id
        await self._socket.send(
            json.dumps(
                {
                    "type": "conversation.item.truncate",
                    "item_id": self._item_id,
                    "content_index": 0,
                    "audio_end_ms": heard // 48,
                }
            )
        )

    async def _answer(self, item: dict[str, Any]) -> None:
        function = self._tools[item["name"]].function
        output = await function() if inspect.iscoroutinefunction(function) else await asyncio.to_thread(function)
        answer = {"type": "function_call_output", "call_id": item["call_id"], "output": output}
        await self._socket.send(json.dumps({"type": "conversation.item.create", "item": answer}))
        self._open_calls -= 1
        if not self._open_calls:
            await self._silent.wait()  # one response at a time
            await self._socket.send(json.dumps({"type": "response.create"}))
