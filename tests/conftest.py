"""What all tests share: a clock that jumps, and the check that nothing is left behind.

Markers:

* ``virtual_clock``: run the test on a ``VirtualClockLoop``, where waiting takes no time.
* ``leaves_behind(reason)``: skip the check below; the test says why.
"""

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import hypothesis
import pytest
from pytest_asyncio import is_async_test

from rtvoice import AgentListener, AgentResult, RealtimeAgent
from rtvoice.testing import RealtimeEmulator, VirtualClockLoop, VirtualMicrophone, VirtualSpeaker

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):  # there a failure must be the change's own; at a desk every run looks somewhere new
    hypothesis.settings.load_profile("ci")

_PATIENCE_S = 2.0
"""How long something may take to end after the test: longer only makes a failing test slower."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_clock: run the test on a VirtualClockLoop")
    config.addinivalue_line("markers", "leaves_behind(reason): do not check for tasks, threads and sockets")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, type | object]:
    if item.get_closest_marker("virtual_clock"):
        return {"virtual": VirtualClockLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def no_key_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not depend on what the machine they run on happens to have set."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY", "SOCKS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test no task, thread, socket or signal handler of it is left."""
    if request.node.get_closest_marker("leaves_behind"):
        yield
        return
    if is_async_test(request.node):
        request.getfixturevalue("no_task_or_socket_left")
    threads = set(threading.enumerate())
    handler = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is handler, "the SIGINT handler was not restored"
    for thread in _new_threads(threads):
        thread.join(_PATIENCE_S)
    assert not _new_threads(threads), "threads are left"


@pytest.fixture
async def no_task_or_socket_left() -> AsyncIterator[None]:
    """The part of the check that has to run in the test's event loop."""
    tasks, sockets = asyncio.all_tasks(), _open_sockets()
    yield
    tasks = tasks | {task for task in asyncio.all_tasks() if task is asyncio.current_task()}
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while asyncio.get_running_loop().time() < deadline:
        if not asyncio.all_tasks() - tasks and not _open_sockets() - sockets:
            return
        await asyncio.sleep(0.01)
    left = [task.get_name() for task in asyncio.all_tasks() - tasks]
    assert not left, f"tasks are left: {left}"
    assert not _open_sockets() - sockets, "sockets are left open"


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    # The loop's own executor resolves host names; asyncio joins its threads when the loop is closed.
    return [thread for thread in threading.enumerate() if thread not in before and "asyncio_" not in thread.name]


def _open_sockets() -> set[str]:
    """Return the sockets of this process; where the system does not tell, none."""
    sockets = set()
    try:
        for entry in os.scandir("/proc/self/fd"):
            try:
                target = os.readlink(entry.path)  # noqa: PTH115 - of a file that is gone a moment later
            except OSError:
                continue
            if target.startswith("socket:"):
                sockets.add(target)
    except OSError:
        return set()
    return sockets


class Story(AgentListener):
    """Writes down every callback as ``(name, *arguments)``, and lets tests wait for one."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.times: list[float] = []
        self._changed = asyncio.Event()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_") or name == "on_tool_approval_requested":
            return super().__getattribute__(name)

        async def callback(*arguments: object) -> None:
            self.calls.append((name.removeprefix("on_"), *arguments))
            self.times.append(asyncio.get_running_loop().time())
            self._changed.set()
            self._changed = asyncio.Event()

        return callback

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def all(self, name: str) -> list[Any]:
        """Return the first argument of every call of that callback."""
        return [call[1] if len(call) > 1 else None for call in self.calls if call[0] == name]

    async def wait_for(self, name: str, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while self.names.count(name) < times:
                await self._changed.wait()


class Conversation:
    """An agent that runs beside the test."""

    def __init__(self, agent: RealtimeAgent[Any], **parts: Any) -> None:
        self.agent = agent
        self.microphone: VirtualMicrophone = parts["audio_input"]
        self.speaker: VirtualSpeaker = parts["audio_output"]
        self.listener: Story = parts["listener"]
        self.running: asyncio.Task[AgentResult]

    @property
    def result(self) -> AgentResult:
        return self.running.result()


@pytest.fixture(scope="session")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], ssl.SSLContext]:
    """Makes TLS settings for a server on 127.0.0.1, with a certificate that nobody trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    key, certificate = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "certificate.pem"))
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    return make


Converse = Callable[..., AbstractAsyncContextManager[Conversation]]


@pytest.fixture
def converse() -> Converse:
    """``async with converse(server, **settings) as conversation``: a connected agent, stopped at the end."""

    @asynccontextmanager
    async def begin(
        server: RealtimeEmulator, *, connected: bool = True, **settings: Any
    ) -> AsyncIterator[Conversation]:
        settings = {
            "provider": server.provider,
            "audio_input": VirtualMicrophone(),
            "audio_output": VirtualSpeaker(),
            "listener": Story(),
            **settings,
        }
        conversation = Conversation(RealtimeAgent(**settings), **settings)
        async with asyncio.TaskGroup() as group:
            conversation.running = group.create_task(conversation.agent.run())
            try:
                if connected:
                    await conversation.listener.wait_for("agent_session_connected")
                yield conversation
            finally:
                await conversation.agent.stop()

    return begin


@pytest.fixture
def story() -> Story:
    return Story()
