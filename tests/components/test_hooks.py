import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rtvoice.components.hooks import DELIVERY_TIMEOUT_S, Hooks, TranscriptGate, UtteranceGate
from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AgentSessionConnectedEvent,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    Event,
    EventBus,
    InterruptionDismissedEvent,
    PlaybackCut,
    ResponseFinishedEvent,
    SpeechDetectedEvent,
    SupervisorFinishedEvent,
    SupervisorStartedEvent,
    ToolApprovalRequestedEvent,
    ToolApprovalResolvedEvent,
    ToolCallFinishedEvent,
    UserInactivityCountdownEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptCompletedEvent,
)
from rtvoice.listener import AgentListener, ToolApproval, ToolApprovalRequest

pytestmark = pytest.mark.virtual_clock


class Recorder:
    """A listener that writes down every callback; some of them misbehave."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_") or name == "on_tool_approval_requested":
            raise AttributeError(name)

        async def callback(*arguments: object) -> None:
            self.calls.append((name.removeprefix("on_"), *arguments))
            await asyncio.sleep(0)

        return callback

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


@asynccontextmanager
async def hooks_for(listener: object, *, wants_deltas: bool = True) -> AsyncIterator[EventBus]:
    bus = EventBus()
    hooks = Hooks(bus, listener, wants_deltas=wants_deltas)
    async with asyncio.TaskGroup() as group:
        group.create_task(hooks.run())
        yield bus
        await hooks.stop()


async def told(*events: Event, wants_deltas: bool = True) -> list[tuple[Any, ...]]:
    recorder = Recorder()
    async with hooks_for(recorder, wants_deltas=wants_deltas) as bus:
        for event in events:
            bus.publish(event)
    return recorder.calls


CONNECTED = AgentSessionConnectedEvent()
ERROR = AgentError("server_error", "Something broke.")


def delta(text: str, response: str = "r1", item: str = "a1") -> AssistantTranscriptDeltaEvent:
    return AssistantTranscriptDeltaEvent(text, item, 0, 0, response_id=response)


def transcript(text: str, response: str = "r1", item: str = "a1") -> AssistantTranscriptCompletedEvent:
    return AssistantTranscriptCompletedEvent(text, item, 0, 0, response_id=response)


def started(response: str = "r1") -> AssistantStartedRespondingEvent:
    return AssistantStartedRespondingEvent(response_id=response)


def stopped(response: str = "r1") -> AssistantStoppedRespondingEvent:
    return AssistantStoppedRespondingEvent(response_id=response)


def finished(response: str = "r1", status: str = "completed", has_audio: bool = True) -> ResponseFinishedEvent:
    return ResponseFinishedEvent(response_id=response, status=status, has_audio=has_audio)


async def test_every_event_has_its_callback() -> None:
    calls = await told(
        CONNECTED,
        SpeechDetectedEvent(),
        UserStartedSpeakingEvent(),
        UserStoppedSpeakingEvent(),
        UserTranscriptCompletedEvent("Hello?", "u1"),
        started(),
        delta("Hi"),
        transcript("Hi there."),
        AssistantInterruptedEvent("a1", 100),
        stopped(),
        finished(),
        ToolCallFinishedEvent(call_id="c", name="tool", output="", respond=False, kind="lookup"),
        SupervisorStartedEvent(),
        SupervisorFinishedEvent(),
        UserInactivityCountdownEvent(3),
        AgentErrorEvent(ERROR),
    )
    assert calls == [
        ("agent_session_connected",),
        ("user_started_speaking",),
        ("user_stopped_speaking",),
        ("user_transcript", "Hello?"),
        ("assistant_started_responding",),
        ("assistant_transcript_delta", "Hi"),
        ("assistant_transcript", "Hi there."),
        ("agent_interrupted",),
        ("assistant_stopped_responding",),
        ("tool_executed", "tool", "lookup", True),
        ("supervisor_started",),
        ("supervisor_finished",),
        ("user_inactivity_countdown", 3),
        ("agent_error", ERROR),
    ]


def test_every_callback_exists_in_the_base_class() -> None:
    offered = {name for name in vars(AgentListener) if name.startswith("on_")}
    made = {*Hooks(EventBus(), None, wants_deltas=True)._callbacks.values()}
    assert len(offered) == len(made) + 3  # starting, stopped and the approval are called directly


async def test_the_base_class_does_nothing() -> None:
    async with hooks_for(AgentListener()) as bus:
        for event in (CONNECTED, started(), transcript("Hi."), AgentErrorEvent(ERROR)):
            bus.publish(event)


async def test_the_beginning_and_the_end_are_waited_for() -> None:
    recorder = Recorder()
    hooks = Hooks(EventBus(), recorder, wants_deltas=False)
    await hooks.starting()
    await hooks.stopped()
    assert recorder.names == ["agent_starting", "agent_stopped"]


async def test_deltas_only_for_those_who_want_them() -> None:
    calls = await told(CONNECTED, started(), delta("Hi"), transcript("Hi."), wants_deltas=False)
    assert [call[0] for call in calls[1:]] == ["assistant_started_responding", "assistant_transcript"]


# --- listeners of all kinds --------------------------------------------------------------------------


async def test_a_listener_needs_no_base_class_and_no_method() -> None:
    class Duck:
        heard = ""

        async def on_user_transcript(self, transcript: str) -> None:
            self.heard = transcript

    duck = Duck()
    async with hooks_for(duck) as bus:
        for event in (CONNECTED, started(), UserTranscriptCompletedEvent("Hello?", "u1"), stopped()):
            bus.publish(event)
    assert duck.heard == "Hello?"


async def test_plain_callbacks_work_whatever_they_return(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    class Plain:
        on_user_transcript = staticmethod(heard.append)

        def on_agent_session_connected(self) -> int:
            heard.append("connected")
            return 5

    async with hooks_for(Plain()) as bus:
        bus.publish(CONNECTED)
        bus.publish(UserTranscriptCompletedEvent("Hello?", "u1"))
    assert heard == ["connected", "Hello?"]
    assert not caplog.records


async def test_a_raising_callback_is_logged_by_name_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recorder):
        async def on_agent_session_connected(self) -> None:
            raise LookupError("broken on purpose")

    broken = Broken()
    async with hooks_for(broken) as bus:
        bus.publish(CONNECTED)
        bus.publish(AgentErrorEvent(ERROR))
    assert broken.names == ["agent_error"]
    assert "on_agent_session_connected" in caplog.text
    assert "broken on purpose" in caplog.text


async def test_a_callback_that_awaits_something_cancelled_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    dead.cancel()

    class Broken(Recorder):
        async def on_agent_session_connected(self) -> None:
            await dead

    broken = Broken()
    async with hooks_for(broken) as bus:
        bus.publish(CONNECTED)
        bus.publish(AgentErrorEvent(ERROR))
    assert broken.names == ["agent_error"]
    assert "on_agent_session_connected" in caplog.text


async def test_callbacks_run_one_at_a_time_and_nobody_waits_for_them() -> None:
    loop = asyncio.get_running_loop()
    running = most = 0

    class Slow(Recorder):
        def __getattr__(self, name: str) -> Any:
            record = super().__getattr__(name)

            async def callback(*arguments: object) -> None:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await asyncio.sleep(1)
                running -= 1
                await record(*arguments)

            return callback

    slow = Slow()
    async with hooks_for(slow) as bus:
        bus.publish(CONNECTED)
        for number in range(3):
            bus.publish(UserTranscriptCompletedEvent(str(number), "u"))
        assert loop.time() == 0
    assert most == 1
    assert loop.time() == 4
    assert [call[1:] for call in slow.calls] == [(), ("0",), ("1",), ("2",)]


async def test_at_the_end_the_rest_is_delivered_within_limits(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()

    class Stuck(Recorder):
        async def on_user_transcript(self, _: str) -> None:
            await asyncio.sleep(1_000)

    bus, stuck = EventBus(), Stuck()
    hooks = Hooks(bus, stuck, wants_deltas=False)

    class Over(Exception): ...  # noqa: N818

    with pytest.raises(ExceptionGroup):  # noqa: PT012 - the agent ends its group in the same way
        async with asyncio.TaskGroup() as group:
            group.create_task(hooks.run())
            for event in (CONNECTED, UserTranscriptCompletedEvent("Hello?", "u1"), AgentErrorEvent(ERROR)):
                bus.publish(event)
            await hooks.stop()
            assert loop.time() == DELIVERY_TIMEOUT_S <= 5
            raise Over
    assert stuck.names == ["agent_session_connected"]
    assert "took over 5 s" in caplog.text
    bus.publish(AgentErrorEvent(ERROR))  # too late, and no error


# --- order -------------------------------------------------------------------------------------------


async def test_nothing_comes_before_the_session() -> None:
    calls = await told(AgentErrorEvent(ERROR), CONNECTED, started())
    assert [call[0] for call in calls] == ["agent_session_connected", "agent_error", "assistant_started_responding"]


async def test_a_failed_start_is_told_without_a_session() -> None:
    assert await told(AgentErrorEvent(ERROR)) == [("agent_error", ERROR)]


async def test_an_utterance_is_told_from_its_beginning() -> None:
    """A device that takes long to clear delays the beginning; the server's next words must wait for it."""
    recorder = Recorder()
    async with hooks_for(recorder) as bus:
        for event in (
            CONNECTED,
            SpeechDetectedEvent(),
            UserStoppedSpeakingEvent(),
            UserTranscriptCompletedEvent("one", "u1"),
            SpeechDetectedEvent(),
            UserStoppedSpeakingEvent(),
            UserTranscriptCompletedEvent("two", "u2"),
        ):
            bus.publish(event)
        await asyncio.sleep(0.5)
        assert recorder.names == ["agent_session_connected"]
        bus.publish(AssistantInterruptedEvent("a1", 100))
        bus.publish(UserStartedSpeakingEvent())
        await asyncio.sleep(0.5)
        expected = ["agent_interrupted", "user_started_speaking", "user_stopped_speaking", "user_transcript"]
        assert recorder.names[1:] == expected
        bus.publish(UserStartedSpeakingEvent())
    assert recorder.names[5:] == ["user_started_speaking", "user_stopped_speaking", "user_transcript"]
    assert recorder.calls[-1][1] == "two"


