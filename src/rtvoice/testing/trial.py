"""Make a program of an agent: run it, and it rehearses; run it with ``--openai``, and it talks to you."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from rtvoice.errors import RtvoiceError
from rtvoice.testing.clock import VirtualClockLoop
from rtvoice.testing.narration import Narration
from rtvoice.testing.rehearsal import Rehearsal
from rtvoice.testing.script import Replies
from rtvoice.testing.scripted_user import ScriptedUser

if TYPE_CHECKING:
    from rtvoice.agent import RealtimeAgent
    from rtvoice.agent.result import AgentResult


def rehearse_or_run(
    make_agent: Callable[..., "RealtimeAgent[Any]"],
    conversation: Callable[[ScriptedUser], Awaitable[None]],
    replies: Replies,
    *,
    tell: Callable[[str], None] | None = print,
    arguments: Sequence[str] | None = None,
) -> "AgentResult":
    """Hold a conversation with an agent, the way the command line says.

    Without arguments it is a ``Rehearsal``: a scripted user and a scripted assistant; no key, no microphone. With
    ``--openai`` it is the real service and the real you. ``--fast`` rehearses on a virtual clock, without waiting.

    Args:
        make_agent: Returns the agent. For a rehearsal it is called with the keywords ``provider``, ``audio_input`` and
            ``audio_output``, to be handed on to ``RealtimeAgent``; for a real conversation without any.
        conversation: What the scripted user does.
        replies: What the scripted assistant does; see ``Rehearsal``.
        tell: Called with a line for everything that is said or done; ``None`` for no lines.
        arguments: Command-line arguments; default those of the program.

    Returns:
        What ``agent.run()`` returned.

    Raises:
        AssertionError: In the rehearsal something did not come as the script says.
        SystemExit: The arguments are wrong, or the agent could not begin; the reason is printed.
    """
    parser = argparse.ArgumentParser(description="Rehearse a conversation with a voice agent, or hold one.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--openai", action="store_true", help="talk to it; needs OPENAI_API_KEY and rtvoice[audio]")
    choice.add_argument("--fast", action="store_true", help="rehearse without waiting")
    options = parser.parse_args(arguments)
    held = _run(make_agent, tell) if options.openai else _rehearse(make_agent, conversation, replies, tell)
    try:
        with asyncio.Runner(loop_factory=VirtualClockLoop if options.fast else None) as runner:
            return runner.run(held)
    except RtvoiceError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


async def _run(make_agent: Callable[..., "RealtimeAgent[Any]"], tell: Callable[[str], None] | None) -> "AgentResult":
    agent = make_agent()
    if tell is not None:
        Narration(agent.event_bus, tell, user_too=True)
        tell("Speak to the assistant. Ctrl+C ends the conversation.")
    return await agent.run()


async def _rehearse(
    make_agent: Callable[..., "RealtimeAgent[Any]"],
    conversation: Callable[[ScriptedUser], Awaitable[None]],
    replies: Replies,
    tell: Callable[[str], None] | None,
) -> "AgentResult":
    rehearsal = Rehearsal(replies, tell=tell)
    async with rehearsal.run(make_agent(**rehearsal.devices)) as user:
        await conversation(user)
    return rehearsal.result
