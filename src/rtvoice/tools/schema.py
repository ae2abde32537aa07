"""JSON schemas of tool parameters, as the Realtime API takes them.

pydantic or an MCP server makes the schemas; here their ``$ref``, titles and rarer keywords are turned into the plain
form that every version of the API understands: ``type``, ``properties``, ``required``, ``items``, ``enum``, ``anyOf``
and constraints.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

MAX_NESTED_RECURSION = 2
"""How often types that contain themselves are written out inside one another; deeper ones are named only."""

_LEFT_OUT = ("title", "$defs", "definitions", "discriminator", "$schema", "$id", "$comment")
_SCHEMA_MAPS = ("properties", "patternProperties", "dependentSchemas")
_SUBSCHEMAS = (
    *("anyOf", "oneOf", "allOf", "not", "if", "then", "else"),
    *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"),
    *("additionalProperties", "unevaluatedProperties", "propertyNames"),
)
_TYPE_NAMES = {bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object"}


class JsonSchema(BaseModel):
    """A JSON schema with its usual keywords as attributes, None where absent; other keywords are kept as they are.

    ``model_dump()`` gives the schema back, without the absent keywords.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str | list[str] | None = None
    description: str | None = None
    properties: dict[str, "JsonSchema | bool"] | None = None
    required: list[str] | None = None
    items: "JsonSchema | list[JsonSchema | bool] | bool | None" = None
    enum: list[Any] | None = None
    default: Any = None

    @model_serializer(mode="wrap")
    def _only_what_is_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {keyword: value for keyword, value in handler(self).items() if keyword in self.model_fields_set}


class RealtimeFunctionTool(BaseModel):
    """One entry of ``session.tools``.

    Source: ``RealtimeFunctionTool`` in the ``openai`` package; it has no ``strict``.
    """

    model_config = ConfigDict(frozen=True)

    type: Literal["function"] = "function"
    name: str
    description: str
    parameters: JsonSchema


class SchemaGenerator(GenerateJsonSchema):
    """pydantic's generator, with the three places changed where what a model should read differs."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - declared so by pydantic

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Describe ``T | None`` like ``T``: the model leaves out what it has no value for."""
        return self.generate_inner(schema["schema"])

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """Describe a Decimal as string, which keeps its digits, unless it has bounds that only a number can have."""
        number: JsonSchemaValue = super().decimal_schema(schema)["anyOf"][0]
        return {"type": "string"} if number == {"type": "number"} else number

    def handle_invalid_for_json_schema(self, schema: core_schema.CoreSchema, error_info: str) -> JsonSchemaValue:
        """Describe what JSON has no word for as string."""
        return {"type": "string"}


def parameters_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a tool's parameters: an object with the fields of a model.

    Raises:
        ValueError: The model does not describe an object, or its schema is no JSON (a bound of infinity).
    """
    schema = plain_schema(model.model_json_schema(schema_generator=SchemaGenerator))
    if schema.get("type") != "object":
        raise ValueError(f"{model.__name__} describes no object with fields, but tool parameters are one")
    schema.pop("description", None)  # the tool has its own
    parameters = {"type": "object", "properties": {}, "required": [], **schema}
    json.dumps(parameters, allow_nan=False)
    return parameters


def plain_schema(schema: Mapping[str, Any]) -> Any:
    """Return a schema without ``$ref``, titles and keywords that the API may not know.

    A type that contains itself is written out `MAX_NESTED_RECURSION` times and then cut off. A reference that leads
    out of the schema, or nowhere, stands for any value.
    """
    definitions = {reference: _definition(schema, reference) for reference in _references(schema)}
    recursive = {reference for reference in definitions if reference in _reachable(reference, definitions)}
    return _inline(schema, definitions, recursive, 0)


def subschema_at(schema: Mapping[str, Any], location: tuple[int | str, ...]) -> Mapping[str, Any] | None:
    """Return the part of a schema that describes a place such as ``("stops", 1, "city")``; None if it is not there."""
    for step in location:
        if isinstance(step, int):
            places = schema.get("prefixItems", [])
            inner = places[step] if step < len(places) else schema.get("items")
        else:
            inner = schema.get("properties", {}).get(step)
        if not isinstance(inner, Mapping):
            return None
        schema = inner
    return schema


def _definition(schema: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    """Return what a reference such as ``#/$defs/Address`` (a JSON pointer, RFC 6901) leads to."""
    if not reference.startswith("#"):
        return {}
    place: Any = schema
    for step in unquote(reference).split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list) and key.isdecimal() and int(key) < len(place):
            place = place[int(key)]
        elif isinstance(place, Mapping) and key in place:
            place = place[key]
        else:
            return {}
    return place if isinstance(place, Mapping) else {}


