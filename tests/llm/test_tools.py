import functools
import json
from typing import Literal

import pytest
from pydantic import BaseModel

from rtvoice.errors import ToolDefinitionError
from rtvoice.llm import FunctionTool, RawSchemaTool, Tool, tool


def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    Slowly.
    """
    return a + b


def test_function_tool() -> None:
    adder = FunctionTool(add)
    assert (adder.name, adder.fn) == ("add", add)
    assert adder.description == "Add two numbers.\n\nSlowly."
    assert adder(1) == 3
    assert adder(1, b=5) == 6
    assert repr(adder) == "FunctionTool('add')"
    schema = adder.to_openai_schema()
    assert schema["type"] == "function"
    assert (schema["function"]["name"], schema["function"]["description"]) == ("add", adder.description)
    parameters = schema["function"]["parameters"]
    assert parameters["type"] == "object"
    assert parameters["required"] == ["a"]
    assert parameters["properties"]["a"]["type"] == parameters["properties"]["b"]["type"] == "integer"
    json.dumps(schema)


def test_schema_is_a_copy() -> None:
    adder = FunctionTool(add)
    adder.to_openai_schema()["function"].clear()
    assert adder.to_openai_schema()["function"]["name"] == "add"


def test_given_name_and_description() -> None:
    adder = FunctionTool(add, name="plus", description="")
    assert (adder.name, adder.description) == ("plus", "")
    assert adder.to_openai_schema()["function"]["name"] == "plus"


def test_local_types_and_no_docstring() -> None:
    class Place(BaseModel):
        city: str

    def weather(place: Place, unit: Literal["c", "f"] = "c") -> str:
        return place.city + unit

    schema = FunctionTool(weather).to_openai_schema()["function"]
    assert schema["description"] == ""
    assert schema["parameters"]["properties"]["place"]["properties"]["city"]["type"] == "string"
    assert schema["parameters"]["properties"]["unit"]["enum"] == ["c", "f"]


def test_functions_without_a_name() -> None:
    two_more = FunctionTool(functools.partial(add, b=2), name="two_more")
    assert (two_more(1), two_more.name, two_more.description) == (3, "two_more", "")
    with pytest.raises(ToolDefinitionError, match="name="):
        FunctionTool(functools.partial(add, b=2))


async def test_decorator_bare() -> None:
    @tool
    async def later() -> str:
        """Later."""
        return "now"

    assert isinstance(later, FunctionTool)
    assert await later() == "now"


def test_decorator_with_arguments() -> None:
    @tool(name="sum", description="Sums up.")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    assert (total.name, total.description) == ("sum", "Sums up.")
    assert total([1, 2]) == 3


def test_names_that_models_refuse() -> None:
    with pytest.raises(ToolDefinitionError):
        FunctionTool(add, name="no spaces, please")


def test_raw_schema_tool() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    raw = RawSchemaTool("search", schema, "Looks things up.")
    assert raw.to_openai_schema() == {
        "type": "function",
        "function": {"name": "search", "description": "Looks things up.", "parameters": schema},
    }
    assert RawSchemaTool("search", schema).description == ""
    assert repr(raw) == "RawSchemaTool('search')"


@pytest.mark.parametrize("one", [FunctionTool(add), RawSchemaTool("search", {"type": "object"})])
def test_protocol(one: Tool) -> None:
    assert isinstance(one, Tool)
    assert one.parse_arguments('{"a": [1]}') == {"a": [1]}
    with pytest.raises(json.JSONDecodeError):
        one.parse_arguments("{")


def test_other_objects_are_no_tools() -> None:
    assert not isinstance(add, Tool)
