"""The verdicts one by one; tests/flows/test_interruption_flow.py has them end to end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rtvoice.audio.wav import read_wav
from rtvoice.components.interruption import LONGEST_DOUBT_S, WORDS_WAIT_S, Interruption
from rtvoice.events import (
    AcceptUserTurnCommand,
    AgentError,
    AgentReconnectingEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    DismissUserTurnCommand,
    EventBus,
    InterruptCommand,
    InterruptionDismissedEvent,
    PausePlaybackCommand,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    RestoredConversation,
    ResumePlaybackCommand,
    SessionRotatedEvent,
    SpeechDetectedEvent,
    UserAudioCapturedEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
)
from rtvoice.settings import InterruptionPolicy, SemanticVAD, ServerVAD, TurnDetection
from rtvoice.testing import PausableSpeaker, VirtualSpeaker

pytestmark = pytest.mark.virtual_clock

VOICE = b"".join(read_wav(Path(__file__).parent.parent / "fixtures" / "audio" / "human_austen.wav"))[400 * 48 :] * 4
BLOCK_MS = 20
CUT = InterruptCommand(by_user=True, item_id="u1")


class Bench:
    def __init__(self, policy: InterruptionPolicy, speaker: VirtualSpeaker, detection: TurnDetection) -> None:
        self.bus = EventBus()
        self.speaker = speaker
        self.part = Interruption(self.bus, policy, speaker, detection)
        self.said = self.bus.open_inbox(*Interruption.says, in_order=True)
        self._position = 0

    async def hears(self, milliseconds: int, sound: bytes | None = None) -> None:
        """Let the microphone deliver so much: somebody's voice, or another sound, or with ``b""`` silence."""
        for _ in range(milliseconds // BLOCK_MS):
            await asyncio.sleep(BLOCK_MS / 1000)
            pcm = bytes(BLOCK_MS * 48)
            if sound is None:
                pcm = VOICE[self._position :][: BLOCK_MS * 48]
                self._position += len(pcm)
            self.bus.publish(UserAudioCapturedEvent(pcm=pcm, captured_at=asyncio.get_running_loop().time()))

    async def silence(self, milliseconds: int) -> None:
        await self.hears(milliseconds, b"")

    def tell(self, *events: object) -> None:
        for event in events:
            self.bus.publish(event)

    async def answers(self) -> list[Any]:
        await asyncio.sleep(0.002)
        return list(self.said.take_all())

    def begin(self, item_id: str | None = "u1", start_ms: int | None = None) -> None:
        self.tell(SpeechDetectedEvent(item_id=item_id, audio_start_ms=start_ms))


@asynccontextmanager
async def bench(
    policy: InterruptionPolicy | None = None,
    *,
    speaker: VirtualSpeaker | None = None,
    detection: TurnDetection | None = None,
    audible: bool = True,
) -> AsyncIterator[Bench]:
    speaker = speaker or PausableSpeaker()
    await speaker.start()
    made = Bench(policy or InterruptionPolicy(), speaker, detection or ServerVAD())
    async with asyncio.TaskGroup() as group:
        group.create_task(made.part.run())
        await made.silence(400)
        if audible:
            made.tell(ResponseStartedEvent(response_id="r1"), AssistantStartedRespondingEvent(response_id="r1"))
            made.tell(ResponseFinishedEvent(response_id="r1", status="completed"))
        yield made
        made.part.stop()
    await speaker.stop()


def dismissed(reason: Any, paused_ms: int = 0) -> list[Any]:
    return [
        InterruptionDismissedEvent(reason=reason, item_id="u1", paused_ms=paused_ms),
        DismissUserTurnCommand(item_id="u1", forget=reason != "backchannel"),
    ]


async def test_nothing_to_interrupt() -> None:
    async with bench(audible=False) as b:
        b.begin()
        assert await b.answers() == [CUT]
        b.tell(UserStoppedSpeakingEvent(), UserTranscriptCompletedEvent("Mhm", "u1"))
        assert await b.answers() == []


async def test_what_is_being_generated_can_be_interrupted() -> None:
    async with bench(audible=False) as b:
        b.tell(ResponseStartedEvent(response_id="r1"))
        b.begin()
        assert await b.answers() == [PausePlaybackCommand()]
        await b.hears(1_700)
        assert await b.answers() == [CUT]


@pytest.mark.parametrize(("end_ms", "reason"), [(1_350, "too_short"), (None, None)])
async def test_what_only_the_server_hears_is_measured_by_the_server(end_ms: int | None, reason: str | None) -> None:
    async with bench(InterruptionPolicy(ignore_backchannels=False)) as b:
        b.begin(start_ms=400)
        await b.silence(600)
        b.tell(UserStoppedSpeakingEvent(audio_end_ms=end_ms))
        pause, *rest = await b.answers()
        assert pause == PausePlaybackCommand()
        if reason is None:
            assert rest == [CUT]
        else:
            assert rest == [ResumePlaybackCommand(), *dismissed("too_short", 600)]


async def test_a_server_that_does_not_say_where_speech_ends() -> None:
    async with bench(detection=SemanticVAD()) as b:
        b.begin(start_ms=400)
        await b.silence(1_000)
        assert await b.answers() == [PausePlaybackCommand(), ResumePlaybackCommand()]
        b.tell(UserStoppedSpeakingEvent(audio_end_ms=2_000))
        b.tell(UserStoppedSpeakingEvent(audio_end_ms=2_000))
        assert await b.answers() == []
        b.tell(UserTranscriptCompletedEvent("", "u1"))
        (event, command) = await b.answers()
        assert (event.reason, command.forget) == ("nothing_said", True)
        assert 700 <= event.paused_ms <= 820


async def test_words_as_they_come() -> None:
    async with bench() as b:
        b.begin()
        await b.hears(600)
        b.tell(UserTranscriptChunkReceivedEvent("other", item_id="u0"))
        b.tell(UserTranscriptChunkReceivedEvent("Ye", item_id="u1"))
        b.tell(UserTranscriptCompletedEvent("Yeah", "u1"))  # of a turn that is not over: it goes on
        assert await b.answers() == [PausePlaybackCommand()]
        b.tell(UserTranscriptChunkReceivedEvent("s but", item_id="u1"))
        assert await b.answers() == [CUT]
        b.tell(UserTranscriptChunkReceivedEvent("no", item_id="u1"))
        b.tell(UserTranscriptFailedEvent(item_id="u1", error=ERROR))
        assert await b.answers() == []


ERROR = AgentError("x", "y")


async def test_words_do_not_matter_if_backchannels_do_not() -> None:
    async with bench(InterruptionPolicy(ignore_backchannels=False, min_speech_ms=1_000)) as b:
        b.begin()
        await b.hears(200)
        b.tell(UserTranscriptChunkReceivedEvent("Stop", item_id="u1"))
        b.tell(UserTranscriptFailedEvent(item_id="u1", error=ERROR))
        b.tell(UserTranscriptCompletedEvent("Stop", "u1"))
        assert await b.answers() == [PausePlaybackCommand()]
        await b.silence(500)
        b.tell(UserStoppedSpeakingEvent())
        assert [type(event) for event in await b.answers()] == [
            ResumePlaybackCommand, InterruptionDismissedEvent, DismissUserTurnCommand,
        ]  # fmt: skip


async def test_a_backchannel_of_ones_own() -> None:
    async with bench(InterruptionPolicy(ignore_backchannels=("jawohl",))) as b:
        b.begin(None)
        await b.hears(500)
        await b.silence(500)
        b.tell(UserStoppedSpeakingEvent(), UserTranscriptCompletedEvent("Jawohl!", "u1"))
        *_, started, event, command = await b.answers()
        assert started == UserStartedSpeakingEvent()
        assert event.reason == "backchannel"
        assert command == DismissUserTurnCommand(item_id=None, forget=False)
        b.tell(AssistantStoppedRespondingEvent(response_id="r1"))
        assert await b.answers() == [AcceptUserTurnCommand()]


@pytest.mark.parametrize("later", [True, False])
async def test_a_backchannel_long_before_the_end(later: bool) -> None:
    async with bench() as b:
        b.begin()
        await b.hears(500)
        await b.silence(500)
        b.tell(UserStoppedSpeakingEvent(), UserTranscriptCompletedEvent("Mhm", "u1"))
        await b.answers()
        if later:
            await b.silence(1_600)
        else:
            b.begin("u2")
            await b.answers()
        b.tell(AssistantStoppedRespondingEvent(response_id="r1"))
        assert AcceptUserTurnCommand(item_id="u1") not in await b.answers()


async def test_words_that_never_come() -> None:
    async with bench() as b:
        b.begin()
        await b.hears(500)
        await b.silence(500)
        b.tell(UserStoppedSpeakingEvent())
        await b.answers()
        await b.silence(round(WORDS_WAIT_S * 1000) - 100)
        assert await b.answers() == []
        await b.silence(200)
        assert await b.answers() == [CUT]


async def test_a_turn_that_never_ends() -> None:
    async with bench() as b:
        b.begin()
        await b.silence(round(LONGEST_DOUBT_S * 1000))
        assert await b.answers() == [PausePlaybackCommand(), ResumePlaybackCommand()]
        await b.silence(200)
        assert await b.answers() == [CUT]


@pytest.mark.parametrize(
    "event",
    [
        AssistantInterruptedEvent(by_program=True),
        AgentReconnectingEvent(attempt=1, reason="x"),
        SessionRotatedEvent(restored=RestoredConversation(items=0, lost_user_turns=0)),
        AssistantStoppedRespondingEvent(response_id="r1"),
    ],
)
async def test_what_settles_it(event: object) -> None:
    async with bench() as b:
        b.begin()
        await b.hears(100)
        b.tell(event)
        assert await b.answers() == [PausePlaybackCommand(), CUT]


async def test_the_next_response_is_being_generated_when_the_assistant_stops() -> None:
    async with bench() as b:
        b.tell(ResponseStartedEvent(response_id="r2"))
        b.begin()
        await b.hears(100)
        b.tell(AssistantStoppedRespondingEvent(response_id="r1"))
        assert await b.answers() == [PausePlaybackCommand()]


async def test_speaking_on_until_it_is_certain() -> None:
    async with bench(InterruptionPolicy(resume_after_false_alarm=False)) as b:
        b.begin()
        await b.hears(400)
        assert await b.answers() == []
        await b.hears(600)
        assert await b.answers() == [CUT]


async def test_without_any_condition_every_sound_interrupts() -> None:
    async with bench(InterruptionPolicy(min_speech_ms=0, ignore_backchannels=False)) as b:
        b.begin()
        assert await b.answers() == [CUT]


async def test_an_echo_then_a_user() -> None:
    """The loudspeaker and the microphone have the same sound: an echo. Then the microphone has another."""
    speaker = PausableSpeaker()
    async with bench(speaker=speaker) as b:
        await speaker.play_chunk(VOICE[: 4_000 * 48])
        await b.hears(1_500)
        b.begin()
        await b.hears(500)
        b.tell(UserTranscriptChunkReceivedEvent("he might", item_id="u1"))
        assert await b.answers() == []
        b._position += 9_000 * 48
        await b.hears(1_200)
        first, *_ = await b.answers()
        assert first == PausePlaybackCommand()


async def test_an_echo_to_the_end() -> None:
    speaker = PausableSpeaker()
    async with bench(speaker=speaker) as b:
        await speaker.play_chunk(VOICE[: 4_000 * 48])
        await b.hears(1_500)
        b.tell(AssistantStoppedRespondingEvent(response_id="r1"))  # what comes back now is still its own
        b.begin()
        await b.hears(500)
        b.tell(AssistantStoppedRespondingEvent(response_id="r1"))
        b.tell(UserStoppedSpeakingEvent())
        assert await b.answers() == dismissed("self_echo")


async def test_the_first_words_are_given_some_time() -> None:
    speaker = PausableSpeaker()
    async with bench(speaker=speaker) as b:
        await speaker.play_chunk(VOICE[: 4_000 * 48])
        await b.hears(100)
        b.begin()
        await b.hears(400)
        assert await b.answers() == []
        await b.hears(800)
        b.tell(UserStoppedSpeakingEvent())
        assert await b.answers() == dismissed("self_echo")


async def test_a_plain_device(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(speaker=VirtualSpeaker()) as b:
        b.begin()
        await b.hears(600)
        b.tell(UserStoppedSpeakingEvent(), UserTranscriptFailedEvent(item_id="u1", error=ERROR))
        assert await b.answers() == [CUT]
    assert "cannot pause" in caplog.text
    assert "no tap" in caplog.text


async def test_a_long_turn_that_is_no_backchannel_by_its_words() -> None:
    async with bench() as b:
        b.begin()
        await b.hears(500)
        await b.silence(500)
        b.tell(UserStoppedSpeakingEvent(), UserTranscriptCompletedEvent("Stop.", "u1"))
        assert await b.answers() == [PausePlaybackCommand(), CUT]
