"""What was recorded can be replayed, with the same result; and whoever does something else is told what."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtvoice import AgentResult, OpenAIProvider, RealtimeAgent, ReconnectPolicy, SessionLog, Tools
from rtvoice.audio.formats import AudioFormat
from rtvoice.errors import ConfigurationError, SessionError
from rtvoice.testing import (
    Difference,
    PositionedSpeaker,
    RealtimeEmulator,
    Rehearsal,
    Replay,
    ReplayDiverged,
    Reply,
    ScriptedUser,
    ToolCall,
)
from rtvoice.testing.replay import _Provider

pytestmark = pytest.mark.virtual_clock

WEATHER = [
    Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]),
    "One moment, I am looking that up.",
    "It is 18 degrees in Berlin, and partly cloudy; tomorrow there will be rain.",
    "You are welcome.",
]


def weather_agent(
    *, forecast: str = "18 degrees", looks_up_s: float = 1.2, name: str = "get_weather", **settings: Any
) -> RealtimeAgent[None]:
    tools = Tools()

    @tools.action("Weather of a city", name=name, holding_instruction="One moment, I am looking that up.")
    async def get_weather(city: str) -> str:
        await asyncio.sleep(looks_up_s)
        return forecast

    return RealtimeAgent(tools=tools, greeting="Welcome!", **settings)


async def ask_for_the_weather(user: ScriptedUser) -> None:
    await user.hears("Welcome")
    await user.says("What is the weather in Berlin?")
    await user.hears("looking that up")
    await user.interrupts("Thanks!", after_ms=1500)
    await user.hears("welcome")


async def record(
    path: Path | SessionLog,
    conversation: Callable[[ScriptedUser], Awaitable[None]] = ask_for_the_weather,
    replies: Any = ("Welcome!", WEATHER[0], WEATHER[1], WEATHER[2], WEATHER[3]),
    agent: Callable[..., RealtimeAgent[None]] = weather_agent,
) -> AgentResult:
    rehearsal = Rehearsal(list(replies))
    async with rehearsal.run(agent(session_log=path, **rehearsal.devices)) as user:
        await conversation(user)
    return rehearsal.result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talk.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def frames(path: Path, to: str) -> list[dict[str, Any]]:
    return [line["frame"] for line in lines(path) if line.get("to") == to]


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change the recording line by line; ``None`` takes a line out."""
    kept = [changed for line in lines(path) if (changed := change(line)) is not None]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in kept))


def about(result: AgentResult) -> list[Any]:
    return [(turn.role, turn.text, turn.interrupted, turn.played_ms) for turn in result.turns]


async def test_the_same_conversation_again(path: Path, tmp_path: Path) -> None:
    recorded = await record(path)
    again = tmp_path / "again.jsonl"
    replay = Replay(path)
    agent = weather_agent(session_log=again, **replay.devices)
    replayed = await replay.run(agent)
    assert about(replayed) == about(recorded)
    assert [turn.interrupted for turn in replayed.turns].count(True) == 1
    assert replay.difference is None
    assert replay.speaker.heard_ms > 0
    events = [[line["event"] for line in lines(log) if "event" in line] for log in (path, again)]
    assert events[0] == events[1]
    kinds = [[frame["type"] for frame in frames(log, "server")] for log in (path, again)]
    assert [kind for kind in kinds[0] if "append" not in kind] == [kind for kind in kinds[1] if "append" not in kind]
    sound = [
        b"".join(frame["audio"].encode() for frame in frames(log, "server") if "audio" in frame)
        for log in (path, again)
    ]
    assert sound[0] == sound[1]


async def test_a_replay_of_a_replay(path: Path, tmp_path: Path) -> None:
    recorded = await record(path)
    copy = tmp_path / "copy.jsonl"
    replay = Replay(path)
    await replay.run(weather_agent(session_log=copy, **replay.devices))
    second = Replay(copy)
    assert about(await second.run(weather_agent(**second.devices))) == about(recorded)


async def test_without_the_sound_everything_takes_as_long(path: Path) -> None:
    recorded = await record(SessionLog(path, redact_audio=True))
    replay = Replay(path)
    assert about(await replay.run(weather_agent(**replay.devices))) == about(recorded)
    assert {frame["audio"] for frame in frames(path, "server") if "audio" in frame} == {""}


