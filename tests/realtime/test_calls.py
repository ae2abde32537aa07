import pytest

from rtvoice.realtime.calls import CALLS_LIMIT, REMEMBERED, Call, FollowUp, FunctionCalls


def report(
    calls: FunctionCalls,
    call_id: str | None = "c1",
    *,
    response_id: str = "r1",
    item_id: str = "i1",
    name: str | None = "tool",
    arguments: str | None = '{"a": 1}',
) -> Call | None:
    return calls.report(response_id, item_id, call_id, name, arguments)


def test_a_call_is_given_out_once() -> None:
    calls = FunctionCalls()

    call = report(calls)

    assert call is not None
    assert (call.call_id, call.response_id, call.name, call.arguments, call.problem) == (
        "c1",
        "r1",
        "tool",
        {"a": 1},
        None,
    )
    assert report(calls) is None
    assert report(calls, name="other", arguments="{}") is None
    assert calls.open == [call]
    assert calls.get("c1") is call
    assert calls.get("c2") is None


def test_a_report_without_name_or_id_is_completed_by_the_announcement() -> None:
    calls = FunctionCalls()
    calls.announce("i1", "c1", "tool")

    call = report(calls, None, name=None)

    assert call is not None
    assert (call.call_id, call.name) == ("c1", "tool")


def test_a_report_without_an_id_is_nothing() -> None:
    assert report(FunctionCalls(), None) is None


def test_a_later_report_mends_an_earlier_one() -> None:
    calls = FunctionCalls()

    assert report(calls, name=None) is None
    assert report(calls, arguments="{") is None
    call = report(calls, name=None)

    assert call is not None
    assert (call.name, call.problem) == ("tool", None)


@pytest.mark.parametrize("arguments", [None, "", "{", "nope", "{'a': 1}", "[" * 100_000, '{"a": ' + "9" * 5_000 + "}"])
def test_arguments_that_are_not_json_are_a_problem_when_the_response_is_over(arguments: str | None) -> None:
    calls = FunctionCalls()

    assert report(calls, arguments=arguments) is None
    [call] = calls.finish_response("r1", cancelled=False)

    assert call.problem is not None
    assert call.problem.startswith("The arguments are not valid JSON")


@pytest.mark.parametrize("arguments", ["null", "[1]", '"x"', "3", "true"])
def test_arguments_that_are_no_object_are_a_problem(arguments: str) -> None:
    calls = FunctionCalls()

    report(calls, arguments=arguments)
    [call] = calls.finish_response("r1", cancelled=False)

    assert call.problem == f"The arguments must be a JSON object, not {arguments}. Call again with a JSON object."


def test_a_call_without_a_name_is_a_problem() -> None:
    calls = FunctionCalls()

    report(calls, name=None)
    [call] = calls.finish_response("r1", cancelled=False)

    assert call.problem == "The call names no function."


def test_a_broken_call_of_a_cancelled_response_is_forgotten() -> None:
    calls = FunctionCalls()
    report(calls, "c1", arguments='{"a": ')
    report(calls, "c2", item_id="i2")

    assert calls.finish_response("r1", cancelled=True) == []

    assert [call.call_id for call in calls.open] == ["c2"]
    assert calls.was_cancelled("r1")
    assert report(calls, "c1") is None, "it must stay forgotten"


def test_a_call_reported_after_its_response_was_over_is_run() -> None:
    calls = FunctionCalls()
    calls.finish_response("r1", cancelled=False)

    call = report(calls)

    assert call is not None
    assert calls.answer("c1", "done") is call
    assert calls.follow_up("r1") == FollowUp(respond=True, instructions=[], last_item=0)


def test_a_broken_call_reported_after_its_response_was_over_is_answered_or_forgotten() -> None:
    calls = FunctionCalls()
    calls.finish_response("r1", cancelled=False)
    calls.finish_response("r2", cancelled=True)

    broken = report(calls, "c1", arguments="")
    assert broken is not None
    assert broken.problem is not None
    assert report(calls, "c2", response_id="r2", arguments="") is None
    assert calls.get("c2") is None


def test_an_answer_counts_once() -> None:
    calls = FunctionCalls()
    call = report(calls)

    assert calls.answer("c1", "first") is call
    assert calls.answer("c1", "second") is None
    assert calls.answer("unknown", "x") is None
    assert call is not None
    assert call.output == "first"
    assert calls.open == []


def test_an_output_waits_for_the_holding_phrase() -> None:
    calls = FunctionCalls()
    call = report(calls)
    assert call is not None
    call.awaits_phrase = True

    assert calls.answer("c1", "done") is None
    assert calls.answer("c1", "again") is None
    assert calls.release("c1") is call
    assert calls.release("c1") is None
    assert call.output == "done"


