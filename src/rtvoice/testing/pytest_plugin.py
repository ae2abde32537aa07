"""The pytest plugin: conversations as tests. It is there as soon as rtvoice and pytest are installed.

Marker ``voice``, on a test, class or module: ``async def`` tests run on a clock that jumps, so that minutes of
conversation take milliseconds, and cannot reach the real service by accident: keys and addresses are taken out of the
environment, and rtvoice reads no ``.env`` file. ``@pytest.mark.voice(clock="real")`` keeps the clock on the wall. No
other plugin is needed, and none disturbs.

Fixtures: ``rehearse`` makes a ``Rehearsal``, ``realtime_server`` a ``RealtimeEmulator``. When the test fails, its
report shows the conversation, or what went over the wire.

Every test has its own server on a port that the system chooses, and its own clock: tests may run in parallel.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from rtvoice.testing.emulator import RealtimeEmulator
    from rtvoice.testing.rehearsal import Rehearsal

MARKER: Final = "voice"

_ADDRESSES_AND_KEYS: Final = (
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"),
    *("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY", "SOCKS_PROXY"),
)
_EVENTS_SHOWN: Final = 60
_NOTES: Final = pytest.StashKey[list[Callable[[], tuple[str, str]]]]()
"""What the report of a failing test shows besides: title and text."""


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(clock='virtual'): run this async test on rtvoice's virtual clock (or the 'real' one), without keys",
    )


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Hide that our tests are coroutines, before other plugins look, which run such tests in their way."""
    made = yield
    for item in made if isinstance(made, list) else [made]:
        if isinstance(item, pytest.Function):
            _hide(item)
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Hide it again where pytest has meanwhile fetched the function anew: methods, and tests that are run twice."""
    _hide(pyfuncitem)


def _hide(item: pytest.Function) -> None:
    mark = item.get_closest_marker(MARKER)
    if mark is not None and inspect.iscoroutinefunction(item.obj):
        item.obj = _plain(item.obj, _loop_factory(mark))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the conversation to the report of a test that failed."""
    report = yield
    if call.when == "call" and report.failed:
        for note in item.stash.get(_NOTES, []):
            title, text = note()
            if text:
                report.sections.append((title, text))
    return report


@pytest.fixture(autouse=True)
def _no_real_service(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker(MARKER) is None:
        yield
        return
    with pytest.MonkeyPatch.context() as environment:
        for name in _ADDRESSES_AND_KEYS:
            environment.delenv(name, raising=False)
            environment.delenv(name.lower(), raising=False)
        environment.setattr("rtvoice.environment.find_dotenv", lambda **_: "")  # a .env file may hold them, too
        yield


@pytest.fixture
def rehearse(request: pytest.FixtureRequest) -> "Callable[..., Rehearsal]":
    """Make a ``Rehearsal``; takes what that takes. A failing test's report shows the conversation."""
    from rtvoice.testing.rehearsal import Rehearsal

    def make(*arguments: Any, **settings: Any) -> Rehearsal:
        rehearsal = Rehearsal(*arguments, **settings)
        _notes(request).append(lambda: ("The conversation", rehearsal.transcript() if rehearsal.begun else ""))
        return rehearsal

    return make


@pytest.fixture
def realtime_server(request: pytest.FixtureRequest) -> "Callable[..., RealtimeEmulator]":
    """Make a ``RealtimeEmulator``, to be used with ``async with``. A failing test's report shows the last events."""
    from rtvoice.testing.emulator import RealtimeEmulator

    def make(*arguments: Any, **settings: Any) -> RealtimeEmulator:
        server = RealtimeEmulator(*arguments, **settings)
        _notes(request).append(lambda: ("Realtime events", _wire(server)))
        return server

    return make


def _notes(request: pytest.FixtureRequest) -> list[Callable[[], tuple[str, str]]]:
    return request.node.stash.setdefault(_NOTES, [])  # type: ignore[no-any-return]


def _loop_factory(mark: pytest.Mark) -> Callable[[], asyncio.AbstractEventLoop]:
    clock = mark.kwargs.get("clock", "virtual")
    if mark.args or mark.kwargs.keys() - {"clock"} or clock not in ("virtual", "real"):
        raise pytest.UsageError(f"@pytest.mark.{MARKER} takes clock='virtual' (default) or clock='real', nothing else")
    if clock == "real":
        return asyncio.new_event_loop
    from rtvoice.testing.clock import VirtualClockLoop

    return VirtualClockLoop


def _plain(
    test: Callable[..., Coroutine[Any, Any, None]], loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> Callable[..., None]:
    @functools.wraps(test)
    def play(*arguments: Any, **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(*arguments, **fixtures))

    return play


def _wire(server: "RealtimeEmulator") -> str:
    lines = [
        f"{'->' if direction == 'received' else '<-'} {event}"
        for session in server.sessions
        for direction, event in session.exchanged
    ]
    return "\n".join(lines[-_EVENTS_SHOWN:])
