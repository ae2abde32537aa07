"""A rehearsal: an agent, a scripted user, and what can be asserted afterwards. All on the virtual clock."""

import asyncio
import time
from typing import Any

import pytest

from rtvoice import InterruptionPolicy, RealtimeAgent, ServerVAD, Tools
from rtvoice.errors import ConnectionFailed, ServerError
from rtvoice.testing import (
    Faults,
    PausableSpeaker,
    PositionedSpeaker,
    Rehearsal,
    Reply,
    ReplyRequest,
    ToolCall,
    VirtualSpeaker,
)
from rtvoice.testing.faults import StartRefusal
from rtvoice.testing.user_voice import murmur

pytestmark = pytest.mark.virtual_clock

WEATHER = Reply(calls=[ToolCall("get_weather", {"city": "Berlin", "days": 2})])


def some_tools() -> Tools:
    tools = Tools()

    @tools.action("Weather")
    async def get_weather(city: str, days: int = 1) -> str:
        return f"18 degrees in {city}"

    @tools.action("Set a timer")
    async def set_timer(minutes: int) -> str:
        if minutes < 0:
            raise ValueError("no such time")
        return "set"

    return tools


def agent_for(rehearsal: Rehearsal, **settings: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(tools=some_tools(), **settings, **rehearsal.devices)


async def held(rehearsal: Rehearsal, *lines: str, **settings: Any) -> Rehearsal:
    """Hold a conversation in which every line of the user is answered."""
    async with rehearsal.run(agent_for(rehearsal, **settings)) as user:
        for line in lines:
            await user.says(line)
            await user.hears()
    return rehearsal


async def two_tools_and_an_interruption() -> Rehearsal:
    rehearsal = Rehearsal(
        [
            WEATHER,
            "It is 18 degrees in Berlin, and partly cloudy. Tomorrow it will be warmer.",
            Reply(calls=[ToolCall("set_timer", {"minutes": 5})]),
            "The timer is set.",
        ]
    )
    async with rehearsal.run(agent_for(rehearsal)) as user:
        await user.says("What is the weather in Berlin?")
        await user.interrupts("Set a timer.", after_ms=1500)
        await user.hears("timer is set")
    return rehearsal


async def test_two_tools_and_an_interruption() -> None:
    rehearsal = await two_tools_and_an_interruption()
    rehearsal.tool_called("get_weather", city="Berlin")
    rehearsal.tool_called("set_timer", minutes=5)
    assert rehearsal.interrupted_at_ms == 1600  # turn detection needs 100 ms of speech
    assert rehearsal.latency_ms == pytest.approx(1000)  # the emulator's stand-in for semantic turn detection
    assert [turn.heard for turn in rehearsal.result.turns] == [
        "What is the weather in Berlin?",
        "It is 18 degrees in",
        "Set a timer.",
        "The timer is set.",
    ]


async def test_the_model_is_told_what_was_heard() -> None:
    rehearsal = await two_tools_and_an_interruption()
    truncate = await rehearsal.server.received("conversation.item.truncate")
    assert truncate["audio_end_ms"] == rehearsal.interrupted_at_ms
    assert rehearsal.speaker.cleared[0].heard_samples == 1600 * 24


async def test_every_rehearsal_of_the_same_script_is_the_same() -> None:
    first, second = await two_tools_and_an_interruption(), await two_tools_and_an_interruption()
    assert first.transcript() == second.transcript()


async def test_it_is_quick() -> None:
    await two_tools_and_an_interruption()  # imports numpy
    started = time.process_time()
    await two_tools_and_an_interruption()
    assert time.process_time() - started < 0.5  # about 0.06 s; a machine may be slow, but not wait


async def test_the_transcript_tells_the_conversation() -> None:
    rehearsal = await two_tools_and_an_interruption()
    lines = [" ".join(line.split()) for line in rehearsal.transcript().splitlines()]
    assert lines == [
        "0.00 s user What is the weather in Berlin?",
        "3.00 s tool get_weather(city='Berlin', days=2) -> 18 degrees in Berlin",
        "3.00 s assistant It is 18 degrees in Berlin, and partly cloudy. Tomorrow it will be warmer. "
        "[interrupted after 1600 ms; heard: 'It is 18 degrees in']",
        "4.50 s user Set a timer.",
        "6.30 s tool set_timer(minutes=5) -> set",
        "6.30 s assistant The timer is set.",
    ]


async def test_it_tells_while_it_happens() -> None:
    told: list[str] = []
    rehearsal = Rehearsal([WEATHER, "18 degrees."], tell=told.append)
    async with rehearsal.run(agent_for(rehearsal)) as user:
        await user.says("The weather?")
        assert "user       The weather?" in told
        await user.hears()
    assert "tool       get_weather(city='Berlin', days=2)" in told
    assert told[-1] == "assistant  18 degrees."


async def test_replies_may_be_a_function_of_what_the_user_said() -> None:
    def answer(request: ReplyRequest) -> str:
        return f"You said: {request.user_text}"

    rehearsal = await held(Rehearsal(answer), "One.", "Two.")
    assert [answer.text for answer in rehearsal.answers] == ["You said: One.", "You said: Two."]


async def test_other_loudspeakers_and_turn_detection() -> None:
    speaker = VirtualSpeaker(buffer_ms=100, latency_ms=40)
    rehearsal = Rehearsal(["Good morning. How are you?"], speaker=speaker)
    await held(rehearsal, "Hello.", turn_detection=ServerVAD(silence_duration_ms=300))
    assert rehearsal.speaker is speaker
    assert rehearsal.latency_ms == pytest.approx(300)
    assert isinstance(Rehearsal().speaker, PositionedSpeaker)


async def test_it_works_in_text_mode() -> None:
    rehearsal = await held(Rehearsal(["Oslo."]), "The capital of Norway?", output_modalities=["text"])
    assert rehearsal.heard("oslo").text == "Oslo."
    assert rehearsal.speaker.chunks == 0


async def test_it_works_without_transcription() -> None:
    rehearsal = await held(Rehearsal(["Hello."]), "Good morning.", transcription_model=None)
    assert "user       Good morning." in rehearsal.transcript()


class TestAssertions:
    async def test_heard(self) -> None:
        rehearsal = await held(Rehearsal(["It is 18 DEGREES."]), "The weather?")
        assert rehearsal.heard("18 degrees") is rehearsal.answers[0]
        with pytest.raises(AssertionError, match=r"(?s)the user has not heard '20 degrees'.*It is 18 DEGREES"):
            rehearsal.heard("20 degrees")

    async def test_heard_means_heard(self) -> None:
        rehearsal = await two_tools_and_an_interruption()
        with pytest.raises(AssertionError):
            rehearsal.heard("warmer")
        assert "warmer" in rehearsal.answers[0].text

    async def test_tool_called(self) -> None:
        rehearsal = await held(Rehearsal([WEATHER, "Fine."]), "The weather?")
        call = rehearsal.tool_called("get_weather")
        assert rehearsal.tool_calls == [call]
        assert (call.output, call.success) == ("18 degrees in Berlin", True)
        assert rehearsal.tool_called("get_weather", city="Berlin", days=2) is call
        with pytest.raises(AssertionError, match=r"get_weather\(city='Oslo'\) was not called"):
            rehearsal.tool_called("get_weather", city="Oslo")
        with pytest.raises(AssertionError, match=r"set_timer\(\) was not called"):
            rehearsal.tool_called("set_timer")

    async def test_a_tool_that_fails_was_not_called_well(self) -> None:
        timer = Reply(calls=[ToolCall("set_timer", {"minutes": -1})])
        rehearsal = await held(Rehearsal([timer, WEATHER, "That is impossible."]), "Set a timer.")
        assert "no such time" in (rehearsal.tool_failed("set_timer", minutes=-1).output or "")
        with pytest.raises(AssertionError, match=r"set_timer\(\) was called, but failed"):
            rehearsal.tool_called("set_timer")
        with pytest.raises(AssertionError, match=r"get_weather\(\) was called, but has not failed"):
            rehearsal.tool_failed("get_weather")

    async def test_a_parameter_may_be_called_name(self) -> None:
        tools = Tools()
        tools.action("Greet", name="greet")(lambda name: f"Hello {name}")
        rehearsal = Rehearsal([Reply(calls=[ToolCall("greet", {"name": "Alice"})]), "Done."])
        async with rehearsal.run(RealtimeAgent(tools=tools, **rehearsal.devices)) as user:
            await user.says("Greet Alice.")
            await user.hears("Done")
        assert rehearsal.tool_called("greet", name="Alice").output == "Hello Alice"

    async def test_nothing_was_interrupted_or_answered(self) -> None:
        rehearsal = Rehearsal()
        async with rehearsal.run(agent_for(rehearsal)):
            pass
        with pytest.raises(AssertionError, match=r"(?s)was not interrupted.*\(nothing was said\)"):
            _ = rehearsal.interrupted_at_ms
        with pytest.raises(AssertionError, match="has not answered"):
            _ = rehearsal.latency_ms

    async def test_errors_are_kept(self) -> None:
        failed = Reply(status="failed")
        rehearsal = Rehearsal([failed, failed])  # the first one is asked for again
        async with rehearsal.run(agent_for(rehearsal)) as user:
            await user.says("Hello.")
            await user.stays_silent(1)
        assert [error.type for error in rehearsal.errors] == ["server_error"]
        assert "error      [server_error]" in rehearsal.transcript()


class TestRun:
    async def test_the_agent_is_connected_and_then_stopped(self) -> None:
        rehearsal = Rehearsal()
        agent = agent_for(rehearsal)
        with pytest.raises(RuntimeError, match="nothing was rehearsed yet"):
            rehearsal.transcript()
        async with rehearsal.run(agent):
            session = rehearsal.server.current
            with pytest.raises(RuntimeError, match="before the conversation is over"):
                _ = rehearsal.result
        assert session.closed
        assert rehearsal.result.turns == []

    async def test_one_conversation_each(self) -> None:
        rehearsal = await held(Rehearsal())
        with pytest.raises(RuntimeError, match="make a new Rehearsal"):
            async with rehearsal.run(agent_for(rehearsal)):
                pass

    async def test_a_failure_of_the_test_comes_out_as_it_is(self) -> None:
        rehearsal = Rehearsal()
        with pytest.raises(AssertionError, match="as it is") as failure:
            async with rehearsal.run(agent_for(rehearsal)):
                raise AssertionError("as it is")
        assert failure.value.__cause__ is None
        assert rehearsal.server.current.closed

    async def test_an_agent_that_cannot_begin_says_why(self) -> None:
        rehearsal = Rehearsal()
        rehearsal.server.refuse(StartRefusal(http_status=503))
        with pytest.raises(ConnectionFailed):
            async with rehearsal.run(agent_for(rehearsal)):
                raise AssertionError("must not begin")

    async def test_an_agent_that_fails_later_says_why(self) -> None:
        rehearsal = Rehearsal()
        agent = agent_for(rehearsal)
        run = agent.run

        async def fail_after_a_second() -> Any:
            await run()
            raise RuntimeError("broken at the end")

        agent.run = fail_after_a_second  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="broken at the end"):
            async with rehearsal.run(agent) as user:
                await user.stays_silent(1)

    async def test_two_failures_come_together(self) -> None:
        rehearsal = Rehearsal()
        agent = agent_for(rehearsal)
        run = agent.run

        async def fail_when_cancelled() -> Any:
            try:
                return await run()
            except asyncio.CancelledError:
                raise RuntimeError("broken at the end") from None

        agent.run = fail_when_cancelled  # type: ignore[method-assign]
        with pytest.raises(ExceptionGroup) as failure:
            async with rehearsal.run(agent):
                raise AssertionError("in the test")
        assert {type(error) for error in failure.value.exceptions} == {AssertionError, RuntimeError}

    async def test_an_error_in_the_replies_explains_all_others(self) -> None:
        def answer(_request: ReplyRequest) -> str:
            raise KeyError("a mistake in the script")

        rehearsal = Rehearsal(answer)
        with pytest.raises(KeyError, match="a mistake in the script"):
            await held(rehearsal, "Hello.")

    async def test_an_agent_with_another_server(self) -> None:
        rehearsal, other = Rehearsal(), Rehearsal()
        async with other.server:
            agent = RealtimeAgent[None](**other.devices)
            with pytest.raises(RuntimeError, match=r"make it with \*\*rehearsal.devices"):
                async with rehearsal.run(agent):
                    pass

    async def test_a_test_that_is_cancelled(self) -> None:
        rehearsal = Rehearsal()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3), rehearsal.run(agent_for(rehearsal)) as user:
                await user.stays_silent(60)
        assert rehearsal.server.current.closed

    async def test_what_goes_wrong_on_the_server(self) -> None:
        refusal = {"type": "invalid_request_error", "code": "unknown", "message": "No such voice."}
        rehearsal = Rehearsal(faults=Faults(refuse_session_updates=refusal))
        with pytest.raises(ServerError, match="No such voice"):
            async with rehearsal.run(agent_for(rehearsal)) as user:
                await user.stays_silent(1)


@pytest.mark.parametrize("speaker", [PositionedSpeaker, PausableSpeaker])
async def test_a_backchannel_and_a_cough_do_not_interrupt(speaker: type[PositionedSpeaker]) -> None:
    rehearsal = Rehearsal(
        ["It is a long story, and it goes on and on and on, until in the end it is over."], speaker=speaker()
    )
    agent = agent_for(rehearsal, interruption=InterruptionPolicy())
    async with rehearsal.run(agent) as user:
        await user.says("A story?")
        await user.stays_silent(1)
        await user.says("Mhm.")
        await user.says("", clip=murmur("Cough!")[:9_600])
        await user.hears("it is over")
    assert rehearsal.heard("it is over").interrupted_at_ms is None


async def test_it_lasts_as_long_as_a_conversation_on_a_real_clock() -> None:
    """The same on asyncio's own loop, in a thread: a short answer to a short word."""

    def on_a_real_clock() -> Rehearsal:
        return asyncio.run(held(Rehearsal(["Yes."]), "Hi.", turn_detection=ServerVAD(silence_duration_ms=200)))

    rehearsal = await asyncio.to_thread(on_a_real_clock)
    assert rehearsal.heard("yes").latency_ms is not None
    assert rehearsal.latency_ms >= 150
