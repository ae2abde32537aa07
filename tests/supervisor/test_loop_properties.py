"""Whatever the model says and whenever the user interferes: the API accepts the history, and no update is lost."""

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from rtvoice.llm import ChatInvokeCompletion, Message, ToolCall, UserMessage
from rtvoice.supervisor import Supervisor, SupervisorClarificationNeeded, SupervisorDone
from rtvoice.tools import Tools


class Call(NamedTuple):
    """What the model calls; ``n`` updates arrive while the tool runs."""

    id: str
    name: str
    arguments: str


class Turn(NamedTuple):
    """What the model says; ``updates`` arrive while it thinks."""

    calls: list[Call]
    text: str
    updates: int


CALLS = st.builds(
    Call,
    id=st.sampled_from(["", "a", "b", "c", "d"]),
    name=st.sampled_from(["work", "work", "fail", "unknown", "done", "done", "clarify"]),
    arguments=st.one_of(
        st.integers(0, 2).map(lambda n: f'{{"n": {n}, "result": "r", "question": "q"}}'),
        st.sampled_from(["", "{}", "null", "[]", "{broken"]),
    ),
)
TURNS = st.builds(Turn, st.lists(CALLS, max_size=4), st.sampled_from(["", "text"]), st.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(turns=st.lists(TURNS, min_size=1, max_size=8), max_iterations=st.integers(1, 4))
def test_histories_are_valid_and_updates_arrive(
    turns: list[Turn], max_iterations: int, call: Callable[..., ToolCall], history_is_valid: Callable[..., None]
) -> None:
    asyncio.run(converse(turns, max_iterations, call, history_is_valid))


async def converse(
    turns: list[Turn], max_iterations: int, call: Callable[..., ToolCall], history_is_valid: Callable[..., None]
) -> None:
    script, numbers = iter(turns), itertools.count()
    sent: list[str] = []
    latest: list[Message] = []

    async def interfere(times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(0)  # lets other calls of the turn come in between
            sent.append(f"update {next(numbers)};")
            await supervisor.update(sent[-1])

    tools = Tools()

    @tools.action("Works")
    async def work(n: int) -> int:
        await interfere(n)
        return n

    @tools.action("Fails")
    async def fail(n: int = 0) -> None:
        await interfere(n)
        raise RuntimeError("out of order")

    class Model:
        async def invoke(self, messages: list[Message], *, tools: list[Any]) -> ChatInvokeCompletion[str]:
            history_is_valid(messages)
            latest[:] = messages
            turn = next(script, Turn([], "the end", 0))
            await interfere(turn.updates)
            calls = [call(one.id, one.name, raw=one.arguments) for one in turn.calls]
            return ChatInvokeCompletion(completion=turn.text, tool_calls=calls)

    supervisor: Supervisor[None] = Supervisor(
        description="d",
        instructions="i",
        llm=Model(),  # type: ignore[arg-type]
        tools=tools,
        max_iterations=max_iterations,
    )
    result = await supervisor.start("task")
    while isinstance(result, SupervisorClarificationNeeded):
        history_is_valid(result.resume_history, waiting=result.clarify_call_id)
        result = await supervisor.resume("answer", result.resume_history, result.clarify_call_id)

    assert isinstance(result, SupervisorDone)
    read = "".join(str(message.content) for message in latest if isinstance(message, UserMessage))
    assert re.findall(r"update \d+;", read + result.message) == sent