def test_an_utterance_without_a_way_through_playback_is_passed_on() -> None:
    gate = UtteranceGate()
    for event in (UserStartedSpeakingEvent(), UserStoppedSpeakingEvent(), CONNECTED):
        assert gate.pass_on(event) == [event]


def passed(gate: TranscriptGate, *events: Event) -> list[Event]:
    return [ready for event in events for ready in gate.pass_on(event)]


def test_words_wait_until_they_can_be_heard() -> None:
    gate = TranscriptGate()
    assert passed(gate, delta("Hi"), transcript("Hi.")) == []
    assert passed(gate, started()) == [started(), delta("Hi"), transcript("Hi.")]
    assert passed(gate, delta("more")) == [delta("more")]


def test_the_words_of_the_next_response_wait_for_theirs() -> None:
    gate = TranscriptGate()
    passed(gate, started("r1"))
    assert passed(gate, delta("b", "r2", "a2"), delta("a", "r1"), finished("r2")) == [delta("a", "r1")]
    assert passed(gate, stopped("r1"), started("r2")) == [stopped("r1"), started("r2"), delta("b", "r2", "a2")]


def test_a_response_without_sound_is_told_when_it_is_done() -> None:
    gate = TranscriptGate()
    assert passed(gate, transcript("Hi."), finished(has_audio=False)) == [transcript("Hi.")]
    assert passed(gate, finished("r2", has_audio=False)) == []


