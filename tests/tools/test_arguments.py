import enum
import json
import logging
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from rtvoice.errors import ToolDefinitionError
from rtvoice.tools import Inject, Tool
from rtvoice.tools.arguments import Arguments, model_arguments, raw_arguments, signature_arguments
from rtvoice.tools.feedback import explain
from rtvoice.tools.signature import read_parameters


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Stop(BaseModel):
    city: str
    nights: int = Field(default=1, ge=1)


@dataclass
class Point:
    x: int
    y: int = 0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Opaque: ...


def arguments_of(function: Callable[..., Any]) -> Arguments:
    return signature_arguments("tool", read_parameters(function, "tool"))


def keywords(function: Callable[..., Any], arguments: dict[str, Any], *, from_json: bool = True) -> dict[str, Any]:
    how = arguments_of(function)
    return how.keywords(how.validate(arguments, from_json=from_json))


def keyword(annotation: Any, value: Any, *, from_json: bool = True) -> Any:
    def function(value) -> None: ...  # type: ignore[no-untyped-def]

    function.__annotations__["value"] = annotation
    return keywords(function, {"value": value}, from_json=from_json)["value"]


@pytest.mark.parametrize("from_json", [True, False])
@pytest.mark.parametrize(
    ("annotation", "sent", "received"),
    [
        (int, "5", 5),
        (int, 5.0, 5),
        (float, 5, 5.0),
        (bool, "true", True),
        (Color, "red", Color.RED),
        (Literal[1, 2], 2, 2),
        (Stop, {"city": "Oslo"}, Stop(city="Oslo")),
        (list[Stop], [{"city": "Oslo", "nights": "2"}], [Stop(city="Oslo", nights=2)]),
        (Point, {"x": "1"}, Point(1)),
        (Movie, {"title": "M", "year": "1931"}, {"title": "M", "year": 1931}),
        (set[int], [1, 1, "2"], {1, 2}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (Iterable[int], ["1"], [1]),
        (Collection[int], ["1"], [1]),
        (date, "2026-01-02", date(2026, 1, 2)),
        (UUID, "12345678123456781234567812345678", UUID("12345678123456781234567812345678")),
        (bytes, "abc", b"abc"),
        (int | None, None, None),
        (int | str, "5", "5"),
        (dict[int, float], {"1": "2"}, {1: 2.0}),
        (Any, {"any": [1]}, {"any": [1]}),
        (Annotated[int, "text"], "5", 5),
    ],
    ids=str,
)
def test_values_are_converted(annotation: Any, sent: Any, received: Any, from_json: bool) -> None:
    got = keyword(annotation, sent, from_json=from_json)
    assert (got, type(got)) == (received, type(received))


def test_values_without_annotation_come_as_they_are() -> None:
    assert keywords(lambda value: None, {"value": [1, "2"]}) == {"value": [1, "2"]}


def test_python_callers_may_pass_objects() -> None:
    stop, opaque = Stop(city="Oslo"), Opaque()
    assert keyword(Stop, stop, from_json=False) is stop
    assert keyword(Opaque, opaque, from_json=False) is opaque


def test_unknown_names_are_dropped() -> None:
    assert keywords(lambda city: None, {"city": "Oslo", "extra": 1}) == {"city": "Oslo"}


def test_what_is_left_out_is_left_to_the_function() -> None:
    def function(city: str, stops: list[Stop] = [], *, color: Color = Color.RED) -> None: ...  # noqa: B006

    assert keywords(function, {"city": "Oslo"}) == {"city": "Oslo"}


def test_names_that_pydantic_could_not_use_as_fields() -> None:
    def function(
        model_config: int, _private: int, json: int, schema: int, copy: int, self_: int, class_: int
    ) -> None: ...

    names = ["model_config", "_private", "json", "schema", "copy", "self_", "class_"]
    assert keywords(function, dict.fromkeys(names, "1")) == dict.fromkeys(names, 1)


def test_an_alias_in_a_parameter_does_not_rename_it() -> None:
    def function(city: Annotated[str, Field(alias="town")]) -> None: ...

    assert keywords(function, {"city": "Oslo"}) == {"city": "Oslo"}


def test_field_as_default() -> None:
    def function(city: str = Field(description="A city"), days: int = Field(default=3, ge=1)) -> None: ...

    assert arguments_of(function).schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "A city"},
            "days": {"type": "integer", "default": 3, "minimum": 1},
        },
        "required": ["city"],
    }
    assert keywords(function, {"city": "Oslo"}) == {"city": "Oslo", "days": 3}
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        keywords(function, {"city": "Oslo", "days": 0})


def test_default_inside_annotated_fills_a_required_parameter() -> None:
    def function(days: Annotated[int, Field(default=3)]) -> None: ...

    assert keywords(function, {}) == {"days": 3}


