"""The edges; whole renewals over real sockets are in tests/flows/test_rotation_flow.py."""

import asyncio
import itertools
from typing import Any

import pytest

from rtvoice.errors import AuthenticationFailed, ConnectionFailed
from rtvoice.events import RestoredConversation
from rtvoice.realtime.memory import Retelling
from rtvoice.realtime.renewal import LAST_RETRY_S, RESTART_LIMIT_S, RETRY_S, Renewal, RestartRequest
from rtvoice.realtime.successor import Successor
from rtvoice.settings import RotationPolicy

pytestmark = pytest.mark.virtual_clock

RESTORED = RestoredConversation(items=3, lost_user_turns=0)


async def test_a_request_is_granted_to_all_who_wait() -> None:
    request = RestartRequest()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(request.make()) for _ in range(2)]
        await asyncio.sleep(1)
        assert request.pending
        request.grant(RESTORED)
    assert [task.result() for task in waiting] == [RESTORED, RESTORED]
    assert not request.pending
    request.grant(RESTORED)  # nobody minds
    request.refuse(ConnectionFailed("late"))


async def test_a_request_is_refused_with_the_reason() -> None:
    request = RestartRequest()
    asyncio.get_running_loop().call_later(1, request.refuse, ConnectionFailed("no network"))
    with pytest.raises(ConnectionFailed, match="no network"):
        await request.make()


async def test_nobody_waits_for_ever() -> None:
    request = RestartRequest()
    with pytest.raises(ConnectionFailed, match="20 s"):
        await request.make()
    assert asyncio.get_running_loop().time() == pytest.approx(RESTART_LIMIT_S)
    assert request.pending, "it may still come"
    request.refuse(ConnectionFailed("nobody is left to hear this"))


async def test_a_request_wakes_whoever_waits_for_one_once() -> None:
    request, loop = RestartRequest(), asyncio.get_running_loop()
    await request.wait(5)
    assert loop.time() == pytest.approx(5)
    async with asyncio.TaskGroup() as group:
        group.create_task(request.make())
        await request.wait(5)
        assert loop.time() == pytest.approx(5)
        await request.wait(5)
        assert loop.time() == pytest.approx(10)
        request.grant(RESTORED)


class Backend:
    """A protocol of which a test says whether the moment is quiet."""

    quiet = True
    revision = 0

    def prepare_successor(self) -> Any:
        raise AssertionError("nothing was opened")


class Dialler:
    """Cannot reach anybody."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def open(self) -> Any:
        self.times.append(asyncio.get_running_loop().time())
        raise ConnectionFailed("no network")


async def attempts(
    policy: RotationPolicy | None, seconds: float, backend: Any = None, *, request: bool = False
) -> list[float]:
    dialler, wish = Dialler(), RestartRequest()

    async def switch(*_: Any) -> None:
        raise AssertionError("nothing was opened")

    renewal = Renewal(dialler, backend or Backend(), policy, wish, switch)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(renewal.run(0.0))
        if request:
            await asyncio.sleep(1)
            for _ in range(2):
                with pytest.raises(ConnectionFailed, match="no network"):
                    await wish.make()
                await asyncio.sleep(1)
        await asyncio.sleep(seconds)
        running.cancel()
    return dialler.times


async def test_attempts_become_more_frequent_when_time_runs_out() -> None:
    times = await attempts(RotationPolicy(after_s=60, latest_s=100), 120)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] == pytest.approx(60, abs=3)
    assert pauses[0] == pytest.approx(RETRY_S, abs=3)
    assert pauses[-1] == pytest.approx(LAST_RETRY_S)


async def test_without_a_policy_nothing_happens_unless_asked() -> None:
    assert await attempts(None, 10_000) == []
    assert len(await attempts(None, 10_000, request=True)) == 2


async def test_a_moment_has_to_stay_quiet_for_a_while() -> None:
    class Restless(Backend):
        """Something happens every second."""

        @property
        def revision(self) -> float:  # type: ignore[override]
            return asyncio.get_running_loop().time() // 1

    assert await attempts(RotationPolicy(after_s=10, latest_s=100), 90, Restless()) == []


async def test_a_server_that_refuses_the_new_session_says_why() -> None:
    class Refusing:
        in_use = aborted = False

        async def send(self, frame: bytes) -> None: ...

        async def receive(self) -> bytes:
            return b'{"type": "error", "error": {"code": "insufficient_quota", "message": "No credit."}}'

        def abort(self) -> None:
            self.aborted = True

    connection, wish = Refusing(), RestartRequest()

    class Reaching(Dialler):
        async def open(self) -> Any:
            return connection

    class Ready(Backend):
        def prepare_successor(self) -> Any:
            return Successor([b"{}"], Retelling([], {}), (0, 0))

    async def switch(*_: Any) -> None:
        raise AssertionError("it is of no use")

    async with asyncio.TaskGroup() as group:
        running = group.create_task(Renewal(Reaching(), Ready(), None, wish, switch).run(0.0))  # type: ignore[arg-type]
        with pytest.raises(AuthenticationFailed, match="No credit"):
            await wish.make()
        running.cancel()
    assert connection.aborted
