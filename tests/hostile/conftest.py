"""Code of users that does what it should not, and the conversation that has to survive it.

The conversation: the user asks something, the assistant calls the tool ``look`` and then says "Fine.". It is held over
real sockets on the virtual clock.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.model.devices import Ear, Mouth

from rtvoice import AgentResult, RealtimeAgent, Tools
from rtvoice.testing import RealtimeEmulator, Reply, ReplyRequest, ToolCall

ILLS = (
    "raises",
    "exits",
    "cancels itself",
    "blocks the loop for 2 s",
    "takes 30 s",
    "swallows a cancellation",
    "swallows every cancellation",
    "stops the agent",
    "interrupts the agent",
    "lets the agent say something",
    "sends a message",
    "runs the agent again",
)
"""What can be wrong with code."""
END_LIMIT_S = 20.0
"""Within this the agent has ended after ``stop()``, whatever its guests do."""


class Ill:
    """Code with one thing wrong: await it where the code of a user would run.

    Attributes:
        what: One of `ILLS`.
        agent: The agent that it runs in.
        began: How often it was called.
        cancelled: How many cancellations it has swallowed.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.agent: RealtimeAgent[None] | None = None
        self.began = 0
        self.cancelled = 0
        self._over = asyncio.Event()

    async def __call__(self, *_: object) -> None:
        self.began += 1
        if self.began > 1 and self.what in ("lets the agent say something", "sends a message"):
            return  # else it would cause itself for ever
        assert self.agent is not None
        match self.what:
            case "raises":
                raise RuntimeError("broken")
            case "exits":
                raise _OwnError
            case "cancels itself":
                raise asyncio.CancelledError
            case "blocks the loop for 2 s":
                asyncio.get_running_loop().advance(2.0)  # type: ignore[attr-defined]
            case "takes 30 s":
                await asyncio.sleep(30)
            case "swallows a cancellation":
                await self._swallow()
            case "swallows every cancellation":
                while not self._over.is_set():
                    await self._swallow()
            case "stops the agent":
                await self.agent.stop()
            case "interrupts the agent":
                await self.agent.interrupt()
            case "lets the agent say something":
                await self.agent.say("Hm.")
            case "sends a message":
                await self.agent.send_message("Hm.")
            case "runs the agent again":
                await self.agent.run()

    async def _swallow(self) -> None:
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            self.cancelled += 1

    def end(self) -> None:
        """Let it end at last."""
        self._over.set()


class _OwnError(Exception):
    """Stands for exceptions of the user's own."""


class Conversation:
    """One conversation with an agent.

    Attributes:
        server: The service.
        ear: Hears the assistant.
        result: What ``run()`` returned, if it did.
        failure: What it raised, if it did.
        ended_after_s: How long it took to end once it was stopped.
    """

    def __init__(self, server: RealtimeEmulator) -> None:
        self.server = server
        self.mouth, self.ear = Mouth(), Ear()
        self.result: AgentResult | None = None
        self.failure: BaseException | None = None
        self.ended_after_s = 0.0

    @property
    def devices(self) -> dict[str, Any]:
        return {"provider": self.server.provider, "audio_input": self.mouth, "audio_output": self.ear}

    def tools(self) -> Tools:
        tools = Tools()

        @tools.action("Looks.")
        async def look() -> str:
            return "seen"

        return tools

    async def hold(self, agent: RealtimeAgent[None], *ills: Ill) -> None:
        """Let the user ask something; after a minute, stop the agent."""
        loop = asyncio.get_running_loop()
        for ill in ills:
            ill.agent = agent
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self._run(agent))
                speaking = group.create_task(self._speak())
                await asyncio.wait([running], timeout=60)
                speaking.cancel()
                stopped_at = loop.time()
                stopping = group.create_task(agent.stop())
                _, late = await asyncio.wait([running, stopping], timeout=END_LIMIT_S)
                self.ended_after_s = loop.time() - stopped_at
                assert not late, "stop() has not ended the agent"
        finally:
            for ill in ills:
                ill.end()

    async def _run(self, agent: RealtimeAgent[None]) -> None:
        try:
            self.result = await agent.run()
        except Exception as error:
            self.failure = error

    async def _speak(self) -> None:
        session = await self.server.connected(timeout=60)
        await asyncio.sleep(0.5)
        session.speech_started()
        for _ in range(50):
            self.mouth.put(bytes(960))
            await asyncio.sleep(0.02)
        if not session.closed:
            session.speech_stopped()

    @property
    def answered(self) -> bool:
        """Whether the assistant has used the tool, and its answer was heard."""
        outputs = [item for item in self.server.current.items if item["type"] == "function_call_output"]
        return bool(outputs) and bool(self.ear.heard_marks)


def reply_with(tool: str, **arguments: object) -> Callable[[ReplyRequest], Reply]:
    """Return an assistant that uses a tool once, then says "Fine."."""

    def reply(request: ReplyRequest) -> Reply:
        calls = [item for item in request.items if item["type"] == "function_call"]
        if request.out_of_band or calls:
            return Reply("Hm." if request.out_of_band else "Fine.")
        return Reply(calls=[ToolCall(tool, arguments)])

    return reply


@pytest.fixture
async def conversation() -> AsyncIterator[Conversation]:
    async with RealtimeEmulator(reply_with("look"), ["What do you see?"], detect_speech=False) as server:
        yield Conversation(server)
