"""Transcripts and replies, with engines that are told what to do."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from tests.local.conftest import Detector, Ear, Mouth, request

from rtvoice.local.pipeline import SpeechPipeline
from rtvoice.testing import ReplyFailed, ReplyRequest, Spoken, ToolCall, UserTurn

SPEECH = b"\1" * 48 * 400
CALL = ToolCall("look", {})


class Thinker:
    """A reply engine that says what it is given; an exception is raised."""

    def __init__(self, *parts: str | ToolCall | Exception) -> None:
        self.parts = parts
        self.asked = 0
        self.reached = 0
        self.closed = False

    async def reply(self, _request: ReplyRequest) -> AsyncGenerator[str | ToolCall, None]:
        self.asked += 1
        try:
            for part in self.parts:
                if isinstance(part, Exception):
                    raise part
                self.reached += 1
                yield part
        finally:
            self.closed = True


def pipeline(thinker: Thinker | None = None, ear: Ear | None = None, mouth: Mouth | None = None) -> SpeechPipeline:
    return SpeechPipeline(thinker or Thinker(), speech_to_text=ear, text_to_speech=mouth, voice_activity=Detector)


async def spoken(pipe: SpeechPipeline, asked: ReplyRequest) -> list[Spoken | ToolCall]:
    return [piece async for piece in pipe.reply(asked).pieces]


async def test_a_turn_is_written_down_without_its_silence() -> None:
    ear = Ear("warm-up", "Hello.")
    async with pipeline(ear=ear) as pipe:
        turn = UserTurn(bytes(48 * 1000) + SPEECH + bytes(48 * 1000), "item_1", "sess_1")
        transcript = await pipe.transcript(turn)
    assert (transcript.text, transcript.error) == ("Hello.", None)
    assert ear.heard[1] == bytes(48 * 300) + SPEECH + bytes(48 * 300)


async def test_a_turn_without_speech_is_not_given_to_the_engine() -> None:
    ear = Ear("warm-up", "You")
    async with pipeline(ear=ear) as pipe:
        assert (await pipe.transcript(UserTurn(bytes(48_000), "item_1", "sess_1"))).text == ""
    assert len(ear.heard) == 1


async def test_engines_are_warmed_up_once() -> None:
    ear, mouth = Ear(), Mouth()
    async with pipeline(ear=ear, mouth=mouth):
        assert mouth.said == [("Hello.", 1.0)]
        assert ear.heard == [Mouth().synthesize("Hello.", 1.0)]


async def test_an_engine_that_does_not_even_warm_up_leaves_no_thread() -> None:
    mouth = Mouth()
    mouth.failure = MemoryError()
    with pytest.raises(MemoryError):
        async with pipeline(mouth=mouth):
            pass


async def test_a_transcript_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    async with pipeline(ear=ear) as pipe:
        ear.failure = RuntimeError("out of ears")
        transcript = await pipe.transcript(UserTurn(SPEECH, "item_1", "sess_1"))
        nothing = await pipeline().transcript(UserTurn(SPEECH, "item_1", "sess_1"))
    assert transcript.error is not None
    assert transcript.error["message"] == "Speech to text failed: RuntimeError"
    assert "out of ears" in caplog.text
    assert nothing.error is not None
    assert "no speech to text" in nothing.error["message"]


async def test_an_answer_is_spoken_sentence_by_sentence() -> None:
    thinker, mouth = Thinker("One. T", "wo. ", CALL, "**", "Three"), Mouth()
    async with pipeline(thinker, mouth=mouth) as pipe:
        mouth.said.clear()
        async with aclosing(pipe.reply(request()).pieces) as pieces:
            assert await anext(pieces) == Spoken("One. ", Mouth().synthesize("One.", 1.0))
            assert thinker.reached == 1
            rest = [piece async for piece in pieces]
    assert rest[:2] == [Spoken("Two. ", Mouth().synthesize("Two.", 1.0)), CALL]
    assert rest[2:] == [Spoken("**Three", Mouth().synthesize("Three", 1.0))]
    assert mouth.said == [("One.", 1.0), ("Two.", 1.0), ("Three", 1.0)]
    assert thinker.closed


async def test_speed_and_silence() -> None:
    mouth, asked = Mouth(), request()
    asked.session["audio"]["output"]["speed"] = 1.5
    async with pipeline(Thinker("***"), mouth=mouth) as pipe:
        assert await spoken(pipe, asked) == [Spoken("***", b"")]
    async with pipeline(Thinker("Yes."), mouth=mouth) as pipe:
        await spoken(pipe, asked)
    assert mouth.said[-1] == ("Yes.", 1.5)


async def test_what_is_to_be_said_word_for_word_needs_no_thinking() -> None:
    thinker = Thinker("Something else.")
    async with pipeline(thinker, mouth=Mouth()) as pipe:
        (piece,) = await spoken(pipe, request(own_instructions='Say this word for word: "One moment."'))
    assert piece == Spoken("One moment.", Mouth().synthesize("One moment.", 1.0))
    assert thinker.asked == 0


async def test_a_text_response_needs_no_voice() -> None:
    async with pipeline(Thinker("One. ", CALL, "Two.")) as pipe:
        assert await spoken(pipe, request(modalities=["text"])) == [Spoken("One. "), CALL, Spoken("Two.")]
        with pytest.raises(ReplyFailed, match="no text to speech"):
            await spoken(pipe, request())


async def test_an_interruption_stops_the_thinking() -> None:
    thinker = Thinker("One. ", "Two. ", "Three.")
    async with pipeline(thinker, mouth=Mouth()) as pipe, aclosing(pipe.reply(request()).pieces) as pieces:
        await anext(pieces)
    assert thinker.closed
    assert thinker.reached == 2  # "One." is known to be a sentence when the next begins


async def test_failures_are_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    mouth = Mouth()
    async with pipeline(Thinker("One. ", ConnectionError("the model has gone")), mouth=mouth) as pipe:
        with pytest.raises(ReplyFailed, match="The reply engine failed: ConnectionError: the model has gone"):
            await spoken(pipe, request())
        with pytest.raises(ReplyFailed, match="the model has gone"):
            await spoken(pipe, request(modalities=["text"]))
    async with pipeline(Thinker("One."), mouth=mouth) as pipe:
        mouth.failure = ValueError("hoarse")
        with pytest.raises(ReplyFailed, match="Text to speech failed: ValueError"):
            await spoken(pipe, request())
    assert "hoarse" in caplog.text


async def test_cancelling_while_the_voice_works() -> None:
    reached: Any = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Mouth):
        def synthesize(self, text: str, speed: float) -> bytes:
            if text != "Hello.":
                loop.call_soon_threadsafe(reached.set)
            return super().synthesize(text, speed)

    thinker = Thinker("One. ", "Two.")
    async with pipeline(thinker, mouth=Slow()) as pipe, asyncio.TaskGroup() as group:
        speaking = group.create_task(spoken(pipe, request()))
        await reached.wait()
        speaking.cancel()
    assert thinker.closed
