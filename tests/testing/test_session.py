"""A session's life: settings, items, errors, expiry, and what a test can do with it."""

import asyncio
import base64
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from rtvoice.testing import EmulatedSession, Hold, RealtimeEmulator, Reply


async def test_the_first_event_is_session_created(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server, model="gpt-realtime-2.1-mini") as client:
        created = await client.until("session.created")
        assert created["session"]["model"] == "gpt-realtime-2.1-mini"
        assert created["session"] == server.current.config
        assert created["session"]["id"] == server.current.id
        assert len(client.events) == 1


async def test_an_update_is_answered_with_everything(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.update("u", instructions="Be brief.", audio={"output": {"voice": "cedar"}})
        updated = await client.until("session.updated")
        assert updated["session"] == server.current.config
        assert updated["session"]["audio"]["output"]["voice"] == "cedar"
        assert updated["event_id"] != "u"


async def test_a_refused_update_changes_nothing(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        created = await client.until("session.created")
        session = {"type": "realtime", "instructions": "x", "audio": {"output": {"voice": "nova"}}}
        error = await client.refused("session.update", session=session, event_id="u")
        assert (error["code"], error["param"], error["event_id"]) == (
            "invalid_value",
            "session.audio.output.voice",
            "u",
        )
        assert server.current.config == created["session"]
        await client.update(instructions="y")
        await client.until("session.updated")


async def test_the_voice_is_locked_after_assistant_audio(dial: Any) -> None:
    async with RealtimeEmulator(["Hi.", "Hi."]) as server, dial(server) as client:
        await client.send("response.create", response={"output_modalities": ["text"]})
        await client.until("response.done")
        await client.update(audio={"output": {"voice": "cedar"}})
        await client.until("session.updated")
        await client.send("response.create")
        await client.until("response.done")
        session = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
        assert (await client.refused("session.update", session=session))["code"] == "cannot_update_voice"


async def test_speed_cannot_change_while_a_response_runs(dial: Any) -> None:
    hold = Hold(100)
    async with RealtimeEmulator([Reply("Hi.", hold=hold)]) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        session = {"type": "realtime", "audio": {"output": {"speed": 1.2}}}
        error = await client.refused("session.update", session=session)
        assert error["param"] == "session.audio.output.speed"
        hold.release()
        await client.until("response.done")
        await client.send("session.update", session=session)
        await client.until("session.updated")


@pytest.mark.parametrize(
    "frame", ["hello", "[]", b"{}", '{"type": "no.such"}', "{}", '{"type": "response.cancel", "x": 1}']
)
async def test_nonsense_is_answered_and_the_session_lives(dial: Any, frame: str | bytes) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.ws.send(frame)
        assert (await client.until("error"))["error"]["type"] == "invalid_request_error"
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")


async def test_an_event_id_that_is_no_string_is_not_echoed(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        assert (await client.refused("response.cancel", event_id=5))["event_id"] is None


async def test_items_with_audio_come_back_with_it(dial: Any) -> None:
    audio = base64.b64encode(bytes(range(96))).decode()
    async with RealtimeEmulator() as server, dial(server) as client:
        content = [{"type": "input_audio", "audio": audio, "transcript": "Hi."}]
        item = {"id": "mine", "type": "message", "role": "user", "content": content}
        await client.send("conversation.item.create", item=item)
        added = await client.until("conversation.item.added")
        assert added["item"]["content"] == [{"type": "input_audio", "transcript": "Hi."}]
        await client.send("conversation.item.retrieve", item_id="mine")
        retrieved = await client.until("conversation.item.retrieved")
        assert retrieved["item"]["content"][0]["audio"] == audio
        assert server.current.items == [added["item"]]


async def test_errors_about_items(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.say("One.", "item_1")
        await client.until("conversation.item.done")
        item = {"type": "message", "role": "user", "content": []}
        error = await client.refused("conversation.item.create", item={**item, "id": "item_1"}, event_id="a")
        assert (error["param"], error["event_id"]) == ("item.id", "a")
        error = await client.refused("conversation.item.create", item=item, previous_item_id="item_9")
        assert error["param"] == "previous_item_id"
        output = {"type": "function_call_output", "call_id": "call_9", "output": "x"}
        error = await client.refused("conversation.item.create", item=output)
        assert (error["code"], error["param"]) == ("invalid_tool_call_id", "item.call_id")
        for event in ("delete", "retrieve"):
            error = await client.refused(f"conversation.item.{event}", item_id="item_9", event_id="b")
            assert (error["code"], error["event_id"]) == (f"item_{event}_invalid_item_id", None)
        assert len(server.current.items) == 1


async def test_ids_that_the_server_uses_or_will_use(dial: Any) -> None:
    hold = Hold()
    async with RealtimeEmulator([Reply("Hi.", hold=hold)], detect_speech=False) as server, dial(server) as client:
        await client.append(bytes(9600))
        await server.received("input_audio_buffer.append")
        server.current.speech_started()
        started = await client.until("input_audio_buffer.speech_started")
        item = {"type": "message", "role": "user", "content": []}
        error = await client.refused("conversation.item.create", item={**item, "id": started["item_id"]})
        assert error["message"] == f"Error adding item: an item with id '{started['item_id']}' already exists."
        await client.say("Mine.", "item_000002")
        await client.until("conversation.item.done")
        server.current.speech_stopped()
        await hold.reached()
        hold.release()
        await client.until("response.done")
        ids = [item["id"] for item in server.current.items]
        assert ids == ["item_000002", "item_000001", "item_000003"]


async def test_an_approval_of_nothing_is_just_an_item(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        item = {"type": "mcp_approval_response", "approval_request_id": "item_9", "approve": True}
        await client.send("conversation.item.create", item=item)
        await client.until("conversation.item.done")
        assert server.current.active_response is None


@pytest.mark.virtual_clock
async def test_a_session_expires(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        error = (await client.until_closed())[0]["error"]
        assert asyncio.get_running_loop().time() == pytest.approx(3600, abs=1)
        assert (error["code"], error["event_id"]) == ("session_expired", None)
        assert client.closing == (1001, "Your session hit the maximum duration of 60 minutes.")


@pytest.mark.virtual_clock
async def test_a_shorter_session(dial: Any) -> None:
    async with RealtimeEmulator(session_length_s=90) as server, dial(server) as client:
        created = await client.until("session.created")
        (error,) = await client.until_closed()
        assert error["error"]["message"] == "Your session hit the maximum duration of 1.5 minutes."
        assert isinstance(created["session"]["expires_at"], int)


async def test_what_a_session_remembers(dial: Any) -> None:
    async with RealtimeEmulator(["Hi."]) as server, dial(server) as client:
        await client.append(bytes(960))
        await client.send("response.create")
        await client.until("response.done")
        session = server.current
        assert session.types("received") == ["input_audio_buffer.append", "response.create"]
        assert session.types() == client.types()
        assert session.user_audio == bytes(960)
        assert session.path == "/v1/realtime?model=gpt-realtime-2.1"
        assert session.headers["authorization"] == "Bearer emulator-key"
        assert not session.closed
    await session.wait_closed()
    assert session.closed
    assert session.close_code == 1000


@pytest.mark.virtual_clock
async def test_waiting_for_audio(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(server.current.audio_received(30))
            await client.append(bytes(48 * 20))
            await server.received("input_audio_buffer.append")
            assert not waiting.done()
            await client.append(bytes(48 * 10))
        with pytest.raises(TimeoutError, match=r"only 30 ms of audio from the client within 5\.0 s, not 31 ms"):
            await server.current.audio_received(31)


async def test_errors_a_test_sends(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.send_error("server_error", "Oops.", param="p", event_id="e", error_type="server_error")
        assert (await client.until("error"))["error"] == {
            "type": "server_error",
            "code": "server_error",
            "message": "Oops.",
            "param": "p",
            "event_id": "e",
        }


async def test_a_session_that_is_over_says_so(dial: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server:
        async with dial(server) as client:
            await client.append(bytes(48 * 200))
            await server.received("input_audio_buffer.append")
        session: EmulatedSession = server.current
        await session.wait_closed()
        session.speech_started()
        with pytest.raises(RuntimeError, match="the session is over"):
            session.speech_stopped()


async def test_frames_after_the_sessions_end_do_not_matter(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        await client.until("session.created")
        server.current.close(1000)
        with pytest.raises(ConnectionClosed):
            await client.ws.recv()
        with pytest.raises(ConnectionClosed):
            await client.ws.send(json.dumps({"type": "response.create"}))
