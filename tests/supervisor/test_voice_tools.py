from typing import Any

import pytest

from rtvoice.supervisor import Supervisor, TextAgent
from rtvoice.supervisor.voice_tools import control_schemas, delegation_schema, reserved_names


class Concierge(Supervisor[None]):
    name = "concierge"


def concierge(**options: Any) -> Supervisor[None]:
    return Concierge(description="Books tables.", instructions="i", **options)


def text_agent(**options: Any) -> Supervisor[None]:
    return TextAgent(description="Books tables.", system_prompt="s", **options)


def test_reserved_names() -> None:
    assert reserved_names(concierge()) == {"concierge", "cancel_supervisor", "update_supervisor"}
    assert reserved_names(text_agent()) == {"text_agent"}


def test_delegation() -> None:
    schema = delegation_schema(concierge())
    assert (schema["type"], schema["name"], schema["description"]) == ("function", "concierge", "Books tables.")
    parameters = schema["parameters"]
    assert parameters["required"] == ["task"]
    assert list(parameters["properties"]) == ["task", "clarification_answer"]
    assert all(each["type"] == "string" and each["description"] for each in parameters["properties"].values())


def test_delegation_to_a_text_agent() -> None:
    assert list(delegation_schema(text_agent())["parameters"]["properties"]) == ["task"]


@pytest.mark.parametrize("make", [concierge, text_agent])
def test_handoff_instructions_follow_the_description(make: Any) -> None:
    description = delegation_schema(make(handoff_instructions="Ask for the date first."))["description"]
    first, second = description.split("\n\n")
    assert first == "Books tables."
    assert "Ask for the date first." in second


def test_controls() -> None:
    def names(**offered: bool) -> list[str]:
        return [schema["name"] for schema in control_schemas(concierge(), **offered)]

    assert names(cancel=False, update=False) == []
    assert names(cancel=True, update=False) == ["cancel_supervisor"]
    assert names(cancel=True, update=True) == ["cancel_supervisor", "update_supervisor"]
    cancel, update = control_schemas(concierge(), cancel=True, update=True)
    assert cancel["parameters"] == {"type": "object", "properties": {}, "required": []}
    assert update["parameters"]["required"] == ["message"]
    assert control_schemas(text_agent(), cancel=True, update=True) == []
