"""Section 9 of the contract, row by row: defects of rtvoice 0.7.0 that must not come back."""

import __future__

import asyncio
import functools
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, Field

import rtvoice
from rtvoice import AgentListener, Inject, RealtimeAgent, Supervisor, ToolContext, Tools
from rtvoice.audio import AudioInputDevice, MicrophoneInput, SpeakerOutput
from rtvoice.errors import AgentStateError
from rtvoice.events import AgentSessionConnectedEvent, EventBus, UserStartedSpeakingEvent
from rtvoice.llm import ChatOpenAI, UserMessage
from rtvoice.testing import (
    Faults,
    Hold,
    PositionedSpeaker,
    RealtimeEmulator,
    Reply,
    ScriptedChatModel,
    ToolCall,
    Transcript,
    VirtualMicrophone,
    VirtualSpeaker,
)

pytestmark = pytest.mark.virtual_clock

STORY = "Once upon a time there was a king who had three daughters. " * 4
DONE = ToolCall("done", {"result": "Booked."})
QUESTION = ToolCall("clarify", {"question": "Inside or outside?"})


def supervisor(*answers: Any, **settings: Any) -> Supervisor[Any]:
    return Supervisor(description="Books tables.", instructions="Book it.", llm=ScriptedChatModel(*answers), **settings)


def call(name: str, call_id: str = "c1", **arguments: Any) -> Reply:
    return Reply(calls=[ToolCall(name, arguments, call_id)])


def delegation(call_id: str = "c1", **arguments: Any) -> Reply:
    return call("supervisor", call_id, task="Book a table", **arguments)


def devices() -> dict[str, Any]:
    return {"audio_input": VirtualMicrophone(), "audio_output": VirtualSpeaker()}


