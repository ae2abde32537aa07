"""The rows of the contract's table of annotations, each from a function to the schema that the model sees."""

import dataclasses
import enum
import ipaddress
import json
import pathlib
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict, Union
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel

from rtvoice.errors import ToolDefinitionError
from rtvoice.tools import Inject, JsonSchema, Tool, Tools
from rtvoice.tools.schema import MAX_NESTED_RECURSION, parameters_of, plain_schema, subschema_at


class Color(enum.Enum):
    """Colors."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


class Address(BaseModel):
    """Where somebody lives."""

    street: str = Field(description="Street and number")
    zip_code: str = Field(default="0000", pattern=r"^\d{4}$")


class Person(BaseModel):
    address: Address = Field(description="The home")
    other: Address | None = None


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: str


class Opaque: ...


OBJECT_POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
    "required": ["x"],
}
ADDRESS = {
    "type": "object",
    "description": "Where somebody lives.",
    "properties": {
        "street": {"type": "string", "description": "Street and number"},
        "zip_code": {"type": "string", "default": "0000", "pattern": r"^\d{4}$"},
    },
    "required": ["street"],
}

ROWS: list[tuple[Any, dict[str, Any]]] = [
    (str, {"type": "string"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (list, {"type": "array", "items": {}}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (list[list[str]], {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}),
    (dict, {"type": "object"}),
    (dict[str, Any], {"type": "object"}),
    (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    (
        Mapping[str, list[int]],
        {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
    ),
    (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
    (Iterable[int], {"type": "array", "items": {"type": "integer"}}),
    (Collection[int], {"type": "array", "items": {"type": "integer"}}),
    (typing.Iterable[str], {"type": "array", "items": {"type": "string"}}),
    (tuple, {"type": "array", "items": {}}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (
        tuple[int, int],
        {
            "type": "array",
            "items": {"type": "integer"},
            "prefixItems": [{"type": "integer"}, {"type": "integer"}],
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    (
        tuple[int, str],
        {
            "type": "array",
            "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    (
        Pair,
        {
            "type": "array",
            "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
    (frozenset[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
    (int | None, {"type": "integer"}),
    (Optional[int], {"type": "integer"}),  # noqa: UP045 - both spellings
    (list[int | None], {"type": "array", "items": {"type": "integer"}}),
    (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
    (Union[int, str, None], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007 - both spellings
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal["a"], {"type": "string", "enum": ["a"]}),
    (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
    (Literal[True], {"type": "boolean", "enum": [True]}),
    (Literal[1, "a", None], {"type": ["integer", "string", "null"], "enum": [1, "a", None]}),  # noqa: PYI061 - both spellings
    (Color, {"type": "string", "enum": ["red", "blue"], "description": "Colors."}),
    (Level, {"type": "integer", "enum": [1, 2]}),
    (Mixed, {"type": ["integer", "string"], "enum": [1, "two"]}),
    (Address, ADDRESS),
    (
        Person,
        {
            "type": "object",
            "properties": {"address": {**ADDRESS, "description": "The home"}, "other": ADDRESS},
            "required": ["address"],
        },
    ),
    (Point, OBJECT_POINT),
    (
        Movie,
        {
            "type": "object",
            "properties": {"title": {"type": "string"}, "year": {"type": "integer"}},
            "required": ["title"],
        },
    ),
    (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
    (Annotated[int, Field(description="how many", ge=1)], {"type": "integer", "description": "how many", "minimum": 1}),
    (Annotated[str, "a city"] | None, {"type": "string", "description": "a city"}),
    (Annotated[str, Field(min_length=1, pattern="^a")], {"type": "string", "minLength": 1, "pattern": "^a"}),
    (datetime, {"type": "string", "format": "date-time"}),
    (date, {"type": "string", "format": "date"}),
    (time, {"type": "string", "format": "time"}),
    (timedelta, {"type": "string", "format": "duration"}),
    (UUID, {"type": "string", "format": "uuid"}),
    (bytes, {"type": "string", "format": "binary"}),
    (pathlib.Path, {"type": "string", "format": "path"}),
    (ipaddress.IPv4Address, {"type": "string", "format": "ipv4"}),
    (Decimal, {"type": "string"}),
    (Annotated[Decimal, Field(ge=0)], {"type": "number", "minimum": 0.0}),
    (Opaque, {"type": "string"}),
    (list[Opaque], {"type": "array", "items": {"type": "string"}}),
    (Callable[[int], int], {"type": "string"}),
    (Any, {}),
    (JsonValue, {}),
]


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    return Tool("tool", "A tool", function).schema.model_dump()


@pytest.mark.parametrize(("annotation", "expected"), ROWS, ids=[str(row[0]) for row in ROWS])
def test_annotations(annotation: Any, expected: dict[str, Any]) -> None:
    def function(value) -> None: ...  # type: ignore[no-untyped-def]

    function.__annotations__["value"] = annotation
    assert parameters(function) == {"type": "object", "properties": {"value": expected}, "required": ["value"]}


def test_without_annotation() -> None:
    def function(value, other=5) -> None: ...  # type: ignore[no-untyped-def]

    assert parameters(function) == {
        "type": "object",
        "properties": {"value": {"type": "string"}, "other": {"type": "string", "default": 5}},
        "required": ["value"],
    }


def test_what_is_left_out() -> None:
    class Service:
        def method(self, city: str, state: Inject[Opaque], *args: int, **kwargs: str) -> None: ...

    assert parameters(Service().method)["properties"] == {"city": {"type": "string"}}
    assert parameters(Service.method)["properties"] == {"city": {"type": "string"}}


def test_no_parameters() -> None:
    assert parameters(lambda: None) == {"type": "object", "properties": {}, "required": []}


def test_defaults_are_json_and_left_out_where_json_has_no_word_for_them() -> None:
    def function(
        color: Color = Color.RED,
        levels: set[Level] = {Level.HIGH},  # noqa: B006 - a user may write it
        day: date = date(2026, 1, 2),
        point: Point = Point(1),  # noqa: B008 - as above
        nothing: str | None = None,
        endless: float = float("inf"),
        opaque: Opaque = Opaque(),  # noqa: B008 - as above
    ) -> None: ...

    schema = parameters(function)
    defaults = {name: inner["default"] for name, inner in schema["properties"].items() if "default" in inner}
    assert defaults == {"color": "red", "levels": [2], "day": "2026-01-02", "point": {"x": 1, "y": 0}}
    assert schema["required"] == []
    json.dumps(schema, allow_nan=False)


class Search(BaseModel):
    """Not shown: the tool has its own description."""

    query: str = Field(description="What to search for", title="Query title")
    limit: int = Field(default=5, ge=1, le=50)
    source: Literal["work", "personal"] = "work"
    color: Color = Color.BLUE
    tags: list[str] = Field(default_factory=list)
    title: str | None = None
    from_day: date | None = Field(default=None, alias="fromDay")
    endless: float = float("inf")
    opaque: Any = Field(default_factory=object)


def test_param_model() -> None:
    assert parameters_of(Search) == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to search for"},
            "limit": {"type": "integer", "default": 5, "minimum": 1, "maximum": 50},
            "source": {"type": "string", "enum": ["work", "personal"], "default": "work"},
            "color": {"type": "string", "enum": ["red", "blue"], "description": "Colors.", "default": "blue"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "title": {"type": "string"},
            "fromDay": {"type": "string", "format": "date"},
            "endless": {"type": "number"},
            "opaque": {},
        },
        "required": ["query"],
    }


class Tree(BaseModel):
    """A tree."""

    value: int
    left: "Tree | None" = None
    children: list["Tree"] = []


def nesting(schema: dict[str, Any]) -> int:
    inner = schema.get("properties", {}).get("left")
    return 0 if inner is None else 1 + nesting(inner)


def test_a_model_inside_itself_is_written_out_a_few_times_only() -> None:
    class Params(BaseModel):
        tree: Tree

    tree = parameters_of(Params)["properties"]["tree"]
    assert nesting(tree) == MAX_NESTED_RECURSION
    innermost = tree["properties"]["left"]["properties"]["left"]
    assert innermost == {
        "type": "object",
        "description": "Another Tree, with the same fields as the one around it.",
    }
    assert "$" not in json.dumps(tree)


def test_recursive_parameter_model() -> None:
    assert nesting(parameters_of(Tree)) == MAX_NESTED_RECURSION


def test_a_recursive_array_is_cut_off_as_array_of_anything() -> None:
    class Lists(RootModel[list["Lists"]]): ...

    schema = plain_schema(Lists.model_json_schema())
    depth = 0
    while "description" not in schema:
        schema, depth = schema["items"], depth + 1
    assert (depth, schema["type"], schema["items"]) == (MAX_NESTED_RECURSION, "array", {})


def test_a_recursive_union_is_cut_off_without_type() -> None:
    class Expression(RootModel[Union[int, list["Expression"]]]): ...  # noqa: UP007 - a forward reference

    text = json.dumps(plain_schema(Expression.model_json_schema()))
    assert '{"description": "Another Expression, with the same fields as the one around it."}' in text
    assert "$ref" not in text


def test_many_types_that_contain_each_other_stay_small() -> None:
    names = [f"Kind{n}" for n in range(12)]
    fields = {f"field_{name}": {"$ref": f"#/$defs/{name}"} for name in names}
    definitions = {name: {"type": "object", "properties": fields} for name in names}
    schema = plain_schema({"$ref": "#/$defs/Kind0", "$defs": definitions})
    assert len(json.dumps(schema)) < 20_000


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


def test_discriminated_union_is_an_any_of() -> None:
    class Params(BaseModel):
        pet: Annotated[Cat | Dog, Field(discriminator="kind")]

    pet = parameters_of(Params)["properties"]["pet"]
    assert list(pet) == ["anyOf"]
    assert [option["properties"]["kind"]["enum"] for option in pet["anyOf"]] == [["cat"], ["dog"]]


def test_no_strict_no_titles_no_references_anywhere() -> None:
    tools = Tools()

    @tools.action("Search", param_model=Search)
    def search(params: Search) -> None: ...

    @tools.action("Person")
    def person(person: Person, title: str) -> None: ...

    for text in (json.dumps(tools.realtime_schema()), json.dumps(tools.get_json_tool_schema())):
        assert "strict" not in text
        assert "$" not in text.replace("^\\\\d{4}$", "")
        assert '"title": "' not in text
    schema = tools.tools["person"].schema
    assert schema.properties is not None
    assert "title" in schema.properties  # the parameter, not the keyword


def test_extra_forbid_is_told() -> None:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")
        x: int

    assert parameters_of(Params)["additionalProperties"] is False


def test_a_model_that_is_no_object() -> None:
    with pytest.raises(ValueError, match=r"RootModel\[list\[int\]\] describes no object with fields"):
        parameters_of(RootModel[list[int]])


def test_a_schema_that_is_no_json() -> None:
    class Params(BaseModel):
        x: float = Field(json_schema_extra={"maximum": float("inf")})

    with pytest.raises(ToolDefinitionError, match=r"tool 'tool', param_model Params: no JSON schema can be made"):
        Tool("tool", "d", lambda params: None, param_model=Params)


def test_subschema_at() -> None:
    schema = parameters_of(Search) | {
        "properties": {
            "stops": {"items": {"properties": {"city": {"type": "string"}}}},
            "pair": {"prefixItems": [{"type": "integer"}], "items": False},
        }
    }
    assert subschema_at(schema, ("stops", 3, "city")) == {"type": "string"}
    assert subschema_at(schema, ("pair", 0)) == {"type": "integer"}
    assert subschema_at(schema, ("pair", 1)) is None
    assert subschema_at(schema, ("nowhere", "city")) is None
    assert subschema_at(schema, ()) == schema


def test_attributes_of_a_schema() -> None:
    schema = Tool("tool", "d", lambda params: None, param_model=Search).schema
    assert (schema.type, schema.required) == ("object", ["query"])
    assert schema.properties is not None
    limit, tags, query, source = (schema.properties[name] for name in ("limit", "tags", "query", "source"))
    assert isinstance(limit, JsonSchema)
    assert (limit.type, limit.default, limit.description, limit.items, limit.properties) == (
        "integer",
        5,
        None,
        None,
        None,
    )
    assert isinstance(tags, JsonSchema)
    assert isinstance(tags.items, JsonSchema)
    assert tags.items.type == "string"
    assert isinstance(query, JsonSchema)
    assert query.description == "What to search for"
    assert isinstance(source, JsonSchema)
    assert source.enum == ["work", "personal"]


def test_a_schema_is_given_back_as_it_was() -> None:
    given = {
        "type": "object",
        "properties": {
            "a": True,
            "b": {"type": ["string", "null"], "minLength": 1, "items": [{"type": "null"}, False]},
        },
        "$defs": {"X": {"const": None}},
        "additionalProperties": False,
    }
    assert JsonSchema.model_validate(given).model_dump() == given
    assert json.loads(JsonSchema.model_validate(given).model_dump_json()) == given


# --- schemas that others made: MCP servers ---


@pytest.mark.parametrize(
    "reference", ["#/definitions/City", "#/$defs/City", "#/properties/home", "#/anyOf/0", "#/definitions/a~1b~0%20c"]
)
def test_references_lead_anywhere_within_a_schema(reference: str) -> None:
    city = {"type": "string", "description": "A city"}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "x",
        "$comment": "x",
        "type": "object",
        "properties": {"home": city, "work": {"$ref": reference}},
        "anyOf": [city],
        "definitions": {"City": city, "a/b~ c": city},
        "$defs": {"City": city},
    }
    assert plain_schema(schema) == {
        "type": "object",
        "properties": {"home": city, "work": city},
        "anyOf": [city],
    }


@pytest.mark.parametrize(
    "reference",
    ["https://example.com/city.json", "#/definitions/Missing", "#/anyOf/7", "#/type", "#/anyOf/x", "#anchor/x"],
)
def test_references_that_lead_nowhere_stand_for_any_value(reference: str) -> None:
    schema = {"type": "object", "anyOf": [{}], "properties": {"x": {"$ref": reference, "description": "X"}}}
    assert plain_schema(schema)["properties"] == {"x": {"description": "X"}}


def test_a_schema_that_refers_to_itself_as_a_whole_is_cut_off() -> None:
    tree = plain_schema({"type": "object", "properties": {"left": {"$ref": "#"}}})
    stub = tree["properties"]["left"]["properties"]["left"]["properties"]["left"]
    assert stub == {"type": "object", "description": "Another object, with the same fields as the one around it."}


def test_references_are_found_wherever_a_schema_can_stand() -> None:
    city = {"type": "string"}
    reference = {"$ref": "#/$defs/City"}
    schema = {
        "$defs": {"City": city},
        "if": reference,
        "then": {"dependentSchemas": {"a": reference}},
        "not": {"items": [reference, True]},
        "type": "array",
    }
    assert plain_schema(schema) == {
        "if": city,
        "then": {"dependentSchemas": {"a": city}},
        "not": {"items": [city, True]},
        "type": "array",
        "items": {},
    }
