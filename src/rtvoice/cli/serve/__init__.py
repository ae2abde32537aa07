"""``rtvoice serve``: a Realtime server on this machine."""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Final

from rtvoice.cli import replies
from rtvoice.cli.exit_codes import DONE
from rtvoice.cli.terminal import Style, Terminal
from rtvoice.environment import read_variable

DEFAULT_PORT: Final = 8080
KEY_VARIABLE: Final = "RTVOICE_SERVE_KEY"

_DESCRIPTION = f"""\
Run a Realtime server on this machine, for agents of rtvoice and any other
client of the OpenAI Realtime API. It understands English and speaks, with
models that are part of rtvoice[local]; no network, no API key. What it
answers comes from simple rules that can call the client's tools, or from a
language model of your own (--llm).

Only this machine can reach it, without a key, unless --host says otherwise.
Then one is needed: {KEY_VARIABLE} in the environment or in .env.
"""

_EPILOG = """\
exit codes:
  0  Ctrl+C, or told to end
  1  something went wrong on the way
  2  it could not begin: wrong arguments, the port is taken, no
     rtvoice[local], other machines could connect and there is no key
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("--host", default="127.0.0.1", help="address of the interface (default: %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 for any that is free (default: %(default)s)")
    parser.add_argument(
        "--text-only", action="store_true", help="no speech: clients write, and ask for text; needs no rtvoice[local]"
    )
    replies.add_arguments(parser)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Serve until told to end.

    Raises:
        ConfigurationError: The arguments do not fit, the port is taken, or a key is missing.
        LocalExtraMissingError: Without rtvoice[local].
    """
    replies.check(options)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options, terminal))
    return DONE


async def _serve(options: argparse.Namespace, terminal: Terminal) -> None:
    from rtvoice.local.server import LocalServer

    ended = asyncio.Event()
    async with (
        replies.reply_engine(options) as engine,
        LocalServer(
            engine,
            text_only=options.text_only,
            host=options.host,
            port=options.port,
            api_key=read_variable(KEY_VARIABLE),
        ) as server,
    ):
        _introduce(terminal, server.base_url, options)
        with _terminated(ended):
            await ended.wait()
        terminal.line("ending")


@contextlib.contextmanager
def _terminated(ended: asyncio.Event) -> Iterator[None]:
    """Have the event set when the process is asked to end (SIGTERM), where the system can do that."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _introduce(terminal: Terminal, base_url: str, options: argparse.Namespace) -> None:
    thinks = "simple rules" if options.llm is None else f"{options.llm_model} at {options.llm}"
    terminal.line(terminal.paint(f"rtvoice serve: {base_url}/realtime", Style.BOLD))
    terminal.line(f"  answers    {thinks}{', in text only' if options.text_only else ''}")
    terminal.line(f'  rtvoice    RealtimeAgent(provider=OpenAIProvider(base_url="{base_url}"))')
    terminal.line(f"  try it     rtvoice chat {'--text ' if options.text_only else ''}--server {base_url}")
    terminal.line("  Ctrl+C ends it.")
