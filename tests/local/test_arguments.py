"""What a sentence says about a tool's parameters."""

from typing import Any

import pytest
from tests.local.conftest import tool

from rtvoice.local.arguments import find_arguments, find_value

TEXT, WHOLE, NUMBER, SWITCH = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}
WEATHER = tool("get_weather", "Current weather of a city", city=TEXT)
LIGHT = tool("set_light", "Switch a light on or off in a room", room=TEXT, on=SWITCH)
TABLE = tool("book_table", "Book a table in the restaurant", people=WHOLE, when=TEXT)
TRAIN = tool("book_train", "Buy a train ticket", from_city=TEXT, to_city=TEXT)
DIRECTION = {"type": "string", "enum": ["forward", "backward", "a bit forward"]}
MOVE = tool("move", "Move the robot", direction=DIRECTION, meters=NUMBER)


@pytest.mark.parametrize(
    ("wanted", "sentence", "values"),
    [
        (WEATHER, "What is the weather in Berlin?", {"city": "Berlin"}),
        (WEATHER, "What is the weather like in New York tomorrow?", {"city": "New York"}),
        (WEATHER, "Berlin weather, please.", {"city": "Berlin"}),
        (WEATHER, "I want the weather. The city is São Paulo, please.", {"city": "São Paulo"}),
        (LIGHT, "Turn on the lights in the living room.", {"room": "living room", "on": True}),
        (LIGHT, "Switch the kitchen light off", {"room": "kitchen", "on": False}),
        (TABLE, "Please book a table for four people tomorrow evening.", {"people": 4, "when": "tomorrow evening"}),
        (
            TABLE,
            "I would like to book a table for tomorrow evening at half past seven, for four people, please.",
            {"people": 4, "when": "tomorrow evening at half past seven"},
        ),
        (TABLE, "A table for two at 7 o'clock", {"people": 2, "when": "7 o'clock"}),
        (TRAIN, "A train ticket to Munich from Hamburg", {"from_city": "Hamburg", "to_city": "Munich"}),
        (MOVE, "Go a bit forward, 2.5 meters", {"direction": "a bit forward", "meters": 2.5}),
        (MOVE, "Ten meters backward!", {"direction": "backward", "meters": 10}),
        (tool("set_timer", "Set a timer", minutes=WHOLE), "Set a timer for 1.5 or 20 minutes", {"minutes": 20}),
        (tool("play", "Play music", query=TEXT), "Play some jazz", {"query": "jazz"}),
        (tool("cancel", "Cancel an order", name=TEXT), "My name is Alice, cancel my order", {"name": "Alice"}),
        (tool("roll", "Roll dice", "sides", sides=WHOLE), "Roll the dice", {}),
        (tool("note", "Take a note", "title", title=TEXT), "Take a note in the kitchen", {}),
        (tool("alarm", "Set an alarm", loud=SWITCH), "A loud alarm", {"loud": True}),
        (tool("find", "Find", year={"anyOf": [{"type": "integer"}, {"type": "null"}]}), "Find 1984", {"year": 1984}),
        (tool("ping", "Ping the server"), "Ping", {}),
        ({"type": "function", "name": "ping"}, "Ping", {}),
    ],
)
def test_arguments_are_found(wanted: dict[str, Any], sentence: str, values: dict[str, Any]) -> None:
    found = find_arguments(wanted, sentence)
    assert (found.values, found.missing) == (values, [])


@pytest.mark.parametrize(
    ("wanted", "sentence", "missing"),
    [
        (WEATHER, "What is the weather?", ["city"]),
        (LIGHT, "The light", ["room", "on"]),
        (TABLE, "Book a table, please", ["people", "when"]),
        (MOVE, "Move sideways", ["direction", "meters"]),
        (tool("sum", "Add up", figures={"type": "array"}), "Add up 1 and 2", ["figures"]),
    ],
)
def test_what_is_not_said_is_missing(wanted: dict[str, Any], sentence: str, missing: list[str]) -> None:
    assert find_arguments(wanted, sentence).missing == missing


@pytest.mark.parametrize(
    ("wanted", "name", "answer", "value"),
    [
        (WEATHER, "city", "Berlin.", "Berlin"),
        (WEATHER, "city", "In New York, please.", "New York"),
        (WEATHER, "city", "Please.", None),
        (TABLE, "people", "four", 4),
        (TABLE, "people", "a few", None),
        (TABLE, "when", "whenever you like", "whenever you like"),
        (MOVE, "direction", "Forward!", "forward"),
        (MOVE, "direction", "Up", None),
        (LIGHT, "on", "Yes.", True),
    ],
)
def test_the_answer_to_a_question(wanted: dict[str, Any], name: str, answer: str, value: Any) -> None:
    assert find_value(wanted, name, answer) == value
