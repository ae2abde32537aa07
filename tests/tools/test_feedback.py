from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, model_validator

from rtvoice.tools.feedback import explain
from rtvoice.tools.schema import parameters_of


class Stop(BaseModel):
    city: str
    nights: int = Field(default=1, ge=1)


class Trip(BaseModel):
    day: int = Field(description="Day of the month")
    kind: Literal["work", "fun"] = Field(alias="tripKind")
    stops: list[Stop] = []
    budget: Annotated[int | str, Field(description="In euros")] = 0
    anything: Any = None
    pair: tuple[int, str] = (1, "a")


def explanation(model: type[BaseModel], arguments: Any) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(arguments)
    return explain("plan_trip", refused.value, parameters_of(model)).splitlines()


def test_each_problem_has_its_line() -> None:
    assert explanation(Trip, {"day": "soon", "stops": [{"city": 1}, {"nights": 0}], "pair": [1]}) == [
        "Error: 'plan_trip' was not run because its arguments are invalid:",
        '- day: Input should be a valid integer, unable to parse string as an integer (you sent "soon")',
        '- tripKind: missing, but required (one of "work", "fun")',
        "- stops[0].city: Input should be a valid string (you sent 1)",
        "- stops[1].city: missing, but required (string)",
        "- stops[1].nights: Input should be greater than or equal to 1 (you sent 0)",
        "- pair[1]: missing, but required (string)",
        "Correct them and call it again.",
    ]


def test_a_missing_value_is_described() -> None:
    assert explanation(Trip, {"tripKind": "fun"})[1] == "- day: missing, but required (integer, Day of the month)"


def test_a_missing_union_and_a_missing_anything() -> None:
    class Params(BaseModel):
        budget: int | list[int]
        anything: Any

    assert explanation(Params, {})[1:3] == [
        "- budget: missing, but required (integer or array)",
        "- anything: missing, but required (any value)",
    ]


def test_a_missing_value_that_the_schema_does_not_show() -> None:
    class Params(BaseModel):
        either: int | Stop

    assert "- either.Stop.city: missing, but required (any value)" in explanation(Params, {"either": {}})


def test_long_values_are_cut() -> None:
    line = explanation(Trip, {"day": "x" * 500, "tripKind": "fun"})[1]
    assert line.endswith(f'(you sent "{"x" * 79}…)')


def test_values_that_are_no_json() -> None:
    assert "you sent" in explanation(Trip, {"day": object(), "tripKind": "fun"})[1]


def test_many_problems_are_counted() -> None:
    lines = explanation(Trip, {"day": 1, "tripKind": "fun", "stops": [{}] * 11})
    assert len(lines) == 1 + 8 + 1 + 1
    assert lines[-2] == "- and 3 more"


def test_a_problem_of_the_whole_object() -> None:
    class Params(BaseModel):
        a: int = 0

        @model_validator(mode="after")
        def never(self) -> "Params":
            raise ValueError("a and b exclude each other")

    assert explanation(Params, {"a": 1})[1] == (
        '- the whole object: Value error, a and b exclude each other (you sent {"a": 1})'
    )
