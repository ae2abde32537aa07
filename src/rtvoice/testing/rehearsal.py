"""Rehearse a conversation with an agent: a server, a microphone, a loudspeaker, and a user who follows a script."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice
from rtvoice.events import AgentError
from rtvoice.testing.emulator import RealtimeEmulator
from rtvoice.testing.faults import Faults
from rtvoice.testing.mcp import McpServers
from rtvoice.testing.narration import Narration
from rtvoice.testing.observations import Answer, CalledTool, Observations
from rtvoice.testing.quirks import Quirks
from rtvoice.testing.script import Replies, UserTurn
from rtvoice.testing.scripted_user import PATIENCE_S, ScriptedUser
from rtvoice.testing.speaker import PositionedSpeaker, VirtualSpeaker
from rtvoice.testing.user_voice import UserVoice

if TYPE_CHECKING:
    from rtvoice.agent import RealtimeAgent
    from rtvoice.agent.result import AgentResult
    from rtvoice.realtime import RealtimeProvider

_NOT_RUN: Final = "nothing was rehearsed yet: async with rehearsal.run(agent) comes first"


class Devices(TypedDict):
    """What a rehearsal gives an agent in place of the world.

    Attributes:
        provider: Leads to the rehearsal's server.
        audio_input: Hears the scripted user.
        audio_output: Is heard by the scripted user.
    """

    provider: "RealtimeProvider"
    audio_input: AudioInputDevice
    audio_output: AudioOutputDevice


class Rehearsal:
    """One conversation between an agent and a scripted user: no network, no sound card, no API key.

    The agent is the real one; so are its tools, the WebSocket and turn detection on the sound. What the model says and
    calls comes from ``replies``, and what the user "said" from the test. On a ``VirtualClockLoop`` minutes of
    conversation take milliseconds; on any other event loop it lasts as long as it would with a person.

    Example::

        async def test_weather_and_timer():
            rehearsal = Rehearsal(
                [
                    Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]),
                    "It is 18 degrees in Berlin, and partly cloudy.",
                    Reply(calls=[ToolCall("set_timer", {"minutes": 5})]),
                    "The timer is set.",
                ]
            )
            async with rehearsal.run(make_agent(**rehearsal.devices)) as user:
                await user.says("What is the weather in Berlin?")
                await user.interrupts("Thanks. Set a timer.", after_ms=1500)
                await user.hears("timer is set")
            rehearsal.tool_called("get_weather", city="Berlin")
            rehearsal.tool_called("set_timer", minutes=5)
            assert 1500 <= rehearsal.interrupted_at_ms <= 1700

    Args:
        replies: What the assistant does, response by response; see ``RealtimeEmulator``. A holding phrase is a
            response, too.
        patience: Seconds that the user waits for something while nothing happens, before a step fails.
        tell: Called with a line for everything that is said or done, as it happens; ``print`` for example.
        speaker: The loudspeaker; default one that knows its position.
        faults: What goes wrong on the server.
        quirks: What varies on the server.
        mcp_servers: Tools of MCP servers, by server label.
        seed: Seed of everything that the server makes up.

    Attributes:
        server: The server, for a closer look: what it received and sent.
        speaker: The loudspeaker.
    """

    def __init__(
        self,
        replies: Replies = (),
        *,
        patience: float = PATIENCE_S,
        tell: Callable[[str], None] | None = None,
        speaker: VirtualSpeaker | None = None,
        faults: Faults | None = None,
        quirks: Quirks | None = None,
        mcp_servers: McpServers | None = None,
        seed: int = 0,
    ) -> None:
        self._words: deque[str] = deque()
        self.server = RealtimeEmulator(
            replies, self._what_was_said, faults=faults, quirks=quirks, mcp_servers=mcp_servers, seed=seed
        )
        self.speaker = speaker if speaker is not None else PositionedSpeaker()
        self._voice = UserVoice()
        self._patience = patience
        self._tell = tell
        self._observations: Observations | None = None
        self._result: AgentResult | None = None

    @property
    def devices(self) -> Devices:
        """What the agent has to be made with: ``RealtimeAgent(..., **rehearsal.devices)``."""
        provider = cast(
            "RealtimeProvider", _Provider(self.server)
        )  # it has the methods, which is all that is asked for
        return Devices(provider=provider, audio_input=self._voice, audio_output=self.speaker)

    @asynccontextmanager
    async def run(self, agent: "RealtimeAgent[Any]") -> AsyncIterator[ScriptedUser]:
        """Run an agent that was made with ``devices``, and give its user the word.

        The agent is connected when the block begins; it is stopped when the block ends.

        Args:
            agent: The agent.

        Raises:
            RuntimeError: The rehearsal was run before, or the agent was made without ``devices``.
            Exception: What ``agent.run()`` raises, or what a function in ``replies`` raises.
        """
        if self._observations is not None:
            raise RuntimeError("a rehearsal holds one conversation: make a new Rehearsal for the next")
        seen = self._observations = Observations(agent.event_bus, self.speaker)
        self._voice.on_start = seen.touch  # whoever wants to say something may wait for it
        narration = Narration(agent.event_bus, self._tell, user_too=False) if self._tell is not None else None
        user = ScriptedUser(
            voice=self._voice,
            speaker=self.speaker,
            words=self._words,
            observations=seen,
            drop=lambda: self.server.current.drop(),
            narration=narration,
            patience=self._patience,
        )
        failure: BaseException | None = None
        async with self.server:  # an error in the script of the server is raised here, and explains all others
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(seen.follow())
                    group.create_task(self._perform(agent, seen))
                    await self._wait_until_connected(seen)
                    yield user
                    await agent.stop()
            except BaseException as error:  # noqa: BLE001 - raised below, when the server is closed
                failure = _single(error)
        if failure is not None:
            raise failure

    async def _perform(self, agent: "RealtimeAgent[Any]", seen: Observations) -> None:
        self._result = await agent.run()
        seen.end()

    async def _wait_until_connected(self, seen: Observations) -> None:
        await seen.wait_for(
            lambda: seen.connected or None,
            patience=self._patience,
            missing=lambda: "the agent has not connected",
        )
        if not self.server.sessions:
            raise RuntimeError("the agent talks to another server: make it with **rehearsal.devices")

    def _what_was_said(self, _turn: UserTurn) -> str:
        return self._words.popleft() if self._words else ""

    # --- what came of it ---

    @property
    def result(self) -> "AgentResult":
        """What ``agent.run()`` returned.

        Raises:
            RuntimeError: The conversation is not over.
        """
        if self._result is None:
            raise RuntimeError("there is no result before the conversation is over")
        return self._result

    @property
    def begun(self) -> bool:
        """Whether the conversation has begun."""
        return self._observations is not None

    @property
    def answers(self) -> list[Answer]:
        """Everything that the assistant was heard to say, in order."""
        return list(self._seen.answers)

    @property
    def tool_calls(self) -> list[CalledTool]:
        """All tool calls, in order."""
        return list(self._seen.tool_calls)

    @property
    def errors(self) -> list[AgentError]:
        """All errors that the agent reported (``AgentListener.on_agent_error``)."""
        return list(self._seen.errors)

    def transcript(self) -> str:
        """Return the conversation as lines with time, speaker and words; tool calls and errors included."""
        return self._seen.transcript()

    def heard(self, words: str) -> Answer:
        """Assert that the user has heard these words, and return the first answer with them.

        Args:
            words: A part of an answer, in upper or lower case. Of an answer that was cut short only what was heard
                counts.

        Raises:
            AssertionError: They were not heard.
        """
        for answer in self._seen.answers:
            if words.casefold() in answer.heard.casefold():
                return answer
        raise self._seen.failure(f"the user has not heard {words!r}")

    def tool_called(self, name: str, /, **arguments: object) -> CalledTool:
        """Assert that a tool was called with these arguments, and has not failed; return the first such call.

        Args:
            name: The tool.
            **arguments: Arguments that the call must have; others do not matter.

        Raises:
            AssertionError: There was no such call, or it failed.
        """
        return self._call(name, arguments, failed=False)

    def tool_failed(self, name: str, /, **arguments: object) -> CalledTool:
        """Assert that a tool was called with these arguments, and has failed; return the first such call.

        Args:
            name: The tool.
            **arguments: Arguments that the call must have; others do not matter.

        Raises:
            AssertionError: There was no such call, or none that failed.
        """
        return self._call(name, arguments, failed=True)

    def _call(self, name: str, arguments: dict[str, object], *, failed: bool) -> CalledTool:
        calls = [
            call
            for call in self._seen.tool_calls
            if call.name == name and arguments.items() <= dict(call.arguments).items()
        ]
        for call in calls:
            if (call.success is False) is failed:
                return call
        wanted = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        if calls:
            raise self._seen.failure(f"{wanted} was called, but {'has not failed' if failed else 'failed'}")
        raise self._seen.failure(f"{wanted} was not called")

    @property
    def interrupted_at_ms(self) -> int:
        """How much of the answer was heard when it was last interrupted, in milliseconds, as the model was told.

        Raises:
            AssertionError: Nobody has interrupted the assistant.
        """
        if not self._seen.interruptions_ms:
            raise self._seen.failure("the assistant was not interrupted")
        return self._seen.interruptions_ms[-1]

    @property
    def latency_ms(self) -> float:
        """The longest time that the user waited for an answer, in milliseconds.

        It counts from the end of the user's last word to the first sound of the answer. So it contains the silence that
        turn detection needs, but nothing of what the real service and the network add (see ``Reply.delay_s``).

        Raises:
            AssertionError: The assistant has not answered.
        """
        if not self._seen.latencies_ms:
            raise self._seen.failure("the assistant has not answered the user")
        return max(self._seen.latencies_ms)

    @property
    def _seen(self) -> Observations:
        if self._observations is None:
            raise RuntimeError(_NOT_RUN)
        return self._observations


class _Provider:
    """Leads to an emulator that may not be there yet when the agent is made."""

    def __init__(self, server: RealtimeEmulator) -> None:
        self._server = server

    def build_url(self, model: str) -> str:
        return self._server.provider.build_url(model)

    def build_headers(self) -> dict[str, str]:
        return self._server.provider.build_headers()


def _single(error: BaseException) -> BaseException:
    """Return the one exception inside nested groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
