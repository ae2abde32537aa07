"""The options of commands that run a server of their own: who thinks in it."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from rtvoice.errors import ConfigurationError
from rtvoice.local.slots import ReplyEngine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    group = parser.add_argument_group("who thinks in the local server (without these: simple rules)")
    group.add_argument(
        "--llm",
        metavar="URL",
        help="a Chat Completions server, such as http://127.0.0.1:11434/v1 (Ollama), llama.cpp or vLLM; if it wants a "
        "key: OPENAI_API_KEY",
    )
    group.add_argument("--llm-model", metavar="NAME", help="the model to ask there")


def check(options: argparse.Namespace) -> None:
    """Check the arguments before anything is loaded.

    Raises:
        ConfigurationError: One is missing, or the URL is none.
    """
    if options.llm is None and options.llm_model is None:
        return
    if options.llm is None or options.llm_model is None:
        raise ConfigurationError("--llm URL and --llm-model NAME belong together")
    address = urlsplit(options.llm)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ConfigurationError(f"--llm {options.llm}: give an address such as http://127.0.0.1:11434/v1")


@asynccontextmanager
async def reply_engine(options: argparse.Namespace) -> AsyncIterator[ReplyEngine]:
    """Open the reply engine that the arguments name."""
    if options.llm is None:
        from rtvoice.local.rules import RuleReplies

        yield RuleReplies()
        return
    from rtvoice.llm import ChatOpenAI
    from rtvoice.local.chat_replies import ChatReplies

    async with ChatOpenAI(options.llm_model, base_url=options.llm) as model:
        yield ChatReplies(model)