def _reachable(start: str, definitions: Mapping[str, Any]) -> set[str]:
    """Return the references that a definition contains, directly or through others."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for reference in _references(definitions[waiting.pop()]):
            if reference not in found:
                found.add(reference)
                waiting.append(reference)
    return found


def _references(schema: Any) -> set[str]:
    """Return the references that occur in a schema."""
    found: set[str] = set()
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            found.add(schema["$ref"])
        schema = list(schema.values())
    if isinstance(schema, list):
        for item in schema:
            found |= _references(item)
    return found


def _inline(schema: Any, definitions: Mapping[str, Any], recursive: set[str], depth: int) -> Any:
    """Return a schema with its references written out; ``depth`` counts the recursive ones around it."""
    if isinstance(schema, list):
        return [_inline(inner, definitions, recursive, depth) for inner in schema]
    if not isinstance(schema, Mapping):
        return schema  # true and false are schemas too
    reference = schema.get("$ref")
    if isinstance(reference, str):
        siblings = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
        if reference in recursive and depth == MAX_NESTED_RECURSION:
            return _cut_off(reference.lstrip("#/").rpartition("/")[2] or "object", definitions[reference])
        return _inline({**definitions[reference], **siblings}, definitions, recursive, depth + (reference in recursive))

    def inline(inner: Any) -> Any:
        return _inline(inner, definitions, recursive, depth)

    return _plain({keyword: _convert(keyword, value, inline) for keyword, value in schema.items()})


def _convert(keyword: str, value: Any, inline: Callable[[Any], Any]) -> Any:
    """Return the value of a keyword with the schemas in it converted."""
    if keyword in _SCHEMA_MAPS:
        return {name: inline(inner) for name, inner in value.items()}
    return inline(value) if keyword in _SUBSCHEMAS else value


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Return one level of a schema in the plain form."""
    for keyword in _LEFT_OUT:
        schema.pop(keyword, None)
    if schema.get("additionalProperties") is True:  # says nothing: it is the default
        del schema["additionalProperties"]
    if "default" in schema and (schema["default"] is None or not _is_json(schema["default"])):
        del schema["default"]
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "enum" in schema and "type" not in schema:
        types = list(dict.fromkeys(_TYPE_NAMES.get(type(value), "null") for value in schema["enum"]))
        schema["type"] = types[0] if len(types) == 1 else types
    if "oneOf" in schema:
        schema["anyOf"] = schema.pop("oneOf")
    if "prefixItems" in schema:  # a tuple; the API insists on `items` of every array
        different = [item for n, item in enumerate(schema["prefixItems"]) if item not in schema["prefixItems"][:n]]
        schema["items"] = different[0] if len(different) == 1 else {"anyOf": different}
    if schema.get("type") == "array":
        schema.setdefault("items", {})
    return schema


def _cut_off(name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands for a recursive type where it is not written out any more."""
    stub: dict[str, Any] = {"description": f"Another {name}, with the same fields as the one around it."}
    if "type" in definition:
        stub["type"] = definition["type"]
    if stub.get("type") == "array":
        stub["items"] = {}
    return stub


def _is_json(value: Any) -> bool:
    """Return whether a value can be written as standard JSON (no NaN, no infinity)."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
