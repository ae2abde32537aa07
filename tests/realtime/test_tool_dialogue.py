"""Function calls, row by row of what was promised about them, through the whole protocol."""

from collections.abc import Callable
from typing import Any

import pytest

from rtvoice.events import (
    ResponseFinishedEvent,
    SpeakHoldingPhraseCommand,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)
from rtvoice.realtime.responses import OWN_RESPONSE_WAIT_S, WAITING_PHRASES

PLAIN = {"type": "response.create"}


def requested(call_id: str, response_id: str = "r1", name: str = "tool", **arguments: Any) -> ToolCallRequestedEvent:
    return ToolCallRequestedEvent(call_id=call_id, name=name, arguments=arguments, response_id=response_id)


def finished(call_id: str, output: str = "42", **fields: Any) -> ToolCallFinishedEvent:
    return ToolCallFinishedEvent(call_id=call_id, name="tool", output=output, **fields)


def phrase(call_id: str, words: str = "One moment.") -> SpeakHoldingPhraseCommand:
    return SpeakHoldingPhraseCommand(call_id=call_id, phrase=words)


def output(call_id: str, text: str = "42") -> dict[str, Any]:
    item = {"type": "function_call_output", "call_id": call_id, "output": text}
    return {"type": "conversation.item.create", "item": item}


def says(frame: dict[str, Any]) -> str:
    """Return the instructions of a request for a holding phrase."""
    assert frame["type"] == "response.create"
    assert frame["response"].keys() == {"instructions", "tool_choice"}
    assert frame["response"]["tool_choice"] == "none"
    return str(frame["response"]["instructions"])


# --- reports ---


def test_a_call_that_is_reported_three_times_is_run_once(wire: Any) -> None:
    item = {"id": "item_c1", "type": "function_call", "call_id": "c1", "name": "tool", "arguments": '{"a": 1}'}
    wire.begins("r1")
    wire.hears("response.output_item.added", response_id="r1", item=item | {"arguments": "", "status": "in_progress"})

    facts = wire.calls("r1", "c1", arguments='{"a": 1}')
    assert facts == [requested("c1", a=1)]
    done = item | {"status": "completed"}
    assert wire.hears("response.output_item.done", response_id="r1", item=done) == []
    assert [type(fact) for fact in wire.ends("r1", output=[done])] == [ResponseFinishedEvent]


@pytest.mark.parametrize("report", ["arguments", "item", "response"])
def test_any_of_the_three_reports_will_do(wire: Any, report: str) -> None:
    item = {
        "id": "item_c1",
        "type": "function_call",
        "call_id": "c1",
        "name": "tool",
        "arguments": '{"a": 1}',
        "status": "completed",
    }
    wire.begins("r1")
    if report == "arguments":
        facts = wire.calls("r1", "c1", arguments='{"a": 1}')
    elif report == "item":
        facts = wire.hears("response.output_item.done", response_id="r1", item=item)
    else:
        facts = wire.ends("r1", output=[item])

    assert requested("c1", a=1) in facts


@pytest.mark.parametrize("announced_by", ["response.output_item.added", "conversation.item.added"])
def test_a_missing_name_is_taken_from_the_item(wire: Any, announced_by: str) -> None:
    wire.begins("r1")
    wire.hears(announced_by, item={"id": "i1", "type": "function_call", "call_id": "c1", "name": "tool"})

    facts = wire.hears("response.function_call_arguments.done", response_id="r1", item_id="i1", arguments="{}")

    assert facts == [requested("c1")]


def test_a_report_without_a_response_belongs_to_the_running_one(wire: Any) -> None:
    wire.begins("r1")

    assert wire.hears("response.function_call_arguments.done", call_id="c1", name="tool", arguments="{}") == [
        requested("c1")
    ]


def test_items_that_are_no_calls_are_none(wire: Any) -> None:
    wire.begins("r1")
    message = {"id": "i", "type": "message", "status": "completed", "call_id": "c1", "name": "x", "arguments": "{}"}

    assert wire.hears("response.output_item.done", response_id="r1", item=message) == []


# --- one call, several calls ---


