import asyncio

from rtvoice.components.transcript import Transcript
from rtvoice.conversation import ConversationHistory
from rtvoice.events import (
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    ConversationItemAddedEvent,
    EventBus,
    InterruptionDismissedEvent,
    PlaybackCut,
    UserTranscriptCompletedEvent,
)
from rtvoice.settings import SeedMessage


async def history_of(*events: object) -> ConversationHistory:
    bus = EventBus()
    history = ConversationHistory(seed=[SeedMessage.user("seed")])
    transcript = Transcript(bus, history)
    async with asyncio.TaskGroup() as group:
        group.create_task(transcript.run())
        for event in events:
            bus.publish(event)
        transcript.stop()
    return history


async def test_turns_stand_where_the_server_put_them() -> None:
    history = await history_of(
        ConversationItemAddedEvent(item_id="u1", role="user"),
        ConversationItemAddedEvent(item_id="a1", previous_item_id="u1", role="assistant"),
        AssistantTranscriptCompletedEvent("It is noon.", "a1", 0, 0),
        UserTranscriptCompletedEvent("What time is it?", "u1"),
    )
    assert [turn.transcript for turn in history.turns] == ["seed", "What time is it?", "It is noon."]


async def test_interrupted_turns_are_marked_also_when_their_words_come_later() -> None:
    cuts = (
        PlaybackCut(item_id="a1", content_index=0, played_ms=500, received_ms=1_000, complete=True),
        PlaybackCut(item_id="a2", content_index=0, played_ms=0, received_ms=900, complete=True),
    )
    history = await history_of(
        AssistantTranscriptCompletedEvent("One two three four.", "a1", 0, 0),
        AssistantInterruptedEvent("a1", 500, cuts=cuts),
        AssistantTranscriptCompletedEvent("Never heard.", "a2", 0, 0),
        AssistantTranscriptCompletedEvent("Heard.", "a3", 0, 0),
    )
    first, second, third = history.spoken_turns
    assert (first.interrupted, first.played_ms, first.heard) == (True, 500, "One two")
    assert (second.interrupted, second.played_ms, second.heard) == (True, 0, "")
    assert (third.interrupted, third.played_ms, third.heard) == (False, None, "Heard.")


async def test_what_nobody_has_said_is_no_turn() -> None:
    history = await history_of(
        UserTranscriptCompletedEvent("Thank you for watching.", "u1"),
        InterruptionDismissedEvent(reason="too_short", item_id="u1"),
        InterruptionDismissedEvent(reason="too_short"),
        InterruptionDismissedEvent(reason="self_echo", item_id="u2"),
        UserTranscriptCompletedEvent("Once upon a time", "u2"),
        UserTranscriptCompletedEvent("Mhm", "u3"),
        InterruptionDismissedEvent(reason="backchannel", item_id="u3"),
    )
    assert [turn.transcript for turn in history.spoken_turns] == ["Mhm"]
