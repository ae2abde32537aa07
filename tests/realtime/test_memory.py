from itertools import count
from typing import Any

import pytest

from rtvoice.events import (
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    PlaybackCut,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.realtime.memory import MAX_CHARACTERS, MAX_ITEMS, MAX_PARTS, ConversationMemory, Correction
from rtvoice.settings import SeedMessage

IMAGE = "data:image/png;base64,AAAA"


def retold(memory: ConversationMemory) -> list[dict[str, Any]]:
    numbers = count(1)
    items = memory.retell(lambda: f"told_{next(numbers)}").items
    assert [item.pop("id") for item in items] == [f"told_{number}" for number, _ in enumerate(items, 1)]
    return items


def lines(memory: ConversationMemory) -> list[str]:
    found = []
    for item in retold(memory):
        if item["type"] == "message":
            found.append(f"{item['role']}: " + " ".join(part.get("text", "<image>") for part in item["content"]))
        else:
            found.append(f"{item['type']} {item['call_id']} {item.get('arguments', item.get('output'))}")
    return found


def cut(item_id: str, played_ms: int) -> AssistantInterruptedEvent:
    return AssistantInterruptedEvent(
        cuts=(PlaybackCut(item_id=item_id, content_index=0, played_ms=played_ms, received_ms=9_000),)
    )


def say(memory: ConversationMemory, item_id: str, text: str, content_index: int = 0) -> None:
    memory.note(AssistantTranscriptCompletedEvent(text, item_id, 0, content_index))


def test_words_stand_in_conversation_order_and_not_in_that_of_their_arrival() -> None:
    memory = ConversationMemory([SeedMessage.user("Hi."), SeedMessage.assistant("Hello.")])
    memory.place("u1")
    memory.expect_words("u1")
    memory.place("a1", "u1")
    say(memory, "a1", "Sunny.")
    memory.place("u2", "a1")
    memory.place("between", "u1")
    memory.note(UserTranscriptCompletedEvent("The weather?", "u1"))
    memory.add_message("between", "user", "In Oslo.")
    memory.place("u1", "u2")  # known items stay where they are
    assert lines(memory) == [
        "user: Hi.", "assistant: Hello.", "user: The weather?", "user: In Oslo.", "assistant: Sunny.",
    ]  # fmt: skip


def test_pieces_of_text_count_until_the_whole_is_known() -> None:
    memory = ConversationMemory()
    for delta in ("It is ", "sun"):
        memory.note(AssistantTranscriptDeltaEvent(delta, "a", 0, 0))
    assert lines(memory) == ["assistant: It is sun"]
    say(memory, "a", "It is sunny.")
    say(memory, "a", "Take a hat.", content_index=1)
    assert lines(memory) == ["assistant: It is sunny. Take a hat."]


def test_roles_have_their_kinds_of_content() -> None:
    memory = ConversationMemory()
    memory.add_message("u", "user", "Look!", IMAGE)
    say(memory, "a", "Nice.")
    assert retold(memory) == [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Look!"}, {"type": "input_image", "image_url": IMAGE}],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Nice."}]},
    ]


def test_of_images_only_the_last_is_told_again() -> None:
    memory = ConversationMemory()
    memory.add_message("u1", "user", "One.", IMAGE)
    memory.add_message("u2", "user", "", IMAGE)
    memory.add_message("u3", "user", "", IMAGE)
    assert lines(memory) == ["user: One.", "user: <image>"]


def test_what_was_not_heard_is_not_told() -> None:
    memory = ConversationMemory()
    say(memory, "a1", "One two three four five six seven.")
    memory.note(cut("a1", 700))
    memory.note(cut("a2", 0))  # before its words are known
    say(memory, "a2", "Nobody heard this.")
    assert lines(memory) == ["assistant: One two"]


def test_calls_and_their_outputs() -> None:
    memory = ConversationMemory()
    for number in (1, 2):
        memory.note(ToolCallRequestedEvent(call_id=f"c{number}", name="f", arguments={"n": number}, response_id="r"))
    memory.note(ToolCallFinishedEvent(call_id="c1", name="f", output="done"))
    memory.note(ToolCallFinishedEvent(call_id="unknown", name="f", output="lost"))
    memory.note(UserStoppedSpeakingEvent())  # says nothing about the conversation
    assert lines(memory) == [
        'function_call c1 {"n": 1}', "function_call_output c1 done", 'function_call c2 {"n": 2}',
    ]  # fmt: skip


