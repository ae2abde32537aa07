"""A small recorded session, and a browser to look at its page."""

import asyncio
import json
import shutil
import signal
import subprocess
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from rtvoice.testing.session_log import SessionRecording
from rtvoice.testing.session_timeline import SessionTimeline
from rtvoice.testing.user_voice import murmur

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-audio-output",
    "--remote-debugging-port=0",
)
INJECTION = "<img src=x onerror=document.title='broken'></script><script>document.title='broken'</script>"


def write_session(path: Path, **header: Any) -> None:
    """Write a session of six seconds: a question, a tool, an answer that is interrupted, an error."""
    lines: list[dict[str, Any]] = [
        {"rtvoice_session_log": 1, "model": "m", "started": "2026-11-22T15:00:00+00:00", **header}
    ]

    def note(at: float, event: str, **fields: Any) -> None:
        lines.append({"at": at, "event": event, **fields})

    def frame(at: float, to: str, kind: str, **fields: Any) -> None:
        lines.append({"at": at, "connection": 1, "to": to, "frame": {"type": kind, **fields}})

    voice = murmur("x" * 30)  # two seconds
    silence = bytes(48_000)
    sound = voice[:48_000] + silence + silence + silence + voice[:48_000] + silence
    note(0.0, "opened", connection=1, url="wss://host/v1/realtime")
    for chunk in range(60):
        audio = b64encode(sound[chunk * 4_800 : (chunk + 1) * 4_800]).decode()
        frame((chunk + 1) / 10, "server", "input_audio_buffer.append", audio=audio)
    frame(0.1, "agent", "input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
    frame(1.2, "agent", "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=1000)
    frame(1.3, "agent", "conversation.item.input_audio_transcription.completed", item_id="u", transcript=INJECTION)
    frame(
        1.4,
        "agent",
        "response.function_call_arguments.done",
        call_id="c",
        name="get_weather",
        arguments='{"city": "Oslo"}',
    )
    note(1.4, "tool_started", call_id="c", name="get_weather")
    note(2.0, "tool_finished", call_id="c", name="get_weather", success=True)
    output = {"type": "function_call_output", "call_id": "c", "output": "18 degrees"}
    frame(2.0, "server", "conversation.item.create", item=output)
    words = "It is eighteen degrees in Oslo and the sun shines."
    frame(2.2, "agent", "response.output_audio_transcript.done", response_id="r", item_id="a", transcript=words)
    note(2.2, "answer_started", response_id="r")
    note(2.2, "heard", starts_at=2.2, audio=b64encode(voice).decode())
    cut = {"item_id": "a", "content_index": 0, "played_ms": 1800, "received_ms": 2000, "complete": False}
    note(4.0, "interrupted", cut_at=4.0, item_id="a", played_ms=1800, cuts=[cut])
    note(4.0, "answer_stopped", response_id="r")
    note(5.0, "error", kind="server_error", code=None, message="It broke.")
    note(6.0, "end")
    lines[1:] = sorted(lines[1:], key=lambda line: line["at"])
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def timeline_of(tmp_path: Path) -> Callable[..., SessionTimeline]:
    """Return the small session, with this header."""

    def make(**header: Any) -> SessionTimeline:
        write_session(tmp_path / "talk.jsonl", **header)
        return SessionTimeline(SessionRecording.read(tmp_path / "talk.jsonl"))

    return make


class Browser:
    """A page in Chromium, over the DevTools protocol.

    Attributes:
        requests: Every address that the page asked for.
        problems: Errors and warnings of the page.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._socket = socket
        self._count = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method and return its result; what happens meanwhile is noted."""
        self._count += 1
        await self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            message = json.loads(await self._socket.recv())
            if message.get("id") == self._count:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(str(params["exceptionDetails"]))
            case "Log.entryAdded":
                self.problems.append(params["entry"]["text"])

    async def open(self, page: Path) -> None:
        for domain in ("Network", "Runtime", "Log", "Page", "Accessibility"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=page.as_uri())
        await self.until("document.readyState === 'complete' && document.querySelectorAll('#rows li').length > 0")

    async def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(20):
            while not await self.value(expression):
                await asyncio.sleep(0.02)

    async def press(self, key: str, code: str, number: int, *, modifiers: int = 0) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        names = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **names, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **names)

    async def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def screenshot(self) -> bytes:
        return b64decode((await self.call("Page.captureScreenshot"))["data"])


def _page_address(folder: Path) -> str | None:
    """Return the WebSocket address of the open page, once there is one."""
    try:
        port = (folder / "DevToolsActivePort").read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
    except (OSError, IndexError):
        return None
    return str(pages[0]["webSocketDebuggerUrl"]) if pages else None


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    folder = tmp_path / "profile"
    process = subprocess.Popen(  # noqa: ASYNC220 - it is not waited for here
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(40):
            while (address := await asyncio.to_thread(_page_address, folder)) is None:
                assert process.poll() is None, f"Chromium ended with {process.returncode}"
                await asyncio.sleep(0.05)
        async with connect(address, max_size=None, proxy=None, compression=None) as socket:
            yield Browser(socket)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
