"""The items of which a response consists, each with its own sequence of events (protocol page, section 7.2)."""

import asyncio
import base64
import random
import re
from collections import deque
from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Any

from rtvoice.testing.audio_formats import CHARACTERS_PER_SECOND, AudioFormat, placeholder_speech
from rtvoice.testing.conversation import Item
from rtvoice.testing.script import Hold, McpCall, Reply, Spoken, ToolCall
from rtvoice.testing.usage import ASSISTANT_AUDIO_MS_PER_TOKEN, Tokens, text_tokens

if TYPE_CHECKING:
    from rtvoice.testing.responses import Response

TRANSCRIPT_LEAD = 1.5
"""How much faster than the audio the transcript comes: it is complete after two thirds of the audio."""
UNEQUAL_DELTA_MS = (40, 400)
"""Shortest and longest audio delta, when the script does not say; the service promises no size."""


class OutputItem:
    """One item that a response puts out.

    ``close()`` may come at any moment after ``open()``, also while ``produce()`` waits: that is a cancellation.
    """

    def __init__(self, response: "Response", data: dict[str, Any]) -> None:
        self.response = response
        self.output_index = len(response.output)
        self.item = Item({"id": response.session.new_id("item"), **data}, audio_format=response.audio_format)
        self.tokens = Tokens()

    def open(self) -> None:
        """Announce the item."""
        self._emit_item("response.output_item.added")
        self.response.add_to_conversation(self.item)

    async def produce(self) -> None:
        """Put the content out, piece by piece."""

    def close(self, status: str) -> None:
        """Finish the item with what there is of it."""
        if "status" in self.item.data:
            self.item.data["status"] = status
        self.response.finish_in_conversation(self.item)
        self._emit_item("response.output_item.done")

    def late_audio(self, count: int) -> None:
        """Send up to ``count`` more audio deltas, which were "in flight" when the response was cancelled."""

    def _emit_item(self, event: str) -> None:
        self.response.emit(event, output_index=self.output_index, item=self.item.wire())

    def emit(self, event: str, **fields: Any) -> None:
        """Send an event about the item."""
        self.response.emit(event, item_id=self.item.id, output_index=self.output_index, **fields)


