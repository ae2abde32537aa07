"""Every example runs offline, from the command line, without a warning, and shows what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

SHOWS = {
    "approval.py": "tool       transfer -> Error: transfer was not approved",
    "azure.py": "wss://your-resource.openai.azure.com/openai/v1/realtime?model=gpt-realtime",
    "connection.py": "display    Here again: the model knows 2 items, 0 are lost.",
    "choose_devices.py": "assistant  I hear you well.",
    "context_injection.py": "Alice has ['Moby Dick'] in the basket",
    "custom_devices.py": " dB ####",
    "events.py": "event      of 3467 ms of speech the user heard 1100 ms",
    "images.py": "assistant  I see a red square.",
    "inactivity.py": "hanging up in 1 ...",
    "listener.py": "(the assistant falls silent)",
    "long_running_tool.py": "assistant  Yes, I am waiting for the result.\ntool       search_web ->",
    "phone_bridge.py": "user       Are you open today?\nassistant  We are open until six.",
    "push_to_talk.py": "assistant  I hear you loud and clear.",
    "pydantic_tools.py": '"toppings": ["olives", "double cheese"]',
    "record_session.py": "The same again, without user and server:\nuser: How is the weather in Berlin?",
    "recording.py": "recorded in recording.wav\nuser: Count to twenty.",
    "seeds.py": "user       What is my name?\nassistant  Alice.",
    "talking.py": "assistant  Here is the news. It rains.",
    "testing_an_agent.py": "1 passed",
    "text_output.py": "The capital of Norway is Oslo.",
    "tools.py": "tool       to_fahrenheit -> 64.4",
    "turn_detection.py": "(the answer began 300 ms after the user's last word)",
    "usage_and_cost.py": "assistant  I have to go now. Goodbye!",
    "voice_and_model.py": "tool       set_speed -> OK",
}
FAST = {name: ["--fast"] for name in SHOWS} | {"azure.py": [], "testing_an_agent.py": []}
TESTED_ELSEWHERE = {"quickstart.py", "supervisor.py", "mcp_tools.py", "offline_voice.py"}


def run_example(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.upper().endswith("_PROXY") and not key.startswith(("OPENAI_", "AZURE_", "PYTEST_"))
    }
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(SHOWS))
def test_it_shows_what_it_promises(name: str, tmp_path: Path) -> None:
    done = run_example(name, tmp_path, *FAST[name])
    assert done.returncode == 0, done.stderr
    assert SHOWS[name] in done.stdout
    assert "Traceback" not in done.stderr


def test_without_a_key_the_real_service_is_refused_readably(tmp_path: Path) -> None:
    done = run_example("tools.py", tmp_path, "--openai")
    assert done.returncode == 2
    assert done.stderr.startswith("tools.py: No OpenAI API key: set the environment variable OPENAI_API_KEY")


def test_the_recording_is_a_wav_file(tmp_path: Path) -> None:
    run_example("recording.py", tmp_path, "--fast")
    assert (tmp_path / "recording.wav").read_bytes().startswith(b"RIFF")


def test_none_is_forgotten_and_all_are_short() -> None:
    examples = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in EXAMPLES.glob("*.py")}
    assert examples.keys() - TESTED_ELSEWHERE == SHOWS.keys()
    two_devices = {"phone_bridge.py"}
    assert [name for name in SHOWS.keys() - two_devices if examples[name] > 60] == []