def test_turns_whose_words_are_not_known() -> None:
    memory = ConversationMemory()
    assert not memory.last_turn_is_lost
    memory.expect_words("u1")
    assert memory.last_turn_is_lost
    memory.place("a1")  # announced, but nothing is known of it
    assert memory.last_turn_is_lost
    say(memory, "a1", "Once more?")
    assert not memory.last_turn_is_lost
    assert memory.lost_user_turns == 1
    memory.expect_words("u2")
    memory.note(ToolCallRequestedEvent(call_id="c", name="f", arguments={}, response_id="r"))
    assert not memory.last_turn_is_lost  # it was understood, or there would be no call
    assert memory.lost_user_turns == 2
    memory.note(UserTranscriptCompletedEvent("Hello.", "u1"))
    memory.note(UserTranscriptCompletedEvent("", "u2"))  # silence, after all
    assert memory.lost_user_turns == 0
    assert lines(memory) == ["user: Hello.", "assistant: Once more?", "function_call c {}"]


def test_silence_at_the_end_hides_no_lost_turn() -> None:
    memory = ConversationMemory()
    memory.expect_words("u1")
    memory.note(UserTranscriptCompletedEvent(" ", "u2"))
    assert memory.last_turn_is_lost


def test_old_items_are_forgotten() -> None:
    memory = ConversationMemory()
    memory.note(ToolCallRequestedEvent(call_id="c", name="f", arguments={}, response_id="r"))
    memory.adopt(memory.retell(lambda: "told"))
    for number in range(2 * MAX_ITEMS + 100):
        memory.add_message(f"u{number}", "user", str(number))
    found = lines(memory)
    assert len(found) == MAX_ITEMS
    assert found[-1] == f"user: {2 * MAX_ITEMS + 99}"
    assert len(memory._order) == len(memory._placed) == len(memory._messages) == 2 * MAX_ITEMS
    assert not memory._calls


@pytest.mark.parametrize("kind", ["message", "call", "output"])
def test_long_conversations_are_shortened_at_their_beginning(kind: str) -> None:
    memory = ConversationMemory()
    long = "x" * (MAX_CHARACTERS - 100)
    match kind:
        case "message":
            memory.add_message("u0", "user", long)
        case "call":
            memory.note(ToolCallRequestedEvent(call_id="c", name="f", arguments={"x": long}, response_id="r"))
        case "output":
            memory.note(ToolCallRequestedEvent(call_id="c", name="f", arguments={}, response_id="r"))
            memory.note(ToolCallFinishedEvent(call_id="c", name="f", output=long))
    memory.add_message("u1", "user", "y" * 50)
    assert len(retold(memory)) == (3 if kind == "output" else 2)
    memory.add_message("u2", "user", "y" * 51)
    assert [item["content"][0]["text"][0] for item in retold(memory)] == ["y", "y"]


def test_corrections_of_what_was_told_again() -> None:
    memory = ConversationMemory()
    for item_id in ("a1", "a2", "a3"):
        say(memory, item_id, "One two three four five six seven.")
    numbers = count(1)

    def new_id() -> str:
        return f"id_{next(numbers)}"

    assert memory.correct("a1", new_id) is None  # nothing was told yet
    memory.adopt(memory.retell(new_id))  # as id_1, id_2, id_3
    memory.note(cut("a1", 700))
    memory.note(cut("a2", 700))
    memory.note(cut("a3", 0))
    content = [{"type": "output_text", "text": "One two"}]
    item = {"type": "message", "role": "assistant", "content": content}
    assert memory.correct("a1", new_id) == Correction("id_1", {"id": "id_4", **item}, "root")
    assert memory.correct("a2", new_id) == Correction("id_2", {"id": "id_5", **item}, "id_4")
    assert memory.correct("a3", new_id) == Correction("id_3", None, "id_5")
    assert memory.correct("a3", new_id) is None
    assert memory.correct("of this session", new_id) is None


def test_a_message_without_end_is_bounded() -> None:
    memory = ConversationMemory()
    for index in range(2 * MAX_PARTS):
        memory.note(AssistantTranscriptDeltaEvent("x" * (MAX_CHARACTERS // 2), "a1", 0, index % MAX_PARTS))
    for _ in range(5):
        memory.note(AssistantTranscriptDeltaEvent("x" * MAX_CHARACTERS, "a1", 0, 10**6))
        memory.note(AssistantTranscriptDeltaEvent("x" * MAX_CHARACTERS, "a1", 0, 0))
    parts = memory._messages["a1"].parts
    assert len(parts) == MAX_PARTS
    assert max(map(len, parts.values())) == MAX_CHARACTERS


def test_the_revision_tells_whether_there_is_something_new_to_tell() -> None:
    memory = ConversationMemory()
    revision = memory.revision
    memory.note(UserStoppedSpeakingEvent())
    memory.place("u1")
    assert memory.revision == revision
    for change in (
        lambda: memory.expect_words("u1"),
        lambda: memory.note(UserTranscriptCompletedEvent("Hello.", "u1")),
        lambda: memory.add_message("u2", "user", "Hi."),
        lambda: memory.forget("u2"),
    ):
        change()
        assert memory.revision > revision
        revision = memory.revision
    memory.forget("u2")
    assert memory.revision == revision
