"""Moonshine writes down what people say."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from tests.local.conftest import clip

from rtvoice.local import MoonshineTranscriber, SpeechToText


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("neural_weather", "What is the weather in Berlin?"),
        ("human_goforward", "Go forward ten meters."),
        ("stop", "Stop."),
    ],
)
def test_words(name: str, words: str, moonshine: SpeechToText) -> None:
    assert moonshine.transcribe(clip(name)) == words


def test_a_model_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class MoonshineError(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise MoonshineError("no such file")

    package = ModuleType("moonshine_voice")
    vars(package).update(
        ModelArch=SimpleNamespace(TINY=0), MoonshineError=MoonshineError, get_model_path=lambda name: name
    )
    module = ModuleType("moonshine_voice.transcriber")
    vars(module).update(Transcriber=refuse)
    monkeypatch.setitem(sys.modules, "moonshine_voice", package)
    monkeypatch.setitem(sys.modules, "moonshine_voice.transcriber", module)
    with pytest.raises(RuntimeError, match="moonshine-voice cannot load its model: no such file"):
        MoonshineTranscriber()
