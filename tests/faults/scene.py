"""The stage of the fault matrix: a real agent, a real server, a conversation, and what must be true at its end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import EmulatedSession, RealtimeEmulator, Reply, ReplyRequest, ToolCall, VirtualMicrophone

STORY: Final = "This is the beginning of a long story. " * 5
GREETING: Final = "Hello."
LIGHT: Final = "It is on."
PROOF: Final = "Yes."
QUESTION: Final = "Still there?"
BOUND_S: Final = 240.0
"""Within so many seconds after a fault the agent talks again or has ended."""
ESTABLISHED: Final = "01"  # as the kernel writes it
QUIET_S: Final = 25.0
"""Silence of so many seconds is no trouble yet: nothing need be said about it."""


def reply(request: ReplyRequest) -> Reply:
    """The model: it knows a few words, and understands what it is told after a loss."""
    asked = QUESTION in request.user_text
    if request.function_outputs:
        return Reply(f"{LIGHT} {PROOF}" if asked else LIGHT)
    if asked:
        return Reply(PROOF)
    if "light" in request.user_text and not any(item["type"] == "function_call" for item in request.items):
        return Reply(calls=[ToolCall("switch_light", {"on": True}, call_id="call_light")])
    if "story" in request.user_text:
        return Reply(STORY, delay_s=1.0, pace=1.5)
    return Reply(GREETING)


class Detour:
    """A provider that can be led elsewhere."""

    def __init__(self, server: RealtimeEmulator) -> None:
        self._server = server
        self.elsewhere: str | None = None

    def build_url(self, model: str) -> str:
        return self._server.provider.build_url(model) if self.elsewhere is None else self.elsewhere

    def build_headers(self) -> dict[str, str]:
        return self._server.provider.build_headers()


class Scene:
    """One conversation.

    Attributes:
        server: The server.
        session: The session that a fault strikes.
        provider: How the agent finds the server.
        stack: What the scene has to put away at its end.
        tool_runs: How often the tool has run.
        asked: What the user has written, in order.
    """

    def __init__(
        self, server: RealtimeEmulator, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, make_tls: Any
    ) -> None:
        self.server = server
        self.stack = stack
        self.environment = monkeypatch
        self.make_tls = make_tls
        self.provider = Detour(server)
        self.session: EmulatedSession
        self.conversation: Any
        self.tool_runs = 0
        self.asked: list[str] = []
        self.struck_at = 0.0
        self._tool_goes_on = asyncio.Event()

    # --- what the fault may use ---

    def later(self, seconds: float, action: Callable[[], Awaitable[None] | None]) -> None:
        """Do something after a while, unless the scene is over by then."""

        async def act() -> None:
            await asyncio.sleep(seconds)
            result = action()
            if result is not None:
                await result

        self.group.create_task(act())

    @property
    def group(self) -> asyncio.TaskGroup:
        return self._group

    # --- how it comes to the moment ---

    def tools(self) -> Tools:
        tools = Tools()

        @tools.action("Switches the light.", name="switch_light")
        async def switch_light(on: bool) -> str:
            self.tool_runs += 1
            await self._tool_goes_on.wait()
            return f"on={on}"

        return tools

    async def ask(self, text: str) -> None:
        self.asked.append(text)
        await self.agent.send_message(text)

    @property
    def agent(self) -> RealtimeAgent[Any]:
        agent: RealtimeAgent[Any] = self.conversation.agent
        return agent

    @property
    def listener(self) -> Any:
        return self.conversation.listener

    async def before(self) -> None:
        """Nobody has said anything."""
        await self.server.sent("session.updated")

    async def asking(self) -> None:
        """A message of the user is on its way."""
        await self.before()
        self.session.stall(writing=False)
        await self.ask("Hello.")
        await asyncio.sleep(0.1)
        self.session.resume()

    async def thinking(self) -> None:
        """The response has begun, and nothing of it is there."""
        await self.ask("Tell me a story.")
        await self.server.sent("response.created")

    async def during(self) -> None:
        """The assistant speaks, and more is to come."""
        await self.ask("Tell me a story.")
        await self.conversation.speaker.wait_until_heard(1_000)

    async def playing(self) -> None:
        """The response is complete, and still to be heard."""
        await self.ask("Tell me a story.")
        await self.server.sent("response.done", timeout=60)

    async def after(self) -> None:
        """The answer was heard to its end."""
        await self.ask("Hello.")
        await self.listener.wait_for("assistant_stopped_responding")

    async def tool(self) -> None:
        """A tool runs; it is done half a second after the fault."""
        await self.ask("Switch on the light.")
        await self.until(lambda: self.tool_runs > 0, 10)
        self.later(0.5, self._tool_goes_on.set)

    async def reconnect(self) -> None:
        """The connection was lost, and there is a new one that has not said anything yet."""
        await self.after()
        self.session.drop()
        self.session = await self.server.connected()

    # --- how it goes on ---

    async def until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, at most so long; return whether it does."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not reached() and loop.time() < deadline:
            await asyncio.sleep(0.5)  # on the virtual clock: no waiting
        return reached()

    @property
    def ended(self) -> bool:
        return bool(self.conversation.running.done())

    @property
    def talks(self) -> bool:
        """Whether the proof was heard to its end."""
        calls = self.listener.calls
        told_at = [at for at, call in enumerate(calls) if call[0] == "assistant_transcript" and PROOF in call[1]]
        return (
            bool(told_at)
            and ("assistant_stopped_responding",) in calls[told_at[0] :]
            and not self.conversation.speaker.is_playing
        )

    async def prove(self, *, after_s: float = 0.2) -> float:
        """Let the user ask, so long after the fault, whether anybody is there.

        Returns:
            The seconds until the answer was heard, or until the end.
        """
        loop = asyncio.get_running_loop()
        self.struck_at = loop.time()
        self._told_before = len(self.listener.calls)
        self._acknowledged = self._known_turns()
        await asyncio.sleep(after_s)
        if not self.ended:
            await self.ask(QUESTION)
        assert await self.until(lambda: self.ended or self.talks, BOUND_S), (
            f"neither talks nor has ended: {self.listener.calls[-8:]}"
        )
        return loop.time() - self.struck_at

    # --- what must be true ---

    @property
    def has_said_so(self) -> bool:
        """Whether the program was told of trouble since the fault."""
        told = {call[0] for call in self.listener.calls[self._told_before :]}
        return bool(told & {"agent_reconnecting", "agent_error", "watchdog_fired"})

    def check_history(self) -> None:
        """No turn is lost: all that the user wrote, if the agent talks; else all that had arrived before the fault."""
        turns = self.conversation.result.turns
        asked = [turn.text for turn in turns if turn.role == "user"]
        assert [text for text in self.asked if text in asked] == asked, "turns appear twice or out of order"
        expected = set(self.asked) if self.talks else self._acknowledged
        assert expected <= set(asked), "turns are lost"
        if self.talks:
            known = {part.get("text") for item in self.server.current.items for part in item.get("content", ())}
            assert set(self.asked) <= known, "the model was not told everything again"
        said = [turn.text for turn in turns if turn.role == "assistant"]
        lost = [text for text in self.listener.all("assistant_transcript") if text and text not in said]
        assert not lost, f"answers are lost: {lost}"

    def _known_turns(self) -> set[str]:
        """What the user wrote and the server has acknowledged."""
        return {
            part["text"]
            for session in self.server.sessions
            for event in session.sent
            if event["type"] == "conversation.item.added" and event["item"].get("role") == "user"
            for part in event["item"]["content"]
        }

    def check_calls(self) -> None:
        """Every call ran once and was answered once, in every session that knew it."""
        assert self.tool_runs == len([text for text in self.asked if "light" in text])
        assert self.listener.names.count("tool_executed") == self.tool_runs
        for session in self.server.sessions:
            outputs = [
                event["item"]["call_id"]
                for event in session.received
                if event["type"] == "conversation.item.create" and event["item"]["type"] == "function_call_output"
            ]
            assert len(set(outputs)) == len(outputs), f"a call was answered twice: {session.types('received')}"
        if self.tool_runs and self.talks:
            last = [item["type"] for item in self.server.current.items]
            assert last.count("function_call") == last.count("function_call_output") == 1


@asynccontextmanager
async def scene(converse: Any, monkeypatch: pytest.MonkeyPatch, make_tls: Any) -> AsyncIterator[Scene]:
    """Run a conversation up to its end, and see that nothing is left."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RealtimeEmulator(reply, detect_speech=False, close_timeout_s=0.5))
        stage = Scene(server, stack, monkeypatch, make_tls)
        async with asyncio.TaskGroup() as group:
            stage._group = group
            microphone = VirtualMicrophone(chunk_ms=200)
            async with converse(
                server, provider=stage.provider, tools=stage.tools(), audio_input=microphone
            ) as conversation:
                stage.conversation = conversation
                stage.session = await server.connected()
                yield stage
            assert connections_to(server.url) == 0, "the agent has left a connection open"
            over = asyncio.current_task()
            for task in asyncio.all_tasks():
                if task is not over and task.get_coro().__qualname__.startswith("Scene.later"):  # type: ignore[union-attr]
                    task.cancel()


def connections_to(url: str) -> int:
    """Return how many TCP connections to a port of this machine are open at the client's end; 0 if not on Linux."""
    port = f":{urlsplit(url).port:04X}"
    try:
        lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return 0
    return sum(line.split()[2].endswith(port) and line.split()[3] == ESTABLISHED for line in lines)
