"""A new session takes over before the service ends the old one: when, unheard, with every sample of the microphone."""

import asyncio
from typing import Any

import pytest
from tests.flows.test_reconnect_flow import known, requests, settle

from rtvoice import ReconnectPolicy, RotationPolicy, Tools
from rtvoice.errors import AgentStateError, AuthenticationFailed, ConnectionFailed
from rtvoice.events import SayCommand, SendMessageCommand
from rtvoice.testing import EmulatedSession, Hold, RealtimeEmulator, Reply, StartRefusal, ToolCall, VirtualMicrophone
from rtvoice.testing.faults import BAD_KEY, NO_QUOTA

pytestmark = pytest.mark.virtual_clock

SOON = RotationPolicy(after_s=60, latest_s=90)
LONG = "This is the beginning of a long story. " * 10


# --- at a quiet moment -------------------------------------------------------------------------------


async def test_nobody_notices(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Hello to you.", "I am fine."], detect_speech=False) as server,
        converse(server, rotation=SOON) as conversation,
    ):
        listener, first = conversation.listener, await server.connected()
        await conversation.agent.send_message("Hello.")
        await listener.wait_for("assistant_stopped_responding")
        await settle(70)
        second = await server.connected(timeout=1)
        await listener.wait_for("session_rotated")
        await settle()
        assert known(second) == ["user: Hello.", "assistant: Hello to you."]
        assert second.types("received")[0] == "session.update"
        assert requests(second) == []
        assert first.close_code == 1000
        await conversation.agent.send_message("How are you?")
        await listener.wait_for("assistant_stopped_responding", 2)
        assert known(second)[2:] == ["user: How are you?", "assistant: I am fine."]
        (restored,) = listener.all("session_rotated")
        assert (restored.items, restored.lost_user_turns) == (2, 0)
        assert not {"agent_reconnecting", "agent_error"} & set(listener.names)
        at = listener.times[listener.names.index("session_rotated")]
        assert 60 <= at <= 63


async def test_every_sample_of_the_microphone_goes_to_one_session(converse: Any) -> None:
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, rotation=RotationPolicy(after_s=5, latest_s=300)) as conversation,
    ):
        words = b"".join(number.to_bytes(4, "little") for number in range(1, 240_001))  # 20 s, no sample like another
        await conversation.microphone.say(words).done()
        await settle()
        assert len(server.sessions) >= 3
        heard = b"".join(bytes(session.user_audio) for session in server.sessions)
        assert words in heard
        assert all(session.user_audio for session in server.sessions)


async def test_it_goes_on_for_hours(converse: Any) -> None:
    async with (
        RealtimeEmulator(lambda _: Reply("Yes."), detect_speech=False) as server,
        converse(
            server,
            audio_input=VirtualMicrophone(chunk_ms=1_000),
            rotation=RotationPolicy(after_s=300, latest_s=400),
        ) as conversation,
    ):
        for number in range(1, 25):
            await conversation.agent.send_message(f"Message {number}.")
            await conversation.listener.wait_for("assistant_stopped_responding", number)
            await settle(60)
        assert len(conversation.listener.all("session_rotated")) == 4
        assert known(server.current)[:2] == ["user: Message 1.", "assistant: Yes."]
        assert len(known(server.current)) == 48
        assert "agent_reconnecting" not in conversation.listener.names


async def test_what_goes_on_is_waited_for(converse: Any) -> None:
    """The assistant speaks, the user speaks, a tool works: none of it is a quiet moment."""
    tools, done = Tools(), asyncio.Event()

    @tools.action("Works.")
    async def work() -> str:
        await done.wait()
        return "done"

    replies = [Reply(LONG, hold=Hold(after_ms=500)), Reply(calls=[ToolCall("work", {})]), "It is done."]
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, tools=tools, rotation=RotationPolicy(after_s=60, latest_s=3_000)) as conversation,
    ):
        listener, session = conversation.listener, await server.connected()
        await settle(50)
        await conversation.agent.send_message("Tell me a story.")
        await listener.wait_for("assistant_started_responding")
        await settle(20)
        assert len(server.sessions) == 1  # it speaks
        session.speech_started()
        await settle(20)
        assert len(server.sessions) == 1  # the user speaks
        session.speech_stopped()
        await server.sent("response.done", lambda event: bool(event["response"]["output"]), timeout=30)
        await settle(20)
        assert len(server.sessions) == 1  # a tool works
        done.set()
        await listener.wait_for("assistant_stopped_responding", 2)
        await listener.wait_for("session_rotated")
        assert len(server.sessions) == 2
        assert any(line.startswith("output") for line in known(server.current))


