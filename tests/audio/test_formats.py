from collections.abc import AsyncIterator
from typing import Any

import pytest

from rtvoice import RealtimeAgent
from rtvoice.audio import AudioFormat, AudioInputDevice, HasAudioFormat
from rtvoice.audio.formats import converted_input, converted_output
from rtvoice.testing import VirtualMicrophone, VirtualSpeaker


class Line(AudioInputDevice):
    def __init__(self, audio_format: Any) -> None:
        self.audio_format = audio_format

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def stream_chunks(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    @property
    def is_active(self) -> bool:
        return False


def test_rates_and_sizes() -> None:
    assert [(each.rate, each.sample_bytes) for each in AudioFormat] == [
        (8_000, 2),
        (16_000, 2),
        (24_000, 2),
        (48_000, 2),
        (8_000, 1),
        (8_000, 1),
    ]


def test_a_device_in_the_format_of_the_session_stays_as_it_is() -> None:
    microphone, speaker = VirtualMicrophone(), VirtualSpeaker()
    assert converted_input(microphone) is microphone
    assert converted_output(speaker) is speaker
    line = Line(AudioFormat.PCM16_24K)
    assert isinstance(line, HasAudioFormat)
    assert converted_input(line) is line


def test_another_format_is_converted() -> None:
    assert type(converted_input(Line(AudioFormat.MULAW))).__name__ == "ConvertedInput"

    class Loudspeaker(VirtualSpeaker):
        audio_format = AudioFormat.PCM16_8K

    assert type(converted_output(Loudspeaker())).__name__ == "ConvertedOutput"


def test_what_is_no_format_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with pytest.raises(TypeError, match="audio_format of Line must be an AudioFormat, not 'g711'"):
        RealtimeAgent(audio_input=Line("g711"))
