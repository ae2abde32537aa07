"""Faults on demand: refused connections, broken frames, and a transport that misbehaves."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRefusal:
    """How the server turns a connection away (protocol page, section 2.6).

    Attributes:
        http_status: Answer the upgrade with this HTTP status; then nothing else matters.
        error: The error object sent first; ``None`` closes without a word.
        close_code: WebSocket close code.
        reason: Close reason; empty: ``<error.type>.<error.code>``, as the service does.
    """

    http_status: int | None = None
    error: Mapping[str, Any] | None = None
    close_code: int = 1011
    reason: str = ""

    @property
    def close_reason(self) -> str:
        """The reason that goes into the close frame."""
        if self.reason or self.error is None:
            return self.reason
        return f"{self.error['type']}.{self.error['code']}"


def _refusal(code: str, message: str, close_code: int, kind: str = "invalid_request_error") -> StartRefusal:
    error = {"type": kind, "code": code, "message": message, "param": None, "event_id": None}
    return StartRefusal(error=error, close_code=close_code)


BAD_KEY = _refusal("invalid_api_key", "Incorrect API key provided.", 3000)
NO_QUOTA = _refusal(
    "insufficient_quota",
    "You exceeded your current quota, please check your plan and billing details.",
    1013,
    "insufficient_quota",
)
BETA_HEADER = _refusal(
    "beta_api_shape_disabled",
    "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API.",
    4000,
)
MISSING_MODEL = _refusal("missing_model", "You must provide a model parameter.", 4000)
MODEL_FOR_TRANSCRIPTION = _refusal(
    "invalid_value", "You must not provide a model parameter for transcription sessions.", 4000
)


def model_not_found(model: str) -> StartRefusal:
    """Return the refusal of a model that does not exist, was retired, or is not for this account."""
    return _refusal("model_not_found", f"The model `{model}` does not exist or you do not have access to it.", 4004)


class FrameFault(Protocol):
    """Turns one outgoing frame into what really goes out: none, itself, several, another."""

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frames to send for this one."""
        ...


class Duplicate:
    """Sends some frames twice.

    Args:
        probability: Of each frame, 0 to 1.
        seed: The same seed duplicates the same frames.
    """

    def __init__(self, probability: float, *, seed: int = 0) -> None:
        self._probability = probability
        self._random = random.Random(seed)

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frame once or twice."""
        return (frame, frame) if self._random.random() < self._probability else (frame,)


class Swap:
    """Sends some frames after the frame that follows them.

    Args:
        probability: Of each frame, 0 to 1.
        seed: The same seed swaps the same frames.
    """

    def __init__(self, probability: float, *, seed: int = 0) -> None:
        self._probability = probability
        self._random = random.Random(seed)
        self._kept: str | None = None

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frame, nothing for now, or the frame and the one before."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return (frame, kept)
        if self._random.random() < self._probability:
            self._kept = frame
            return ()
        return (frame,)


class Malform:
    """Cuts some frames in half, so that they are no JSON.

    Args:
        probability: Of each frame, 0 to 1.
        seed: The same seed cuts the same frames.
    """

    def __init__(self, probability: float, *, seed: int = 0) -> None:
        self._probability = probability
        self._random = random.Random(seed)

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frame or its first half."""
        return (frame[: len(frame) // 2],) if self._random.random() < self._probability else (frame,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong in every session of an emulator. All of it is off by default, and deterministic.

    Attributes:
        late_deltas: Audio deltas that still come after ``speech_started`` or a ``response.cancel``, before the
            response's closing events. The service may do this; a client must not play them.
        refuse_session_updates: Answer every ``session.update`` with this error object.
        drop_after_events: Cut the TCP connection after this many events were sent.
        never_answer_close: Leave the client's close frame unanswered and the connection open.
        bytes_per_write: Send the bytes of the connection in pieces of at most this size, one per loop iteration.
        frames: Makers of frame faults (``lambda: Duplicate(0.1)``); one of each per session, applied in order.
    """

    late_deltas: int = 0
    refuse_session_updates: Mapping[str, Any] | None = None
    drop_after_events: int | None = None
    never_answer_close: bool = False
    bytes_per_write: int | None = None
    frames: Sequence[Callable[[], FrameFault]] = field(default=())


_CLOSE_FRAME = 0x88


class FaultyTransport(asyncio.Transport):
    """A transport in front of the real one that can dribble, go silent, and refuse to close.

    Attributes:
        bytes_per_write: Largest piece written at once, or ``None``.
        silent: Nothing that is written reaches the network.
        never_answer_close: Close frames are swallowed, and so is closing the transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._waiting: deque[bytes] = deque()
        self._ending: Callable[[], None] | None = None
        self.bytes_per_write: int | None = None
        self.silent = False
        self.never_answer_close = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or do what the faults say."""
        data = bytes(data)
        if self.silent or (self.never_answer_close and data[:1] == bytes([_CLOSE_FRAME])):
            return
        if self.bytes_per_write is None and not self._waiting:
            self._transport.write(data)
            return
        size = self.bytes_per_write or len(data)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write_piece)
        self._waiting.extend(data[start : start + size] for start in range(0, len(data), size))

    def _write_piece(self) -> None:
        if self._transport.is_closing():
            self._waiting.clear()
        else:
            self._transport.write(self._waiting.popleft())
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._write_piece)
        elif self._ending is not None:
            self._ending()

    def _end(self, ending: Callable[[], None]) -> None:
        if self.never_answer_close or self.silent:
            return
        if self._waiting:
            self._ending = ending
        else:
            ending()

    def can_write_eof(self) -> bool:
        """Whether the real transport can close one direction."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """End the outgoing direction once everything is written."""
        self._end(self._transport.write_eof)

    def close(self) -> None:
        """Close once everything is written."""
        self._end(self._transport.close)

    def abort(self) -> None:
        """Cut the connection now."""
        self._waiting.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the real transport is closing."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the real transport knows."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Stop the incoming direction."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on with the incoming direction."""
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of the real transport."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are not sent yet."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._waiting))