async def test_without_the_words_everything_happens_at_the_same_time(path: Path) -> None:
    async def interrupted(user: ScriptedUser) -> None:
        await user.hears("Welcome")
        await user.says("Tell me about Berlin!")
        await user.interrupts("Thanks!", after_ms=1500)
        await user.hears("welcome")

    replies = ["Welcome!", Reply("Berlin has many trees, rivers and lakes, and people."), "You are welcome."]
    recorded = await record(SessionLog(path, redact_text=True), interrupted, replies)
    text = path.read_text()  # noqa: ASYNC240
    assert not any(word in text for word in ("Berlin", "elcome", "Thanks", "Weather of"))
    replay = Replay(path)
    replayed = await replay.run(weather_agent(**replay.devices))
    assert [(turn.role, turn.interrupted, turn.played_ms) for turn in replayed.turns] == [
        (turn.role, turn.interrupted, turn.played_ms) for turn in recorded.turns
    ]
    assert {turn.text for turn in replayed.turns} == {"[redacted]"}


async def test_a_slower_agent_has_its_time(path: Path) -> None:
    recorded = await record(path)
    replay = Replay(path, played_tolerance_ms=1000)  # no holding phrase delays the answer any more
    replayed = await replay.run(weather_agent(looks_up_s=3.0, **replay.devices))
    assert [turn.text for turn in replayed.turns] == [turn.text for turn in recorded.turns]


async def difference_of(replay: Replay, **settings: Any) -> Difference:
    with pytest.raises(ReplayDiverged) as caught:
        await replay.run(weather_agent(**settings, **replay.devices))
    assert str(replay.recording.path) in str(caught.value)
    assert str(caught.value.difference) in str(caught.value)
    assert replay.difference is caught.value.difference
    return caught.value.difference


async def test_a_tool_that_returns_something_else(path: Path) -> None:
    await record(path)
    difference = await difference_of(Replay(path), forecast="19 degrees")
    assert difference.problem == 'output is "19 degrees" instead of "18 degrees"'
    assert difference.recorded is not None
    assert difference.replayed is not None
    assert difference.recorded["item"]["output"] == "18 degrees"
    assert difference.replayed["item"]["output"] == "19 degrees"
    assert lines(path)[difference.line - 1]["at"] == pytest.approx(difference.at)
    replay = Replay(path, same_outputs=False)
    await replay.run(weather_agent(forecast="19 degrees", **replay.devices))


async def test_a_tool_that_is_missing_is_the_first_difference(path: Path) -> None:
    await record(path)
    difference = await difference_of(Replay(path), name="weather_of")
    assert difference.problem == 'tools is ["weather_of"] instead of ["get_weather"]'
    assert difference.at < 0.1


async def test_an_agent_that_does_nothing(path: Path) -> None:
    await record(path)
    difference = await difference_of(Replay(path, patience=2.0), looks_up_s=100.0)
    assert difference.problem == "the agent did not do this, nor within 2 s"
    assert difference.replayed is None
    assert "18 degrees" in str(difference)
    assert str(difference).endswith("replayed: nothing")


async def test_an_agent_that_does_something_of_its_own(path: Path) -> None:
    await record(path)
    replay = Replay(path)
    async with asyncio.TaskGroup() as group:
        agent = weather_agent(**replay.devices)

        async def write() -> None:
            await asyncio.sleep(1.0)
            await agent.send_message("And in London?")

        group.create_task(write())
        with pytest.raises(ReplayDiverged) as caught:
            await replay.run(agent)
    assert caught.value.difference.replayed is not None
    assert "And in London?" in str(caught.value)
    assert caught.value.difference.problem.startswith(
        "the agent did not do this when it was recorded; what it did next"
    )
    assert caught.value.difference.recorded is None


async def test_an_agent_that_does_something_after_all_else(path: Path) -> None:
    await record(path)
    rewrite(path, lambda line: None if line.get("event") == "stopping" else line)
    last = max(line["at"] for line in lines(path)[1:])
    rewrite(path, lambda line: {**line, "at": last + 60} if line.get("event") == "end" else line)
    replay = Replay(path)
    agent = weather_agent(**replay.devices)
    async with asyncio.TaskGroup() as group:

        async def write() -> None:
            await asyncio.sleep(last + 10)
            await agent.send_message("Hello?")

        group.create_task(write())
        with pytest.raises(ReplayDiverged, match="the agent did not do this when it was recorded\n"):
            await replay.run(agent)


