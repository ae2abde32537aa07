"""The conversation: order, ids, retrieval and truncation."""

import base64
from typing import Any

import pytest

from rtvoice.testing.audio_formats import AudioFormat
from rtvoice.testing.conversation import Conversation, Item
from rtvoice.testing.validation import RequestRefused


def user(item_id: str, text: str = "Hi.") -> Item:
    content = [{"type": "input_text", "text": text}]
    return Item({"id": item_id, "type": "message", "status": "completed", "role": "user", "content": content})


def assistant(item_id: str, audio_ms: int = 0) -> Item:
    content = [{"type": "output_audio", "transcript": "Yes."}]
    item = Item({"id": item_id, "type": "message", "status": "completed", "role": "assistant", "content": content})
    if audio_ms:
        item.add_audio(bytes(48 * audio_ms))
    return item


def conversation(*items: Item) -> Conversation:
    result = Conversation()
    for item in items:
        result.add(item)
    return result


def refused(call: Any, *args: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        call(*args)
    return caught.value


def ids(of: Conversation) -> list[str]:
    return [item.id for item in of]


def test_items_are_appended_or_put_first_or_after_another() -> None:
    items = conversation(user("a"), user("b"))
    items.add(user("first"), "root")
    items.add(user("middle"), "a")
    assert ids(items) == ["first", "a", "middle", "b"]
    assert len(items) == 4


def test_the_previous_id_is_that_of_the_item_before() -> None:
    items = conversation(user("a"), user("b"))
    assert items.previous_id(items.find("a")) is None
    assert items.previous_id(items.find("b")) == "a"
    assert items.previous_id() == "b"
    assert Conversation().previous_id() is None


def test_unknown_places_and_used_ids_are_refused() -> None:
    items = conversation(user("a"))
    assert refused(items.add, user("b"), "nowhere").param == "previous_item_id"
    assert refused(items.add, user("a")).param == "item.id"
    assert ids(items) == ["a"]


def test_a_deleted_item_is_gone() -> None:
    items = conversation(user("a"), user("b"))
    items.delete("a")
    assert ids(items) == ["b"]
    refusal = refused(items.delete, "a")
    assert (refusal.code, refusal.names_event) == ("item_delete_invalid_item_id", False)
    assert refusal.message == "Error deleting item: the item with id 'a' does not exist."
    refusal = refused(items.retrieve, "a")
    assert (refusal.code, refusal.message) == (
        "item_retrieve_invalid_item_id",
        "Error retrieving item: the item with id 'a' does not exist.",
    )


def test_only_retrieval_shows_audio() -> None:
    item = conversation(assistant("a", 1)).retrieve("a")
    assert item.wire()["content"] == [{"type": "output_audio", "transcript": "Yes."}]
    assert item.wire(with_audio=True)["content"][0]["audio"] == base64.b64encode(bytes(48)).decode()


def test_the_wire_form_is_a_copy() -> None:
    item = user("a")
    item.wire()["content"][0]["text"] = "changed"
    assert item.text == "Hi."


def test_text_joins_all_parts() -> None:
    item = user("a", "One.")
    item.data["content"] += [{"type": "input_audio", "transcript": "Two."}, {"type": "input_audio", "transcript": None}]
    assert item.text == "One. Two."
    assert Item({"id": "f", "type": "function_call"}).text == ""


def test_assistant_audio_is_noticed() -> None:
    assert not conversation(user("a"), assistant("b")).has_assistant_audio
    assert conversation(assistant("b", 1)).has_assistant_audio
    spoken = user("a")
    spoken.add_audio(b"\0\0")
    assert not conversation(spoken).has_assistant_audio


def test_truncation_cuts_audio_and_removes_the_transcript() -> None:
    items = conversation(assistant("a", 300))
    items.truncate("a", 0, 120)
    item = items.retrieve("a")
    assert item.audio_ms() == 120
    assert item.data["content"] == [{"type": "output_audio"}]
    items.truncate("a", 0, 120)
    items.truncate("a", 0, 0)
    assert item.audio_ms() == 0


def test_audio_after_a_truncation_does_not_count() -> None:
    items = conversation(assistant("a", 300))
    items.truncate("a", 0, 100)
    item = items.retrieve("a")
    item.add_audio(bytes(480))
    assert item.audio_ms() == 100


def test_an_item_without_content_yet_can_be_truncated() -> None:
    item = assistant("a", 100)
    item.data["content"] = []
    items = conversation(item)
    items.truncate("a", 0, 50)
    assert item.audio_ms() == 50


def test_truncation_past_the_end_is_refused() -> None:
    items = conversation(assistant("a", 100))
    refusal = refused(items.truncate, "a", 0, 101)
    assert (refusal.code, refusal.message) == (
        "invalid_value",
        "Audio content of 100ms is already shorter than 101ms",
    )
    items.truncate("a", 0, 60)
    assert refused(items.truncate, "a", 0, 100).message == "Audio content of 60ms is already shorter than 100ms"


def test_a_part_of_a_millisecond_does_not_count_as_one() -> None:
    item = assistant("a")
    item.add_audio(bytes(48 * 100 - 2))
    items = conversation(item)
    assert refused(items.truncate, "a", 0, 100).message == "Audio content of 99ms is already shorter than 100ms"


@pytest.mark.parametrize("content_index", [0, 1])
def test_only_audio_of_the_model_can_be_truncated(content_index: int) -> None:
    spoken = user("u")
    spoken.add_audio(bytes(480))
    items = conversation(spoken, assistant("silent"), assistant("a", 10))
    targets = ["u", "silent"] if content_index == 0 else ["a"]
    for target in targets:
        refusal = refused(items.truncate, target, content_index, 0)
        assert (refusal.code, refusal.message) == (
            "unsupported_content_type",
            "Only model output audio messages can be truncated",
        )
    refusal = refused(items.truncate, "missing", 0, 0)
    assert (refusal.code, refusal.param) == ("item_truncate_invalid_item_id", "item_id")


def test_lengths_follow_the_format() -> None:
    item = assistant("a")
    item.audio_format = AudioFormat("audio/pcmu")
    item.add_audio(bytes(800))
    assert item.audio_ms() == 100
    assert item.audio_ms(1) == 0
