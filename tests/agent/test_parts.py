"""What goes wrong inside a running agent, and how it ends."""

import asyncio
from typing import Any

import pytest

from rtvoice import AgentListener, RealtimeAgent, Tools
from rtvoice.components.transcript import Transcript
from rtvoice.errors import RtvoiceError
from rtvoice.events import AgentStoppedEvent, ToolCallFinishedEvent
from rtvoice.testing import Faults, RealtimeEmulator, Reply, ToolCall, VirtualMicrophone, VirtualSpeaker

pytestmark = pytest.mark.virtual_clock


async def test_a_part_that_fails_ends_the_conversation(converse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Transcript) -> None:
        await asyncio.sleep(1)
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(Transcript, "run", fail)
    async with RealtimeEmulator() as server:
        async with converse(server) as conversation:
            await asyncio.wait([conversation.running])
        assert conversation.result.turns == []
        (error,) = conversation.listener.all("agent_error")
        assert error.type == "internal_error"
        assert "transcript" in error.message


@pytest.mark.parametrize("side", ["audio_input", "audio_output"])
async def test_a_device_that_fails_while_running(side: str, converse: Any) -> None:
    async with RealtimeEmulator(replies=["Hello."], detect_speech=False) as server:
        speaker = VirtualSpeaker(failure=OSError("unplugged") if side == "audio_output" else None)
        async with converse(server, audio_output=speaker) as conversation:
            if side == "audio_input":
                conversation.microphone.fail(OSError("unplugged"))
            else:
                await conversation.agent.send_message("Hello.")
            async with asyncio.timeout(10):
                await asyncio.wait([conversation.running])
        assert isinstance(conversation.result.turns, list)
        (error,) = conversation.listener.all("agent_error")
        assert error.type == "audio_error"
        assert "unplugged" in error.message


async def test_an_input_that_ends_leaves_the_conversation_open(converse: Any) -> None:
    async with RealtimeEmulator(replies=["Hello."], detect_speech=False) as server:
        async with converse(server) as conversation:
            conversation.microphone.end()
            await asyncio.sleep(60)
            await conversation.agent.send_message("Are you there?")
            await conversation.listener.wait_for("assistant_stopped_responding")
        assert conversation.listener.all("agent_error") == []


class BadStop(VirtualMicrophone):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    async def stop(self) -> None:
        await super().stop()
        match self.how:
            case "raises":
                raise OSError("cannot close")
            case "hangs":
                await asyncio.sleep(1_000)
            case "awaits what it cancelled":  # a common slip
                task = asyncio.ensure_future(asyncio.sleep(100))
                await asyncio.sleep(0)
                task.cancel()
                await task


@pytest.mark.parametrize("how", ["raises", "hangs", "awaits what it cancelled"])
@pytest.mark.parametrize("ending", ["stop", "cancel"])
async def test_a_device_that_does_not_stop_properly_stops_nothing_else(how: str, ending: str, story: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator() as server:
        speaker = VirtualSpeaker()
        agent = RealtimeAgent(provider=server.provider, audio_input=BadStop(how), audio_output=speaker, listener=story)
        running = asyncio.ensure_future(agent.run())
        await server.received("input_audio_buffer.append")
        asked_at = loop.time()
        if ending == "stop":
            await agent.stop()
            assert (await running).turns == []
        else:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert loop.time() - asked_at < 3
        assert len(speaker.cleared) == 1
        assert story.names[-1] == "agent_stopped"
        await server.current.wait_closed()
        assert server.current.close_code == 1000


@pytest.mark.parametrize("first", ["stop", "cancel"])
async def test_cancelled_while_it_ends_it_ends_properly_all_the_same(first: str, story: Any) -> None:
    async with RealtimeEmulator() as server:
        microphone, speaker = BadStop("hangs"), VirtualSpeaker()
        agent = RealtimeAgent(provider=server.provider, audio_input=microphone, audio_output=speaker, listener=story)
        running = asyncio.ensure_future(agent.run())
        await server.received("input_audio_buffer.append")
        async with asyncio.TaskGroup() as group:
            if first == "stop":
                group.create_task(agent.stop())
            else:
                running.cancel()
            for _ in range(3):
                await asyncio.sleep(0.1)
                running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert len(speaker.cleared) == 1
        await server.current.wait_closed()
        assert server.current.close_code == 1000
        assert story.names[-1] == "agent_stopped"


async def test_cancelled_in_the_last_callback() -> None:
    class Slow(AgentListener):
        stopping = asyncio.Event()

        async def on_agent_stopped(self) -> None:
            self.stopping.set()
            await asyncio.sleep(4)

    async with RealtimeEmulator() as server:
        slow = Slow()
        agent = RealtimeAgent(
            provider=server.provider, audio_input=VirtualMicrophone(), audio_output=VirtualSpeaker(), listener=slow
        )
        running = asyncio.ensure_future(agent.run())
        await server.received("input_audio_buffer.append")
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.stop())
            await slow.stopping.wait()
            running.cancel()
        assert running.cancelled()