async def test_what_was_heard_of_an_interrupted_answer(path: Path) -> None:
    await record(path)

    def less(line: dict[str, Any]) -> dict[str, Any]:
        if line.get("frame", {}).get("type") == "conversation.item.truncate":
            line["frame"]["audio_end_ms"] -= 300
        return line

    rewrite(path, less)
    difference = await difference_of(Replay(path))
    assert difference.problem == "1600 ms were heard instead of 1300 ms"
    lenient = Replay(path, played_tolerance_ms=300)
    await lenient.run(weather_agent(**lenient.devices))


async def test_a_log_without_an_end_is_replayed_as_far_as_it_goes(path: Path) -> None:
    recorded = await record(path)
    rewrite(path, lambda line: line if line.get("at", 0) < 4 else None)
    replay = Replay(path)
    replayed = await replay.run(weather_agent(**replay.devices))
    texts = [turn.text for turn in replayed.turns]
    assert texts == [turn.text for turn in recorded.turns][: len(texts)]
    assert 0 < len(texts) < len(recorded.turns)


async def test_the_server_ends_the_session_as_it_did(path: Path) -> None:
    async def until_the_end(user: ScriptedUser) -> None:
        await user.says("Goodbye!")
        await user.hears("Goodbye")
        server.current.close(1000, "over")
        await asyncio.sleep(1)

    rehearsal = Rehearsal(["Goodbye, then."])
    server = rehearsal.server
    async with rehearsal.run(RealtimeAgent(session_log=path, **rehearsal.devices)) as user:
        await until_the_end(user)
    replay = Replay(path)
    replayed = await replay.run(RealtimeAgent(**replay.devices))
    assert about(replayed) == about(rehearsal.result)


QUICK = ReconnectPolicy(initial_delay_s=0.1)


class Late(ReconnectPolicy):
    def delay_s(self, attempt: int) -> float:
        return 60.0


async def test_a_lost_connection_is_lost_and_restored_again(path: Path) -> None:
    def agent(**settings: Any) -> RealtimeAgent[None]:
        return RealtimeAgent(reconnect=QUICK, **settings)

    rehearsal = Rehearsal(["The first answer.", "The second answer."])
    async with rehearsal.run(agent(session_log=path, **rehearsal.devices)) as user:
        await user.says("One?")
        await user.hears("first")
        await asyncio.sleep(1)
        rehearsal.server.current.drop()
        await asyncio.sleep(2)
        await user.says("Two?")
        await user.hears("second")
    assert [line["connection"] for line in lines(path) if line.get("event") == "opened"] == [1, 2]
    replay = Replay(path)
    replayed = await replay.run(agent(**replay.devices))
    assert about(replayed) == about(rehearsal.result)
    slow = Replay(path, patience=1.0)
    with pytest.raises(ReplayDiverged, match="the agent has not connected again"):
        await slow.run(RealtimeAgent(reconnect=Late(), **slow.devices))
    alone = Replay(path)
    with pytest.raises(ReplayDiverged, match="the agent ended the conversation, which went on"):
        await alone.run(RealtimeAgent(reconnect=None, **alone.devices))


async def test_frames_that_are_no_json_are_said_as_they_were(path: Path) -> None:
    await record(path)
    added = False

    def damaged(line: dict[str, Any]) -> dict[str, Any]:
        nonlocal added
        if line.get("to") == "agent" and not added and line["frame"]["type"] == "response.created":
            added = True
            return {"at": line["at"], "connection": 1, "to": "agent", "text": '{"type": "response.crea'}
        return line

    original = path.read_text()  # noqa: ASYNC240
    rewrite(path, damaged)
    assert added
    path.write_text(original.replace('"event":"answer_started"', '"event":"something new"'))  # noqa: ASYNC240
    replay = Replay(path)
    await replay.run(weather_agent(**replay.devices))


async def test_as_a_server_for_any_client(path: Path) -> None:
    recorded = await record(path)
    async with Replay(path) as replay:
        provider = OpenAIProvider("any key", base_url=replay.url)
        agent = weather_agent(**{**replay.devices, "provider": provider})
        async with asyncio.TaskGroup() as group:
            running = group.create_task(agent.run())
            await replay.finished()
            await agent.stop()
    assert about(running.result()) == about(recorded)


async def test_as_a_server_it_hangs_up_on_an_agent_that_departs(path: Path) -> None:
    await record(path)
    with pytest.raises(ReplayDiverged):
        async with Replay(path) as replay:
            await weather_agent(forecast="snow", **replay.devices).run()