async def test_f01_a_clean_install_has_everything_that_is_imported() -> None:
    """Every module a user imports loads with nothing installed but what the package declares."""
    code = """
import importlib.metadata as metadata, re, sys
from packaging.requirements import Requirement
wanted, closure = ["rtvoice"], set()
while wanted:
    name = re.sub("[-_.]+", "-", wanted.pop()).lower()
    if name in closure:
        continue
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        continue
    closure.add(name)
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            wanted.append(requirement.name)
homes = metadata.packages_distributions()
foreign = {module for module, names in homes.items()
           if not {re.sub("[-_.]+", "-", name).lower() for name in names} & closure}
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in foreign:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotInstalled())
assert "pytest" in foreign and "websockets" not in foreign, foreign
import importlib
for module in "agent audio conversation events llm realtime tools testing supervisor agent.views cli".split():
    exec(f"from rtvoice.{module} import *")
from rtvoice import *
from rtvoice.llm import ChatOpenAI
ChatOpenAI(api_key="key")
RealtimeAgent(api_key="key")
print("complete")
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.stdout == "complete\n", done.stderr


async def test_f02_plain_strings_work_and_wrong_values_fail_at_once(converse: Any) -> None:
    settings = {
        "model": "gpt-realtime-9",
        "voice": "cedar",
        "noise_reduction": None,
        "transcription_model": "gpt-4o-mini-transcribe-2025-12-15",
    }
    async with RealtimeEmulator() as server, converse(server, **settings):
        session = await server.connected()
    sent = session.received[0]["session"]
    assert sent["model"] == "gpt-realtime-9"
    assert sent["audio"]["output"]["voice"] == "cedar"
    assert "noise_reduction" not in sent["audio"]["input"]
    assert sent["audio"]["input"]["transcription"] == {"model": "gpt-4o-mini-transcribe-2025-12-15"}
    RealtimeAgent(api_key="key", voice="robin", transcription_model="ears-2")  # what is new needs no new release
    for wrong in ({"turn_detection": "semantic"}, {"model": 5}, {"voice": []}, {"output_modalities": ["video"]}):
        with pytest.raises((TypeError, ValueError)):
            RealtimeAgent(api_key="key", **wrong)


@pytest.mark.parametrize("slow", ["tool", "listener", "handler"])
async def test_f03_nothing_slow_delays_the_sound(slow: str, converse: Any) -> None:
    tools, release = Tools(), asyncio.Event()

    @tools.action("Slow")
    async def wait() -> str:
        await release.wait()
        return "done"

    async def handle(_: UserStartedSpeakingEvent) -> None:
        called.append("handler")
        await release.wait()

    class Listener(AgentListener):
        async def on_user_started_speaking(self) -> None:
            called.append("listener")
            if slow == "listener":
                await release.wait()

    called: list[str] = []
    loop = asyncio.get_running_loop()
    replies = [call("wait"), "Meanwhile."] if slow == "tool" else ["Meanwhile."]
    settings = {"tools": tools, "listener": Listener()}
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, connected=False, **settings) as c,
    ):
        session = await server.connected()
        await server.sent("session.updated")
        if slow == "handler":
            c.agent.event_bus.subscribe(UserStartedSpeakingEvent, handle)
        if slow == "tool":
            await c.agent.send_message("Wait.")
            await server.sent("response.done")
        began = loop.time()
        session.speech_started()
        session.speech_stopped()
        await c.speaker.wait_until_heard(100)
        session.speech_started()
        await server.received("conversation.item.truncate")
        assert loop.time() - began < 0.5
        assert c.speaker.cleared
        assert "listener" in called
        assert ("handler" in called) is (slow == "handler")
        release.set()


@pytest.mark.parametrize(
    "made",
    [
        ToolCall("raises", {}, "c1"),
        ToolCall("unknown", {}, "c1"),
        ToolCall("raises", "{oops", "c1"),
        ToolCall("raises", "null", "c1"),
        ToolCall("raises", {"unexpected": 1}, "c1"),
    ],
    ids=["raising", "unknown", "undecodable", "null", "unexpected"],
)
async def test_f04_every_call_is_answered(made: ToolCall, converse: Any, wire: Any) -> None:
    tools = Tools()

    @tools.action("Raises")
    async def raises() -> str:
        raise LookupError("no such thing")

    async with (
        RealtimeEmulator([Reply(calls=[made]), "Sorry."], detect_speech=False) as server,
        converse(server, tools=tools) as c,
    ):
        await c.agent.send_message("Do it.")
        await c.listener.wait_for("assistant_stopped_responding")
        *_, output, say = wire(await server.connected())
    assert output.startswith("output c1: ")
    assert "Error" in output
    assert "Traceback" not in output
    assert say == "say"


async def test_f05_a_device_that_always_claims_to_play_causes_no_interruption(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Hello.", "Again."], detect_speech=False) as server,
        converse(server, audio_output=VirtualSpeaker(stuck_playing=True)) as c,
    ):
        session = await server.connected()
        await c.agent.send_message("Hi.")
        await c.listener.wait_for("assistant_stopped_responding")
        session.speech_started()
        session.speech_stopped()
        await c.listener.wait_for("assistant_stopped_responding", 2)
        assert "conversation.item.truncate" not in session.types("received")
    assert "agent_interrupted" not in c.listener.names


@pytest.mark.parametrize("where", ["listener", "handler", "tool", "supervisor tool", "device"])
async def test_f06_stop_may_be_called_from_anywhere(where: str) -> None:
    agent: RealtimeAgent[Any]
    tools, inner, stopped = Tools(), Tools(), []

    async def stop() -> str:
        await agent.stop()
        await agent.stop()
        stopped.append(where)
        return "stopped"

    (inner if where == "supervisor tool" else tools).action("Stops", name="halt")(stop)

    class Listener(AgentListener):
        async def on_agent_session_connected(self) -> None:
            if where == "listener":
                await stop()

    class Speaker(VirtualSpeaker):
        async def play_chunk(self, chunk: bytes) -> None:
            if where == "device":
                await stop()

    async def handle(_: AgentSessionConnectedEvent) -> None:
        if where == "handler":
            await stop()

    replies = {"tool": [call("halt")], "supervisor tool": [delegation()]}.get(where, ["Hello."])
    async with RealtimeEmulator(replies, detect_speech=False) as server:
        agent = RealtimeAgent(
            provider=server.provider,
            audio_input=VirtualMicrophone(),
            audio_output=Speaker(),
            tools=tools,
            supervisor=supervisor(ToolCall("halt", {}), DONE, tools=inner) if "supervisor" in where else None,
            listener=Listener(),
        )
        agent.event_bus.subscribe(AgentSessionConnectedEvent, handle)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            running = group.create_task(agent.run())
            session = await server.connected()
            session.speech_started()
            session.speech_stopped()
            await running
    assert stopped[:1] == [where]


async def test_f07_a_lost_connection_ends_or_is_restored_and_bad_frames_are_skipped(converse: Any) -> None:
    async with RealtimeEmulator(["Hello."], detect_speech=False) as server, converse(server, reconnect=None) as c:
        session = await server.connected()
        for frame in ("no json", "[1, 2]", "null", '"text"', "{}", '{"type": 5}', '{"type": "unheard.of"}'):
            session.send(frame)
        await c.agent.send_message("Hi.")
        await c.listener.wait_for("assistant_stopped_responding")
        assert c.listener.all("agent_error") == []
        session.drop()
        async with asyncio.timeout(10):
            await c.running
    assert [error.type for error in c.listener.all("agent_error")] == ["connection_closed"]
    async with RealtimeEmulator(["Back again."], detect_speech=False) as server, converse(server) as c:
        (await server.connected()).drop()
        await c.listener.wait_for("agent_reconnected")
        server.current.speech_started()
        server.current.speech_stopped()
        await c.listener.wait_for("assistant_transcript")
    assert c.listener.all("assistant_transcript") == ["Back again."]


async def test_f08_an_agent_runs_once(story: Any) -> None:
    async with RealtimeEmulator() as server:
        never = RealtimeAgent(provider=server.provider, listener=story, **devices())
        await never.stop()
        await never.stop()
        assert story.names == ["agent_stopped"]
        with pytest.raises(RuntimeError):
            await never.run()
        assert server.sessions == []
        agent = RealtimeAgent(provider=server.provider, **devices())
        async with asyncio.TaskGroup() as group:
            running = group.create_task(agent.run())
            await server.connected()
            with pytest.raises(AgentStateError):
                await agent.run()
            assert not running.done()
            await agent.stop()
        with pytest.raises(RuntimeError):
            await agent.start()
        assert len(server.sessions) == 1


@pytest.mark.parametrize("speaker", [VirtualSpeaker, PositionedSpeaker])
async def test_f09_barge_in_after_the_server_has_finished(speaker: Callable[[], VirtualSpeaker], converse: Any) -> None:
    async with RealtimeEmulator([STORY], detect_speech=False) as server, converse(server, audio_output=speaker()) as c:
        session = await server.connected()
        await c.agent.send_message("Tell me a story.")
        await server.sent("response.done")
        await c.speaker.wait_until_heard(1_000)
        session.speech_started()
        cut = await server.received("conversation.item.truncate")
        await server.sent("conversation.item.truncated")
        assert cut["audio_end_ms"] == pytest.approx(c.speaker.heard_ms, abs=2)
        await c.listener.wait_for("agent_interrupted")
        assert "response.cancel" not in session.types("received")
    turn = c.result.turns[-1]
    assert turn.interrupted
    assert turn.played_ms == cut["audio_end_ms"]


async def test_f10_played_time_is_what_was_heard_and_late_audio_is_dropped(converse: Any) -> None:
    hold = Hold(after_ms=200)
    reply = Reply(STORY, delay_s=0.8, hold=hold)
    faults = Faults(late_deltas=5)
    async with RealtimeEmulator([reply], detect_speech=False, faults=faults) as server, converse(server) as c:
        session = await server.connected()
        await c.agent.send_message("Tell me a story.")
        await hold.reached()
        await c.speaker.wait_until_heard(150)
        session.speech_started()
        cut = await server.received("conversation.item.truncate")
        await server.sent("conversation.item.truncated")
        await asyncio.sleep(2)
        assert cut["audio_end_ms"] == pytest.approx(150, abs=2)
        assert c.speaker.heard_ms == pytest.approx(150, abs=2)
    assert c.listener.all("agent_error") == []


async def test_f11_one_request_for_all_calls_and_never_two_at_once(converse: Any, wire: Any) -> None:
    tools = Tools()
    for number in (1, 2):

        @tools.action("Works", name=f"work{number}", holding_instruction="Hold on.")
        async def work() -> str:
            return "worked"

    both = Reply(calls=[ToolCall("work1", {}, "c1"), ToolCall("work2", {}, "c2")])
    async with (
        RealtimeEmulator([both, "Hold on.", "Both done."], detect_speech=False) as server,
        converse(server, tools=tools) as c,
    ):
        session = await server.connected()
        await c.agent.send_message("Work.")
        await c.listener.wait_for("assistant_stopped_responding", 2)
        await asyncio.sleep(5)
        sent = wire(session)[2:]
    assert [line.split()[0] for line in sent] == ["say", "say", "output", "output", "say"]
    assert "Hold on." in sent[1]
    assert "error" not in session.types()


async def test_f12_a_failing_or_busy_supervisor_lets_the_assistant_speak(converse: Any, wire: Any) -> None:
    release = asyncio.Event()

    async def fail(_: Any) -> Any:
        await release.wait()
        return RuntimeError("the model is down")

    replies = [delegation(), delegation("c2"), "Already at it.", "That failed."]
    async with RealtimeEmulator(replies, detect_speech=False) as server, converse(
        server, supervisor=supervisor(fail)
    ) as c:  # fmt: skip
        session = await server.connected()
        await c.agent.send_message("Book a table.")
        await c.listener.wait_for("supervisor_started")
        await c.agent.send_message("Book a table.")
        await c.listener.wait_for("assistant_stopped_responding")
        assert wire(session)[-2].startswith("output c2: ")
        release.set()
        await c.listener.wait_for("assistant_stopped_responding", 2)
        await c.listener.wait_for("supervisor_finished")
        sent = wire(session)
    failed = next(index for index, line in enumerate(sent) if line.startswith("output c1: "))
    assert sent[failed + 1].startswith("say")
    assert "tools supervisor" in sent[failed:]
    assert c.listener.all("assistant_transcript") == ["Already at it.", "That failed."]


async def test_f13_cancelling_answers_both_calls_and_a_late_cancel_politely(converse: Any, wire: Any) -> None:
    async def think(_: Any) -> Any:
        await asyncio.Event().wait()

    replies = [delegation(), call("cancel_supervisor", "c2"), "Cancelled.", call("cancel_supervisor", "c3"), "Nothing."]
    async with RealtimeEmulator(replies, detect_speech=False) as server, converse(
        server, supervisor=supervisor(think)
    ) as c:  # fmt: skip
        session = await server.connected()
        await c.agent.send_message("Book a table.")
        await c.listener.wait_for("supervisor_started")
        await c.agent.send_message("No, leave it.")
        await c.listener.wait_for("assistant_stopped_responding")
        await c.agent.send_message("Cancel!")
        await c.listener.wait_for("assistant_stopped_responding", 2)
        outputs = [line for line in wire(session) if line.startswith("output")]
    assert [line.split(":")[0] for line in outputs] == ["output c1", "output c2", "output c3"]
    assert c.listener.names.count("supervisor_finished") == 1
    assert "no tool named" not in outputs[2]


async def test_f14_a_pending_question_has_a_way_out(converse: Any, wire: Any) -> None:
    boss = supervisor(QUESTION, RuntimeError("down"), DONE)
    replies = [
        delegation("c1"), "Inside or outside?",
        delegation("c2"), "Which is it?",
        delegation("c3", clarification_answer="Inside."), "That failed.",
        delegation("c4"), "Booked.",
    ]  # fmt: skip
    async with RealtimeEmulator(replies, detect_speech=False) as server, converse(server, supervisor=boss) as c:
        session = await server.connected()
        for turn in range(1, 5):
            await c.agent.send_message("Go on.")
            await c.listener.wait_for("assistant_stopped_responding", turn)
            if turn == 1:
                assert [line for line in wire(session) if line.startswith("tools")][-1] == (
                    "tools supervisor cancel_supervisor"
                )
        outputs = [line for line in wire(session) if line.startswith("output")]
    assert [line[:10] for line in outputs] == ["output c1:", "output c2:", "output c3:", "output c4:"]
    assert "clarification_answer" in outputs[1]
    assert "cancel_supervisor" in outputs[1]
    assert json.loads(outputs[3][11:]) == {"message": "Booked.", "success": True}


async def test_f15_turns_without_transcription_and_turns_in_order(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Hello."], detect_speech=False) as server,
        converse(server, transcription_model=None) as c,
    ):
        session = await server.connected()
        session.speech_started()
        session.speech_stopped()
        await c.listener.wait_for("assistant_stopped_responding")
        assert "transcription" not in session.received[0]["session"]["audio"]["input"]
    assert c.listener.all("assistant_transcript") == ["Hello."]
    assert [turn.text for turn in c.result.turns] == ["Hello."]
    late = Transcript("Good morning.", delay_s=5)
    async with RealtimeEmulator(["Hello."], [late], detect_speech=False) as server, converse(server) as c:
        session = await server.connected()
        session.speech_started()
        session.speech_stopped()
        await c.listener.wait_for("user_transcript")
    assert c.listener.names.index("assistant_transcript") < c.listener.names.index("user_transcript")
    assert [turn.text for turn in c.result.turns] == ["Good morning.", "Hello."]


async def test_f16_a_failed_response_is_reported(converse: Any) -> None:
    quota = {"type": "quota", "code": "insufficient_quota", "message": "Out of quota."}
    content = {"type": "invalid_request_error", "code": "content_filter", "message": "Not that."}
    async with (
        RealtimeEmulator([Reply(status="failed", error=quota)], detect_speech=False) as server,
        converse(server) as c,
    ):
        session = await server.connected()
        await c.agent.send_message("Hi.")
        await c.listener.wait_for("agent_error")
        session.send({"type": "response.created", "response": {"id": "r9", "status": "in_progress"}})
        details = {"type": "incomplete", "error": content}
        done = {"id": "r9", "status": "incomplete", "status_details": details, "output": []}
        session.send({"type": "response.done", "response": done})
        await c.listener.wait_for("agent_error", 2)
        assert not c.running.done()
    errors = [(error.type, error.code, error.message) for error in c.listener.all("agent_error")]
    assert errors == [tuple(quota.values()), tuple(content.values())]


async def test_f16_a_filtered_response_is_reported(converse: Any) -> None:
    replies = [Reply("I", status="incomplete"), Reply("I", status="incomplete", reason="content_filter")]
    async with RealtimeEmulator(replies, detect_speech=False) as server, converse(server) as c:
        for turn in (1, 2):
            await c.agent.send_message("Hi.")
            await c.listener.wait_for("assistant_stopped_responding", turn)
    (error,) = c.listener.all("agent_error")
    assert error.code == "content_filter"


async def test_f17_a_raising_stopped_callback_is_logged_and_nothing_follows_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = []

    class Listener(AgentListener):
        async def on_agent_session_connected(self) -> None:
            await asyncio.sleep(1)
            names.append("connected")

        async def on_user_started_speaking(self) -> None:
            await asyncio.sleep(1)
            names.append("started")

        async def on_agent_stopped(self) -> None:
            await asyncio.sleep(1)
            names.append("stopped")
            raise ValueError("broken listener")

    async with RealtimeEmulator(detect_speech=False) as server:
        agent = RealtimeAgent(provider=server.provider, listener=Listener(), **devices())
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run())
            session = await server.connected()
            await server.received("session.update")
            session.speech_started()
            await asyncio.sleep(0.1)
            await agent.stop()
            assert names == ["connected", "started", "stopped"]
        await asyncio.sleep(10)
    assert names == ["connected", "started", "stopped"]
    assert any("on_agent_stopped" in record.getMessage() for record in caplog.records)


async def test_f18_the_llm_layer_takes_what_servers_send(monkeypatch: pytest.MonkeyPatch) -> None:
    Supervisor(description="Books.", instructions="Book.")  # its model is made when it is needed
    bodies: list[dict[str, Any]] = []
    delta = {"choices": [{"index": 0, "delta": {"content": "Hi!"}}]}
    stream = "".join(f"data: {json.dumps(part)}\n\n" for part in ({"choices": []}, delta)) + "data: [DONE]\n\n"
    other = {"id": "x", "type": "custom", "custom": {"name": "n", "input": ""}}
    message = {"role": "assistant", "content": "Hello!", "tool_calls": [other]}
    plain = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        bodies.append(json.loads(await reader.readexactly(length)))
        text, kind = (stream, "text/event-stream") if bodies[-1].get("stream") else (plain, "application/json")
        writer.write(
            f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\n"
            f"content-length: {len(text)}\r\n\r\n{text}".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with server, ChatOpenAI("gpt-5.4-mini", api_key="key", max_tokens=20) as model:
        answer = await model.invoke([UserMessage(content="Hi")], tools=[])
        assert [part async for part in model.stream([UserMessage(content="Hi")])] == ["Hi!"]
    assert answer.completion == "Hello!"
    assert answer.tool_calls == []
    assert bodies[0]["max_completion_tokens"] == 20
    assert "max_tokens" not in bodies[0]


async def test_f19_the_supervisor_answers_siblings_hears_updates_and_works_in_parallel() -> None:
    tools, meeting = Tools(), asyncio.Barrier(2)

    @tools.action("Meet")
    async def meet() -> str:
        await meeting.wait()  # only calls that run at the same time get past
        return "met"

    async def last_words(_: Any) -> Any:
        await boss.update("for nine people")
        return DONE

    boss = supervisor([ToolCall("meet", {}), ToolCall("meet", {})], last_words, [QUESTION, ToolCall("nothing", {})],
                      DONE, tools=tools)  # fmt: skip
    async with asyncio.timeout(10):
        asked = await boss.start("Book a table")
        done = await boss.resume("Inside.", asked.resume_history, asked.clarify_call_id)
    assert asked.question == "Inside or outside?"
    assert done.message == "Booked."
    assert "for nine people" in str(boss.llm.requests[2][-1].content)


async def test_f20_sync_handlers_and_raising_handlers_disturb_nobody(converse: Any) -> None:
    seen: list[str] = []
    bus = EventBus()

    def sync(event: str) -> None:
        seen.append(event)
        raise ValueError("broken handler")

    async def proper(event: str) -> None:
        seen.append(event)

    bus.subscribe(str, sync)
    bus.subscribe(str, proper)
    assert await bus.dispatch("event") == "event"
    assert seen == ["event", "event"]
    async with RealtimeEmulator(["Hello."], detect_speech=False) as server, converse(server) as c:
        c.agent.event_bus.subscribe(UserStartedSpeakingEvent, lambda _: 1 / 0)
        session = await server.connected()
        session.speech_started()
        session.speech_stopped()
        await c.listener.wait_for("assistant_stopped_responding")


async def test_f21_any_name_and_any_callable_can_be_a_tool() -> None:
    tools = Tools()
    for name in ("get", "merge", "execute", "clone", "tools", "action"):
        source = f"async def {name}(city: str) -> str:\n    return '{name} ' + city\n"
        space: dict[str, Any] = {}
        exec(source, space)  # noqa: S102 - functions with names that only differ
        tools.action("A tool")(space[name])
        assert await tools.execute(name, {"city": "Oslo"}) == f"{name} Oslo"

    class Greeter:
        async def __call__(self, name: str) -> str:
            return f"Hello {name}"

    def add(first: int, second: int) -> int:
        return first + second

    tools.action("Adds", name="add_one")(functools.partial(add, 1))
    tools.action("Greets", name="greet")(Greeter())
    assert await tools.execute("add_one", {"second": 2}) == 3
    assert await tools.execute("greet", {"name": "Ada"}) == "Hello Ada"


class Size(Enum):
    SMALL = "s"


async def test_f22_arguments_are_converted_and_schemas_can_be_sent() -> None:
    tools = Tools()

    class Inner(BaseModel):
        name: str

    class Params(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        from_city: str = Field(alias="from")
        size: Size = Size.SMALL
        tags: set[str] = {"a"}

    async def later() -> str:
        return "later"

    @tools.action("Plain")
    async def plain(inner: Inner, count: int, size: Size, *args: str, **kwargs: str) -> tuple[Inner, int, Size]:
        return inner, count, size

    @tools.action("Model", param_model=Params)
    async def model(params: Params) -> Params:
        return params

    @tools.action("Defaults")
    def defaults(size: Size = Size.SMALL, tags: frozenset[str] = frozenset({"a"})) -> Any:
        return later()

    result = await tools.execute("plain", {"inner": {"name": "x"}, "count": "5", "size": "s"})
    assert result == (Inner(name="x"), 5, Size.SMALL)
    assert (await tools.execute("model", {"from": "Oslo"})).from_city == "Oslo"
    assert await tools.execute("defaults", {}) == "later"
    schemas = json.loads(json.dumps([schema.model_dump() for schema in tools.get_tool_schema()]))
    assert schemas[0]["parameters"]["required"] == ["inner", "count", "size"]
    assert list(schemas[0]["parameters"]["properties"]) == ["inner", "count", "size"]
    assert schemas[1]["parameters"]["required"] == ["from"]


async def test_f23_postponed_annotations_with_local_classes() -> None:
    source = """
