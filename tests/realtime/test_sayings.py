"""Words of the application's own, through the whole protocol."""

from typing import Any

import pytest

from rtvoice.events import (
    AssistantInterruptedEvent,
    PlaybackCut,
    RequestResponseCommand,
    ResponseStartedEvent,
    SayCommand,
)
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.responses import OWN_RESPONSE_WAIT_S
from rtvoice.realtime.sayings import REMEMBERED, Sayings

WORDS = "Good morning to all of you out there."
PLAIN = {"type": "response.create"}


def says(wire: Any, text: str = WORDS, request_id: str = "say_1") -> None:
    wire.does(SayCommand(text=text, request_id=request_id))


def begins(wire: Any, response_id: str = "b1", request_id: object = "say_1") -> Any:
    """The server begins the response, and the item that is spoken."""
    metadata = {"rtvoice_request": request_id}
    facts = wire.hears("response.created", response={"id": response_id, "conversation_id": None, "metadata": metadata})
    item = {"id": f"item_{response_id}", "type": "message", "role": "assistant"}
    wire.hears("response.output_item.added", response_id=response_id, item=item)
    return facts


def cut(item_id: str, played_ms: int, *, received_ms: int = 1_000, complete: bool = True) -> AssistantInterruptedEvent:
    part = PlaybackCut(
        item_id=item_id, content_index=0, played_ms=played_ms, received_ms=received_ms, complete=complete
    )
    return AssistantInterruptedEvent(cuts=(part,))


def told(frame: dict[str, Any]) -> str:
    """Return what the model is told that the assistant said."""
    assert frame["type"] == "conversation.item.create"
    assert frame["item"]["role"] == "assistant"
    [content] = frame["item"]["content"]
    assert content["type"] == "output_text"
    return str(content["text"])


def test_words_are_spoken_beside_the_conversation_and_then_told(wire: Any) -> None:
    says(wire)

    [request] = wire.sends()
    response = request["response"]
    assert f'"{WORDS}"' in response.pop("instructions")
    assert response == {
        "conversation": "none",
        "input": [],
        "tool_choice": "none",
        "metadata": {"rtvoice_request": "say_1"},
    }
    assert begins(wire) == [ResponseStartedEvent(response_id="b1", request_id="say_1")]
    assert wire.sends() == []
    wire.ends("b1")
    [frame] = wire.sends()
    assert told(frame) == WORDS
    assert len(frame["item"]["id"]) <= 32


@pytest.mark.parametrize("status", ["failed", "cancelled", "incomplete"])
def test_words_that_were_not_generated_whole_are_not_told(wire: Any, status: str) -> None:
    says(wire)
    wire.sends()
    begins(wire)
    wire.ends("b1", status)

    assert wire.sends() == []


def test_each_words_have_a_response_of_their_own(wire: Any) -> None:
    says(wire, "One.", "say_1")
    says(wire, "Two.", "say_2")
    assert len(wire.sends()) == 1
    begins(wire, "b1", "say_1")
    wire.ends("b1")

    told_first, request = wire.sends()
    assert told(told_first) == "One."
    assert '"Two."' in request["response"]["instructions"]


def test_words_cut_while_they_are_spoken_are_told_as_far_as_they_were_heard(wire: Any) -> None:
    says(wire)
    wire.sends()
    begins(wire)
    wire.speaks("b1", "item_b1", 1_000)
    wire.user_starts()
    wire.does(cut("item_b1", 500))

    cancel, frame = wire.sends()
    assert cancel == {"type": "response.cancel", "response_id": "b1"}, "the server leaves it alone"
    assert told(frame)
    assert WORDS.startswith(told(frame))
    assert told(frame) != WORDS
    wire.ends("b1", "cancelled")
    wire.does(cut("item_b1", 700))
    assert wire.sends() == [], "nothing to truncate, nothing to tell twice"


def test_words_cut_after_they_were_told_are_corrected(wire: Any) -> None:
    says(wire)
    wire.sends()
    begins(wire)
    wire.speaks("b1", "item_b1", 1_000)
    wire.ends("b1")
    [frame] = wire.sends()
    wire.does(cut("item_b1", 500))

    deletion, correction = wire.sends()
    assert deletion == {"type": "conversation.item.delete", "item_id": frame["item"]["id"]}
    assert correction["item"]["id"] != frame["item"]["id"]
    assert WORDS.startswith(told(correction))


def test_words_of_which_nothing_was_heard_are_not_told(wire: Any) -> None:
    says(wire)
    wire.sends()
    begins(wire)
    wire.does(cut("item_b1", 0))

    assert [frame["type"] for frame in wire.sends()] == ["response.cancel"]


def test_words_wait_for_the_running_response_and_for_the_user(wire: Any) -> None:
    wire.begins("r1")
    says(wire)
    assert wire.sends() == []
    wire.user_starts()
    wire.ends("r1", "cancelled")
    assert wire.sends() == []
    wire.user_stops()
    wire.begins("own")
    wire.ends("own")

    assert len(wire.sends()) == 1, "the server's own response says something else"