@pytest.mark.parametrize("has_audio", [True, False])
def test_words_of_a_cancelled_response_that_was_never_heard_are_dropped(has_audio: bool) -> None:
    gate = TranscriptGate()
    assert passed(gate, delta("Hi"), finished(status="cancelled", has_audio=has_audio), started()) == [started()]


def test_words_of_an_interrupted_response_are_told_if_it_was_heard() -> None:
    gate = TranscriptGate()
    interruption = AssistantInterruptedEvent("a1", 100, cuts=_cuts("a1", "a2"))
    passed(gate, started("r1"), transcript("unheard", "r2", "a2"), finished("r2"))
    assert passed(gate, interruption, transcript("heard")) == [interruption, transcript("heard")]
    assert passed(gate, started("r2")) == [started("r2")]


def test_words_of_the_next_answer_survive_an_interruption_that_is_announced_late() -> None:
    gate = TranscriptGate()
    interruption = AssistantInterruptedEvent("a1", 100, cuts=_cuts("a1"))
    assert passed(gate, delta("new", "r2", "a2"), interruption) == [interruption]
    assert passed(gate, started("r2")) == [started("r2"), delta("new", "r2", "a2")]


def test_the_gate_does_not_remember_everything() -> None:
    gate = TranscriptGate()
    for number in range(100):
        passed(gate, delta("never heard", f"unheard {number}"), started(f"heard {number}"))
    assert len(gate._held) <= 32
    assert len(gate._open) <= 32


