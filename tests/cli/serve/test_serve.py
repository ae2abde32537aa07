"""``rtvoice serve``: it serves, refuses, and ends."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rtvoice.cli import main, serve

Run = Callable[..., int]


def at_port(out: str) -> int:
    found = re.search(r"rtvoice serve: ws://127\.0\.0\.1:(\d+)/v1/realtime", out)
    assert found, out
    return int(found[1])


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_it_serves_until_it_is_told_to_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def end_soon(*_: object) -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    introduce = serve._introduce
    monkeypatch.setattr(serve, "_introduce", lambda *arguments: (introduce(*arguments), end_soon()))
    assert main(["serve", "--text-only", "--port", "0"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "simple rules, in text only" in out
    assert f'OpenAIProvider(base_url="ws://127.0.0.1:{at_port(out)}/v1")' in out
    assert out.endswith("ending\n")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, rtvoice: Run) -> None:
    def interrupted(main: Coroutine[Any, Any, None]) -> None:
        main.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncio.run", interrupted)
    assert rtvoice("serve") == 0


def test_a_system_without_sigterm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is ended by Ctrl+C there: here by leaving the ``with`` at once."""

    @contextlib.contextmanager
    def refusing(ended: asyncio.Event) -> Any:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "add_signal_handler", _refuse)
        with terminated(ended):
            ended.set()
            yield

    terminated = serve._terminated
    monkeypatch.setattr(serve, "_terminated", refusing)
    arguments = ["--llm", "http://127.0.0.1:9/v1", "--llm-model", "tiny"]
    assert main(["serve", "--text-only", "--port", "0", *arguments]) == 0
    assert "answers    tiny at http://127.0.0.1:9/v1" in capsys.readouterr().out


def _refuse(*_: object) -> None:
    raise NotImplementedError


def test_a_port_that_is_taken(rtvoice: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert rtvoice("serve", "--text-only", "--port", port) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"rtvoice serve: port {port} on 127.0.0.1 is taken by another program")
    assert err.count("\n") == 1


def test_others_than_this_machine_need_a_key(
    rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rtvoice("serve", "--host", "0.0.0.0", "--text-only") == 2
    err = capsys.readouterr().err
    assert "choose an API key" in err
    assert "RTVOICE_SERVE_KEY" in err
    monkeypatch.setenv("RTVOICE_SERVE_KEY", "secret")
    assert rtvoice("serve", "--host", "192.0.2.1", "--text-only") == 2
    assert "cannot listen on 192.0.2.1:8080" in capsys.readouterr().err


def test_the_extra_is_missing(
    rtvoice: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "moonshine_voice", None)
    assert rtvoice("serve", "--port", "0") == 2
    assert "pip install 'rtvoice[local]'" in capsys.readouterr().err


def test_arguments_that_do_not_fit(rtvoice: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert rtvoice("serve", "--llm-model", "tiny") == 2
    assert "belong together" in capsys.readouterr().err
