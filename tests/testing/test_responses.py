"""Responses: skeleton, outcome, usage, and what the script is told."""

import asyncio
from typing import Any

import pytest

from rtvoice.testing import Hold, RealtimeEmulator, Reply, ReplyRequest, ToolCall, UserTurn

SKELETON = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}


async def respond(client: Any, **response: Any) -> dict[str, Any]:
    await client.send("response.create", response=response)
    done: dict[str, Any] = (await client.until("response.done"))["response"]
    return done


async def test_the_skeleton(dial: Any) -> None:
    async with RealtimeEmulator(["Hi."]) as server, dial(server) as client:
        await client.until("session.created")
        client.clear()
        await respond(client, output_modalities=["text"])
        assert client.types() == SKELETON
        created = client.events[0]["response"]
        assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)
        added, in_conversation = client.events[1]["item"], client.events[2]["item"]
        assert added == in_conversation
        assert (added["status"], added["content"]) == ("in_progress", [])
        assert client.events[3]["part"] == {"type": "text", "text": ""}


async def test_settings_of_one_response_win(dial: Any) -> None:
    async with RealtimeEmulator(["Hi."]) as server, dial(server) as client:
        audio = {"output": {"voice": {"id": "voice_mine"}, "format": {"type": "audio/pcmu"}}}
        done = await respond(client, audio=audio, max_output_tokens=500, metadata={"turn": "1"})
        assert done["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "voice_mine"}
        assert (done["max_output_tokens"], done["metadata"]) == (500, {"turn": "1"})
        assert server.current.config["max_output_tokens"] == "inf"
        assert server.current.conversation.retrieve(done["output"][0]["id"]).audio_ms() == 200


async def test_failed_before_any_output(dial: Any) -> None:
    error = {"type": "invalid_request_error", "code": "inference_rate_limit_exceeded", "message": "too many tokens"}
    async with RealtimeEmulator([Reply(status="failed", error=error)]) as server, dial(server) as client:
        done = await respond(client)
        assert (done["status"], done["output"]) == ("failed", [])
        assert done["status_details"] == {"type": "failed", "error": error}
        assert done["usage"]["total_tokens"] == 0
        assert client.types()[-2:] == ["response.created", "response.done"]


async def test_failed_half_way(dial: Any) -> None:
    async with RealtimeEmulator([Reply("Well", status="failed")]) as server, dial(server) as client:
        done = await respond(client)
        assert (done["status"], done["output"][0]["status"]) == ("failed", "incomplete")
        assert done["status_details"]["error"]["type"] == "server_error"
        assert done["usage"]["output_tokens"] > 0


async def test_incomplete(dial: Any) -> None:
    reply = Reply("Once", status="incomplete", reason="content_filter")
    async with RealtimeEmulator([reply]) as server, dial(server) as client:
        done = await respond(client)
        assert done["status_details"] == {"type": "incomplete", "reason": "content_filter"}
        assert done["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("modality", ["audio", "text"])
async def test_max_output_tokens_cut_a_reply(dial: Any, modality: str) -> None:
    async with RealtimeEmulator(["word " * 200]) as server, dial(server) as client:
        done = await respond(client, max_output_tokens=20, output_modalities=[modality])
        assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert done["output"][0]["status"] == "incomplete"
        assert 20 <= done["usage"]["output_tokens"] < 45


async def test_usage_counts_the_conversation_and_what_is_cached(dial: Any) -> None:
    replies = [Reply("12345678", audio=bytes(48 * 1000)), "x"]
    async with RealtimeEmulator(replies) as server, dial(server) as client:
        await client.update(instructions="1234" * 10)
        await client.say("1234" * 5)
        first = (await respond(client))["usage"]
        assert (first["input_tokens"], first["output_tokens"]) == (15, 22)
        assert first["output_token_details"] == {"text_tokens": 2, "audio_tokens": 20}
        second = (await respond(client))["usage"]
        assert second["input_tokens"] == 35
        assert second["input_token_details"]["cached_tokens"] == 15
        assert second["input_token_details"]["audio_tokens"] == 20


async def test_what_the_script_is_told(dial: Any) -> None:
    seen: list[ReplyRequest] = []

    def reply(request: ReplyRequest) -> Reply | str:
        seen.append(request)
        return Reply(calls=[ToolCall("f", {}, "call_1")]) if len(seen) == 1 else "Done."

    async with RealtimeEmulator(reply) as server, dial(server) as client:
        await client.update(instructions="Be kind.", tools=[TOOL], tool_choice="auto")
        await client.say("First.")
        await client.say("What now?")
        await respond(client, metadata={"a": "b"})
        output = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
        await client.send("conversation.item.create", item=output)
        await respond(client, instructions="Be short.", tool_choice="none", output_modalities=["text"])
        await respond(client, conversation="none", input=[])

        first, second, third = seen
        assert (first.user_text, first.instructions, first.tool_choice) == ("What now?", "Be kind.", "auto")
        assert [tool["name"] for tool in first.tools] == ["f"]
        assert (first.metadata, first.out_of_band, first.function_outputs) == ({"a": "b"}, False, {})
        assert first.event is not None
        assert first.session["instructions"] == "Be kind."
        assert first.session_id == server.current.id
        assert (second.instructions, second.tool_choice) == ("Be short.", "none")
        assert second.function_outputs == {"call_1": "42"}
        assert [item["type"] for item in second.items] == [
            "message",
            "message",
            "function_call",
            "function_call_output",
        ]
        assert (third.out_of_band, third.items, third.user_text) == (True, [], "")


async def test_outputs_that_were_answered_are_not_new(dial: Any) -> None:
    seen: list[ReplyRequest] = []

    def reply(request: ReplyRequest) -> str:
        seen.append(request)
        return "Hm."

    async with RealtimeEmulator(reply) as server, dial(server) as client:
        call = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}
        await client.send("conversation.item.create", item=call)
        await client.send(
            "conversation.item.create", item={"type": "function_call_output", "call_id": "c", "output": "1"}
        )
        await respond(client)
        await respond(client)
        assert [request.function_outputs for request in seen] == [{"c": "1"}, {}]


async def test_a_reply_without_anything(dial: Any) -> None:
    async with RealtimeEmulator([""]) as server, dial(server) as client:
        done = await respond(client)
        assert (done["status"], done["output"]) == ("completed", [])


async def test_cancelling_while_the_script_thinks(dial: Any) -> None:
    thinking, cancelled = asyncio.Event(), asyncio.Event()

    async def reply(_request: ReplyRequest) -> str:
        thinking.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
        return "Too late."

    async with RealtimeEmulator(reply) as server, dial(server) as client:
        await client.send("response.create")
        await thinking.wait()
        await client.send("response.cancel")
        done = (await client.until("response.done"))["response"]
        assert (done["status"], done["output"]) == ("cancelled", [])
        await cancelled.wait()
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        assert client.types().count("response.done") == 1


async def test_an_item_deleted_while_it_is_made_is_not_reported_done(dial: Any) -> None:
    hold = Hold(100)
    async with RealtimeEmulator([Reply("A story.", hold=hold)]) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        await client.send("conversation.item.delete", item_id=server.current.items[0]["id"])
        await client.until("conversation.item.deleted")
        hold.release()
        await client.until("response.done")
        assert "conversation.item.done" not in client.types()
        assert "response.output_item.done" in client.types()


async def test_a_response_that_is_cancelled_while_the_words_are_not_known_yet(dial: Any) -> None:
    known = asyncio.Event()

    async def listen(_turn: UserTurn) -> str:
        await known.wait()
        return "Stop."

    def repeat(asked: ReplyRequest) -> str:
        return f"You said {asked.user_text}"

    async with RealtimeEmulator(repeat, listen) as server, dial(server) as client:
        await client.until("session.created")
        await client.append(bytes(48 * 200))
        server.current.speech_started()
        server.current.speech_stopped()
        await client.until("response.created")
        server.current.speech_started()  # the user goes on
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"
        known.set()
        server.current.speech_stopped()
        done = (await client.until("response.done"))["response"]
        assert done["output"][0]["content"][0]["transcript"] == "You said Stop."
