"""From the model's arguments to the function's: what is asked for, how it is checked, where it goes.

There are three ways, decided at registration: by the function's own annotations, by a pydantic model
(``param_model=``), or not at all (a tool that brings its own JSON schema gets the arguments as they came).
"""

import logging
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import FieldInfo
from pydantic.warnings import ArbitraryTypeWarning
from pydantic_core import to_json

from rtvoice.errors import ToolDefinitionError
from rtvoice.tools.annotations import for_pydantic
from rtvoice.tools.inject import injected_type, type_name
from rtvoice.tools.schema import SchemaGenerator, parameters_of, plain_schema
from rtvoice.tools.signature import MISSING, Parameter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arguments:
    """How one tool takes its arguments.

    Attributes:
        schema: The JSON schema of the parameters.
        model: What checks and converts them; None to take them as they come.
        keywords: Turns the result of `validate` into the function's arguments by parameter name.
    """

    schema: dict[str, Any]
    model: type[BaseModel] | None
    keywords: Callable[[Any], dict[str, Any]]

    def validate(self, arguments: Mapping[str, Any], *, from_json: bool) -> Any:
        """Return the checked arguments, for `keywords`.

        Args:
            arguments: Values by parameter name.
            from_json: Whether they were decoded from JSON, where an array may stand for a set and a string for a date
                even under pydantic's strict rules; otherwise they are Python objects.

        Raises:
            pydantic.ValidationError: They do not fit.
            pydantic_core.PydanticSerializationError: They contain invalid Unicode (only with ``from_json``).
        """
        if self.model is None:
            return dict(arguments)
        if from_json:
            return self.model.model_validate_json(to_json(arguments, inf_nan_mode="constants", fallback=str))
        return self.model.model_validate(dict(arguments))


def raw_arguments(parameter: Parameter, schema: dict[str, Any]) -> Arguments:
    """Return how a tool that brings its own schema takes them: as one dict, unchecked."""
    return Arguments(schema=schema, model=None, keywords=lambda validated: {parameter.name: validated})


def model_arguments(tool: str, model: type[BaseModel], parameters: list[Parameter]) -> Arguments:
    """Return how a tool with ``param_model=`` takes them: as an instance of that model in one parameter.

    Raises:
        ToolDefinitionError: It is no model of an object, or the function has no place for an instance.
    """
    _check_model(tool, model)
    schema = _schema(model, f"tool {tool!r}, param_model {model.__name__}")
    place = _place_of_model(tool, model, parameters)
    return Arguments(schema=schema, model=model, keywords=lambda validated: {place: validated})


def signature_arguments(tool: str, parameters: list[Parameter]) -> Arguments:
    """Return how any other tool takes them: one by one, checked and converted by the function's annotations.

    Raises:
        ToolDefinitionError: An annotation cannot be used.
    """
    # The fields get neutral names, and the parameters' names as aliases: a parameter may be called "schema",
    # "model_config" or "_x", which a field may not.
    by_field = {f"parameter_{n}": parameter for n, parameter in enumerate(parameters)}
    fields: dict[str, Any] = {field: _field(tool, parameter) for field, parameter in by_field.items()}
    model = create_model(tool, __config__=ConfigDict(extra="ignore"), **fields)

    def keywords(validated: BaseModel) -> dict[str, Any]:
        # What the model left out is left to the function's own default, which pydantic might copy.
        return {
            parameter.name: getattr(validated, field)
            for field, parameter in by_field.items()
            if field in validated.model_fields_set or parameter.required or isinstance(parameter.default, FieldInfo)
        }

    return Arguments(schema=_schema(model, f"tool {tool!r}"), model=model, keywords=keywords)


def _check_model(tool: str, model: object) -> None:
    """Refuse what is no pydantic model, and models with injected fields."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ToolDefinitionError(f"tool {tool!r}: param_model must be a pydantic model class, not {model!r}")
    for name, field in model.model_fields.items():
        if injected_type(Annotated[(field.annotation, *field.metadata, "")]):
            raise ToolDefinitionError(
                f"tool {tool!r}: field {name!r} of {model.__name__} is an Inject[...]; "
                "only parameters of the function can be injected"
            )


def _schema(model: type[BaseModel], where: str) -> dict[str, Any]:
    """Return the parameter schema of a model, or say which tool it fails for."""
    try:
        return parameters_of(model)
    except Exception as error:
        raise ToolDefinitionError(f"{where}: no JSON schema can be made: {_first_line(error)}") from error


def _field(tool: str, parameter: Parameter) -> tuple[Any, Any]:
    """Return annotation and field of the model for one parameter."""
    annotation = _validated_type(parameter.annotation, f"tool {tool!r}, parameter {parameter.name!r}")
    default = parameter.default
    if isinstance(default, FieldInfo):  # def f(city: str = Field(description="..."))
        return Annotated[annotation, default], Field(alias=parameter.name)
    if default is MISSING:
        return annotation, Field(alias=parameter.name)
    return annotation, Field(alias=parameter.name, default=default)


def _validated_type(annotation: Any, where: str) -> Any:
    """Return the type that pydantic shall make of a parameter's value.

    A parameter without annotation, or with a type that cannot be made from JSON, gets the value as the model sent it.
    """
    if annotation is MISSING:
        return Annotated[Any, WithJsonSchema({"type": "string"})]
    try:
        annotation = for_pydantic(annotation)
        _schema_of_value(annotation, ConfigDict())
    except PydanticSchemaGenerationError:
        logger.warning(
            "%s: %s cannot be made from JSON, so the function gets what the model sent; write Inject[...] if it is "
            "an object of your program",
            where,
            type_name(annotation),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ArbitraryTypeWarning)  # it says the same about what is no class
            schema = _schema_of_value(annotation, ConfigDict(arbitrary_types_allowed=True))
        return Annotated[Any, WithJsonSchema(schema or {"type": "string"})]
    except Exception as error:
        raise ToolDefinitionError(
            f"{where}: {type_name(annotation)} cannot be used as a parameter: {_first_line(error)}"
        ) from error
    return annotation


def _schema_of_value(annotation: Any, config: ConfigDict) -> dict[str, Any]:
    """Return the schema of one value.

    Raises:
        pydantic.errors.PydanticUserError: pydantic cannot make such a value from JSON, or lacks a part of the type.
    """
    model = create_model("Parameter", __config__=config, value=(annotation, Field(alias="value")))
    schema = plain_schema(model.model_json_schema(schema_generator=SchemaGenerator))
    value: dict[str, Any] = schema["properties"]["value"]
    return value


def _place_of_model(tool: str, model: type[BaseModel], parameters: list[Parameter]) -> str:
    """Return the parameter that gets the instance of ``param_model``."""
    candidates = [parameter for parameter in parameters if parameter.injected is None]
    places = [parameter for parameter in candidates if model in _members(parameter.annotation)]
    if not places:
        required = [parameter for parameter in candidates if parameter.required]
        places = candidates if len(candidates) == 1 else required
    if len(places) != 1 or any(parameter.required and parameter is not places[0] for parameter in candidates):
        raise ToolDefinitionError(
            f"tool {tool!r}: the function must have one parameter for the {model.__name__}, such as "
            f"`params: {model.__name__}`; its other parameters need Inject[...] or a default"
        )
    return places[0].name


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the annotation itself, or the members of a union, without ``Annotated``."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(one for member in get_args(annotation) for one in _members(member))
    return (annotation,)


def _first_line(error: Exception) -> str:
    """Return the first line of a message; pydantic adds a web address below it."""
    return str(error).partition("\n")[0]