async def test_a_failure_of_the_block_is_not_hidden(path: Path) -> None:
    await record(path)

    async def fail() -> None:
        async with Replay(path) as replay:
            assert replay.url.startswith("ws://127.0.0.1:")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_what_the_agent_raises_is_raised(path: Path) -> None:
    await record(path)
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "code": "x", "param": "session.voice"}}
    refused = False

    def refuse(line: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal refused
        if line.get("frame", {}).get("type") == "session.updated":
            refused = True
            return {
                **line,
                "frame": {**refusal, "error": {**refusal["error"], "message": "no", "event_id": "config_1"}},
            }
        return None if refused else line

    rewrite(path, refuse)
    replay = Replay(path)
    with pytest.raises(Exception, match="no") as caught:
        await replay.run(weather_agent(**replay.devices))
    assert not isinstance(caught.value, ReplayDiverged | SessionError | ExceptionGroup)


async def test_sessions_that_cannot_be_replayed(path: Path, tmp_path: Path) -> None:
    await record(path)
    rewrite(path, lambda line: line if "connection" not in line else None)
    with pytest.raises(ConfigurationError, match="has no session that could be replayed"):
        Replay(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Replay(tmp_path / "nothing.jsonl")


async def test_it_has_an_address_only_while_it_runs(path: Path) -> None:
    await record(path)
    replay = Replay(path)
    with pytest.raises(RuntimeError, match="the replay has no address yet"):
        _ = replay.url
    assert _Provider(replay).build_headers()["Authorization"].startswith("Bearer ")
    assert isinstance(replace(Difference(0.0, 1, None, None, "x"), at=1.0), Difference)


async def test_the_recording_disturbs_nothing(path: Path) -> None:
    """The conversation is the same with and without."""
    with_log = await record(path)
    rehearsal = Rehearsal(["Welcome!", *WEATHER])
    async with rehearsal.run(weather_agent(**rehearsal.devices)) as user:
        await ask_for_the_weather(user)
    assert about(rehearsal.result) == about(with_log)


async def test_no_key_is_in_the_recording(path: Path) -> None:
    """Neither the key of the service nor that of an MCP server, wherever the server repeats them."""
    key = "sk-proj-ThisIsTheKeyOfTheService"
    async with RealtimeEmulator(["Hello."], api_key=key) as server:
        rehearsal = Rehearsal()
        provider = OpenAIProvider(key, base_url=server.base_url, organization="org-of-mine", project="proj-of-mine")
        agent = RealtimeAgent(session_log=path, **{**rehearsal.devices, "provider": provider})
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run())
            session = await server.connected()
            session.send(
                {"type": "error", "error": {"type": "e", "code": "c", "message": f"{key} is odd: org-of-mine"}}
            )
            await server.received("session.update")
            await asyncio.sleep(1)
            await agent.stop()
    text = path.read_text()  # noqa: ASYNC240
    assert "is odd" in text
    for secret in (key, "ThisIsTheKey", "org-of-mine", "proj-of-mine"):
        assert secret not in text
    assert "?model=" not in text


async def test_a_telephone_is_replayed_with_other_devices(path: Path) -> None:
    """The recorded sound is G.711, the agent of the replay speaks PCM."""

    class Line(PositionedSpeaker):
        audio_format = AudioFormat.MULAW

        async def play_chunk(self, chunk: bytes) -> None:
            await super().play_chunk(bytes(len(chunk) * 6))  # what it takes is 8 bits at 8 kHz

    rehearsal = Rehearsal(["One two three four five six."])
    devices = {**rehearsal.devices, "audio_output": Line()}
    agent = RealtimeAgent(session_log=path, **devices)
    async with rehearsal.run(agent) as user:
        await user.says("Count!")
        await asyncio.sleep(4)
    formats = [
        frame["session"]["audio"]["output"]["format"]["type"] for frame in frames(path, "server") if "session" in frame
    ]
    assert formats == ["audio/pcmu"]
    replay = Replay(path)
    replayed = await replay.run(RealtimeAgent(**replay.devices))
    assert [turn.text for turn in replayed.turns] == ["Count!", "One two three four five six."]
    sent = sum(
        len(b64decode(frame["delta"])) for frame in frames(path, "agent") if frame["type"].endswith("audio.delta")
    )
    assert replay.speaker.heard_ms == pytest.approx(sent / 8, abs=20)
