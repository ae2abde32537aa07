"""Which responses may run beside each other, and how they are stopped."""

from array import array
from typing import Any

from rtvoice.testing import Faults, Hold, Quirks, RealtimeEmulator, Reply


async def test_one_response_at_a_time(dial: Any) -> None:
    hold = Hold(100)
    async with RealtimeEmulator([Reply("A story.", hold=hold), "Next."]) as server, dial(server) as client:
        await client.send("response.create")
        created = await client.until("response.created")
        error = await client.refused("response.create", event_id="again")
        response_id = created["response"]["id"]
        assert error["code"] == "conversation_already_has_active_response"
        assert error["message"] == (
            f"Conversation already has an active response in progress: {response_id}. "
            "Wait until the response is finished before creating a new one."
        )
        assert error["event_id"] == "again"
        hold.release()
        await client.until("response.done")
        await client.send("response.create")
        await client.until("response.done")


async def test_out_of_band_responses_run_beside_it(dial: Any) -> None:
    hold = Hold(100)
    replies = [Reply("A story.", hold=hold), "support", "sales"]
    async with RealtimeEmulator(replies) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        aside = {"conversation": "none", "output_modalities": ["text"], "metadata": {"purpose": "classify"}}
        for word in ("support", "sales"):
            client.clear()
            await client.send("response.create", response=aside)
            done = (await client.until("response.done"))["response"]
            assert done["conversation_id"] is None
            assert done["metadata"] == {"purpose": "classify"}
            assert done["output"][0]["content"][0]["text"] == word
            assert not [e for e in client.events if e["type"].startswith("conversation.") and "asst" in str(e)]
        assert len(server.current.conversation) == 1
        active = server.current.active_response
        assert active is not None
        assert not active.out_of_band
        hold.release()
        done = (await client.until("response.done"))["response"]
        assert done["conversation_id"] == server.current.conversation_id


async def test_speech_does_not_interrupt_what_is_out_of_band(dial: Any) -> None:
    hold = Hold(100)
    async with RealtimeEmulator([Reply("Aside.", hold=hold)], detect_speech=False) as server, dial(server) as client:
        await client.send("response.create", response={"conversation": "none"})
        await hold.reached()
        server.current.speech_started()
        await client.until("input_audio_buffer.speech_started")
        hold.release()
        assert (await client.until("response.done"))["response"]["status"] == "completed"


async def test_cancel_by_id_also_out_of_band(dial: Any) -> None:
    main, aside = Hold(100), Hold(100)
    replies = [Reply("Main.", hold=main), Reply("Aside.", hold=aside)]
    async with RealtimeEmulator(replies) as server, dial(server) as client:
        await client.send("response.create")
        await main.reached()
        await client.send("response.create", response={"conversation": "none"})
        await aside.reached()
        created = [e["response"]["id"] for e in client.events if e["type"] == "response.created"]
        while len(created) < 2:
            created.append((await client.until("response.created"))["response"]["id"])
        await client.send("response.cancel", response_id=created[1])
        done = (await client.until("response.done"))["response"]
        assert (done["id"], done["status"]) == (created[1], "cancelled")
        await client.send("response.cancel")
        done = (await client.until("response.done"))["response"]
        assert (done["id"], done["status_details"]["reason"]) == (created[0], "client_cancelled")


async def test_there_may_be_nothing_to_cancel(dial: Any) -> None:
    async with RealtimeEmulator(["Hi."]) as server, dial(server) as client:
        error = await client.refused("response.cancel", event_id="c")
        assert (error["code"], error["message"], error["event_id"]) == (
            "response_cancel_not_active",
            "Cancellation failed: no active response found",
            "c",
        )
        await client.send("response.create")
        done = await client.until("response.done")
        error = await client.refused("response.cancel", response_id=done["response"]["id"])
        assert error["code"] == "response_cancel_not_active"


