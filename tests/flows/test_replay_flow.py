"""A session that moves to another connection can be recorded, replayed with the same result, and told rightly."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rtvoice import AgentResult, RealtimeAgent, RotationPolicy, SessionLog, Tools
from rtvoice.testing import Hold, Rehearsal, Replay, ReplayDiverged, Reply, ScriptedUser, ToolCall
from rtvoice.testing.session_log import SessionRecording
from rtvoice.testing.session_timeline import SessionTimeline

pytestmark = pytest.mark.virtual_clock

SOON = RotationPolicy(after_s=20, latest_s=40)


def agent(**settings: Any) -> RealtimeAgent[None]:
    tools = Tools()

    @tools.action("Weather of a city")
    async def get_weather(city: str) -> str:
        await asyncio.sleep(0.3)
        return f"18 degrees in {city}"

    return RealtimeAgent(tools=tools, **{"rotation": SOON, **settings})


async def record(
    path: Path | SessionLog,
    conversation: Callable[[ScriptedUser], Awaitable[None]],
    replies: list[Any],
    **settings: Any,
) -> AgentResult:
    rehearsal = Rehearsal(replies)
    async with rehearsal.run(agent(session_log=path, **settings, **rehearsal.devices)) as user:
        await conversation(user)
    return rehearsal.result


def about(result: AgentResult) -> list[Any]:
    return [(turn.role, turn.text, turn.interrupted, turn.played_ms) for turn in result.turns]


def connections(path: Path) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [(line["event"], line["connection"]) for line in lines if line.get("event") in ("opened", "closed")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talk.jsonl"


WEATHER = [
    "Hello to you.",
    Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]),
    "It is 18 degrees in Berlin, and partly cloudy; tomorrow there will be rain.",
    "You are welcome.",
]


async def two_sessions(user: ScriptedUser) -> None:
    await user.says("Hello?")
    await user.hears("Hello")
    await asyncio.sleep(30)
    await user.says("What is the weather in Berlin?")
    await user.interrupts("Thanks!", after_ms=1500)
    await user.hears("welcome")


async def test_a_session_that_rotates(path: Path, tmp_path: Path) -> None:
    recorded = await record(path, two_sessions, WEATHER)
    assert connections(path) == [("opened", 1), ("opened", 2), ("closed", 1), ("closed", 2)]
    again = tmp_path / "again.jsonl"
    replay = Replay(path)
    replayed = await replay.run(agent(session_log=again, **replay.devices))
    assert about(replayed) == about(recorded)
    assert [turn.text for turn in replayed.turns if turn.interrupted] != []
    assert connections(again) == connections(path)


async def test_a_session_that_rotates_twice_while_the_user_writes(path: Path) -> None:
    """What the application did is done again by whoever replays it as a server."""

    async def typed(replay: Replay | None, replies: list[Any]) -> AgentResult:
        async def write(writer: RealtimeAgent[None]) -> None:
            for text in ("One?", "Two?", "Three?"):
                await asyncio.sleep(25)
                await writer.send_message(text)
            await asyncio.sleep(25)

        policy = RotationPolicy(after_s=30, latest_s=60)
        if replay is None:
            rehearsal = Rehearsal(replies)
            writer = agent(session_log=path, rotation=policy, **rehearsal.devices)
            async with rehearsal.run(writer):
                await write(writer)
            return rehearsal.result
        writer = agent(rotation=policy, **replay.devices)
        async with asyncio.TaskGroup() as group:
            typing = group.create_task(write(writer))
            result = await replay.run(writer)
            typing.cancel()
        return result

    recorded = await typed(None, ["First.", "Second.", "Third."])
    assert [event for event, _ in connections(path)].count("opened") == 4
    assert about(await typed(Replay(path), [])) == about(recorded)


async def test_a_restart_in_the_middle_of_an_answer(path: Path) -> None:
    story = Reply("This is the beginning of a long story, which goes on and on.", hold=Hold(after_ms=1500))
    rehearsal = Rehearsal([story, "It ends."])
    teller = agent(session_log=path, rotation=None, **rehearsal.devices)
    async with rehearsal.run(teller) as user:
        await user.says("A story?")
        await asyncio.sleep(1)
        await teller.restart()
        await user.hears("ends")
    replay = Replay(path)
    teller = agent(rotation=None, **replay.devices)
    lines = SessionRecording.read(path).lines
    again_at = next(line.at for line in lines if line.event == "opened" and line.connection == 2)
    async with asyncio.TaskGroup() as group:

        async def restart() -> None:
            await asyncio.sleep(again_at)
            await teller.restart()

        group.create_task(restart())
        assert about(await replay.run(teller)) == about(rehearsal.result)


async def test_an_agent_that_does_not_rotate(path: Path) -> None:
    await record(path, two_sessions, WEATHER)
    replay = Replay(path)
    with pytest.raises(ReplayDiverged, match="the agent has not connected again") as caught:
        await replay.run(agent(rotation=None, **replay.devices))
    assert caught.value.difference.at == pytest.approx(20, abs=0.5)


async def test_a_rotation_is_told_rightly(path: Path) -> None:
    """Each session counts its audio for itself, and knows what it was told of the last one."""
    await record(path, two_sessions, WEATHER)
    timeline = SessionTimeline(SessionRecording.read(path))
    assert [said.text for said in timeline.utterances if said.who == "user"] == [
        "Hello?",
        "What is the weather in Berlin?",
        "Thanks!",
    ]
    hello, weather, _ = (said for said in timeline.utterances if said.who == "user")
    assert weather.start == pytest.approx(hello.end + 31, abs=1.5)
    assert not any(said.written for said in timeline.utterances)
    assert [incident.text for incident in timeline.incidents if incident.kind == "connection"] == ["a new connection"]


@pytest.mark.parametrize("left_out", ["audio", "text"])
async def test_a_rotation_of_which_not_all_was_written_down(path: Path, left_out: str) -> None:
    async def talk(user: ScriptedUser) -> None:
        await user.says("One?")
        await user.hears("first")
        await asyncio.sleep(30)
        await user.says("Two?")
        await user.interrupts("Three?", after_ms=800)
        await user.hears("third")

    settings = SessionLog(path, redact_audio=left_out == "audio", redact_text=left_out == "text")
    answers = ["The first answer.", "The second answer, which is far longer.", "The third answer."]
    recorded = await record(settings, talk, answers)
    assert ("opened", 2) in connections(path)
    replay = Replay(path)
    replayed = await replay.run(agent(**replay.devices))
    if left_out == "audio":
        assert about(replayed) == about(recorded)
    assert [turn.played_ms for turn in replayed.turns] == [turn.played_ms for turn in recorded.turns]
