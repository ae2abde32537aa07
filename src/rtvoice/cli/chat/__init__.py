"""``rtvoice chat``: talk to an assistant, by voice or in writing."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from rtvoice.cli import replies
from rtvoice.cli.exit_codes import DONE
from rtvoice.cli.terminal import Terminal
from rtvoice.errors import ConfigurationError

INSTRUCTIONS: Final = (
    "You are a friendly assistant. Answer in a sentence or two. Use your tools for the time, the date and dice."
)

_DESCRIPTION = """\
Talk to an assistant with the microphone and loudspeaker of this machine, or
in writing with --text. Without further arguments nothing leaves this machine
and no key is needed: a server inside this command understands English and
speaks, with models that are part of rtvoice[local]. Its answers come from
simple rules, or from a language model of yours (--llm). With --openai or
--server you talk to another server.
"""

_EPILOG = """\
examples:
  rtvoice chat --text
  rtvoice chat --llm http://127.0.0.1:11434/v1 --llm-model qwen3:4b

exit codes:
  0    it was ended: Ctrl+C, or the end of the input with --text
  1    something went wrong on the way
  2    it could not begin: wrong arguments, no rtvoice[audio] or rtvoice[local]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument(
        "--text", action="store_true", help="write instead of speaking; needs neither rtvoice[audio] nor rtvoice[local]"
    )
    parser.add_argument("--instructions", default=INSTRUCTIONS, metavar="TEXT", help="who the assistant is")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--openai", action="store_true", help="the real service; needs OPENAI_API_KEY, costs money")
    where.add_argument("--server", metavar="URL", help="another server, such as one of rtvoice serve")
    replies.add_arguments(parser)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Hold the conversation.

    Raises:
        ConfigurationError: The arguments do not fit, there is no API key, or nothing to read from with --text.
        AudioExtraMissingError: Without rtvoice[audio].
        LocalExtraMissingError: Without rtvoice[local].
        RtvoiceError: Whatever else keeps the agent from its conversation.
    """
    replies.check(options)
    if options.llm and (options.openai or options.server):
        raise ConfigurationError("--llm is for the local server: it does not go with --openai or --server")
    if options.text and sys.stdin is None:
        raise ConfigurationError("--text reads what you write from standard input, and that is closed")
    if not options.text:
        from rtvoice.audio.portaudio import load_sounddevice

        load_sounddevice()
    try:
        return asyncio.run(_hold(options, terminal))
    except KeyboardInterrupt:  # where the agent cannot catch Ctrl+C itself: on Windows, or the second time
        return DONE


async def _hold(options: argparse.Namespace, terminal: Terminal) -> int:
    from rtvoice.cli.chat.conversation import speak, write

    async with _provider(options, terminal) as provider:
        hold = write if options.text else speak
        return await hold(terminal, provider, options.instructions)


@asynccontextmanager
async def _provider(options: argparse.Namespace, terminal: Terminal) -> AsyncIterator[Any]:
    """Open what the agent talks to."""
    from rtvoice import OpenAIProvider

    if options.openai:
        yield OpenAIProvider()
    elif options.server:
        yield OpenAIProvider(base_url=options.server)
    else:
        from rtvoice.local.server import LocalServer

        async with replies.reply_engine(options) as engine:
            terminal.live("loading ...")
            async with LocalServer(engine, text_only=options.text) as server:
                terminal.live("")
                yield server.provider