async def test_a_start_that_awaits_something_cancelled_fails(story: Any) -> None:
    class BadStart(VirtualMicrophone):
        async def start(self) -> None:
            raise asyncio.CancelledError

    async with RealtimeEmulator() as server:
        agent = RealtimeAgent(
            provider=server.provider, audio_input=BadStart(), audio_output=VirtualSpeaker(), listener=story
        )
        with pytest.raises(RtvoiceError, match="cancelled"):
            await agent.run()
    assert story.names[-1] == "agent_stopped"


async def test_a_stream_that_awaits_something_cancelled_is_noticed(converse: Any) -> None:
    class BadStream(VirtualMicrophone):
        async def stream_chunks(self) -> Any:
            yield bytes(960)
            raise asyncio.CancelledError

    async with RealtimeEmulator() as server:
        async with converse(server, audio_input=BadStream()) as conversation:
            async with asyncio.timeout(5):
                await asyncio.wait([conversation.running])
        assert len(conversation.listener.all("agent_error")) == 1


async def test_stop_while_everything_is_still_starting(story: Any) -> None:
    loop = asyncio.get_running_loop()

    class SlowStart(VirtualMicrophone):
        async def start(self) -> None:
            await asyncio.sleep(100)

    class Patient(AgentListener):
        async def on_agent_starting(self) -> None:
            await asyncio.sleep(100)

    async with RealtimeEmulator() as server:
        for listener, device in ((Patient(), VirtualMicrophone()), (story, SlowStart())):
            agent = RealtimeAgent(
                provider=server.provider, audio_input=device, audio_output=VirtualSpeaker(), listener=listener
            )
            async with asyncio.TaskGroup() as group:
                running = group.create_task(agent.run())
                await asyncio.sleep(1)
                asked_at = loop.time()
                await agent.stop()
                assert loop.time() - asked_at < 1.1
            assert running.result().turns == []


async def test_handlers_and_callbacks_get_the_rest_before_the_end(converse: Any) -> None:
    heard: list[object] = []

    async def slowly(event: AgentStoppedEvent) -> None:
        await asyncio.sleep(0.5)
        heard.append(event)

    async with RealtimeEmulator() as server:
        async with converse(server) as conversation:
            conversation.agent.event_bus.subscribe(AgentStoppedEvent, slowly)
        assert heard == [AgentStoppedEvent()]


async def test_running_tools_are_cancelled_and_answered_at_the_end(converse: Any) -> None:
    tools = Tools()
    story: list[str] = []

    @tools.action("Takes for ever.")
    async def wait() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            story.append("cancelled")

    async with RealtimeEmulator(replies=[Reply(calls=[ToolCall("wait")])], detect_speech=False) as server:
        async with converse(server, tools=tools) as conversation:
            conversation.agent.event_bus.subscribe(ToolCallFinishedEvent, lambda event: story.append(event.output))
            await conversation.agent.send_message("Wait.")
            await asyncio.sleep(5)
            session = server.current
            await conversation.agent.stop()
            await session.wait_closed()
        outputs = [
            e["item"]["output"] for e in session.received if e.get("item", {}).get("type") == "function_call_output"
        ]
        assert len(outputs) == 1
        assert "cancelled" in outputs[0]
    assert story[0] == "cancelled"
    assert "cancelled" in story[1]


@pytest.mark.parametrize("stubborn", ["for a while", "in a thread"])
async def test_a_tool_that_does_not_end_is_not_waited_for(stubborn: str, converse: Any) -> None:
    import threading

    loop = asyncio.get_running_loop()
    tools = Tools()
    release = threading.Event()
    if stubborn == "in a thread":

        @tools.action("Blocks.", name="block")
        def block() -> None:
            release.wait(20)
    else:

        @tools.action("Blocks.", name="block")
        async def block_too() -> None:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                await asyncio.sleep(2)

    async with RealtimeEmulator(replies=[Reply(calls=[ToolCall("block")])], detect_speech=False) as server:
        async with converse(server, tools=tools) as conversation:
            await conversation.agent.send_message("Block.")
            await asyncio.sleep(1)
            asked_at = loop.time()
            await conversation.agent.stop()
            assert loop.time() - asked_at < 3
        release.set()


async def test_a_server_that_never_answers_the_close(converse: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator(faults=Faults(never_answer_close=True)) as server:
        async with converse(server) as conversation:
            await asyncio.sleep(1)
            asked_at = loop.time()
            await conversation.agent.stop()
            assert loop.time() - asked_at < 3
        assert conversation.listener.all("agent_error") == []
