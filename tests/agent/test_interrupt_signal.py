import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rtvoice.agent.interrupt_signal import graceful_interrupt

SCRIPT = """
import asyncio, signal, sys
from rtvoice import AgentListener, RealtimeAgent
from rtvoice.testing import RealtimeEmulator, VirtualMicrophone, VirtualSpeaker

before = signal.getsignal(signal.SIGINT)
slow = "slow" in sys.argv

class Listener(AgentListener):
    async def on_agent_session_connected(self):
        print("connected", flush=True)
    async def on_agent_stopped(self):
        print("stopping", flush=True)
        if slow:
            await asyncio.sleep(30)

async def main():
    async with RealtimeEmulator() as server:
        agent = RealtimeAgent(provider=server.provider, audio_input=VirtualMicrophone(),
                              audio_output=VirtualSpeaker(), listener=Listener())
        inside = signal.getsignal(signal.SIGINT)
        result = await agent.run()
        assert signal.getsignal(signal.SIGINT) is inside
        print("turns:", result.turns, flush=True)

asyncio.run(main())
assert signal.getsignal(signal.SIGINT) is before
"""


def start(*arguments: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    read_until(process, "connected")
    return process


def read_until(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdout is not None
    while (read := process.stdout.readline()) and read.strip() != line:
        pass
    assert read.strip() == line


@pytest.mark.skipif(sys.platform == "win32", reason="the loop of Windows has no signal handlers")
def test_the_first_ctrl_c_returns_the_result() -> None:
    process = start()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert output == "stopping\nturns: []\n"
    assert errors == ""
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="the loop of Windows has no signal handlers")
def test_the_second_ctrl_c_is_as_usual() -> None:
    process = start("slow")
    process.send_signal(signal.SIGINT)
    read_until(process, "stopping")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert "turns" not in output
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode != 0


async def test_the_first_calls_stop_and_gives_the_handler_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    stopped = asyncio.Event()
    with graceful_interrupt(stopped.set):
        assert signal.getsignal(signal.SIGINT) is not before
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(5):
            await stopped.wait()
        assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before


async def test_conversations_at_the_same_time_are_all_stopped() -> None:
    before = signal.getsignal(signal.SIGINT)
    stopped: list[str] = []
    both = asyncio.Event()

    def stop(name: str) -> Callable[[], None]:
        def note() -> None:
            stopped.append(name)
            if len(stopped) == 2:
                both.set()

        return note

    with graceful_interrupt(stop("first")):
        with graceful_interrupt(stop("short")):
            pass
        with graceful_interrupt(stop("second")):
            os.kill(os.getpid(), signal.SIGINT)
            async with asyncio.timeout(5):
                await both.wait()
            assert signal.getsignal(signal.SIGINT) is before
            with graceful_interrupt(stop("a new one")):
                assert signal.getsignal(signal.SIGINT) is not before
    assert stopped == ["first", "second"]
    assert signal.getsignal(signal.SIGINT) is before


async def test_the_last_conversation_gives_the_handler_back_whatever_their_order() -> None:
    before = signal.getsignal(signal.SIGINT)
    first, second = graceful_interrupt(lambda: None), graceful_interrupt(lambda: None)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGINT) is not before
    second.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_leaves_the_handler_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    during: list[Any] = []

    async def main() -> None:
        with graceful_interrupt(lambda: None):
            during.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    assert during == [before]


async def test_a_loop_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)

    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
    with graceful_interrupt(lambda: None):
        assert signal.getsignal(signal.SIGINT) is before


async def test_a_handler_that_could_not_be_put_back_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    calls: list[object] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", lambda *a: calls.append(a))
    with graceful_interrupt(lambda: None):
        assert calls == []
    monkeypatch.undo()