def make(tools, BaseModel, Inject):
    class Local(BaseModel):
        name: str
    class State:
        greeting = "Hello"
    @tools.action("Greets")
    async def greet(local: Local, state: Inject[State]) -> str:
        return f"{state.greeting} {local.name}"
    return State()
"""
    space: dict[str, Any] = {}
    exec(compile(source, "<postponed>", "exec", __future__.annotations.compiler_flag), space)  # noqa: S102
    tools = Tools()
    state = space["make"](tools, BaseModel, Inject)
    tools.set_context(ToolContext(context=state))
    assert await tools.execute("greet", {"local": {"name": "Ada"}}) == "Hello Ada"
    assert list(tools.get_tool_schema()[0].model_dump()["parameters"]["properties"]) == ["local"]


async def test_f24_an_injected_parameter_cannot_be_overridden() -> None:
    tools = Tools()

    @tools.action("Whoami")
    async def whoami(user: Inject[dict[str, str]]) -> str:
        return user["name"]

    tools.set_context(ToolContext(context={"name": "Alice"}))
    assert await tools.execute("whoami", {"user": {"name": "Mallory"}}) == "Alice"


async def test_f25_every_idle_period_has_a_full_countdown(converse: Any) -> None:
    timeout = {"inactivity_timeout_enabled": True, "inactivity_timeout_seconds": 5.0}
    async with RealtimeEmulator(["Yes?"], detect_speech=False) as server, converse(server, **timeout) as c:
        session = await server.connected()
        await c.listener.wait_for("user_inactivity_countdown", 3)
        session.speech_started()
        await asyncio.sleep(0.05)  # shorter than anybody polls
        session.speech_stopped()
        await c.running
    assert c.listener.all("user_inactivity_countdown") == [5, 4, 3, 5, 4, 3, 2, 1]
    counted = [time for name, time in zip(c.listener.names, c.listener.times, strict=True)
               if name == "user_inactivity_countdown"][3:]  # fmt: skip
    assert [later - counted[0] for later in counted] == pytest.approx([0, 1, 2, 3, 4], abs=0.15)
    assert c.listener.times[-1] - counted[0] == pytest.approx(5, abs=0.15)


async def test_f26_a_recording_has_both_sides_where_they_belong(converse: Any, tmp_path: Path) -> None:
    tone = (8_000 * np.ones(12_000, np.int16)).tobytes()  # 500 ms
    loop = asyncio.get_running_loop()
    path = tmp_path / "session.wav"
    replies = [Reply("One.", audio=tone), Reply("Long.", audio=tone * 20)]
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, recording_path=path) as c,
    ):
        began = c.listener.times[c.listener.names.index("agent_session_connected")]
        await asyncio.sleep(1.8)
        await c.agent.send_message("One.")
        await c.listener.wait_for("assistant_stopped_responding")
        await c.agent.send_message("Long.")
        await c.speaker.wait_until_heard(1_000)
        clip = c.microphone.say(tone)  # while the assistant speaks
        await clip.done()
        (await server.connected()).speech_started()
        await c.listener.wait_for("agent_interrupted")
        await asyncio.sleep(1)
        last = c.microphone.say(tone)  # after the last reply
        await last.done()
        await asyncio.sleep(0.5)
        ended = loop.time()
        first, second = (piece.started_at - began for piece in (c.speaker.pieces[0], c.speaker.pieces[1]))
        heard = c.speaker.heard_samples
    with wave.open(str(path)) as recording:
        sound = np.frombuffer(recording.readframes(recording.getnframes()), np.int16).reshape(-1, 2)
    user, assistant = sound[:, 0] > 4_000, sound[:, 1] > 4_000
    assert len(sound) / 24_000 == pytest.approx(ended - began, abs=0.2)
    assert np.argmax(assistant) / 24_000 == pytest.approx(first, abs=0.06)
    assert first > 1.7
    assert second > first
    assert int(assistant.sum()) == pytest.approx(heard, abs=2_400)
    assert int(user.sum()) == pytest.approx(24_000, abs=1_000)
    assert clip.started_at is not None
    assert last.started_at is not None
    assert np.argmax(user) / 24_000 == pytest.approx(clip.started_at - began, abs=0.06)
    assert (len(user) - np.argmax(user[::-1])) / 24_000 == pytest.approx(last.started_at + 0.5 - began, abs=0.06)
    silent = tmp_path / "silent.pcm"
    async with RealtimeEmulator() as server, converse(server, recording_path=silent) as c:
        pass
    assert c.result.recording_path == silent
    assert silent.exists()


@pytest.mark.parametrize("side", ["input", "output"])
async def test_f27_a_device_that_cannot_start_fails_the_run(side: str, story: Any) -> None:
    class Broken:
        async def start(self) -> None:
            raise OSError("no such device")

    parts = {
        "input": {"audio_input": type("Mic", (Broken, VirtualMicrophone), {})(), "audio_output": VirtualSpeaker()},
        "output": {"audio_input": VirtualMicrophone(), "audio_output": type("Out", (Broken, VirtualSpeaker), {})()},
    }
    async with RealtimeEmulator() as server:
        agent = RealtimeAgent(provider=server.provider, listener=story, **parts[side])
        with pytest.raises(OSError, match="no such device"):
            await agent.run()
    assert story.names[0] == "agent_starting"
    assert story.names[-2:] == ["agent_error", "agent_stopped"]


async def test_f27_an_input_that_raises_is_noticed(converse: Any) -> None:
    class Unplugged(AudioInputDevice):
        is_active = True

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def stream_chunks(self) -> AsyncIterator[bytes]:
            yield bytes(960)
            raise OSError("unplugged")

    async with RealtimeEmulator() as server, converse(server, audio_input=Unplugged(), connected=False) as c:
        async with asyncio.timeout(20):
            await c.running
    assert [error.type for error in c.listener.all("agent_error")] == ["audio_error"]
    assert c.listener.names[-1] == "agent_stopped"


async def test_f28_an_interruption_is_no_error(converse: Any) -> None:
    hold = Hold(after_ms=500)
    async with RealtimeEmulator([Reply(STORY, hold=hold)], detect_speech=False) as server, converse(server) as c:
        session = await server.connected()
        await c.agent.send_message("Tell me a story.")
        await hold.reached()
        session.speech_started()
        await c.listener.wait_for("agent_interrupted")
        session.send_error("response_cancel_not_active", "Cancellation failed: no active response found")
        session.speech_stopped()
        await c.listener.wait_for("user_stopped_speaking")
        await asyncio.sleep(1)
        assert "response.cancel" not in session.types("received")
    assert c.listener.all("agent_error") == []


class Stream:
    """A stream of a sounddevice module that takes its time to close."""

    latency = 0.02
    time = 0.0

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.channels = settings["channels"]

    def start(self) -> None: ...

    def abort(self) -> None:
        self.settings["finished_callback"]()

    def close(self) -> None:
        time.sleep(0.2)


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for sounddevice; the result gathers the settings of its streams."""
    opened: list[dict[str, Any]] = []

    def open_stream(**settings: Any) -> Stream:
        opened.append(settings)
        return Stream(**settings)

    device = {"index": 0, "name": "Fake", "hostapi": 0, "max_input_channels": 1, "max_output_channels": 1,
              "default_samplerate": 24_000.0}  # fmt: skip
    fake = SimpleNamespace(
        PortAudioError=type("PortAudioError", (Exception,), {}),
        CallbackAbort=type("CallbackAbort", (Exception,), {}),
        RawInputStream=open_stream,
        RawOutputStream=open_stream,
        default=SimpleNamespace(hostapi=0),
        query_devices=lambda kind=None: device if kind else [device],
        query_hostapis=lambda index: {"name": "ALSA"},
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return opened


async def test_f29_microphone_blocks_are_short_and_the_size_is_the_callers(sound: list[dict[str, Any]]) -> None:
    for microphone, size in ((MicrophoneInput(), 480), (MicrophoneInput(chunk_size=2400), 2400)):
        await microphone.start()
        await microphone.stop()
        assert sound[-1]["blocksize"] <= min(size, 1_440), "at most 60 ms"
    assert inspect.signature(MicrophoneInput).parameters["chunk_size"].default == 480


async def test_f30_closing_the_speaker_does_not_stop_the_loop(sound: list[dict[str, Any]]) -> None:
    speaker = SpeakerOutput()
    await speaker.start()
    assert sound[-1]["blocksize"] <= 1_440, "small writes: the queue can be cut"
    await speaker.play_chunk(bytes(480_000))
    began = time.perf_counter()
    await speaker.clear_buffer()
    assert not speaker.is_playing
    ticks = 0
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(speaker.stop())
        while not stopping.done():
            ticks += 1
            await asyncio.sleep(0.005)
    assert time.perf_counter() - began >= 0.15, "the device took its time"
    assert ticks > 3, "and the loop went on"


class NoName:
    """Leaves the name out of ``arguments.done``, and the item that also has it."""

    def __call__(self, frame: str) -> list[str]:
        event = json.loads(frame)
        if event["type"] == "response.function_call_arguments.done":
            event.pop("name", None)
        if event["type"] == "response.output_item.done" and event["item"]["type"] == "function_call":
            return []
        return [json.dumps(event)]


async def test_f31_calls_without_a_name_are_run_and_cut_off_calls_are_not(converse: Any, wire: Any) -> None:
    tools, ran = Tools(), []

    @tools.action("Weather")
    async def weather(city: str) -> str:
        ran.append(city)
        return "sunny"

    faults = Faults(frames=[NoName])
    async with (
        RealtimeEmulator([call("weather", city="Oslo"), "Sunny."], detect_speech=False, faults=faults) as server,
        converse(server, tools=tools) as c,
    ):
        session = await server.connected()
        await c.agent.send_message("The weather?")
        await c.listener.wait_for("assistant_stopped_responding")
        item = {"id": "i9", "type": "function_call", "call_id": "c9", "name": "weather", "arguments": ""}
        place = {"response_id": "r9", "item_id": "i9", "output_index": 0}
        session.send({"type": "response.created", "response": {"id": "r9", "status": "in_progress"}})
        session.send({"type": "response.output_item.added", "response_id": "r9", "output_index": 0, "item": item})
        session.send({"type": "response.function_call_arguments.done", "call_id": "c9", "arguments": '{"ci', **place})
        session.send({"type": "response.done", "response": {"id": "r9", "status": "cancelled", "output": []}})
        await asyncio.sleep(2)
        outputs = [line for line in wire(session) if line.startswith("output")]
    assert ran == ["Oslo"]
    assert outputs == ["output c1: sunny"]


async def test_f32_schemas_carry_no_strict(converse: Any) -> None:
    tools = Tools()

    @tools.action("Weather")
    async def weather(city: str) -> str:
        return city

    async with RealtimeEmulator() as server, converse(server, tools=tools, supervisor=supervisor()):
        session = await server.connected()
    assert "strict" not in json.dumps(session.received[0])


async def test_f33_a_malformed_optional_field_loses_no_event(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as c:
        session = await server.connected()
        session.send({"type": "error", "error": {"message": "Just words."}})
        session.send({"type": "error", "event_id": None, "error": {"type": "odd", "code": 7, "message": "Odd code."}})
        session.send(
            {"type": "session.updated", "event_id": 5, "session": {"model": "gpt-realtime-2031-01-01", "tools": "many"}}
        )
        session.send({"type": "input_audio_buffer.speech_started", "audio_start_ms": "soon", "item_id": None})
        await c.listener.wait_for("user_started_speaking")
    errors = c.listener.all("agent_error")
    assert [error.message for error in errors] == ["Just words.", "Odd code."]


def test_f34_every_name_in_every_all_exists() -> None:
    names = [found.name for found in pkgutil.walk_packages(rtvoice.__path__, "rtvoice.")]
    modules = [importlib.import_module(name) for name in ["rtvoice", *names] if not name.endswith("__main__")]
    missing = [
        f"{module.__name__}.{name}"
        for module in modules
        for name in getattr(module, "__all__", ())
        if not hasattr(module, name)
    ]
    assert missing == []
    assert sum(hasattr(module, "__all__") for module in modules) >= 9
