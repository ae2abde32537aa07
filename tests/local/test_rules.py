"""The rule engine: which tool, which words, and what it does not know."""

from typing import Any

import pytest
from tests.local.conftest import request, said, tool

from rtvoice.local import RuleReplies
from rtvoice.local.rules import WHAT_I_AM, best_tool, read_out
from rtvoice.testing import ReplyRequest, ToolCall

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
WEATHER = tool("get_weather", "Current weather of a city.\nA second line.", city=TEXT)
TABLE = tool("book_table", "Book a table", people=WHOLE, name=TEXT)
TIME = tool("get_time", "What time it is")
TOOLS = [WEATHER, TABLE, TIME, {"type": "mcp", "server_label": "docs"}]


CALLED = {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": "{}"}
RETURNED = {"type": "function_call_output", "call_id": "a", "output": "It rains"}


async def answer(asked: ReplyRequest) -> str | ToolCall:
    parts = [part async for part in RuleReplies().reply(asked)]
    return parts[0] if len(parts) == 1 else "".join(map(str, parts))


async def test_a_tool_is_called() -> None:
    call = await answer(request(said("What is the weather in Berlin?"), TOOLS))
    assert call == ToolCall("get_weather", {"city": "Berlin"})


async def test_what_it_returned_is_read_out() -> None:
    items = [*said("What is the weather?"), CALLED, {**RETURNED, "output": '{"degrees": 18, "dry": true}'}]
    items += [{**RETURNED, "call_id": "b", "output": "OK"}]
    assert await answer(request(items, TOOLS)) == "Degrees: 18, dry: yes. Done."


async def test_a_result_is_read_out_once_though_a_phrase_filled_the_wait() -> None:
    question, moment = said("What is the weather?", "One moment.")
    before, behind = [question, CALLED, moment, RETURNED], [question, CALLED, RETURNED, moment]
    for items in (before, behind):
        assert await answer(request(items, TOOLS)) == "It rains."
    answered = [*behind, said("", "It rains.")[1]]
    assert await answer(request(answered, TOOLS)) == "Hello! What can I do for you?"


async def test_a_result_that_came_while_the_user_spoke() -> None:
    items = [*said("What is the weather?"), CALLED, RETURNED, *said("Thanks!")]
    asked = request(items, TOOLS, outputs={"a": "It rains"})
    assert await answer(asked) == "It rains. You are welcome."
    items = [*said("The weather?"), CALLED, RETURNED, *said("The weather in Rome?")]
    asked = request(items, TOOLS, outputs={"a": "It rains"})
    assert await answer(asked) == f"It rains. {ToolCall('get_weather', {'city': 'Rome'})}"
    items = [*said("What is the weather?"), CALLED, *said("Thanks!"), RETURNED]
    assert await answer(request(items, TOOLS)) == "It rains. You are welcome."


async def test_what_is_missing_is_asked_for_and_understood() -> None:
    question = await answer(request(said("What's the weather?"), TOOLS))
    assert question == "For that I need to know: city?"
    conversation = said("What's the weather?", question, "In Berlin, please.")
    assert await answer(request(conversation, TOOLS)) == ToolCall("get_weather", {"city": "Berlin"})


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        ("four people, the name is Alice", ToolCall("book_table", {"people": 4, "name": "Alice"})),
        ("four", "That is more than I can keep in mind: please say it all in one sentence."),
    ],
)
async def test_two_things_are_missing(then: str, outcome: Any) -> None:
    question = await answer(request(said("Book a table."), TOOLS))
    assert question == "For that I need to know: people?"
    assert await answer(request(said("Book a table.", question, then), TOOLS)) == outcome


@pytest.mark.parametrize(
    "conversation",
    [
        said("What's the weather?", "For that I need to know: city?", "please"),  # no answer
        said("Hello", "For that I need to know: city?", "Berlin"),  # no tool was asked for
        said("What's the weather in Rome?", "For that I need to know: city?", "Berlin"),  # nothing was missing
        said("What's the weather?", "For that I need to know: year?", "Berlin"),  # not our question
    ],
)
async def test_no_answer_to_a_question_of_its_own(conversation: list[dict[str, Any]]) -> None:
    assert not isinstance(await answer(request(conversation, TOOLS)), ToolCall)


async def test_tool_choice() -> None:
    conversation = said("What is the weather in Berlin?")
    assert str(await answer(request(conversation, TOOLS, tool_choice="none"))).startswith("I do not know")
    named = {"type": "function", "name": "get_time"}
    assert str(await answer(request(conversation, TOOLS, tool_choice=named))).startswith("I do not know")
    named = {"type": "function", "name": "get_weather"}
    assert isinstance(await answer(request(conversation, TOOLS, tool_choice=named)), ToolCall)


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("Hello!", "Hello! What can I do for you?"),
        ("Thank you very much", "You are welcome."),
        ("OK, goodbye!", "Goodbye!"),
        ("Stop.", "All right."),
        ("", "I did not catch any words. Could you say that again?"),
    ],
)
async def test_small_talk(words: str, reply: str) -> None:
    assert await answer(request(said(words), TOOLS)) == reply


async def test_it_says_what_it_is_and_what_it_can_do() -> None:
    able = "What I can do: Current weather of a city; Book a table; What time it is."
    assert await answer(request(said("Who are you?"), TOOLS)) == f"{WHAT_I_AM} {able}"
    lost = await answer(request(said("Tell me a story about a lighthouse"), TOOLS))
    assert lost == f"I do not know what to do with that. {WHAT_I_AM} {able}"
    again = await answer(request(said("Tell me a story", lost, "Now!"), TOOLS))
    assert again == f"I do not know what to do with that. {able}"
    alone = await answer(request(said("Help!"), [{"type": "function", "name": "rollDice"}]))
    assert alone == f"{WHAT_I_AM} What I can do: roll Dice."
    assert await answer(request(said("Help!"))) == f"{WHAT_I_AM} I was given no tools."


@pytest.mark.parametrize("items", [[], said("Hello", "Hello yourself"), [CALLED], [*said("The weather"), CALLED]])
async def test_nobody_has_said_anything_new(items: list[dict[str, Any]]) -> None:
    assert await answer(request(items, TOOLS)) == "Hello! What can I do for you?"


def test_the_tool_that_shares_most_words() -> None:
    on = tool("lamp_on", "Switch the lamp on")
    off = tool("lamp_dim", "Dim the lamp", level={"enum": ["low", "high"]})
    assert best_tool([on, off], "dim the lamp") is off
    assert best_tool([on, off], "switch the lamp") is on
    assert best_tool([on, off], "level low") is off
    assert best_tool([on, off], "low") is None
    assert best_tool([], "dim the lamp") is None


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("18 degrees, partly cloudy", "18 degrees, partly cloudy."),
        ("it rains!", "It rains!"),
        ('["a", 2, null, false]', "A, 2, nothing, no."),
        ("OK", "Done."),
        ('""', "Done."),
        ("Error: no such city", "That did not work. No such city."),
        ("Error", "That did not work."),
    ],
)
def test_outputs_are_read_out(output: str, words: str) -> None:
    assert read_out(output) == words
