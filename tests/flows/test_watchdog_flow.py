"""A server or a network that stands still: something mild is tried, then the session reconnects, and says so."""

import asyncio
from typing import Any

import pytest
from tests.flows.test_reconnect_flow import known, raw_user_turn, requests, settle

from rtvoice import ReconnectPolicy, WatchdogPolicy
from rtvoice.events import UserAudioCapturedEvent
from rtvoice.testing import Hold, RealtimeEmulator, Reply

pytestmark = pytest.mark.virtual_clock

LONG = "This is the beginning of a long story. " * 10


def barks(conversation: Any) -> list[tuple[str, float, str]]:
    calls = [call[1:] for call in conversation.listener.calls if call[0] == "watchdog_fired"]
    return [(name, round(waited_s), action) for name, waited_s, action in calls]


async def test_a_turn_that_nobody_answers(converse: Any) -> None:
    async with RealtimeEmulator(["Here I am."], detect_speech=False) as server, converse(server) as conversation:
        session = await server.connected()
        raw_user_turn(session, "Are you there?")
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert barks(conversation) == [("answer", 15, "retry")]
        assert requests(session) == [""]
        assert "agent_reconnecting" not in conversation.listener.names


async def test_a_server_that_answers_nothing_at_all(converse: Any) -> None:
    async with (
        RealtimeEmulator(lambda _: Reply("Here I am."), detect_speech=False) as server,
        converse(server, watchdogs=WatchdogPolicy(ping_s=None)) as conversation,
    ):
        session = await server.connected()
        await settle()
        raw_user_turn(session, "Are you there?")
        await settle()
        session.stall(writing=False)
        await settle(40)
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert barks(conversation) == [("answer", 15, "retry"), ("answer", 15, "reconnect")]
        (lost,) = [call for call in conversation.listener.calls if call[0] == "agent_reconnecting"]
        assert "has not begun to answer" in lost[2]
        assert known(server.current) == ["user: Are you there?", "assistant: Here I am."]
        session.drop()
        session.resume()


async def test_a_response_that_gets_stuck(converse: Any) -> None:
    replies = [Reply(LONG, hold=Hold(after_ms=300)), "On with the story."]
    async with RealtimeEmulator(replies, detect_speech=False) as server, converse(server) as conversation:
        await conversation.agent.send_message("Tell me a story.")
        await conversation.listener.wait_for("assistant_started_responding")
        await settle(35)
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
        assert barks(conversation) == [("response", 30, "retry")]
        assert "Your last answer broke off" in requests(server.current)[1]
        assert len(server.sessions) == 1


async def test_a_response_that_cannot_even_be_cancelled(converse: Any) -> None:
    replies = [Reply(LONG, hold=Hold(after_ms=300)), "On with the story."]
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, watchdogs=WatchdogPolicy(ping_s=None)) as conversation,
    ):
        await conversation.agent.send_message("Tell me a story.")
        await conversation.listener.wait_for("assistant_started_responding")
        server.current.stall(writing=False)
        await settle(65)
        await conversation.listener.wait_for("assistant_stopped_responding", 2)
        assert barks(conversation) == [("response", 30, "retry"), ("response", 30, "reconnect")]
        assert len(server.sessions) == 2
        assert "go on where it stopped" in requests(server.current)[0]
        server.sessions[0].drop()
        server.sessions[0].resume()


async def test_a_server_that_opens_sessions_and_never_answers(converse: Any) -> None:
    """However often: it is not asked for ever."""
    async with (
        RealtimeEmulator(lambda _: Reply("Too late.", delay_s=1_000), detect_speech=False) as server,
        converse(server, reconnect=ReconnectPolicy(max_attempts=3)) as conversation,
    ):
        await conversation.agent.send_message("Hello?")
        await asyncio.wait([conversation.running])
        assert asyncio.get_running_loop().time() < 200
        assert [action for _, _, action in barks(conversation)] == ["retry", *["reconnect"] * 4]
        (error,) = conversation.listener.all("agent_error")
        assert "gone on with its answer" in error.message
        assert sum(len(requests(session)) for session in server.sessions) <= 8