def test_json_rules_for_strict_models() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        day: date
        tags: set[str]

    how = model_arguments("tool", Strict, read_parameters(lambda params: None, "tool"))
    sent = {"day": "2026-01-02", "tags": ["a"]}
    assert how.keywords(how.validate(sent, from_json=True)) == {"params": Strict(day=date(2026, 1, 2), tags={"a"})}
    with pytest.raises(ValidationError):
        how.validate(sent, from_json=False)


def test_nan_and_infinity_reach_a_float() -> None:
    assert keyword(float, float("inf")) == float("inf")
    assert keyword(float, float("nan")) != keyword(float, float("nan"))


@pytest.mark.parametrize("annotation", [Opaque, list[Opaque], Opaque | None])
def test_types_that_json_cannot_make_come_as_they_were_sent(annotation: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert keyword(annotation, ["text"]) == ["text"]
    assert "tool 'tool', parameter 'value'" in caplog.text
    assert "cannot be made from JSON" in caplog.text
    assert "write Inject[...]" in caplog.text


def test_a_part_that_json_has_no_word_for_may_be_left_out() -> None:
    class Job(BaseModel):
        name: str
        then: Callable[[], None] = dict

    assert keyword(Job, {"name": "x"}) == Job(name="x")
    with pytest.raises(ValidationError, match="Input should be callable"):
        keyword(Job, {"name": "x", "then": "print"})


def test_an_annotation_that_is_no_type() -> None:
    def function(value: 5, items: Iterator[int]) -> None: ...  # type: ignore[valid-type]

    assert arguments_of(function).schema["properties"] == {"value": {"type": "string"}, "items": {"type": "string"}}


def test_a_model_that_is_not_complete() -> None:
    class Half(BaseModel):
        other: "NotThere"  # type: ignore[name-defined]  # noqa: F821

    def function(value: Half) -> None: ...

    with pytest.raises(
        ToolDefinitionError, match=r"tool 'tool', parameter 'value': Half cannot be used .* not fully defined"
    ):
        arguments_of(function)


def test_raw_arguments() -> None:
    how = raw_arguments(read_parameters(lambda data: None, "tool")[0], {"type": "object"})
    sent = types.MappingProxyType({"a": [1]})
    validated = how.validate(sent, from_json=True)
    assert how.schema == {"type": "object"}
    assert how.keywords(validated) == {"data": {"a": [1]}}


# param_model: where the instance goes


def place(function: Callable[..., Any]) -> list[str]:
    parameters = read_parameters(function, "tool")
    how = model_arguments("tool", Stop, parameters)
    return list(how.keywords(how.validate({"city": "Oslo"}, from_json=True)))


def by_class(other: int = 1, *, stop: Stop) -> None: ...
def by_optional_class(stop: Stop | None, other: int = 1) -> None: ...
def by_annotated_class(other: Inject[Color], stop: Annotated[Stop, "text"], more: int = 2) -> None: ...
def only_one(stop: Any, state: Inject[Color]) -> None: ...
def only_one_with_default(stop: int = 1) -> None: ...
def only_one_required(other: int = 1, *, stop: Any) -> None: ...


@pytest.mark.parametrize(
    "function",
    [by_class, by_optional_class, by_annotated_class, only_one, only_one_with_default, only_one_required],
    ids=lambda function: function.__name__,
)
def test_place_of_the_model(function: Callable[..., Any]) -> None:
    assert place(function) == ["stop"]


def nowhere() -> None: ...
def only_keywords(**kwargs: Any) -> None: ...
def only_injected(state: Inject[Color]) -> None: ...
def two_places(a: Stop, b: Stop) -> None: ...
def two_candidates(a: int, b: str) -> None: ...
def two_defaults(a: int = 1, b: int = 2) -> None: ...
def another_required(stop: Stop, other: int) -> None: ...


@pytest.mark.parametrize(
    "function",
    [nowhere, only_keywords, only_injected, two_places, two_candidates, two_defaults, another_required],
    ids=lambda function: function.__name__,
)
def test_no_place_for_the_model(function: Callable[..., Any]) -> None:
    with pytest.raises(ToolDefinitionError, match=r"tool 'tool': .*one parameter for the Stop, such as `params: Stop`"):
        place(function)


@pytest.mark.parametrize("model", [dict, Stop(city="Oslo"), "Stop"])
def test_param_model_must_be_a_model(model: Any) -> None:
    with pytest.raises(ToolDefinitionError, match="tool 'tool': param_model must be a pydantic model class, not"):
        model_arguments("tool", model, [])


def test_param_model_must_be_an_object() -> None:
    with pytest.raises(ToolDefinitionError, match=r"tool 'tool', param_model RootModel\[int\]: .*describes no object"):
        model_arguments("tool", RootModel[int], [])


def test_injected_fields_are_refused() -> None:
    class Params(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        state: Inject[Opaque]

    with pytest.raises(ToolDefinitionError, match=r"field 'state' of Params is an Inject\[...\]; only parameters"):
        model_arguments("tool", Params, [])


# Any signature: what satisfies the schema is accepted, what does not is refused with a word about the field


class Case:
    """An annotation, arguments that satisfy its schema, and arguments that no conversion can make fit."""

    def __init__(self, annotation: Any, good: st.SearchStrategy[Any], bad: st.SearchStrategy[Any]) -> None:
        self.annotation = annotation
        self.good = good
        self.bad = bad


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
numbers = st.integers(-(2**40), 2**40)
an_object = st.just({"un": "expected"})
leaves = [
    Case(str, texts, st.integers() | st.lists(texts) | st.none()),
    Case(int, numbers, st.lists(numbers) | an_object | st.just("five") | st.just(1.5)),
    Case(float, st.floats(allow_nan=False, allow_infinity=False), st.lists(numbers) | an_object | st.just("five")),
    Case(bool, st.booleans(), st.just("perhaps") | st.lists(numbers)),
    Case(Literal["a", "b"], st.sampled_from(["a", "b"]), st.just("c") | st.integers()),
    Case(Literal[1, 2], st.sampled_from([1, 2]), st.just(3) | st.just("1")),
    Case(Color, st.sampled_from(["red", "blue"]), st.just("green") | st.integers()),
    Case(date, st.dates().map(str), st.just("soon") | st.lists(numbers)),
    Case(Annotated[int, Field(ge=0, le=9), "a digit"], st.integers(0, 9), st.integers(max_value=-1) | st.integers(10)),
    Case(Stop, st.fixed_dictionaries({"city": texts}, optional={"nights": st.integers(1, 99)}), st.just({"nights": 0})),
    Case(Point, st.fixed_dictionaries({"x": numbers}), st.just({"y": 1}) | st.just({"x": []})),
    Case(Movie, st.fixed_dictionaries({"title": texts}, optional={"year": numbers}), st.just({"year": 1})),
]


def containers(inner: Case) -> list[Case]:
    one_bad = inner.bad.map(lambda bad: [bad])
    return [
        Case(list[inner.annotation], st.lists(inner.good, max_size=3), one_bad | st.just("text")),  # type: ignore[name-defined]
        Case(tuple[inner.annotation, int], st.tuples(inner.good, numbers).map(list), one_bad | st.just(["a"] * 3)),  # type: ignore[name-defined]
        Case(Iterable[inner.annotation], st.lists(inner.good, max_size=3), one_bad),  # type: ignore[name-defined]
        Case(
            dict[str, inner.annotation],  # type: ignore[name-defined]
            st.dictionaries(texts, inner.good, max_size=3),
            inner.bad.map(lambda bad: {"key": bad}) | st.lists(numbers),
        ),
        Case(inner.annotation | None, inner.good, inner.bad.filter(lambda bad: bad is not None)),
        Case(inner.annotation | list[bool], inner.good, inner.bad.map(lambda bad: {"neither": {"nor": bad}})),
    ]


cases = st.sampled_from(leaves) | st.sampled_from([case for leaf in leaves for case in containers(leaf)])
fields = st.dictionaries(
    st.sampled_from(["city", "days", "model_config", "_x", "schema", "title"]),
    st.tuples(cases, st.booleans()),
    min_size=1,
    max_size=4,
)


def make_function(signature: Mapping[str, tuple[Case, bool]]) -> Callable[..., Any]:
    written = ", ".join(f"{name}=None" if optional else name for name, (_, optional) in signature.items())
    scope: dict[str, Any] = {}
    exec(f"def function(*, {written}): ...", scope)  # noqa: S102 - the names are ours
    scope["function"].__annotations__.update({name: case.annotation for name, (case, _) in signature.items()})
    function: Callable[..., Any] = scope["function"]
    return function


@settings(deadline=None, max_examples=60)
@given(fields, st.data())
def test_arguments_that_satisfy_the_schema_are_accepted_and_others_refused(
    signature: dict[str, tuple[Case, bool]], data: st.DataObject
) -> None:
    tool = Tool("tool", "d", make_function(signature))
    schema = tool.schema.model_dump()
    jsonschema.Draft202012Validator.check_schema(schema)
    good = {
        name: data.draw(case.good, name)
        for name, (case, optional) in signature.items()
        if not optional or data.draw(st.booleans())
    }
    jsonschema.validate(good, schema)
    validated = tool._arguments.validate(json.loads(json.dumps(good)), from_json=True)
    assert set(tool._arguments.keywords(validated)) == set(good)

    name, (case, optional) = data.draw(st.sampled_from(list(signature.items())))
    bad = {**good, name: data.draw(case.bad)}
    if not optional and data.draw(st.booleans()):
        del bad[name]
    with pytest.raises(ValidationError) as refused:
        tool._arguments.validate(bad, from_json=True)
    assert f"\n- {name}" in explain("tool", refused.value, schema)