def _cuts(*items: str) -> tuple[PlaybackCut, ...]:
    return tuple(PlaybackCut(item_id=item, content_index=0, played_ms=0, received_ms=100) for item in items)


# --- approvals ---------------------------------------------------------------------------------------


async def answers_to(listener: object, *, wait_s: float = 1.0) -> Sequence[ToolApprovalResolvedEvent]:
    async with hooks_for(listener) as bus:
        inbox = bus.open_inbox(ToolApprovalResolvedEvent)
        bus.publish(CONNECTED)
        bus.publish(ToolApprovalRequestedEvent(call_id="c1", name="pay", arguments={"euro": 5}))
        await asyncio.sleep(wait_s)
    return list(inbox.take_all())


@pytest.mark.parametrize(
    ("answer", "approved", "reason"),
    [
        (True, True, None),
        (False, False, None),
        (None, False, None),
        ("yes", False, None),
        (ToolApproval(True), True, None),
        (ToolApproval(False, "too dear"), False, "too dear"),
    ],
)
async def test_the_listener_approves(answer: object, approved: bool, reason: str | None) -> None:
    requests: list[ToolApprovalRequest] = []

    class Cashier(AgentListener):
        async def on_tool_approval_requested(self, request: ToolApprovalRequest) -> Any:
            requests.append(request)
            return answer

    (resolved,) = await answers_to(Cashier())
    assert (resolved.call_id, resolved.approved, resolved.reason) == ("c1", approved, reason)
    assert (requests[0].name, requests[0].arguments) == ("pay", {"euro": 5})


async def test_nobody_approves() -> None:
    class Broken(AgentListener):
        async def on_tool_approval_requested(self, request: ToolApprovalRequest) -> bool:
            raise LookupError(request.name)

    for listener in (AgentListener(), object(), Broken()):
        (resolved,) = await answers_to(listener)
        assert not resolved.approved


async def test_other_callbacks_do_not_wait_for_an_approval() -> None:
    class Thinking(Recorder):
        async def on_tool_approval_requested(self, _: ToolApprovalRequest) -> bool:
            await asyncio.sleep(100)
            return True

    thinking = Thinking()
    async with hooks_for(thinking) as bus:
        inbox = bus.open_inbox(ToolApprovalResolvedEvent)
        bus.publish(CONNECTED)
        bus.publish(ToolApprovalRequestedEvent(call_id="c1", name="pay", arguments={}))
        bus.publish(AgentErrorEvent(ERROR))
        await asyncio.sleep(1)
        assert thinking.names == ["agent_session_connected", "agent_error"]
    assert asyncio.get_running_loop().time() == 1  # nor does the end
    assert list(inbox.take_all()) == []


def test_what_was_no_utterance_is_never_announced() -> None:
    gate = UtteranceGate()
    dismissed = InterruptionDismissedEvent(reason="self_echo", item_id="u1")
    start, stop, words = SpeechDetectedEvent(), UserStoppedSpeakingEvent(), UserTranscriptCompletedEvent("story", "u1")
    assert [gate.pass_on(event) for event in (start, stop, words)] == [[], [], []]
    later = [SpeechDetectedEvent(), UserStoppedSpeakingEvent()]
    assert [gate.pass_on(event) for event in later] == [[], []]
    assert gate.pass_on(dismissed) == [dismissed]
    assert gate.pass_on(words) == []  # they may also come late
    begun = UserStartedSpeakingEvent()
    assert gate.pass_on(begun) == [begun, later[1]]


def test_a_backchannel_is_an_utterance() -> None:
    gate = UtteranceGate()
    stop, words = UserStoppedSpeakingEvent(), UserTranscriptCompletedEvent("Mhm", "u1")
    for event in (SpeechDetectedEvent(), stop):
        gate.pass_on(event)
    begun, dismissed = UserStartedSpeakingEvent(), InterruptionDismissedEvent(reason="backchannel", item_id="u1")
    assert [gate.pass_on(event) for event in (begun, dismissed, words)] == [[begun, stop], [dismissed], [words]]


def test_a_dismissal_of_what_nobody_waits_for() -> None:
    dismissed = InterruptionDismissedEvent(reason="too_short")
    assert UtteranceGate().pass_on(dismissed) == [dismissed]