async def test_a_dead_connection(converse: Any) -> None:
    async with RealtimeEmulator(["Yes."], detect_speech=False) as server, converse(server) as conversation:
        session = await server.connected()
        await settle()
        began = asyncio.get_running_loop().time()
        session.go_silent()
        async with asyncio.timeout(60):
            await server.connected(timeout=60)
        assert asyncio.get_running_loop().time() - began < 45
        await conversation.listener.wait_for("agent_reconnected")
        assert barks(conversation) == [("ping", 15, "retry"), ("ping", 30, "reconnect")]
        session.drop()


async def test_a_connection_that_comes_back_to_life(converse: Any) -> None:
    async with RealtimeEmulator(["Yes."], detect_speech=False) as server, converse(server) as conversation:
        session = await server.connected()
        await settle()
        session.go_silent()
        await settle(30)
        assert barks(conversation) == [("ping", 15, "retry")]
        transport = session._link._faulty_transport()
        transport.silent = False
        transport.resume_reading()
        await settle(60)
        assert len(server.sessions) == 1
        await conversation.agent.send_message("Are you there?")
        await conversation.listener.wait_for("assistant_stopped_responding")


async def test_a_network_that_takes_nothing(converse: Any) -> None:
    limits = WatchdogPolicy(ping_s=None)
    async with (
        RealtimeEmulator(["Yes."], detect_speech=False) as server,
        converse(server, watchdogs=limits) as conversation,
    ):
        session = await server.connected()
        await settle()
        session.go_silent()
        for _ in range(300):
            conversation.agent.event_bus.publish(UserAudioCapturedEvent(pcm=bytes(240_000), captured_at=0.0))
            await asyncio.sleep(0)
        await settle(30)
        await conversation.listener.wait_for("agent_reconnected")
        assert barks(conversation) == [("write", 10, "retry"), ("write", 20, "reconnect")]
        (lost,) = [call for call in conversation.listener.calls if call[0] == "agent_reconnecting"]
        assert "taken nothing for 20 s" in lost[2]
        session.drop()


async def test_without_reconnecting_the_conversation_ends(converse: Any) -> None:
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, reconnect=None) as conversation,
    ):
        session = await server.connected()
        await settle()
        session.go_silent()
        await asyncio.wait([conversation.running])
        (error,) = conversation.listener.all("agent_error")
        assert error.type == "connection_closed"
        assert "no sign of life" in error.message
        session.drop()


async def test_watchdogs_can_be_switched_off(converse: Any) -> None:
    limits = WatchdogPolicy(answer_s=None, response_s=None, ping_s=None, write_s=None)
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, watchdogs=limits) as conversation,
    ):
        session = await server.connected()
        raw_user_turn(session, "Are you there?")
        await settle()
        session.go_silent()
        await settle(100)
        assert barks(conversation) == []
        assert "agent_reconnecting" not in conversation.listener.names
        session.drop()
        await settle()


async def test_what_the_session_counts(converse: Any) -> None:
    async with RealtimeEmulator(["Yes."], detect_speech=False) as server, converse(server) as conversation:
        session = conversation.agent._parts._session
        assert session.stats.watchdogs == {}
        raw_user_turn(await server.connected(), "Are you there?")
        await conversation.listener.wait_for("assistant_stopped_responding")
        server.current.send_error("some_error", "Something.")
        await settle()
        await conversation.agent.restart()
        await settle()
        server.current.drop()
        await conversation.listener.wait_for("agent_reconnected")
        stats = session.stats
        assert (stats.rotations, stats.reconnects, stats.frames_refused) == (1, 1, 1)
        assert stats.watchdogs == {"answer": 1}
        assert stats.frames_sent > 100
        assert stats.frames_received > 10
        assert stats.dropped_user_audio_ms == 0
