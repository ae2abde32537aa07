"""The agent ends when it is told to, in whatever state it is: within three seconds, once, leaving nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.flows.test_reconnect_flow import settle

from rtvoice import ReconnectPolicy, RotationPolicy
from rtvoice.events import SendMessageCommand
from rtvoice.testing import EmulatedSession, Faults, Hold, RealtimeEmulator, Reply

pytestmark = pytest.mark.virtual_clock


async def a_server_without_answer(server: RealtimeEmulator, conversation: Any) -> None:
    """The next connections get as far as the WebSocket, and no further."""
    accept = server._new_session

    def mute(*arguments: Any) -> EmulatedSession:
        session = accept(*arguments)
        session.go_silent()
        return session

    server._new_session = mute  # type: ignore[method-assign]


async def dialling(server: RealtimeEmulator, conversation: Any) -> None:
    """The provider takes its time for the next connection."""
    wait = asyncio.Event()

    class Slow:
        async def connection_headers(self) -> dict[str, str]:
            await wait.wait()
            return {}

        def build_url(self, model: str) -> str:
            return server.provider.build_url(model)

    conversation.agent._parts._session._dialler._provider = Slow()


async def backing_off(server: RealtimeEmulator, conversation: Any) -> None:
    await server.stop_listening()
    server.current.drop()
    await conversation.listener.wait_for("agent_reconnecting", 2)


async def dialling_again(server: RealtimeEmulator, conversation: Any) -> None:
    await dialling(server, conversation)
    server.current.drop()
    await conversation.listener.wait_for("agent_reconnecting")
    await settle()


async def seeding_again(server: RealtimeEmulator, conversation: Any) -> None:
    await a_server_without_answer(server, conversation)
    for number in range(50):
        conversation.agent.event_bus.publish(SendMessageCommand(text=f"{number}" * 1_000, respond=False))
    await settle()
    server.current.drop()
    await settle()
    assert len(server.sessions) == 2


async def rotating_by_dialling(server: RealtimeEmulator, conversation: Any) -> None:
    await dialling(server, conversation)
    await settle(70)


async def rotating_by_configuring(server: RealtimeEmulator, conversation: Any) -> None:
    await a_server_without_answer(server, conversation)
    await settle(64)
    assert len(server.sessions) == 2


async def rotated_a_moment_ago(server: RealtimeEmulator, conversation: Any) -> None:
    server.current._link._frame_faults.append(lambda frame: [])  # the old session says nothing any more
    await conversation.agent.restart()


async def restarting(server: RealtimeEmulator, conversation: Any) -> None:
    await a_server_without_answer(server, conversation)

    async def restart() -> None:
        with pytest.raises(Exception, match="stopping"):
            await conversation.agent.restart()

    conversation.group.create_task(restart())
    await settle()


async def the_server_stops_reading(server: RealtimeEmulator, conversation: Any) -> None:
    server.current.go_silent()
    for _ in range(100):
        conversation.agent.event_bus.publish(SendMessageCommand(text="x" * 300_000, respond=False))
    await settle()


async def speaking(server: RealtimeEmulator, conversation: Any) -> None:
    await conversation.agent.send_message("Hello.")
    await conversation.listener.wait_for("assistant_started_responding")


async def quiet(server: RealtimeEmulator, conversation: Any) -> None:
    await settle()


STATES = [
    quiet, speaking, backing_off, dialling_again, seeding_again, rotating_by_dialling, rotating_by_configuring,
    rotated_a_moment_ago, restarting, the_server_stops_reading,
]  # fmt: skip


@asynccontextmanager
async def running(converse: Any, **faults: Any) -> AsyncIterator[tuple[RealtimeEmulator, Any]]:
    replies = [Reply("This is the beginning of a story. " * 10, hold=Hold(after_ms=500))]
    settings = {
        "rotation": RotationPolicy(after_s=60, latest_s=500),
        "reconnect": ReconnectPolicy(initial_delay_s=5, max_delay_s=50),
    }
    async with (
        RealtimeEmulator(replies, detect_speech=False, faults=Faults(**faults), close_timeout_s=0.1) as server,
        asyncio.TaskGroup() as group,
        converse(server, **settings) as conversation,
    ):
        conversation.group = group
        await settle()
        yield server, conversation
        for session in server.sessions:
            session.drop()


@pytest.mark.parametrize("close_is_answered", [True, False], ids=["answered", "unanswered"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_the_end_in_every_state(converse: Any, state: Callable[..., Any], close_is_answered: bool) -> None:
    async with running(converse, never_answer_close=not close_is_answered) as (server, conversation):
        await state(server, conversation)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(conversation.agent.stop(), conversation.agent.stop())
        assert asyncio.get_running_loop().time() - began < 3
        await conversation.agent.stop()
        assert conversation.listener.names.count("agent_stopped") == 1
        assert conversation.listener.names[-1] == "agent_stopped"
        assert conversation.running.done()
        assert "agent_error" not in conversation.listener.names


@pytest.mark.parametrize("where", ["headers", "upgrade", "greeting"])
async def test_the_end_before_the_beginning(converse: Any, where: str) -> None:
    """While the first connection is being opened, or the server has yet to say anything."""
    over = asyncio.Event()

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    class Provider:
        async def connection_headers(self) -> dict[str, str]:
            if where == "headers":
                await over.wait()
            return {"Authorization": "Bearer key"}

        def build_headers(self) -> dict[str, str]:
            return {}

        def build_url(self, model: str) -> str:
            return f"{address}?model={model}"

    listening = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with RealtimeEmulator(detect_speech=False) as server, listening:
        address = server.url
        if where == "upgrade":
            address = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        accept = server._new_session

        def silent(*arguments: Any) -> EmulatedSession:
            session = accept(*arguments)
            session.go_silent()
            return session

        server._new_session = silent  # type: ignore[method-assign]
        async with converse(server, connected=False, provider=Provider()) as conversation:
            await asyncio.sleep(0.5)
            began = asyncio.get_running_loop().time()
            await conversation.agent.stop()
            assert asyncio.get_running_loop().time() - began < 3
            assert conversation.listener.names == ["agent_starting", "agent_stopped"]
        over.set()
        for session in server.sessions:
            session.drop()
        listening.close()
        await settle()
