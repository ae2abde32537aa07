"""A whole agent on a socket that costs nothing, in a loop that counts: what a chunk or a delta takes, without noise.

Time in benchmarks/ is measured in milliseconds on a quiet machine; here it is counted in events, wake-ups and bytes,
which are the same everywhere, so that CI can hold the limits. They have some room for new features, not for another
hop.
"""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close, CloseCode

from rtvoice import OpenAIProvider, RealtimeAgent
from rtvoice.audio import AudioInputDevice, AudioOutputDevice
from rtvoice.events import EventBus
from rtvoice.testing import VirtualClockLoop


class CountingLoop(VirtualClockLoop):
    """Counts its iterations, each of which asks the operating system once, and the callbacks that it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.iterations = 0
        self.callbacks = 0

    def _run_once(self) -> None:
        self.iterations += 1
        super()._run_once()  # type: ignore[misc]

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        self.callbacks += 1
        return super().call_soon(*args, **kwargs)


class Connection:
    """Stands for the WebSocket: hands over what the test says, counts what is sent and keeps the last of it."""

    def __init__(self) -> None:
        self.sent = 0
        self.last = b""
        self.transport = self
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue()

    def say(self, kind: str, **fields: Any) -> None:
        self._incoming.put_nowait(json.dumps({"type": kind, "event_id": "event_1", **fields}).encode())

    async def recv(self, decode: bool | None = None) -> bytes:
        frame = await self._incoming.get()
        if frame is None:
            close = Close(CloseCode.NORMAL_CLOSURE, "")
            raise ConnectionClosedOK(close, close, True)
        return frame

    can_send_now = True

    def send_now(self, frame: bytes) -> None:
        self.sent += 1
        self.last = frame

    async def ping(self) -> asyncio.Future[float]:
        pong = asyncio.get_running_loop().create_future()
        pong.set_result(0.0)
        return pong

    async def close(self) -> None:
        self._incoming.put_nowait(None)

    def abort(self) -> None:
        pass


class Microphone(AudioInputDevice):
    """Gives one chunk for each `speak`."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()

    def speak(self, chunk: bytes) -> None:
        self._chunks.put_nowait(chunk)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def is_active(self) -> bool:
        return True

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._chunks.get()


class Loudspeaker(AudioOutputDevice):
    """Counts what it is given and keeps the last of it."""

    def __init__(self) -> None:
        self.chunks = 0
        self.last = b""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def play_chunk(self, chunk: bytes) -> None:
        self.chunks += 1
        self.last = chunk

    async def clear_buffer(self) -> None: ...

    @property
    def is_playing(self) -> bool:
        return False


class Rig:
    """A running agent between its devices and its connection, and the counts.

    Attributes:
        published: Events by type.
        calls: Calls of the functions given to `count_calls`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.published: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._monkeypatch = monkeypatch

        def publish(bus: EventBus, event: object, original: Any = EventBus.publish) -> None:
            self.published[type(event).__name__] += 1
            original(bus, event)

        async def connect(*_: Any, **__: Any) -> Connection:
            return self.connection

        monkeypatch.setattr(EventBus, "publish", publish)
        monkeypatch.setattr("rtvoice.realtime.connection.websockets.connect", connect)

    def count_calls(self, module: object, name: str) -> None:
        original = getattr(module, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return original(*args, **kwargs)

        self._monkeypatch.setattr(module, name, counting)

    def run(self, body: Callable[[], Awaitable[None]]) -> None:
        """Run the agent, and the body once it is connected."""
        with asyncio.Runner(loop_factory=CountingLoop) as runner:
            runner.run(self._run(body))

    async def _run(self, body: Callable[[], Awaitable[None]]) -> None:
        self.connection, self.microphone, self.loudspeaker = Connection(), Microphone(), Loudspeaker()
        self.connection.say("session.created", session={"id": "sess_1"})
        self.agent = RealtimeAgent(
            provider=OpenAIProvider(api_key="none"), audio_input=self.microphone, audio_output=self.loudspeaker
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self.agent.run())
            await self.settle()
            assert self.connection.sent == 1, "the configuration, and the microphone is open"
            await body()
            await self.agent.stop()

    async def settle(self) -> None:
        """Wait until nothing is left to do: the clock then jumps to this timer."""
        await asyncio.sleep(0.1)

    async def cost(self, action: Callable[[], None], repetitions: int = 200) -> tuple[float, float]:
        """Return the loop's iterations and callbacks that an action takes, besides the waiting for its end."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        empty = await self._count(loop, lambda: None, repetitions)
        full = await self._count(loop, action, repetitions)
        return (full[0] - empty[0]) / repetitions, (full[1] - empty[1]) / repetitions

    async def _count(self, loop: CountingLoop, action: Callable[[], None], repetitions: int) -> tuple[int, int]:
        before = loop.iterations, loop.callbacks
        for _ in range(repetitions):
            action()
            await self.settle()
        return loop.iterations - before[0], loop.callbacks - before[1]

    def say_delta(self, pcm: bytes) -> None:
        place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        self.connection.say("response.output_audio.delta", **place, delta=base64.b64encode(pcm).decode())

    def say_transcript_delta(self) -> None:
        place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        self.connection.say("response.output_audio_transcript.delta", **place, delta=" word")

    async def begin_response(self) -> None:
        response = {"id": "resp_1", "status": "in_progress", "conversation_id": "conv_1"}
        self.connection.say("response.created", response=response)
        await self.settle()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)
