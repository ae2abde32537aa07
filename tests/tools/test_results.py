import enum
import json
from collections import namedtuple
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from rtvoice.tools.results import MAX_OUTPUT_CHARACTERS, ActionResult, VoidResult, error_text, readable, result_text


class Weather(BaseModel):
    city: str
    wind: int | None = None


@dataclass
class Forecast:
    at: datetime
    weather: Weather


class Color(enum.Enum):
    RED = "red"


class Named:
    def __str__(self) -> str:
        return "named"


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - the untyped one, on purpose


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "OK"),
        (VoidResult(), "OK"),
        (VoidResult("done"), "done"),
        ("as is", "as is"),
        ("", ""),
        (Weather(city="Köln"), '{"city":"Köln"}'),
        ({"city": "Köln", "wind": None}, '{"city": "Köln", "wind": null}'),
        ([1, 2.5, True, None], "[1, 2.5, true, null]"),
        (5, "5"),
        (False, "false"),
        (Pair(1, 2), "[1, 2]"),
        (Color.RED, '"red"'),
        ({3}, "[3]"),
        (Decimal("1.50"), '"1.50"'),
        (datetime(2026, 1, 2, 3, 4), '"2026-01-02T03:04:00"'),
        ([Weather(city="Oslo")], '[{"city": "Oslo"}]'),
        (
            Forecast(datetime(2026, 1, 2), Weather(city="Oslo")),
            '{"at": "2026-01-02T00:00:00", "weather": {"city": "Oslo"}}',
        ),
        ({"inside": Named()}, '{"inside": "named"}'),
        (Named(), '"named"'),
        (b"\xff", "b'\\xff'"),
    ],
    ids=repr,
)
def test_result_text(result: Any, text: str) -> None:
    assert result_text(result) == text


def test_circular_results_fall_back_to_str() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert result_text(loop) == "[[...]]"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such city"), "ValueError: no such city"),
        (ValueError(), "ValueError"),
        (KeyError("city"), "KeyError: 'city'"),
        (
            ExceptionGroup("many", [ValueError("one"), ExceptionGroup("inner", [TypeError("two")])]),
            "ValueError: one; TypeError: two",
        ),
    ],
)
def test_error_text(error: Exception, text: str) -> None:
    assert error_text(error) == text


def test_an_error_that_cannot_be_printed() -> None:
    class Broken(Exception):  # noqa: N818 - short
        def __str__(self) -> str:
            raise RuntimeError

    assert error_text(Broken()) == "Broken"


def test_long_texts_are_cut_with_a_note() -> None:
    text = readable("x" * (MAX_OUTPUT_CHARACTERS + 7))
    assert text.startswith("x" * MAX_OUTPUT_CHARACTERS + "\n[Shortened: the last 7 of 20007 characters are missing.")
    assert readable("x" * MAX_OUTPUT_CHARACTERS) == "x" * MAX_OUTPUT_CHARACTERS


def test_half_surrogate_pairs_are_replaced() -> None:
    assert readable("file\udcff") == "file?"
    assert result_text(Weather.model_construct(city="ok")) == '{"city":"ok"}'
    assert json.loads(result_text({"name": "\ud800"})) == {"name": "?"}


def test_action_result() -> None:
    assert ActionResult.success({"a": 1}, respond=False, instruction="Be brief") == ActionResult(
        value={"a": 1}, respond=False, instruction="Be brief"
    )
    assert ActionResult.success() == ActionResult()
    assert ActionResult.fail("sold out").error == "sold out"
    assert ActionResult.fail(ValueError("sold out"), respond=False).error == "ValueError: sold out"