async def test_late_deltas_come_before_the_closing_events(dial: Any) -> None:
    hold = Hold(200)
    audio = array("h", range(24_000)).tobytes()
    reply = Reply("A story.", audio=audio, delta_ms=[100], hold=hold)
    faults = Faults(late_deltas=3)
    async with RealtimeEmulator([reply], faults=faults, detect_speech=False) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        server.current.speech_started()
        await client.until("input_audio_buffer.speech_started")
        client.clear()
        await client.until("response.done")
        assert client.types()[:4] == ["response.output_audio.delta"] * 3 + ["response.output_audio.done"]
        assert next(iter(server.current.conversation)).audio[0] == audio[: 48 * 500]


async def test_no_more_late_deltas_than_there_is_audio(dial: Any) -> None:
    hold = Hold(900)
    reply = Reply("A story.", audio=bytes(48 * 1000), delta_ms=[100], hold=hold)
    async with RealtimeEmulator([reply], faults=Faults(late_deltas=3)) as server, dial(server) as client:
        await client.send("response.create")
        await hold.reached()
        await client.send("response.cancel")
        await client.until("response.done")
        assert client.types().count("response.output_audio.delta") == 10


async def test_the_voice_is_locked_for_responses_too(dial: Any) -> None:
    async with RealtimeEmulator(["Hi.", "Hi.", "Hi."]) as server, dial(server) as client:
        await client.send("response.create")
        await client.until("response.done")
        cedar = {"audio": {"output": {"voice": "cedar"}}}
        error = await client.refused("response.create", response=cedar)
        assert (error["code"], error["param"]) == ("cannot_update_voice", "response.audio.output.voice")
        await client.send("response.create", response={"audio": {"output": {"voice": "marin"}}})
        await client.until("response.done")
        await client.send("response.create", response={"conversation": "none", **cedar})
        await client.until("response.done")


async def test_input_items_and_references(dial: Any) -> None:
    seen: list[Any] = []

    def reply(request: Any) -> str:
        seen.append([item.get("content", [{}])[0].get("text") for item in request.items])
        return "Hm."

    async with RealtimeEmulator(reply) as server, dial(server) as client:
        await client.say("Kept.", "item_kept")
        message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "New."}]}
        reference = {"type": "item_reference", "id": "item_kept"}
        await client.send("response.create", response={"conversation": "none", "input": [reference, message]})
        await client.until("response.done")
        assert seen == [["Kept.", "New."]]
        error = await client.refused("response.create", response={"input": [{**reference, "id": "item_gone"}]})
        assert error["param"] == "response.input[0].id"


async def test_a_model_that_does_not_reason(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server, model="gpt-realtime-1.5") as client:
        error = await client.refused("response.create", response={"reasoning": {"effort": "low"}}, event_id="e")
        assert (error["event_id"], error["param"]) == (None, None)


async def test_transcription_sessions_do_not_answer(dial: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, dial(server, transcription=True) as client:
        assert (await client.refused("response.create"))["code"] == "invalid_value"
        await client.append(bytes(48 * 200))
        await server.current.audio_received(200)
        server.current.speech_started()
        server.current.speech_stopped()
        await client.until("conversation.item.done")
        assert server.current.active_response is None


async def test_rate_limits_at_the_start_or_the_end(dial: Any) -> None:
    for place, index in (("start", 1), ("end", -1)):
        quirks = Quirks(rate_limits=place)  # type: ignore[arg-type]
        async with RealtimeEmulator(["Hi."], quirks=quirks) as server, dial(server) as client:
            await client.until("session.created")
            client.clear()
            await client.send("response.create", response={"output_modalities": ["text"]})
            await client.until("response.done")
            await client.send("input_audio_buffer.clear")
            await client.until("input_audio_buffer.cleared")
            assert client.types()[:-1][index] == "rate_limits.updated"


async def test_usage_of_cancelled_responses_can_be_missing(dial: Any) -> None:
    for shown in (True, False):
        hold = Hold(100)
        quirks = Quirks(cancelled_usage=shown)
        async with RealtimeEmulator([Reply("Hi.", hold=hold)], quirks=quirks) as server, dial(server) as client:
            await client.send("response.create")
            await hold.reached()
            await client.send("response.cancel")
            done = (await client.until("response.done"))["response"]
            assert (done["usage"] is not None) is shown
