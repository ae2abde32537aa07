"""What a scripted user does, and how it complains when the conversation goes another way."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from rtvoice import RealtimeAgent, ServerVAD, Tools
from rtvoice.audio import WavFileInput
from rtvoice.errors import AudioDeviceError
from rtvoice.testing import Rehearsal, Reply, ScriptedUser, ToolCall
from rtvoice.testing.audio_formats import load_pcm

pytestmark = pytest.mark.virtual_clock

AUDIO = Path(__file__).parents[1] / "fixtures" / "audio"
STORY = "There once was a lighthouse at the end of the world, and its keeper was a cat."
SLOW = Reply(calls=[ToolCall("think", {"seconds": 20})])


def running(rehearsal: Rehearsal, **settings: Any) -> AbstractAsyncContextManager[ScriptedUser]:
    tools = Tools()

    @tools.action("Think", holding_instruction="Let me think.")
    async def think(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "42"

    @tools.action("Hang up")
    async def hang_up() -> None:
        await agent.stop()

    vad = ServerVAD(silence_duration_ms=500)
    agent = RealtimeAgent[None](tools=tools, turn_detection=vad, **{**rehearsal.devices, **settings})
    return rehearsal.run(agent)


def now() -> float:
    return asyncio.get_running_loop().time()


class TestSays:
    async def test_it_returns_when_the_turn_is_over(self) -> None:
        rehearsal = Rehearsal(["Fine."])
        async with running(rehearsal) as user:
            began = now()
            await user.says("How are you, my dear?")  # 21 characters: 1.4 s
            assert now() - began == pytest.approx(1.9, abs=0.11)
            await user.hears("Fine")
        assert rehearsal.result.turns[0].text == "How are you, my dear?"

    async def test_a_single_letter_is_heard(self) -> None:
        rehearsal = Rehearsal(["Yes?"])
        async with running(rehearsal) as user:
            await user.says("I")
            await user.hears("Yes")

    @pytest.mark.parametrize("clip", ["weather.wav", "human_goforward.wav"])
    async def test_a_clip(self, clip: str) -> None:
        rehearsal = Rehearsal(["I see."])
        async with running(rehearsal) as user:
            await user.says("whatever it is", clip=AUDIO / clip)
            await user.hears("I see")
        assert rehearsal.result.turns[0].text == "whatever it is"
        assert bytes(rehearsal.server.current.user_audio).find(load_pcm(AUDIO / clip)) > -1

    async def test_silence_at_the_end_of_a_clip_is_time_that_the_user_waits(self) -> None:
        speech = load_pcm(AUDIO / "stop.wav")
        rehearsal = Rehearsal(["All right.", "All right."])
        async with running(rehearsal) as user:
            await user.says("Stop.", clip=speech)
            short = await user.hears()
            await user.says("Stop.", clip=speech + bytes(2 * 48_000))
            long = await user.hears()
        assert short.latency_ms is not None
        assert long.latency_ms == pytest.approx(short.latency_ms, abs=101)
        assert rehearsal.latency_ms >= short.latency_ms

    async def test_a_clip_with_a_pause_makes_two_turns_and_the_words_belong_to_the_first(self) -> None:
        speech = load_pcm(AUDIO / "stop.wav")
        rehearsal = Rehearsal(["Hm.", "Hm."])
        async with running(rehearsal) as user:
            await user.says("Stop ... stop.", clip=speech + bytes(2 * 48_000) + speech)
            await user.hears()
        assert [turn.text for turn in rehearsal.result.turns if turn.role == "user"] == ["Stop ... stop."]

    async def test_what_turn_detection_does_not_hear_was_not_said(self) -> None:
        rehearsal = Rehearsal()
        async with running(rehearsal) as user:
            began = now()
            with pytest.raises(AssertionError, match=r"(?s)did not hear 'Psst.' begin and end: nothing has happened"):
                await user.says("Psst.", clip=bytes(48_000))
            assert now() - began == pytest.approx(11, abs=0.11)

    async def test_a_clip_that_cannot_be_read(self) -> None:
        async with running(Rehearsal()) as user:
            with pytest.raises(AudioDeviceError, match=r"nowhere\.wav"):
                await user.says("Hello.", clip="nowhere.wav")

    async def test_an_agent_with_another_microphone(self) -> None:
        rehearsal = Rehearsal(patience=3)
        async with running(rehearsal, audio_input=WavFileInput(AUDIO / "hello.wav")) as user:
            with pytest.raises(AssertionError, match="does not listen to the rehearsal's microphone"):
                await user.says("Hello.")

    async def test_nobody_is_there_any_more(self) -> None:
        rehearsal = Rehearsal([Reply(calls=[ToolCall("hang_up")])])
        async with running(rehearsal) as user:
            await user.says("Bye.")
            await user.waits_for_the_end()
            with pytest.raises(AssertionError, match="the conversation is over"):
                await user.says("Hello?")

    async def test_the_agent_hangs_up_while_the_user_speaks(self) -> None:
        rehearsal = Rehearsal()
        async with running(rehearsal) as user, asyncio.TaskGroup() as group:
            group.create_task(stop_later(rehearsal))
            with pytest.raises(AssertionError, match="the conversation is over"):
                await user.says("This takes a long time to say, longer than a second in any case.")


async def stop_later(rehearsal: Rehearsal) -> None:
    await asyncio.sleep(1)
    rehearsal.server.current.close(1000)


class TestHears:
    async def test_it_waits_until_the_answer_is_over(self) -> None:
        async with running(Rehearsal([STORY])) as user:
            await user.says("A story!")
            began = now()
            answer = await user.hears("LIGHTHOUSE")
            assert now() - began == pytest.approx(len(STORY) / 15, abs=0.01)
        assert answer.ended
        assert answer.text == answer.heard == STORY

    async def test_it_passes_over_answers_without_the_words(self) -> None:
        async with running(Rehearsal([SLOW, "Let me think.", "It is 42."])) as user:
            await user.says("What is it?")
            answer = await user.hears("42", patience=30)
            assert answer.latency_ms is None  # the holding phrase came first
            with pytest.raises(AssertionError, match="did not hear 'think'"):
                await user.hears("think")

    async def test_answers_come_one_after_the_other(self) -> None:
        async with running(Rehearsal([SLOW, "Let me think.", "It is 42."])) as user:
            await user.says("What is it?")
            assert (await user.hears()).text == "Let me think."
            assert (await user.hears(patience=30)).text == "It is 42."

    async def test_it_runs_out_of_patience(self) -> None:
        async with running(Rehearsal([SLOW, "Let me think.", "It is 42."], patience=4)) as user:
            await user.says("What is it?")
            await user.hears()
            began = now()
            with pytest.raises(AssertionError) as failure:
                await user.hears("42")
            assert now() - began == pytest.approx(4)
            assert str(failure.value).startswith("the user did not hear '42': nothing has happened for 4 s.\n")
            assert "think(seconds=20) (still running)" in str(failure.value)
            with pytest.raises(AssertionError, match="the user did not hear an answer: nothing has happened for 2 s"):
                await user.hears(patience=2)

    async def test_speech_needs_no_patience(self) -> None:
        async with running(Rehearsal([STORY * 5])) as user:
            await user.says("A long story!")
            await user.hears("cat", patience=1)

    async def test_what_was_heard_of_an_answer_that_was_cut_counts(self) -> None:
        async with running(Rehearsal([STORY, "All right."])) as user:
            await user.says("A story!")
            cut = await user.interrupts("Stop.", after_ms=2000)
            assert "lighthouse" in cut.heard
            assert "cat" not in cut.heard
            assert "cat" in cut.text
            with pytest.raises(AssertionError, match="did not hear 'cat'"):
                await user.hears("cat", patience=5)
            await user.hears("All right")


class TestInterrupts:
    @pytest.mark.parametrize("after_ms", [0, 1, 40, 777, 3000])
    async def test_to_the_millisecond(self, after_ms: int) -> None:
        rehearsal = Rehearsal([STORY, "All right."])
        async with running(rehearsal) as user:
            await user.says("A story!")
            answer = await user.interrupts("Stop.", after_ms=after_ms)
            await user.hears("All right")
        assert answer.interrupted_at_ms == rehearsal.interrupted_at_ms == after_ms + 100

    async def test_an_answer_that_has_been_heard_for_longer_is_interrupted_at_once(self) -> None:
        async with running(Rehearsal([STORY])) as user:
            await user.says("A story!")
            await user.stays_silent(2)
            answer = await user.interrupts("Stop.", after_ms=500)
        assert answer.interrupted_at_ms == 2100

    async def test_answers_that_are_over_are_not_interrupted(self) -> None:
        async with running(Rehearsal([SLOW, "Let me think.", STORY])) as user:
            await user.says("A story!")
            await user.stays_silent(10)  # the holding phrase is over
            answer = await user.interrupts("Stop.", after_ms=1000, patience=30)
        assert answer.text == STORY

    async def test_the_second_answer_counts_from_its_own_beginning(self) -> None:
        async with running(Rehearsal([STORY, STORY, "All right."])) as user:
            await user.says("A story!")
            for words in ("Another one!", "Stop."):
                answer = await user.interrupts(words, after_ms=1000)
                assert answer.interrupted_at_ms == 1100

    async def test_sound_that_comes_slowly(self) -> None:
        async with running(Rehearsal([Reply(STORY, pace=0.5, delta_ms=[100])])) as user:
            await user.says("A story!")
            answer = await user.interrupts("Stop.", after_ms=1000)
        assert answer.interrupted_at_ms is not None
        assert 1000 <= answer.interrupted_at_ms <= 1100  # it stutters: 100 ms of speech, 100 ms of none

    async def test_nothing_to_interrupt(self) -> None:
        async with running(Rehearsal(patience=2)) as user:
            with pytest.raises(AssertionError, match=r"nothing to interrupt with 'Stop\.': nothing has happened"):
                await user.interrupts("Stop.", after_ms=0)

    async def test_an_answer_that_is_over_too_soon(self) -> None:
        async with running(Rehearsal(["Yes."])) as user:
            await user.says("A story!")
            with pytest.raises(AssertionError, match=r"'Yes\.' was over before the user had heard 500 ms"):
                await user.interrupts("Stop.", after_ms=500)

    async def test_an_agent_that_talks_on(self) -> None:
        async with running(Rehearsal(["Yes."])) as user:
            await user.says("A story!")
            with pytest.raises(AssertionError, match=r"the agent was not interrupted by 'Stop\.'"):
                await user.interrupts("Stop.", after_ms=200)  # the answer is over before 100 ms more were heard

    async def test_the_conversation_ends_while_the_user_listens(self) -> None:
        rehearsal = Rehearsal([STORY])
        async with running(rehearsal) as user, asyncio.TaskGroup() as group:
            await user.says("A story!")
            group.create_task(stop_later(rehearsal))
            with pytest.raises(AssertionError, match="was over before"):
                await user.interrupts("Stop.", after_ms=2000)


class TestEarlyInterruptions:
    async def test_the_user_goes_on_before_the_answer_can_be_heard(self) -> None:
        rehearsal = Rehearsal([Reply(STORY, delay_s=5), "Good night."])
        async with running(rehearsal) as user:
            await user.says("A story!")
            await user.says("No, wait. Good night.")
            await user.hears("Good night")
        assert rehearsal.interrupted_at_ms == 0
        assert [answer.text for answer in rehearsal.answers] == ["Good night."]


class TestSilence:
    async def test_for_so_long(self) -> None:
        rehearsal = Rehearsal()
        async with running(rehearsal) as user:
            began = now()
            await user.stays_silent(7.5)
            assert now() - began == pytest.approx(7.5)
        assert rehearsal.answers == []

    async def test_answers_do_not_shorten_it(self) -> None:
        async with running(Rehearsal([STORY])) as user:
            await user.says("A story!")
            began = now()
            await user.stays_silent(20)
            assert now() - began == pytest.approx(20)

    async def test_the_end_shortens_it(self) -> None:
        rehearsal = Rehearsal()
        settings = {"inactivity_timeout_enabled": True, "inactivity_timeout_seconds": 30}
        async with running(rehearsal, **settings) as user:
            await user.stays_silent(100)
            assert now() == pytest.approx(30, abs=0.5)
        assert rehearsal.result.turns == []


class TestTheEnd:
    async def test_the_agent_hangs_up(self) -> None:
        rehearsal = Rehearsal([Reply(calls=[ToolCall("hang_up")])])
        async with running(rehearsal) as user:
            await user.says("Bye.")
            await user.waits_for_the_end()
            assert rehearsal.result.turns[0].text == "Bye."

    async def test_it_does_not(self) -> None:
        async with running(Rehearsal()) as user:
            with pytest.raises(AssertionError, match="the agent did not end the conversation: nothing has happened"):
                await user.waits_for_the_end(patience=1)


class TestLosesTheConnection:
    async def test_it_returns_when_it_is_restored(self) -> None:
        rehearsal = Rehearsal(["Yes.", "To get to the other side."])
        async with running(rehearsal) as user:
            await user.says("Do you know the one about the chicken?")
            await user.hears("Yes")
            await user.loses_the_connection()
            await user.says("Tell me!")
            await user.hears("other side")
        assert len(rehearsal.server.sessions) == 2
        assert "network    reconnecting, attempt 1" in rehearsal.transcript()
        assert "network    the connection is restored" in rehearsal.transcript()

    async def test_it_complains_when_it_is_not(self) -> None:
        with pytest.raises(AssertionError, match="has not restored the connection: the conversation is over"):
            async with running(Rehearsal(), reconnect=None) as user:
                await user.loses_the_connection()
