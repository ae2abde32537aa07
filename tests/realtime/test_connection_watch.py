"""The watch alone; over real sockets it is tried in tests/flows/test_watchdog_flow.py."""

import asyncio
from typing import Any

import pytest

from rtvoice.events import WatchdogFiredEvent
from rtvoice.realtime.connection import ConnectionLost
from rtvoice.realtime.connection_watch import PING_INTERVAL_S, ConnectionWatch
from rtvoice.settings import WatchdogPolicy

pytestmark = pytest.mark.virtual_clock


class Line:
    """A connection of which a test decides whether it is alive, and how long a frame takes."""

    def __init__(self, *signs: bool, seconds: float = 0.0) -> None:
        self.signs = list(signs)
        self.seconds = seconds
        self.cut = False
        self.sent: list[bytes] = []
        self.limits: list[float | None] = []

    @property
    def can_send_now(self) -> bool:
        return not self.seconds

    async def shows_life(self, limit_s: float | None) -> bool:
        self.limits.append(limit_s)
        if self.cut or not self.signs:
            raise ConnectionLost(_closed())
        alive = self.signs.pop(0)
        if not alive:
            await asyncio.sleep(limit_s or 0.0)
        return alive

    async def send(self, frame: bytes) -> None:
        self.sent.append(frame)
        await asyncio.sleep(self.seconds)

    def abort(self) -> None:
        self.cut = True


def _closed() -> Any:
    import websockets

    return websockets.ConnectionClosedError(None, None)


def watch(line: Line, **limits: float | None) -> tuple[ConnectionWatch, list[tuple[str, float, str]]]:
    said: list[tuple[str, float, str]] = []

    def note(fact: WatchdogFiredEvent) -> None:
        said.append((fact.watchdog, fact.waited_s, fact.action))

    return ConnectionWatch(line, WatchdogPolicy(**limits), note), said  # type: ignore[arg-type]


async def test_a_connection_that_is_alive_is_pinged_on_and_on() -> None:
    line = Line(True, True, True)
    watching, said = watch(line, ping_s=5)
    await watching.ping()
    assert asyncio.get_running_loop().time() == 4 * PING_INTERVAL_S
    assert said == []
    assert watching.verdict is None


async def test_a_second_ping_may_find_it_alive() -> None:
    watching, said = watch(Line(False, True), ping_s=5)
    await watching.ping()
    assert said == [("ping", 5, "retry")]
    assert watching.verdict is None


async def test_a_dead_connection_is_cut() -> None:
    line = Line(False, False)
    watching, said = watch(line, ping_s=5)
    await watching.ping()
    assert said == [("ping", 5, "retry"), ("ping", 10, "reconnect")]
    assert line.cut
    assert "10 s" in str(watching.verdict)


async def test_without_a_limit_it_is_pinged_all_the_same() -> None:
    line = Line(True, False)
    watching, said = watch(line, ping_s=None)
    await watching.ping()
    assert line.limits == [None, None, None]
    assert said == []


@pytest.mark.parametrize(
    ("seconds", "barks"),
    [
        (0.0, []),
        (4.0, []),
        (6.0, [("write", 5, "retry")]),
        (11.0, [("write", 5, "retry"), ("write", 10, "reconnect")]),
    ],
)
async def test_a_frame_that_takes_long(seconds: float, barks: list[tuple[str, float, str]]) -> None:
    line = Line(seconds=seconds)
    watching, said = watch(line, write_s=5)
    await watching.send(b"frame")
    await asyncio.sleep(100)
    assert line.sent == [b"frame"]
    assert said == barks
    assert line.cut == (len(barks) == 2)


async def test_without_a_limit_a_frame_may_take_for_ever() -> None:
    line = Line(seconds=1_000)
    watching, said = watch(line, write_s=None)
    await watching.send(b"frame")
    assert said == []


async def test_the_first_verdict_stands() -> None:
    watching, _ = watch(Line())
    watching.cut("this")
    watching.cut("that")
    assert watching.verdict == "this"
