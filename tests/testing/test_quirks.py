"""What varies on the live service. Everything still validates against the types of the SDK."""

from typing import Any

from rtvoice.testing import Hold, Quirks, RealtimeEmulator, Reply, ToolCall


async def talk(dial: Any, quirks: Quirks, *, strict: bool = True) -> list[dict[str, Any]]:
    replies = [Reply("Well, hello there.", calls=[ToolCall("f", {"a": "b"})]), "Text."]
    async with RealtimeEmulator(replies, ["Hi."], quirks=quirks) as server, dial(server, strict=strict) as client:
        audio = {"input": {"turn_detection": None, "transcription": {"model": "gpt-transcribe"}}}
        await client.update(audio=audio)
        await client.append(bytes(48 * 200))
        await client.send("input_audio_buffer.commit")
        await client.until("conversation.item.input_audio_transcription.completed")
        await client.send("response.create")
        await client.until("response.done")
        await client.send("response.create", response={"output_modalities": ["text"]})
        await client.until("response.done")
        await client.refused("response.cancel", event_id="c")
        events: list[dict[str, Any]] = client.events
        return events


async def test_nothing_of_it_by_default(dial: Any) -> None:
    events = await talk(dial, Quirks())
    assert events[0]["session"]["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    assert not {"conversation.created", "rate_limits.updated"} & {event["type"] for event in events}
    assert not any({"obfuscation", "emulator_extra"} & event.keys() for event in events)
    assert not any("object" in event.get("item", {}) for event in events)
    assert events[-1]["error"]["event_id"] == "c"


async def test_each_of_them(dial: Any) -> None:
    quirks = Quirks(
        silence_duration_ms=500,
        conversation_created=True,
        obfuscation=True,
        item_object=True,
        extra_fields=True,
        null_error_event_id=True,
    )
    events = await talk(dial, quirks)
    assert events[0]["session"]["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert events[1]["type"] == "conversation.created"
    texts = ("transcript.delta", "text.delta", "arguments.delta", "transcription.delta")
    hidden = {event["type"].rsplit(".", 2)[-2] for event in events if event["type"].endswith(texts)}
    assert len(hidden) == 4
    assert all(event["obfuscation"] for event in events if event["type"].endswith(texts))
    assert all(event["item"]["object"] == "realtime.item" for event in events if "item" in event)
    done = next(event for event in events if event["type"] == "response.done")
    assert all(item["object"] == "realtime.item" for item in done["response"]["output"])
    assert all("emulator_extra" in event for event in events)
    assert events[-1]["error"]["event_id"] is None


async def test_events_nobody_knows(dial: Any) -> None:
    events = await talk(dial, Quirks(unknown_events=True), strict=False)
    assert [event["type"] for event in events].count("response.emulator_unknown") == 2


async def test_quirks_do_not_reach_the_servers_own_items(dial: Any) -> None:
    hold = Hold(100)
    async with (
        RealtimeEmulator([Reply("Hi.", hold=hold)], quirks=Quirks(item_object=True)) as server,
        dial(server) as client,
    ):
        await client.say("Hello.")
        await client.send("response.create")
        await hold.reached()
        assert not any("object" in item for item in server.current.items)
        hold.release()
