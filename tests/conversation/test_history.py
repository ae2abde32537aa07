import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.conversation import ConversationHistory, ConversationTurn
from rtvoice.events import (
    AssistantInterruptedEvent,
    AssistantTranscriptCompletedEvent,
    EventBus,
    PlaybackCut,
    UserTranscriptCompletedEvent,
)
from rtvoice.settings import SeedMessage


def said(history: ConversationHistory) -> list[tuple[str, str]]:
    return [(turn.role, turn.transcript) for turn in history.turns]


def test_a_turn_has_a_role_and_its_words_under_two_names() -> None:
    turn = ConversationTurn("user", "Hello.")
    assert turn == ConversationTurn(role="user", transcript="Hello.") == ConversationTurn(role="user", text="Hello.")
    assert turn.text == turn.transcript == "Hello."
    assert (turn.item_id, turn.interrupted, turn.played_ms, turn.seeded) == (None, False, None, False)
    assert ConversationTurn("user", "Hello.", "item_1", True, 700, True).played_ms == 700
    assert ConversationTurn("user", "").transcript == ""


@pytest.mark.parametrize("words", [{}, {"transcript": "a", "text": "a"}])
def test_a_turn_needs_its_words_once(words: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="transcript= or text="):
        ConversationTurn("user", **words)


def test_an_empty_history() -> None:
    history = ConversationHistory()
    assert history.turns == []
    assert history.format() == "(no conversation yet)"


def test_format() -> None:
    history = ConversationHistory(seed=[SeedMessage.user("Hi."), SeedMessage.assistant("Hello.")])
    history.add("user", "How are you?", "u1")
    history.add("assistant", "Fine.", "a1")
    assert history.format() == "[USER]: Hi.\n[ASSISTANT]: Hello.\n[USER]: How are you?\n[ASSISTANT]: Fine."


def test_turns_is_a_copy() -> None:
    history = ConversationHistory()
    history.add("user", "Hello.", "u1")
    history.turns.clear()
    history.spoken_turns.clear()
    assert said(history) == [("user", "Hello.")]


def test_seeds_come_first_and_are_marked() -> None:
    history = ConversationHistory(seed=[SeedMessage.user("Hi.")])
    history.add("user", "Hello.", "u1")
    assert [turn.seeded for turn in history.turns] == [True, False]
    assert [turn.transcript for turn in history.spoken_turns] == ["Hello."]


def test_a_late_transcript_stands_before_the_reply_that_it_provoked() -> None:
    history = ConversationHistory()
    history.place("u1")
    history.place("a1", "u1")
    history.add("assistant", "It is noon.", "a1")
    assert said(history) == [("assistant", "It is noon.")]
    history.add("user", "What time is it?", "u1")
    assert said(history) == [("user", "What time is it?"), ("assistant", "It is noon.")]


def test_an_item_is_inserted_after_its_predecessor() -> None:
    history = ConversationHistory()
    for item, previous in (("a", None), ("c", "a"), ("d", "c"), ("b", "a"), ("x", "unknown"), ("a", "x")):
        history.place(item, previous)
    for item in "dcbax":
        history.add("user", item, item)
    assert [turn.transcript for turn in history.turns] == ["a", "b", "c", "d", "x"]


@pytest.mark.parametrize("silence", ["", "  \n"])
def test_silence_is_no_turn(silence: str) -> None:
    history = ConversationHistory()
    history.add("user", silence, "u1")
    assert history.turns == []


def test_content_parts_of_an_item_are_one_turn() -> None:
    history = ConversationHistory()
    history.add("assistant", "two", "a1", 1)
    history.add("assistant", "one", "a1", 0)
    assert said(history) == [("assistant", "one two")]


@pytest.mark.parametrize("words_first", [True, False])
def test_an_interrupted_turn_keeps_its_words(words_first: bool) -> None:
    history = ConversationHistory()
    if words_first:
        history.add("assistant", "A long story.", "a1")
    history.mark_interrupted("a1", 700, lambda text: text[:6])
    if not words_first:
        history.add("assistant", "A long story.", "a1")
    history.add("assistant", "Another.", "a2")
    first, second = history.turns
    assert (first.transcript, first.interrupted, first.played_ms, first.heard) == ("A long story.", True, 700, "A long")
    assert (second.interrupted, second.played_ms, second.heard) == (False, None, "Another.")


async def test_a_history_of_its_own_follows_a_bus() -> None:
    bus = EventBus()
    history = ConversationHistory(bus)
    await bus.dispatch(UserTranscriptCompletedEvent("Hello.", "u1"))
    await bus.dispatch(AssistantTranscriptCompletedEvent("Hi there.", "a1", 0, 0))
    await bus.dispatch(AssistantInterruptedEvent("a1", 300))
    await bus.dispatch(AssistantInterruptedEvent())
    assert said(history) == [("user", "Hello."), ("assistant", "Hi there.")]
    assert [turn.played_ms for turn in history.turns] == [None, 300]
    cut = PlaybackCut(item_id="a2", content_index=0, played_ms=100, received_ms=1_000, complete=True)
    await bus.dispatch(AssistantInterruptedEvent("a2", 100, cuts=(cut,)))
    await bus.dispatch(AssistantTranscriptCompletedEvent("One two three four five six.", "a2", 0, 0))
    assert history.turns[-1].interrupted
    assert history.turns[-1].heard != history.turns[-1].transcript


@given(st.permutations(range(12)))
def test_words_may_arrive_in_any_order(arrival: list[int]) -> None:
    history = ConversationHistory()
    for item in range(12):
        history.place(str(item), str(item - 1) if item else None)
    for item in arrival:
        history.add("user" if item % 2 else "assistant", f"turn {item}", str(item))
    assert [turn.transcript for turn in history.turns] == [f"turn {item}" for item in range(12)]
