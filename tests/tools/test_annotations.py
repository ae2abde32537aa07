import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

import pytest
import typing_extensions
from pydantic import Field, TypeAdapter
from pydantic.fields import FieldInfo

from rtvoice.tools.annotations import for_pydantic


@pytest.mark.parametrize(
    ("annotation", "converted"),
    [
        (Iterable, list[Any]),
        (Collection, list[Any]),
        (Iterable[int], list[int]),
        (typing.Iterable[int], list[int]),
        (Collection[int], list[int]),
        (Iterable[int] | None, list[int] | None),
        (dict[str, Collection[int]], dict[str, list[int]]),
        (tuple[Iterable[int], ...], tuple[list[int], ...]),
    ],
)
def test_iterables_become_lists(annotation: Any, converted: Any) -> None:
    assert for_pydantic(annotation) == converted


@pytest.mark.parametrize(
    "annotation",
    [int, int | None, list[int], Sequence[int], Literal["a", 1], Callable[[int], str], tuple[()], tuple[int, ...], Any],
)
def test_everything_else_stays(annotation: Any) -> None:
    assert for_pydantic(annotation) is annotation


def metadata(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(for_pydantic(annotation))[1:]


def test_a_string_in_annotated_becomes_the_description() -> None:
    (field,) = metadata(Annotated[int, "how many", "ignored"])
    assert isinstance(field, FieldInfo)
    assert field.description == "how many"


def test_a_field_with_description_wins_over_a_string() -> None:
    (field,) = metadata(Annotated[int, Field(description="field"), "string"])
    assert field.description == "field"


def test_a_field_without_description_gets_the_string() -> None:
    constraint, field = metadata(Annotated[int, Field(ge=1), "string"])
    assert (constraint.metadata[0].ge, field.description) == (1, "string")


def test_annotated_without_text_keeps_its_type() -> None:
    converted = for_pydantic(Annotated[Iterable[int], 1])
    assert typing.get_args(converted) == (list[int], 1)


def test_nested_descriptions() -> None:
    schema = TypeAdapter(for_pydantic(list[Annotated[str, "a city"]] | None)).json_schema()
    assert schema["anyOf"][0]["items"]["description"] == "a city"


class Inner(TypedDict):
    """Something small."""

    values: list[int]


class Outer(TypedDict, total=False):
    required: Required[int]
    optional: str
    inner: Annotated[Inner, "nested"]


class Postponed(TypedDict):
    here: "int"
    perhaps: "NotRequired[str]"


class Extended(typing_extensions.TypedDict):
    value: int


def test_typed_dicts_can_be_validated() -> None:
    adapter = TypeAdapter(for_pydantic(list[Outer]))
    assert adapter.validate_python([{"required": "1", "inner": {"values": ["2"]}}]) == [
        {"required": 1, "inner": {"values": [2]}}
    ]
    schema = adapter.json_schema()["$defs"]
    assert schema["Outer"]["required"] == ["required"]
    assert schema["Inner"]["description"] == "Something small."


def test_typed_dict_with_string_annotations() -> None:
    schema = TypeAdapter(for_pydantic(Postponed)).json_schema()
    assert schema["required"] == ["here"]
    assert set(schema["properties"]) == {"here", "perhaps"}


def test_typed_dict_of_typing_extensions_stays() -> None:
    assert for_pydantic(Extended) is Extended or typing.is_typeddict(Extended)
    assert TypeAdapter(for_pydantic(Extended)).validate_python({"value": "1"}) == {"value": 1}
