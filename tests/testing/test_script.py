"""Scripts: replies and transcripts from lists and functions."""

import asyncio
import itertools
from typing import Any

import pytest

from rtvoice.testing.script import (
    UNSCRIPTED_REPLY,
    Hold,
    McpCall,
    Reply,
    ReplyRequest,
    Script,
    ToolCall,
    Transcript,
    UserTurn,
)

REQUEST: Any = ReplyRequest(
    session={},
    instructions="",
    tools=[],
    tool_choice="auto",
    output_modalities=["audio"],
    items=[],
    user_text="Hello?",
    function_outputs={},
    metadata={},
    out_of_band=False,
    event=None,
    session_id="s",
)
TURN = UserTurn(b"", "item_1", "s")


async def test_replies_come_in_order_and_then_an_honest_line() -> None:
    script = Script(["One.", Reply("Two.")], [])
    script.add_replies("Three.")
    assert [(await script.reply(REQUEST)).text for _ in range(4)] == ["One.", "Two.", "Three.", UNSCRIPTED_REPLY]


async def test_a_list_of_replies_may_be_endless() -> None:
    script = Script(itertools.cycle(["Tick.", "Tock."]), [])
    assert [(await script.reply(REQUEST)).text for _ in range(3)] == ["Tick.", "Tock.", "Tick."]


async def test_an_empty_string_is_a_reply() -> None:
    script = Script(["", "Next."], [])
    assert (await script.reply(REQUEST)).text == ""
    assert (await script.reply(REQUEST)).text == "Next."


async def test_replies_from_functions() -> None:
    assert await Script(lambda request: request.user_text, []).reply(REQUEST) == Reply("Hello?")

    async def later(request: ReplyRequest) -> Reply:
        await asyncio.sleep(0)
        return Reply(request.user_text)

    script = Script(later, [])
    assert await script.reply(REQUEST) == Reply("Hello?")
    with pytest.raises(TypeError, match="replies is a function"):
        script.add_replies("x")


async def test_transcripts_from_lists_and_functions() -> None:
    script = Script([], ["One.", None, Transcript("Three.", delay_s=1)])
    script.add_transcripts("Four.")
    given = [await script.transcript(TURN) for _ in range(5)]
    assert given == [
        Transcript("One."),
        Transcript(),
        Transcript("Three.", delay_s=1),
        Transcript("Four."),
        Transcript(),
    ]
    script = Script([], lambda turn: turn.item_id)
    assert await script.transcript(TURN) == Transcript("item_1")
    with pytest.raises(TypeError, match="transcripts is a function"):
        script.add_transcripts("x")


async def test_wrong_things_in_a_script_are_told() -> None:
    wrong: Any = [5]
    with pytest.raises(TypeError, match="must give a Reply, a StreamedReply or a str, not 5"):
        await Script(wrong, []).reply(REQUEST)
    with pytest.raises(TypeError, match="must give a Transcript, a str or None, not 5"):
        await Script([], wrong).transcript(TURN)
    with pytest.raises(TypeError, match=r"replies must be a list or a function, not a single str: write \['Hi'\]"):
        Script("Hi", [])
    with pytest.raises(TypeError, match="transcripts must be a list"):
        Script([], "Hi")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pace": 0}, "pace must be above 0"),
        ({"delta_ms": []}, "delta_ms needs lengths"),
        ({"delta_ms": [100, 0]}, "delta_ms needs lengths"),
    ],
)
def test_impossible_replies_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reply("x", **wrong)


def test_what_a_reply_says() -> None:
    assert Reply("x").speaks
    assert Reply(audio=b"\0\0").speaks
    assert not Reply(calls=[McpCall("notes", "search")]).speaks
    assert Reply("x", audio=b"\1\0").pcm(seed=0, speed=1) == b"\1\0"
    assert len(Reply("x" * 15).pcm(seed=0, speed=1)) == 48_000


def test_arguments_are_compact_json_or_as_given() -> None:
    assert ToolCall("f", {"a": 1, "b": [2]}).json_arguments == '{"a":1,"b":[2]}'
    assert ToolCall("f", "{not json").json_arguments == "{not json"
    assert ToolCall("f").json_arguments == "{}"


async def test_a_hold_stands_until_released() -> None:
    hold = Hold(20)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(hold.wait_here())
        await hold.reached()
        assert not waiting.done()
        hold.release()
    await hold.wait_here()
    with pytest.raises(ValueError, match="0 or more, not -1"):
        Hold(-1)
