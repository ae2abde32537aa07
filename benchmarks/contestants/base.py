"""What a contestant is, and the conversation that it is asked to hold."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.devices import Microphone, Speaker


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call, without parameters.

    Attributes:
        name: Its name.
        function: A coroutine function, or a plain one that blocks its thread and must run in another one.
    """

    name: str
    function: Callable[[], Awaitable[str]] | Callable[[], str]


@dataclass(slots=True)
class Call:
    """A conversation to be held.

    Attributes:
        url: The server, such as ``ws://127.0.0.1:8000/v1``; a library adds ``/realtime?model=…``. Any key is welcome.
        microphone: Where the user is heard; send its chunks as they come.
        speaker: Where the assistant is heard; give it the audio as it comes.
        tools: What the model may call.
        recording: Where to record the conversation, ``None`` for no recording.
        over: Set when the conversation is to end.
    """

    url: str
    microphone: Microphone
    speaker: Speaker
    tools: list[Tool] = field(default_factory=list)
    recording: Path | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Contestant(ABC):
    """A library, used as its documentation advises, with nothing switched on that a measure does not need."""

    @abstractmethod
    async def converse(self, call: Call) -> Any:
        """Connect and hold the conversation until ``call.over`` is set or the server hangs up.

        The server sends ``session.created``, takes a ``session.update``, and begins when it gets the first
        audio. When the user speaks (``input_audio_buffer.speech_started``), silence the loudspeaker with
        ``call.speaker.clear()`` and truncate; play nothing more of that response.
        """
