"""Tool calls in pieces, as various servers send them."""

from types import SimpleNamespace
from typing import Any

from rtvoice.llm.tool_call_deltas import ToolCallDeltas


def delta(index: int | None, call_id: str | None = None, name: str | None = None, arguments: str | None = None) -> Any:
    return SimpleNamespace(index=index, id=call_id, function=SimpleNamespace(name=name, arguments=arguments))


def collected(*chunks: list[Any]) -> list[tuple[str, str, str]]:
    calls = ToolCallDeltas()
    for chunk in chunks:
        calls.add(chunk)
    return [(call.id, call.function.name, call.function.arguments) for call in calls.finish()]


def test_openai_sends_the_name_once_and_the_arguments_in_pieces() -> None:
    assert collected(
        [delta(0, "a", "look", "")],
        [delta(0, arguments='{"up":')],
        [delta(0, arguments='"it"}')],
        [delta(1, "b", "go", "{}")],
    ) == [("a", "look", '{"up":"it"}'), ("b", "go", "{}")]


def test_two_calls_in_turns() -> None:
    assert collected(
        [delta(0, "a", "look"), delta(1, "b", "go")], [delta(1, arguments="{}"), delta(0, arguments="[]")]
    ) == [("a", "look", "[]"), ("b", "go", "{}")]


def test_some_servers_give_every_call_the_same_index_and_others_none() -> None:
    assert collected([delta(0, "a", "look", "{}")], [delta(0, "b", "go", "{}")]) == [
        ("a", "look", "{}"),
        ("b", "go", "{}"),
    ]
    assert collected([delta(None, "a", "look", "{}")]) == [("a", "look", "{}")]


def test_some_servers_make_up_an_id_for_every_piece() -> None:
    pieces = [[delta(0, "a", "look", "")], [delta(0, "b", None, '{"up":')], [delta(0, "c", "", '"it"}')]]
    assert collected(*pieces) == [("a", "look", '{"up":"it"}')]


def test_what_is_missing_is_made_up_or_left_out() -> None:
    assert collected([delta(0, None, "look", "{}")]) == [("call_1", "look", "{}")]
    assert collected([delta(0, "a", None, "{}")]) == []
    assert collected([SimpleNamespace(index=0, id="a", function=None)], [delta(0, "a", "look")]) == [("a", "look", "")]