def test_a_phrase_may_be_over_before_the_output_is_there() -> None:
    calls = FunctionCalls()
    call = report(calls)
    assert call is not None
    call.awaits_phrase = True

    assert calls.release("c1") is None
    assert calls.answer("c1", "done") is call
    assert calls.release("unknown") is None


def test_the_follow_up_comes_once_when_all_is_answered_and_the_response_is_over() -> None:
    calls = FunctionCalls()
    first, second = report(calls, "c1"), report(calls, "c2", item_id="i2")
    assert first is not None
    assert second is not None
    assert calls.unfinished == ["r1"]

    calls.answer("c2", "two", instruction="loud")
    second.item_number = 4
    assert calls.follow_up("r1") is None
    calls.answer("c1", "one", instruction="soft")
    first.item_number = 7
    assert calls.follow_up("r1") is None
    calls.finish_response("r1", cancelled=False)

    assert calls.unfinished == []
    assert calls.follow_up("r1") == FollowUp(respond=True, instructions=["soft", "loud"], last_item=7)
    assert calls.follow_up("r1") is None
    assert report(calls, "c1") is None, "late repetitions are no new calls"


def test_instructions_are_not_repeated_and_silent_calls_have_none() -> None:
    calls = FunctionCalls()
    for call_id in ("c1", "c2", "c3", "c4"):
        report(calls, call_id, item_id=call_id)
    calls.answer("c1", "x", instruction="soft")
    calls.answer("c2", "x", instruction="soft")
    calls.answer("c3", "x", instruction="silent", respond=False)
    calls.answer("c4", "x")
    calls.finish_response("r1", cancelled=False)

    follow_up = calls.follow_up("r1")

    assert follow_up is not None
    assert (follow_up.respond, follow_up.instructions) == (True, ["soft"])


def test_all_silent_calls_need_no_response() -> None:
    calls = FunctionCalls()
    report(calls)
    calls.answer("c1", "x", respond=False)
    calls.finish_response("r1", cancelled=False)

    assert calls.follow_up("r1") == FollowUp(respond=False, instructions=[], last_item=0)


def test_finished_calls_of_a_cancelled_response_are_followed_up_like_others() -> None:
    calls = FunctionCalls()
    report(calls)
    calls.answer("c1", "x")
    calls.finish_response("r1", cancelled=True)

    assert calls.follow_up("r1") == FollowUp(respond=True, instructions=[], last_item=0)


def test_only_so_many_calls_at_once(caplog: pytest.LogCaptureFixture) -> None:
    calls = FunctionCalls()
    for number in range(CALLS_LIMIT):
        assert report(calls, f"c{number}", item_id=f"i{number}") is not None

    assert report(calls, "one too many", item_id="x") is None

    assert len(calls.open) == CALLS_LIMIT
    assert "one is ignored" in caplog.text


def test_memories_are_bounded() -> None:
    calls = FunctionCalls()
    for number in range(REMEMBERED + 10):
        calls.announce(f"i{number}", f"c{number}", "tool")
        report(calls, f"c{number}", response_id=f"r{number}", item_id=f"i{number}")
        calls.answer(f"c{number}", "x")
        calls.finish_response(f"r{number}", cancelled=False)
        calls.follow_up(f"r{number}")

    assert report(calls, None, item_id="i9", name=None) is None
    assert calls.open == []
    assert not calls.was_cancelled("r9")
    assert {name: len(value) for name, value in vars(calls).items()} == {
        "_long_calls": 0,
        "_responses": 0,
        "_calls": 0,
        "_announced": REMEMBERED,
        "_past": REMEMBERED,
        "_finished": REMEMBERED,
    }


def test_a_long_call_holds_nobody_up() -> None:
    calls = FunctionCalls(long_calls={"supervisor"})
    report(calls, "c1", name="supervisor")
    report(calls, "c2")
    calls.finish_response("r1", cancelled=False)
    calls.answer("c2", "18 degrees", instruction="Be brief.")
    assert calls.follow_up("r1") == FollowUp(True, ["Be brief."], 0)
    assert calls.follow_up("r1") is None
    assert [call.call_id for call in calls.open] == ["c1"]
    calls.answer("c1", "found")
    assert calls.follow_up("r1") == FollowUp(True, [], 0)
    assert calls.follow_up("r1") is None
    assert calls.open == []


def test_a_long_call_that_is_answered_first_waits_for_the_others() -> None:
    calls = FunctionCalls(long_calls={"supervisor"})
    report(calls, "c1", name="supervisor")
    report(calls, "c2")
    calls.finish_response("r1", cancelled=False)
    calls.answer("c1", "It is running already.", instruction="Say so.")
    assert calls.follow_up("r1") is None
    calls.answer("c2", "18 degrees", instruction="Be brief.")
    assert calls.follow_up("r1") == FollowUp(True, ["Say so.", "Be brief."], 0)