class Message(OutputItem):
    """What the assistant says (audio with a transcript) or writes (text only)."""

    def __init__(self, response: "Response", reply: Reply) -> None:
        super().__init__(response, {"type": "message", "status": "in_progress", "role": "assistant", "content": []})
        self._reply = reply
        self._spoken = response.output_modalities == ["audio"]
        self._words = iter(re.findall(r"\s*\S+\s*", reply.text) if reply.text.strip() else [])
        self._text = ""
        self._audio = b""
        self._deltas: deque[tuple[int, int]] = deque()
        self._sent_bytes = 0
        self._started_at = 0.0

    def open(self) -> None:
        """Announce the item and its only content part."""
        super().open()
        self.emit("response.content_part.added", content_index=0, part=self._part())

    def _part(self) -> dict[str, str]:
        # Content parts are called "audio" and "text", item contents "output_audio" and "output_text".
        return {"type": "audio", "transcript": self._text} if self._spoken else {"type": "text", "text": self._text}

    async def produce(self) -> None:
        """Send transcript and audio, or text, at the reply's pace."""
        self._started_at = asyncio.get_running_loop().time()
        if self._spoken:
            await self._speak()
        else:
            await self._write()

    async def _speak(self) -> None:
        reply, session = self._reply, self.response.session
        pcm = reply.pcm(seed=session.seed, speed=session.config["audio"]["output"]["speed"])
        audio_format: AudioFormat = self.item.audio_format
        self._audio = audio_format.from_pcm(pcm)
        hold_at = reply.hold.after_ms * audio_format.bytes_per_ms if reply.hold else -1
        self._deltas = deque(self._delta_ranges(hold_at))
        word_count = max(1, len(re.findall(r"\S+", reply.text)))
        said = self._say_words(1)
        while self._deltas:
            start, end = self._deltas[0]
            if reply.hold is not None and start == hold_at:
                await self._stand_still(reply.hold)
            await self._keep_pace(start / audio_format.bytes_per_ms / 1000)
            due = 1 + int(word_count * TRANSCRIPT_LEAD * end / len(self._audio))
            said += self._say_words(due - said)
            self._send_next_audio()
            if self.response.out_of_tokens:
                return
        self._say_words(word_count)
        if reply.hold is not None and hold_at >= len(self._audio):
            await self._stand_still(reply.hold)

    async def _write(self) -> None:
        if self._reply.hold is not None:
            await self._stand_still(self._reply.hold)
        while self._say_words(1):
            await self._keep_pace(len(self._text) / CHARACTERS_PER_SECOND)
            if self.response.out_of_tokens:
                return

    def _delta_ranges(self, hold_at: int) -> Iterator[tuple[int, int]]:
        """Yield the first and last byte of every delta; one of them begins at ``hold_at``."""
        if self._reply.delta_ms is None:
            sizes = random.Random(f"{self.response.session.seed} {self.item.id}")
            lengths: Iterator[int] = iter(lambda: sizes.randint(*UNEQUAL_DELTA_MS), 0)
        else:
            lengths = cycle(self._reply.delta_ms)
        start = self._sent_bytes
        while start < len(self._audio):
            end = min(len(self._audio), start + next(lengths) * self.item.audio_format.bytes_per_ms)
            if start < hold_at < end:
                end = hold_at
            yield start, end
            start = end

    def _send_next_audio(self) -> None:
        start, end = self._deltas.popleft()
        delta = self._audio[start:end]
        self.item.add_audio(delta)
        self._sent_bytes = end
        self._count_tokens()
        self.emit("response.output_audio.delta", content_index=0, delta=base64.b64encode(delta).decode())

    def _say_words(self, count: int) -> int:
        """Send the next words, and return how many there were."""
        said = 0
        for _ in range(count):
            word = next(self._words, None)
            if word is None:
                break
            said += 1
            self._text += word
            event = "response.output_audio_transcript.delta" if self._spoken else "response.output_text.delta"
            self.emit(event, content_index=0, delta=word)
        self._count_tokens()
        return said

    def _count_tokens(self) -> None:
        audio_ms = self._sent_bytes // self.item.audio_format.bytes_per_ms
        self.tokens = Tokens(text=text_tokens(self._text), audio=audio_ms // ASSISTANT_AUDIO_MS_PER_TOKEN)

    async def _stand_still(self, hold: Hold) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        await hold.wait_here()
        self._started_at += loop.time() - since

    async def _keep_pace(self, position_s: float) -> None:
        """Wait until the piece at this position of the sound is due."""
        if self._reply.pace is None:
            await asyncio.sleep(0)
        else:
            due = self._started_at + position_s / self._reply.pace
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    def late_audio(self, count: int) -> None:
        """Send up to ``count`` of the audio deltas that were still to come."""
        for _ in range(min(count, len(self._deltas))):
            self._send_next_audio()

    def close(self, status: str) -> None:
        """Finish the content part with what was sent of it, then the item."""
        if self._spoken:
            self.emit("response.output_audio.done", content_index=0)
            self.emit("response.output_audio_transcript.done", content_index=0, transcript=self._text)
            content = {"type": "output_audio", "transcript": self._text}
        else:
            self.emit("response.output_text.done", content_index=0, text=self._text)
            content = {"type": "output_text", "text": self._text}
        self.emit("response.content_part.done", content_index=0, part=self._part())
        self.item.data["content"] = [content]
        super().close(status)
        if self.item.truncated:
            content.pop("transcript", None)


class StreamedMessage(Message):
    """A message whose pieces come one after the other."""

    def __init__(self, response: "Response") -> None:
        super().__init__(response, Reply())

    async def add(self, piece: Spoken) -> None:
        """Send the words of a piece, then its sound, as fast as it goes."""
        self._words = iter([piece.text])
        self._say_words(1)
        if not self._spoken:
            return
        pcm = piece.audio
        if pcm is None:
            session = self.response.session
            speed = session.config["audio"]["output"]["speed"]
            pcm = placeholder_speech(piece.text, seed=session.seed, speed=speed)
        self._audio += self.item.audio_format.from_pcm(pcm)
        self._deltas = deque(self._delta_ranges(-1))
        while self._deltas and not self.response.out_of_tokens:
            self._send_next_audio()
            await asyncio.sleep(0)


def _pieces(text: str, seed: str) -> Iterator[str]:
    """Yield the text in pieces of unequal length."""
    sizes, start = random.Random(seed), 0
    while start < len(text):
        end = start + sizes.randint(3, 12)
        yield text[start:end]
        start = end


class FunctionCall(OutputItem):
    """A call of one of the client's functions."""

    def __init__(self, response: "Response", call: ToolCall) -> None:
        self._call_id = call.call_id or response.session.new_id("call")
        super().__init__(
            response,
            {
                "type": "function_call",
                "status": "in_progress",
                "name": call.name,
                "call_id": self._call_id,
                "arguments": "",
            },
        )
        self._call = call
        self._sent = ""

    async def produce(self) -> None:
        """Send the arguments piece by piece."""
        for piece in _pieces(self._call.json_arguments, self.item.id):
            self._sent += piece
            self.tokens = Tokens(text=text_tokens(self._call.name) + text_tokens(self._sent))
            self.emit("response.function_call_arguments.delta", call_id=self._call_id, delta=piece)
            await asyncio.sleep(0)

    def close(self, status: str) -> None:
        """Finish the call with the arguments as far as they were sent."""
        self.emit(
            "response.function_call_arguments.done",
            call_id=self._call_id,
            name=self._call.name,
            arguments=self._sent,
        )
        self.item.data["arguments"] = self._sent
        super().close(status)


class McpCallItem(OutputItem):
    """A call that the service makes itself on an MCP server (protocol page, section 7.10)."""

    def __init__(self, response: "Response", call: McpCall, approval_request_id: str | None) -> None:
        super().__init__(
            response,
            {
                "type": "mcp_call",
                "server_label": call.server_label,
                "name": call.name,
                "arguments": "",
                "approval_request_id": approval_request_id,
                "output": None,
                "error": None,
            },
        )
        self._call = call

    async def produce(self) -> None:
        """Send the arguments, then what came of the call."""
        call, data = self._call, self.item.data
        sent = ""
        for piece in _pieces(ToolCall(call.name, call.arguments).json_arguments, self.item.id):
            sent += piece
            self.tokens = Tokens(text=text_tokens(call.name) + text_tokens(sent))
            self.emit("response.mcp_call_arguments.delta", delta=piece)
            await asyncio.sleep(0)
        data["arguments"] = sent
        self.emit("response.mcp_call_arguments.done", arguments=sent)
        # These three carry no response_id.
        place = {"item_id": self.item.id, "output_index": self.output_index}
        self.response.session.emit("response.mcp_call.in_progress", **place)
        if call.error is None:
            data["output"] = call.output
            self.response.session.emit("response.mcp_call.completed", **place)
        else:
            data["error"] = dict(call.error)
            self.response.session.emit("response.mcp_call.failed", **place)


class McpApprovalRequest(OutputItem):
    """The service asks whether it may make an MCP call; the response ends with the question."""

    def __init__(self, response: "Response", call: McpCall) -> None:
        super().__init__(
            response,
            {
                "type": "mcp_approval_request",
                "server_label": call.server_label,
                "name": call.name,
                "arguments": ToolCall(call.name, call.arguments).json_arguments,
            },
        )