async def test_push_to_talk_is_waited_for(converse: Any) -> None:
    async with (
        RealtimeEmulator(["I see."]) as server,
        converse(server, turn_detection=None, rotation=RotationPolicy(after_s=5, latest_s=60)) as conversation,
    ):
        session = await server.connected()
        await conversation.microphone.say(bytes(8 * 48_000)).done()
        assert len(server.sessions) == 1
        await conversation.agent.commit_user_turn()
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert session.types("received").count("input_audio_buffer.commit") == 1
        await settle(60)  # nobody can know whether the button is pressed
        assert len(server.sessions) == 2


async def test_what_happens_while_the_new_session_gets_ready_is_not_lost(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Yes."], detect_speech=False) as server,
        converse(server, rotation=SOON) as conversation,
    ):
        session = await server.connected()
        accept = server._new_session

        def late(*arguments: Any) -> EmulatedSession:
            conversation.agent.event_bus.publish(SendMessageCommand(text="Wait.", respond=False))
            server._new_session = accept  # type: ignore[method-assign]
            return accept(*arguments)

        server._new_session = late  # type: ignore[method-assign]
        await settle(70)
        await conversation.listener.wait_for("session_rotated")
        assert len(server.sessions) == 3  # the second did not know of the message
        assert known(session) == ["user: Wait."]
        assert known(server.current) == ["user: Wait."]


# --- when there is no quiet moment -------------------------------------------------------------------


async def test_it_is_forced_at_last(converse: Any) -> None:
    hold = Hold(after_ms=1_000)
    async with (
        RealtimeEmulator([Reply(LONG, hold=hold), "And so it ended."], detect_speech=False) as server,
        converse(server, rotation=SOON) as conversation,
    ):
        listener = conversation.listener
        await settle(80)
        await listener.wait_for("session_rotated")
        await conversation.agent.send_message("Tell me a story.")
        await listener.wait_for("assistant_started_responding")
        first = server.current
        for _ in range(40):  # progress, or it would be cancelled
            first.send({"type": "response.function_call_arguments.delta"})
            await settle(2)
        await listener.wait_for("session_rotated", 2)
        await listener.wait_for("assistant_stopped_responding", 2)
        assert "go on where it stopped" in requests(server.current)[0]
        assert known(server.current)[0] == "user: Tell me a story."
        assert "agent_reconnecting" not in listener.names


async def test_a_user_who_never_stops_is_asked_to_say_it_again(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Pardon?"], detect_speech=False) as server,
        converse(server, rotation=SOON) as conversation,
    ):
        (await server.connected()).speech_started()
        await settle(100)
        assert [restored.lost_user_turns for restored in conversation.listener.all("session_rotated")] == [1]
        assert "apologise" in requests(server.sessions[1])[0]


# --- when there is no new session --------------------------------------------------------------------


async def test_the_old_one_stays_until_there_is_a_new_one(converse: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        RealtimeEmulator(["Yes."], detect_speech=False) as server,
        converse(server, rotation=RotationPolicy(after_s=60, latest_s=300)) as conversation,
    ):
        server.refuse(StartRefusal(http_status=503), times=2)
        server.refuse(StartRefusal(close_code=1011), times=1)
        server.refuse(BAD_KEY)
        await settle(100)
        await conversation.agent.send_message("Are you there?")
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert conversation.listener.all("session_rotated") == []
        await settle(100)
        assert len(conversation.listener.all("session_rotated")) == 1
        assert known(server.current) == ["user: Are you there?", "assistant: Yes."]
        assert conversation.listener.all("agent_error") == []
    assert caplog.text.count("There is no new session yet") == 4


async def test_a_new_session_that_never_answers_is_given_up(converse: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, rotation=SOON) as conversation,
    ):
        accept = server._new_session

        def stalled(*arguments: Any) -> EmulatedSession:
            session = accept(*arguments)
            session.stall()
            server._new_session = accept  # type: ignore[method-assign]
            return session

        server._new_session = stalled  # type: ignore[method-assign]
        await settle(200)
        assert len(conversation.listener.all("session_rotated")) >= 1
        server.sessions[1].drop()
    assert "had not opened the session" in caplog.text


async def test_without_a_policy_the_session_reconnects_when_it_has_ended(converse: Any) -> None:
    async with (
        RealtimeEmulator(detect_speech=False, session_length_s=100) as server,
        converse(server, rotation=None) as conversation,
    ):
        await settle(150)
        assert conversation.listener.names.count("agent_reconnected") == 1
        assert "session_rotated" not in conversation.listener.names