def test_output_then_one_request(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.ends("r1")

    wire.does(finished("c1"))

    assert wire.sends() == [output("c1"), PLAIN]
    assert wire.protocol.open_calls == []


def test_the_output_goes_out_while_the_calling_response_runs_but_the_request_waits(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    assert [call.call_id for call in wire.protocol.open_calls] == ["c1"]

    wire.does(finished("c1"))
    assert wire.sends() == [output("c1")]
    wire.ends("r1")
    assert wire.sends() == [PLAIN]


def test_the_output_goes_out_while_another_response_runs(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.ends("r1")
    wire.begins("r2")

    wire.does(finished("c1"))
    assert wire.sends() == [output("c1")]
    wire.ends("r2")
    assert wire.sends() == [PLAIN]


def test_several_calls_of_one_response_have_one_request(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.calls("r1", "c2")
    wire.ends("r1")

    wire.does(finished("c2"))
    assert wire.sends() == [output("c2")]
    wire.does(finished("c1"))
    assert wire.sends() == [output("c1"), PLAIN]


def test_result_instructions_are_joined_in_call_order_without_repetition(connect: Callable[..., Any]) -> None:
    wire = connect(instructions="You are Ada.")
    wire.begins("r1")
    for call_id in ("c1", "c2", "c3", "c4"):
        wire.calls("r1", call_id)
    wire.ends("r1")
    for call_id, instruction in (("c4", "Be calm."), ("c3", None), ("c2", "Be calm."), ("c1", "Be brief.")):
        wire.does(finished(call_id, result_instruction=instruction))

    frames = wire.sends()

    assert frames[:4] == [output(call_id) for call_id in ("c4", "c3", "c2", "c1")]
    assert frames[4:] == [
        {
            "type": "response.create",
            "response": {"instructions": "You are Ada.\n\nBe brief.\nBe calm.", "tool_choice": "auto"},
        }
    ]


def test_follow_ups_of_several_responses_merge(wire: Any) -> None:
    for response_id in ("r1", "r2"):
        wire.begins(response_id)
        wire.calls(response_id, f"c{response_id}")
        wire.ends(response_id)
    wire.begins("r3")
    wire.does(finished("cr1", result_instruction="One."), finished("cr2", result_instruction="Two."))
    wire.sends()
    wire.ends("r3")

    [frame] = wire.sends()

    assert frame["response"]["instructions"] == "One.\nTwo."
    assert wire.sends() == []


def test_silent_calls_ask_for_nothing(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.calls("r1", "c2")
    wire.ends("r1")

    wire.does(finished("c1", respond=False), finished("c2", respond=False, result_instruction="Unheard."))

    assert wire.sends() == [output("c1"), output("c2")]


def test_one_call_that_is_not_silent_is_enough(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.calls("r1", "c2")
    wire.ends("r1")

    wire.does(finished("c1", respond=False), finished("c2"))

    assert wire.sends() == [output("c1"), output("c2"), PLAIN]


def test_an_answer_counts_once_and_only_for_known_calls(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.ends("r1")
    wire.does(finished("c1"), finished("c1", "other"), finished("unknown"))

    assert wire.sends() == [output("c1"), PLAIN]


# --- calls that cannot be run ---


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("tool", '{"a"', "not valid JSON"),
        ("tool", "", "not valid JSON"),
        ("tool", "null", "must be a JSON object, not null"),
        ("tool", "[1]", "must be a JSON object, not [1]"),
        (None, "{}", "names no function"),
    ],
)
def test_a_call_that_cannot_be_run_is_answered(wire: Any, name: str | None, arguments: str, problem: str) -> None:
    wire.begins("r1")
    assert wire.calls("r1", "c1", name, arguments) == []
    assert wire.sends() == []

    wire.ends("r1")

    sent, request = wire.sends()
    assert sent["item"]["call_id"] == "c1"
    assert sent["item"]["output"].startswith("Error: ")
    assert problem in sent["item"]["output"]
    assert request == PLAIN


def test_a_broken_report_can_still_be_mended(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1", arguments="{")

    assert wire.calls("r1", "c1", arguments="{}") == [requested("c1")]
    wire.ends("r1")
    assert wire.sends() == []


def test_a_broken_call_of_a_cancelled_response_is_not_answered(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1", arguments='{"a": ')
    item = {"id": "i", "type": "function_call", "call_id": "c1", "status": "incomplete", "arguments": '{"a": '}
    wire.hears("response.output_item.done", response_id="r1", item=item)
    wire.ends("r1", "cancelled", output=[item])

    assert wire.sends() == []
    assert wire.protocol.open_calls == []


def test_a_broken_call_that_is_reported_late_is_answered(wire: Any) -> None:
    wire.begins("r1")
    wire.ends("r1")

    assert wire.calls("r1", "c1", arguments="{") == []
    assert [frame["type"] for frame in wire.sends()] == ["conversation.item.create", "response.create"]


def test_a_call_that_is_reported_late_is_run(wire: Any) -> None:
    wire.begins("r1")
    wire.ends("r1")

    assert wire.calls("r1", "c1") == [requested("c1")]
    wire.does(finished("c1"))
    assert wire.sends() == [output("c1"), PLAIN]


@pytest.mark.parametrize("early", [True, False])
def test_a_finished_call_of_a_cancelled_response_is_answered_and_followed_up(wire: Any, *, early: bool) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    if early:
        wire.does(finished("c1"))
    wire.ends("r1", "cancelled")
    if not early:
        wire.does(finished("c1"))

    assert wire.sends() == [output("c1"), PLAIN]


def test_a_response_whose_end_is_lost_ends_with_the_next(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.does(finished("c1", result_instruction="Be brief."))
    wire.sends()

    facts = wire.begins("r2")
    assert facts[0] == ResponseFinishedEvent(response_id="r1", status="incomplete")
    wire.ends("r2")

    [frame] = wire.sends()
    assert frame["response"]["instructions"] == "Be brief."
    assert wire.ends("r1") == [], "too late"


def test_a_call_in_another_response_ends_those_before(wire: Any) -> None:
    wire.calls("r1", "c1")
    wire.does(finished("c1"))
    wire.calls("r2", "c2")

    assert wire.sends() == [output("c1"), PLAIN]


# --- holding phrases ---


def test_holding_phrase_then_output_then_result(connect: Callable[..., Any]) -> None:
    wire = connect(instructions="You are Ada.")
    wire.protocol.start()
    wire.sends()
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.does(phrase("c1", "Let me {see}."))
    assert wire.sends() == [], "the calling response still runs"
    wire.ends("r1")

    [holding] = wire.sends()
    assert says(holding).startswith("You are Ada.\n\n")
    assert "Let me {see}." in says(holding)

    wire.begins("r2")
    wire.does(finished("c1", result_instruction="Be brief."))
    assert wire.sends() == [output("c1")]
    wire.ends("r2")
    assert wire.sends() == [
        {"type": "response.create", "response": {"instructions": "You are Ada.\n\nBe brief.", "tool_choice": "auto"}}
    ]


def test_the_phrase_comes_first_even_if_the_tool_is_faster(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.does(phrase("c1"), finished("c1"))
    assert wire.sends() == []
    assert [call.call_id for call in wire.protocol.open_calls] == ["c1"]
    wire.ends("r1")

    holding, answer = wire.sends()
    assert "One moment." in says(holding)
    assert answer == output("c1")
    wire.begins("r2")
    wire.ends("r2")
    assert wire.sends() == [PLAIN]


def test_phrases_of_several_calls_are_one_request(wire: Any) -> None:
    wire.begins("r1")
    for call_id, words in (("c1", "First."), ("c2", "Second."), ("c3", "First.")):
        wire.calls("r1", call_id)
        wire.does(phrase(call_id, words))
    wire.does(finished("c2"))
    wire.ends("r1")

    holding, answer = wire.sends()

    assert "First. Second." in says(holding)
    assert says(holding).count("First.") == 1
    assert answer == output("c2")


def test_the_phrase_is_dropped_if_the_user_is_speaking(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.user_starts()
    wire.does(phrase("c1"), finished("c1"))

    assert wire.sends() == [output("c1")]


def test_the_phrase_is_dropped_when_the_user_begins_to_speak(wire: Any) -> None:
    wire.begins("r1")
    for call_id in ("c1", "c2"):
        wire.calls("r1", call_id)
        wire.does(phrase(call_id))
    wire.does(finished("c1"))
    wire.user_starts()

    assert wire.sends() == [output("c1")], "its output waits no longer"
    wire.ends("r1", "cancelled")
    wire.does(finished("c2"))
    assert wire.sends() == [output("c2")]


def test_the_phrase_is_dropped_if_the_calling_response_was_cancelled(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.ends("r1", "cancelled")
    wire.does(phrase("c1"), finished("c1"))

    assert wire.sends() == [output("c1"), PLAIN]


def test_the_phrase_is_dropped_when_the_calling_response_is_cancelled(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.does(phrase("c1"), finished("c1"))
    wire.ends("r1", "cancelled")

    assert wire.sends() == [output("c1"), PLAIN]


def test_a_phrase_for_no_call_or_an_answered_one_is_nothing(wire: Any) -> None:
    wire.does(phrase("unknown"))
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.does(finished("c1"), phrase("c1"))
    wire.sends()
    wire.ends("r1")

    assert wire.sends() == [PLAIN]


def test_phrases_that_are_too_many_do_not_hold_up_the_output(wire: Any) -> None:
    for number in range(WAITING_PHRASES + 1):
        wire.begins(f"r{number}")
        wire.calls(f"r{number}", f"c{number}")
        wire.does(phrase(f"c{number}"))

    wire.does(finished("c0"), finished(f"c{WAITING_PHRASES}"))

    assert wire.sends() == [output(f"c{WAITING_PHRASES}")]


def test_a_refused_phrase_is_asked_for_again(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.does(phrase("c1"))
    wire.ends("r1")
    wire.sends()
    [event_id] = wire.ids

    wire.begins("own")
    assert wire.objects("conversation_already_has_active_response", event_id) == []
    wire.ends("own")

    [holding] = wire.sends()
    assert "One moment." in says(holding)


# --- with the server's own responses ---


def test_the_servers_own_response_answers_what_it_has_seen(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.ends("r1")
    wire.user_starts()
    wire.does(finished("c1"))
    assert wire.sends() == [output("c1")]
    wire.adds_output("c1")
    wire.user_stops()
    assert wire.sends() == []
    wire.begins("own")
    wire.ends("own")

    assert wire.sends() == []
    wire.passes(100)
    assert wire.sends() == []


def test_outputs_that_were_acknowledged_before_their_siblings_count(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.calls("r1", "c2")
    wire.ends("r1")
    wire.does(finished("c1"))
    wire.sends()
    wire.adds_output("c1")
    wire.user_starts()
    wire.does(finished("c2"))
    wire.sends()
    wire.adds_output("c2")
    wire.user_stops()
    wire.begins("own")
    wire.ends("own")

    assert wire.sends() == []


def test_an_output_that_came_too_late_is_answered_afterwards(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.ends("r1")
    wire.user_starts()
    wire.user_stops()
    wire.does(finished("c1"))
    assert wire.sends() == [output("c1")]
    wire.begins("own")
    wire.adds_output("c1")
    wire.ends("own")

    assert wire.sends() == [PLAIN]


def test_a_result_instruction_is_kept_for_after_the_servers_own_response(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.ends("r1")
    wire.user_starts()
    wire.does(finished("c1", result_instruction="Be brief."))
    wire.sends()
    wire.adds_output("c1")
    wire.user_stops()
    wire.begins("own")
    wire.ends("own")

    [frame] = wire.sends()
    assert frame["response"]["instructions"] == "Be brief."


def test_if_the_server_opens_no_response_the_request_is_sent_after_a_while(wire: Any) -> None:
    wire.begins("r1")
    wire.calls("r1", "c1")
    wire.ends("r1")
    wire.user_starts()
    wire.does(finished("c1"))
    wire.sends()
    wire.user_stops()

    assert wire.protocol.deadline() == wire.now + OWN_RESPONSE_WAIT_S
    wire.passes(OWN_RESPONSE_WAIT_S)
    assert wire.sends() == [PLAIN]
