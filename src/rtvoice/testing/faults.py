"""Faults on demand: refused connections, broken frames, delays. All of them are the same for the same seed."""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol


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


class _Sometimes:
    """Happens to some frames.

    Args:
        probability: Of each frame, 0 to 1.
        seed: The same seed chooses the same frames.
    """

    def __init__(self, probability: float, *, seed: int = 0) -> None:
        self._probability = probability
        self._random = random.Random(seed)

    def _happens(self) -> bool:
        return self._random.random() < self._probability


class Duplicate(_Sometimes):
    """Sends some frames twice.

    Args:
        probability: Of each frame, 0 to 1.
        seed: The same seed duplicates the same frames.
    """

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frame once or twice."""
        return (frame, frame) if self._happens() else (frame,)


class Swap(_Sometimes):
    """Sends some frames after the frame that follows them.

    Args:
        probability: Of each frame, 0 to 1.
        seed: The same seed swaps the same frames.
    """

    def __init__(self, probability: float, *, seed: int = 0) -> None:
        super().__init__(probability, seed=seed)
        self._kept: str | None = None

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frame, nothing for now, or the frame and the one before."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return (frame, kept)
        if self._happens():
            self._kept = frame
            return ()
        return (frame,)


class Malform(_Sometimes):
    """Cuts some frames in half, so that they are no JSON.

    Args:
        probability: Of each frame, 0 to 1.
        seed: The same seed cuts the same frames.
    """

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frame or its first half."""
        return (frame[: len(frame) // 2],) if self._happens() else (frame,)


class WrongTypes(_Sometimes):
    """Puts a value of the wrong type into some frames, in any place, ``type`` included.

    Args:
        probability: Of each frame, 0 to 1.
        seed: The same seed spoils the same values.
    """

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frame, or one with a wrong value."""
        event = _event_in(frame)
        if not self._happens() or not event:
            return (frame,)
        container, key = self._random.choice(list(_places(event)))
        container[key] = self._random.choice(_WRONG_VALUES)
        return (json.dumps(event),)


class ClockSkew:
    """Lets the server's clocks go wrong: the one that counts audio, and the one on the wall.

    Args:
        rate: How fast the audio clock runs; 1.01 gains one percent on the audio that the client has sent.
        ahead_s: By how many seconds the wall clock, by which ``expires_at`` is told, is ahead; negative: behind.
    """

    def __init__(self, rate: float = 1.0, *, ahead_s: int = 0) -> None:
        self._rate = rate
        self._ahead_s = ahead_s

    def __call__(self, frame: str) -> Iterable[str]:
        """Return the frame with the times that such a server would tell."""
        event = _event_in(frame)
        for container, key in list(_places(event)):
            if key in _AUDIO_TIMES and isinstance(container[key], int):
                container[key] = round(container[key] * self._rate)
            elif key == "expires_at" and isinstance(container[key], int):
                container[key] += self._ahead_s
        return (json.dumps(event),) if event else (frame,)


_AUDIO_TIMES: Final = ("audio_start_ms", "audio_end_ms")
_WRONG_VALUES: Final[Sequence[Any]] = (None, True, -1, 1.5, "wrong", [], {}, [[]], {"type": "wrong"})


def _event_in(frame: str) -> dict[str, Any]:
    """Return the event in a frame; an empty one if an earlier fault has made it unreadable."""
    try:
        event = json.loads(frame)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the place of every value inside, as a container and a key or index."""
    keys: Iterable[Any] = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield value, key
        yield from _places(value[key])


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How late events go out; their order stays.

    Attributes:
        jitter_ms: Each event is late by up to this, at random, as on a bad network.
        burst_ms: Events go out together, once in so many milliseconds.
        bytes_per_second: No more than this goes out; speech needs about 66,000 to keep up with a player.
        seed: The same seed gives the same jitter.
    """

    jitter_ms: float = 0.0
    burst_ms: float = 0.0
    bytes_per_second: float | None = None
    seed: int = 0


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
        delays: How late events go out.
    """

    late_deltas: int = 0
    refuse_session_updates: Mapping[str, Any] | None = None
    drop_after_events: int | None = None
    never_answer_close: bool = False
    bytes_per_write: int | None = None
    frames: Sequence[Callable[[], FrameFault]] = field(default=())
    delays: Delays = Delays()
