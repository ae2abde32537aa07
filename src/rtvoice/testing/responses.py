"""One response from ``response.created`` to ``response.done`` (protocol page, section 7.2)."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.conversation import Item
from rtvoice.testing.output_items import (
    FunctionCall,
    McpApprovalRequest,
    McpCallItem,
    Message,
    OutputItem,
    StreamedMessage,
)
from rtvoice.testing.script import McpCall, Reply, ReplyFailed, ReplyRequest, Spoken, StreamedReply, ToolCall
from rtvoice.testing.usage import Tokens, prompt_parts, usage

if TYPE_CHECKING:
    from rtvoice.testing.session import EmulatedSession


class Response:
    """A response in the making.

    Args:
        session: The session it belongs to.
        overrides: The ``response`` object of ``response.create``; it wins over the session's settings.
        event: The client's event, or ``None`` if turn detection asked for the response.
        context: The items the model sees.
        reply: What it says, when that is known already (after an MCP approval); else the script is asked.
        approved: Id of the approval request that ``reply``'s first MCP call answers.
    """

    def __init__(
        self,
        session: "EmulatedSession",
        *,
        overrides: Mapping[str, Any],
        event: Mapping[str, Any] | None,
        context: Sequence[Item],
        reply: Reply | None = None,
        approved: str | None = None,
    ) -> None:
        settings = {**session.config, **overrides}
        output = {**session.config["audio"]["output"], **overrides.get("audio", {}).get("output", {})}
        self.session = session
        self.id = session.new_id("resp")
        self.out_of_band = overrides.get("conversation") == "none"
        self.output_modalities: list[str] = settings["output_modalities"]
        self.audio_format = AudioFormat.of(output["format"])
        self.output: list[OutputItem] = []
        self.status = "in_progress"
        self._settings = settings
        self._audio_output = {"format": output["format"], "voice": _voice_id(output["voice"])}
        self._metadata = overrides.get("metadata")
        self._event = event
        self._context = context
        self._reply = reply
        self._approved = approved
        self._open_item: OutputItem | None = None
        self._status_details: dict[str, Any] | None = None
        self._usage: dict[str, Any] | None = None

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.status == "in_progress"

    @property
    def output_tokens(self) -> Tokens:
        """What has been put out so far."""
        total = Tokens()
        for output in self.output:
            total += output.tokens
        return total

    @property
    def out_of_tokens(self) -> bool:
        """Whether ``max_output_tokens`` is used up."""
        limit = self._settings["max_output_tokens"]
        return limit != "inf" and self.output_tokens.total >= int(limit)

    @property
    def audio_ms(self) -> int:
        """Milliseconds of audio put out so far."""
        return sum(output.item.audio_ms() for output in self.output)

    def wire(self) -> dict[str, Any]:
        """Return the response object of ``response.created`` and ``response.done``."""
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": self._status_details,
            "output": [] if self.active else [output.item.wire() for output in self.output],
            "conversation_id": None if self.out_of_band else self.session.conversation_id,
            "output_modalities": self.output_modalities,
            "max_output_tokens": self._settings["max_output_tokens"],
            "audio": {"output": self._audio_output},
            "usage": self._usage,
            "metadata": self._metadata,
        }

    def emit(self, event: str, **fields: Any) -> None:
        """Send an event that carries this response's id."""
        self.session.emit(event, response_id=self.id, **fields)

    def add_to_conversation(self, item: Item) -> None:
        """Put an item into the default conversation, unless the response is out of band."""
        if not self.out_of_band:
            self.session.add_item(item)

    def finish_in_conversation(self, item: Item) -> None:
        """Tell that an item in the conversation is final; one that the client deleted meanwhile is not there."""
        if not self.out_of_band and self.session.conversation.find(item.id) is item:
            self.session.emit_item_done(item)

    def announce(self) -> None:
        """Send ``response.created``."""
        self.session.emit("response.created", response=self.wire())

    async def run(self) -> None:
        """Make the response; ``cancel()`` may end it at any moment."""
        if self.session.responses.failures:
            self._finish("failed", {"type": "failed", "error": dict(self.session.responses.failures.pop(0))})
            return
        reply = self._reply or await self.session.script.reply(await self._request())
        if not self.active:  # cancelled, and the script's function swallowed the cancellation
            return
        if isinstance(reply, StreamedReply):
            await self._stream(reply)
        else:
            await self._put_out(reply)

    async def _put_out(self, reply: Reply) -> None:
        await asyncio.sleep(reply.delay_s)
        if reply.status == "failed" and not reply.speaks and not reply.calls:
            self._finish("failed", {"type": "failed", "error": dict(reply.error)})
            return
        for output in self._outputs(reply):
            self._open(output)
            await output.produce()
            if self.out_of_tokens:
                self._run_out_of_tokens()
                return
            self._close("completed" if reply.status == "completed" else "incomplete")
        if reply.status == "failed":
            self._finish("failed", {"type": "failed", "error": dict(reply.error)})
        elif reply.status == "incomplete":
            self._finish("incomplete", {"type": "incomplete", "reason": reply.reason})
        else:
            self._finish("completed", None)

    async def _stream(self, reply: StreamedReply) -> None:
        """Put the pieces out as they come: neighbours that are spoken become one message."""
        try:
            async with aclosing(reply.pieces) as pieces:
                async for piece in pieces:
                    if not self.active:  # as in run()
                        return
                    await self._add(piece)
                    if self.out_of_tokens:
                        self._run_out_of_tokens()
                        return
        except ReplyFailed as failure:
            self._close("incomplete")
            error = {"type": "server_error", "code": None, "message": str(failure)}
            self._finish("failed", {"type": "failed", "error": error})
            return
        if self.active:
            self._close("completed")
            self._finish("completed", None)

    async def _add(self, piece: Spoken | ToolCall) -> None:
        if isinstance(piece, Spoken):
            if not isinstance(self._open_item, StreamedMessage):
                self._open(StreamedMessage(self))
            message = self._open_item
            assert isinstance(message, StreamedMessage)  # noqa: S101 - opened above
            await message.add(piece)
            return
        self._close("completed")
        call = FunctionCall(self, piece)
        self._open(call)
        await call.produce()
        if not self.out_of_tokens:
            self._close("completed")

    def _open(self, output: OutputItem) -> None:
        self.output.append(output)
        self._open_item = output
        output.open()

    def _close(self, status: str) -> None:
        """Finish the open item, if there is one."""
        output, self._open_item = self._open_item, None
        if output is not None:
            output.close(status)

    def _run_out_of_tokens(self) -> None:
        self._close("incomplete")
        self._finish("incomplete", {"type": "incomplete", "reason": "max_output_tokens"})

    def _outputs(self, reply: Reply) -> Iterator[OutputItem]:
        """Yield the reply's items; each is made when the one before it is done."""
        for position, call in enumerate(reply.calls):
            if isinstance(call, McpCall):
                if self._approved is None and self.session.mcp.needs_approval(call):
                    request = McpApprovalRequest(self, call)
                    self.session.mcp.ask(request.item.id, replace(reply, calls=reply.calls[position:]))
                    yield request
                    return
                yield McpCallItem(self, call, self._approved)
                self._approved = None
        if reply.speaks:
            yield Message(self, reply)
        for call in reply.calls:
            if isinstance(call, ToolCall):
                yield FunctionCall(self, call)

    def _finish(self, status: str, details: dict[str, Any] | None) -> None:
        self.status = status
        self._status_details = details
        prompt = prompt_parts(self._settings["instructions"], self._settings["tools"], self._context)
        if not self.output and status == "failed":
            prompt = []
        self._usage = usage(prompt, self.session.responses.last_prompt, self.output_tokens)
        self.session.responses.end(self, prompt)

    def cancel(self, reason: str, *, late_deltas: int = 0) -> None:
        """End the response now: closing events with what there is, then ``response.done``.

        Args:
            reason: ``"client_cancelled"`` or ``"turn_detected"``.
            late_deltas: Audio deltas that still go out before the closing events.
        """
        if self._open_item is not None:
            self._open_item.late_audio(late_deltas)
            self._close("incomplete")
        self._finish("cancelled", {"type": "cancelled", "reason": reason})

    async def _request(self) -> ReplyRequest:
        """Return what the script may look at; waits until it is known what the user said."""
        for item in self._context:
            if item.heard is not None:
                await asyncio.wait([item.heard])  # a cancelled response leaves it to the others that wait for it
        items = [_with_transcript(item) for item in self._context]
        return ReplyRequest(
            session=self.session.config,
            instructions=self._settings["instructions"],
            tools=self._settings["tools"],
            tool_choice=self._settings["tool_choice"],
            output_modalities=self.output_modalities,
            items=items,
            user_text=_last_user_text(items),
            function_outputs=_new_outputs(items),
            metadata=self._metadata or {},
            out_of_band=self.out_of_band,
            event=self._event,
            session_id=self.session.id,
        )


def _voice_id(voice: str | Mapping[str, str]) -> str:
    """Return a voice as response objects show it: a custom voice by its id."""
    return voice if isinstance(voice, str) else voice["id"]


def _with_transcript(item: Item) -> dict[str, Any]:
    """Return an item as the model understands it: a spoken user turn with its words."""
    data = item.wire()
    if item.heard is not None and item.heard.done():
        data["content"][0]["transcript"] = item.heard.result()
    return data


def _last_user_text(items: Sequence[Mapping[str, Any]]) -> str:
    for data in reversed(items):
        if data.get("role") == "user":
            parts = [part.get("text") or part.get("transcript") or "" for part in data["content"]]
            return " ".join(part for part in parts if part)
    return ""


def _new_outputs(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the function outputs that came after the last thing the assistant said or called."""
    outputs: dict[str, str] = {}
    for data in items:
        if data["type"] == "function_call_output":
            outputs[data["call_id"]] = data["output"]
        elif data["type"] == "function_call" or data.get("role") == "assistant":
            outputs = {}
    return outputs