# --- on demand ---------------------------------------------------------------------------------------


async def test_restart_at_a_quiet_moment(converse: Any) -> None:
    async with RealtimeEmulator(["Yes."], detect_speech=False) as server, converse(server) as conversation:
        await conversation.agent.send_message("Hello.")
        await conversation.listener.wait_for("assistant_stopped_responding")
        one, other = await asyncio.gather(conversation.agent.restart(), conversation.agent.restart())
        assert one.items == other.items == 2
        await settle()
        assert len(server.sessions) == 2
        assert len(conversation.listener.all("session_rotated")) == 1
        assert known(server.current) == ["user: Hello.", "assistant: Yes."]


async def test_restart_while_the_assistant_speaks(converse: Any) -> None:
    reply = Reply(LONG, hold=Hold(after_ms=500))
    async with (
        RealtimeEmulator([reply, "The end."], detect_speech=False) as server,
        converse(server, rotation=None) as conversation,
    ):
        await conversation.agent.send_message("Tell me a story.")
        await conversation.listener.wait_for("assistant_started_responding")
        restored = await conversation.agent.restart()
        assert restored.items == 2
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
        assert "go on where it stopped" in requests(server.current)[0]


async def test_restart_that_fails_says_why_and_changes_nothing(converse: Any) -> None:
    async with RealtimeEmulator(["Yes."], detect_speech=False) as server, converse(server) as conversation:
        server.refuse(BAD_KEY)
        with pytest.raises(AuthenticationFailed, match="refused"):
            await conversation.agent.restart()
        server.refuse(NO_QUOTA)
        with pytest.raises(AuthenticationFailed, match="quota"):
            await conversation.agent.restart()
        server.refuse(StartRefusal(http_status=503))
        with pytest.raises(ConnectionFailed, match="503"):
            await conversation.agent.restart()
        await server.stop_listening()
        with pytest.raises(ConnectionFailed, match="Cannot connect"):
            await conversation.agent.restart()
        await conversation.agent.send_message("Are you there?")
        await conversation.listener.wait_for("assistant_stopped_responding")


async def test_restart_while_the_connection_is_being_restored(converse: Any) -> None:
    policy = ReconnectPolicy(initial_delay_s=50, max_delay_s=100)
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, reconnect=policy) as conversation,
    ):
        listener = conversation.listener
        await settle(5)
        await server.stop_listening()
        server.current.drop()
        await listener.wait_for("agent_reconnecting", 2)
        with pytest.raises(ConnectionFailed, match="Cannot connect"):
            await conversation.agent.restart()
        await server.listen()
        before = asyncio.get_running_loop().time()
        assert (await conversation.agent.restart()).items == 0
        assert asyncio.get_running_loop().time() - before < 1
        await listener.wait_for("agent_reconnected")


async def test_restart_with_a_network_that_takes_nothing(converse: Any) -> None:
    """The old connection cannot even be left properly: it is cut, and a new one takes its place."""
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        session = await server.connected()
        session.go_silent()
        for _ in range(100):
            conversation.agent.event_bus.publish(SendMessageCommand(text="x" * 300_000, respond=False))
        await settle()
        before = asyncio.get_running_loop().time()

        await conversation.agent.restart()
        assert asyncio.get_running_loop().time() - before < 5
        (lost,) = [call for call in conversation.listener.calls if call[0] == "agent_reconnecting"]
        assert "took nothing" in lost[2]
        session.drop()


async def test_restart_is_bounded(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        accept = server._new_session

        def stalled(*arguments: Any) -> EmulatedSession:
            session = accept(*arguments)
            session.go_silent()
            return session

        server._new_session = stalled  # type: ignore[method-assign]
        with pytest.raises(ConnectionFailed, match="after 10 s"):
            await conversation.agent.restart()
        for session in server.sessions[1:]:
            session.drop()


async def test_restart_needs_a_conversation(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        agent = conversation.agent
        await server.connected()
    with pytest.raises(AgentStateError, match="not connected"):
        await agent.restart()


async def test_what_is_being_said_is_finished_first(converse: Any) -> None:
    async with (
        RealtimeEmulator([Reply("One moment please.", hold=Hold(after_ms=100))], detect_speech=False) as server,
        converse(server, rotation=RotationPolicy(after_s=5, latest_s=300)) as conversation,
    ):
        conversation.agent.event_bus.publish(SayCommand(text="One moment please.", request_id="q"))
        await conversation.listener.wait_for("assistant_started_responding")
        await settle(20)
        assert len(server.sessions) == 1
