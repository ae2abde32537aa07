"""The checks and the words of their refusals."""

from typing import Any

import pytest

from rtvoice.testing import validation as v


def refusal(check: v.Check, value: Any, path: str = "p") -> v.RequestRefused:
    with pytest.raises(v.RequestRefused) as caught:
        check(value, path)
    return caught.value


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (v.string(), ""),
        (v.string(longest=2), "ab"),
        (v.string(pattern="[a-z]+"), "abc"),
        (v.boolean, False),
        (v.integer(1), 10**9),
        (v.integer(1, 2), 2),
        (v.number(0, 1), 1),
        (v.number(0, 1), 0.5),
        (v.one_of("a", "b"), "b"),
        (v.nullable(v.boolean), None),
        (v.nullable(v.boolean), True),
        (v.list_of(v.boolean), [True, False]),
        (v.map_of(v.string(), longest_key=3, most=1), {"abc": "x"}),
        (v.obj({"a": v.boolean}), {}),
        (v.obj({"a": v.boolean}, required=["a"]), {"a": True}),
        (v.any_object, {"x": 1}),
        (v.tagged("t", {"a": v.any_object}), {"t": "a"}),
    ],
)
def test_good_values_pass(check: v.Check, good: Any) -> None:
    check(good, "p")


@pytest.mark.parametrize(
    ("check", "bad", "code", "param"),
    [
        (v.string(), 1, "invalid_type", "p"),
        (v.string(longest=2), "abc", "string_above_max_length", "p"),
        (v.string(pattern="[a-z]+"), "abC", "invalid_value", "p"),
        (v.boolean, 1, "invalid_type", "p"),
        (v.integer(1), 1.0, "invalid_type", "p"),
        (v.integer(1), True, "invalid_type", "p"),
        (v.integer(1), 0, "invalid_value", "p"),
        (v.integer(1, 2), 3, "invalid_value", "p"),
        (v.number(0, 1), "1", "invalid_type", "p"),
        (v.number(0, 1), True, "invalid_type", "p"),
        (v.number(0, 1), 1.1, "invalid_value", "p"),
        (v.number(0, 1), -0.1, "invalid_value", "p"),
        (v.one_of("a", "b"), "c", "invalid_value", "p"),
        (v.one_of("a", "b"), ["a"], "invalid_value", "p"),
        (v.nullable(v.boolean), 0, "invalid_type", "p"),
        (v.list_of(v.boolean), {}, "invalid_type", "p"),
        (v.list_of(v.boolean), [True, None], "invalid_type", "p[1]"),
        (v.map_of(v.string(), longest_key=3, most=1), [], "invalid_type", "p"),
        (v.map_of(v.string(), longest_key=3, most=1), {"a": "", "b": ""}, "invalid_value", "p"),
        (v.map_of(v.string(), longest_key=3, most=1), {"abcd": ""}, "string_above_max_length", "p.abcd"),
        (v.map_of(v.string(), longest_key=3, most=1), {"a": 1}, "invalid_type", "p.a"),
        (v.obj({"a": v.boolean}), "x", "invalid_type", "p"),
        (v.obj({"a": v.boolean}, required=["a"]), {}, "missing_required_parameter", "p.a"),
        (v.obj({"a": v.boolean}), {"b": 1}, "unknown_parameter", "p.b"),
        (v.obj({"a": v.boolean}), {"a": 1}, "invalid_type", "p.a"),
        (v.any_object, [], "invalid_type", "p"),
        (v.tagged("t", {"a": v.any_object}), None, "invalid_type", "p"),
        (v.tagged("t", {"a": v.any_object}), {}, "missing_required_parameter", "p.t"),
        (v.tagged("t", {"a": v.any_object}), {"t": "b"}, "invalid_value", "p.t"),
        (v.tagged("t", {"a": v.any_object}), {"t": ["a"]}, "invalid_value", "p.t"),
    ],
)
def test_bad_values_are_refused(check: v.Check, bad: Any, code: str, param: str) -> None:
    refused = refusal(check, bad)
    assert (refused.code, refused.param, refused.error_type) == (code, param, "invalid_request_error")
    assert str(refused) == refused.message


def test_the_path_of_a_top_level_field_has_no_dot() -> None:
    assert refusal(v.obj({}, required=["session"]), {}, "").message == "Missing required parameter: 'session'."


def test_allowed_values_are_listed_as_the_service_does() -> None:
    assert v.quoted(["a"]) == "'a'"
    assert v.quoted(["a", "b"]) == "'a' and 'b'"
    assert refusal(v.one_of("a", "b", "c"), "d").message == (
        "Invalid value: 'd'. Supported values are: 'a', 'b', and 'c'."
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "an integer"),
        (1.5, "a decimal number"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_a_wrong_type_is_named(value: Any, kind: str) -> None:
    assert refusal(v.string(), value).message == f"Invalid type for 'p': expected a string, but got {kind} instead."


def test_a_wrong_string_is_named() -> None:
    assert "but got a string instead" in refusal(v.boolean, "x").message