def test_words_that_begin_when_the_user_has_begun_to_speak_wait_again(wire: Any) -> None:
    says(wire)
    wire.sends()
    wire.user_starts()
    assert begins(wire) == []
    assert wire.sends() == [{"type": "response.cancel", "response_id": "b1"}]
    wire.ends("b1", "cancelled")
    wire.user_stops()
    wire.passes(OWN_RESPONSE_WAIT_S)

    assert len(wire.sends()) == 1


def test_words_that_cross_a_response_of_the_servers_own_wait_again(wire: Any) -> None:
    """The service does not refuse them: both would be heard at once."""
    says(wire)
    [request] = wire.sends()
    own = {"id": "own", "conversation_id": "conv_1"}
    assert wire.hears("response.created", response=own) == [ResponseStartedEvent(response_id="own")]
    assert begins(wire) == []
    assert wire.speaks("b1", "item_b1", 100) == []
    assert wire.sends() == [{"type": "response.cancel", "response_id": "b1"}]
    assert len(wire.speaks("own", "i1", 100)) == 1

    wire.ends("own")
    assert wire.sends() == [request]
    wire.ends("b1", "cancelled")
    wire.does(RequestResponseCommand())
    assert wire.sends() == [], "the end of the first attempt is not the end of the second"
    begins(wire, "b2")
    wire.ends("b2")
    told_words, plain = wire.sends()
    assert (told(told_words), plain) == (WORDS, PLAIN)


def test_a_response_of_the_servers_own_does_not_end_the_words(wire: Any) -> None:
    says(wire)
    wire.sends()
    begins(wire)
    assert wire.begins("own") == [ResponseStartedEvent(response_id="own")]
    wire.ends("own")
    wire.ends("b1")

    [frame] = wire.sends()
    assert told(frame) == WORDS


def test_a_program_silences_words_and_answer_alike(wire: Any) -> None:
    says(wire)
    wire.sends()
    begins(wire)
    wire.does(AssistantInterruptedEvent(by_program=True))
    assert wire.sends() == [{"type": "response.cancel", "response_id": "b1"}]
    wire.begins("own")
    wire.does(AssistantInterruptedEvent(by_program=True))

    assert wire.sends() == [{"type": "response.cancel", "response_id": "b1"}, {"type": "response.cancel"}]


def test_words_that_are_unwanted_stay_unheard_while_the_server_answers(wire: Any) -> None:
    says(wire)
    wire.sends()
    wire.user_starts()
    begins(wire)
    wire.user_stops()
    wire.begins("own")

    assert wire.speaks("b1", "item_b1", 100) == []
    wire.does(RequestResponseCommand(instructions="Sing."))
    wire.ends("own")
    assert [frame["type"] for frame in wire.sends()] == ["response.cancel"], "the words have not ended yet"
    wire.ends("b1", "cancelled")
    assert len(wire.sends()) == 1


def test_words_do_not_make_other_requests_superfluous(wire: Any) -> None:
    says(wire)
    wire.sends()
    wire.does(RequestResponseCommand())
    begins(wire)
    wire.ends("b1")

    assert wire.sends()[1:] == [PLAIN]


def test_words_begun_late_leave_another_request_alone(wire: Any) -> None:
    wire.does(RequestResponseCommand())
    wire.sends()
    wire.user_starts()

    assert begins(wire, "b9", "say_9") != []
    wire.ends("b9")
    assert wire.protocol.response_active, "the request is still unanswered"


def test_what_another_client_says_beside_the_conversation_is_not_heard(wire: Any) -> None:
    wire.begins("r1")
    facts = wire.hears("response.created", response={"id": "x", "conversation_id": None, "metadata": {"other": 1}})

    assert facts == []
    assert wire.speaks("x", "ix", 100) == []
    assert wire.sends() == []
    assert wire.protocol.response_active


def test_a_server_need_not_give_metadata_back(wire: Any) -> None:
    says(wire)
    wire.sends()
    assert wire.begins("b1") == [ResponseStartedEvent(response_id="b1", request_id="say_1")]
    wire.ends("b1")

    assert [told(frame) for frame in wire.sends()] == [WORDS]


def test_a_server_that_knows_nothing_of_this_does_not_say_it_for_ever(wire: Any) -> None:
    says(wire)
    wire.sends()
    wire.hears("response.created", response={"id": "b1", "conversation_id": "conv_1"})
    wire.ends("b1")
    wire.passes(1_000)

    assert wire.sends() == []


def test_metadata_that_is_nonsense_is_none(wire: Any) -> None:
    assert begins(wire, request_id=["nonsense"]) == [ResponseStartedEvent(response_id="b1")]


def test_only_so_many_are_remembered() -> None:
    outbox = Outbox()
    sayings = Sayings(outbox)
    for number in range(REMEMBERED + 1):
        sayings.request(f"say_{number}", "words")
        sayings.began(f"r{number}", f"say_{number}")
        sayings.item(f"r{number}", f"i{number}")
    sayings.item("r_unknown", "i_unknown")

    sayings.ended("r0", completed=True)
    assert not outbox
    assert "r0" not in sayings
    sayings.ended("r1", completed=True)
    assert len(outbox.take()) == 1
    assert all(len(memory) == REMEMBERED for memory in vars(sayings).values() if memory is not outbox)
