import asyncio
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rtvoice.audio import (
    AudioFormat,
    AudioInputDevice,
    AudioOutputDevice,
    AudioStats,
    PlaybackPosition,
    ReportsLoss,
    ReportsStats,
    SupportsDrain,
    SupportsFinishResponse,
    SupportsPause,
    SupportsPosition,
    SupportsReopen,
    SupportsTap,
    g711,
)
from rtvoice.audio.format_conversion import ConvertedInput, ConvertedOutput, Decoder, Encoder
from rtvoice.audio.position import clock_for
from rtvoice.realtime import client_events
from rtvoice.testing import RealtimeEmulator, VirtualSpeaker, audio_formats
from rtvoice.testing.audio_formats import CHARACTERS_PER_SECOND, load_pcm

HELLO = Path(__file__).parent.parent / "fixtures" / "audio" / "hello.wav"

OTHERS = [each for each in AudioFormat if each is not AudioFormat.PCM16_24K]
every_format = pytest.mark.parametrize("audio_format", OTHERS, ids=lambda each: each.name)
every_chunking = pytest.mark.parametrize("size", [31, 160, 4_801, 1_000_000])


def sine(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> npt.NDArray[np.float64]:
    return 10_000 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def in_format(samples: npt.NDArray[np.float64], audio_format: AudioFormat) -> bytes:
    pcm = samples.round().astype("<i2").tobytes()
    name = audio_format.value[0]
    return pcm if name == "pcm16" else g711.encode(pcm, name)  # type: ignore[arg-type]


def samples_of(data: bytes, audio_format: AudioFormat) -> npt.NDArray[np.float64]:
    name = audio_format.value[0]
    pcm = data if name == "pcm16" else g711.decode(data, name)  # type: ignore[arg-type]
    return np.frombuffer(pcm, "<i2").astype(float)


def worst_error(heard: npt.NDArray[np.float64], rate: int) -> float:
    """Return how far from a sine it is anywhere but at its ends; a click would show."""
    middle = heard[rate // 10 : -rate // 10]
    phase = 2 * np.pi * 440.0 * np.arange(len(middle)) / rate
    basis = np.column_stack((np.sin(phase), np.cos(phase)))
    fitted = basis @ np.linalg.lstsq(basis, middle, rcond=None)[0]
    return float(np.abs(middle - fitted).max())


def tolerance(audio_format: AudioFormat) -> float:
    return 20.0 if audio_format.sample_bytes == 2 else 400.0  # the steps of G.711


@every_format
@every_chunking
def test_decoding_makes_no_clicks(audio_format: AudioFormat, size: int) -> None:
    data = in_format(sine(audio_format.rate), audio_format)
    decoder = Decoder(audio_format)
    pcm = b"".join(decoder.take(data[start : start + size]) for start in range(0, len(data), size))
    heard = np.frombuffer(pcm, "<i2").astype(float)
    assert 0 <= 24_000 - len(heard) <= 24 * 4  # what is held back
    assert worst_error(heard, 24_000) < tolerance(audio_format)


@every_format
@every_chunking
def test_encoding_makes_no_clicks_and_loses_nothing(audio_format: AudioFormat, size: int) -> None:
    pcm = sine(24_000).round().astype("<i2").tobytes()
    encoder = Encoder(audio_format)
    data = b"".join(encoder.take(pcm[start : start + size]) for start in range(0, len(pcm), size)) + encoder.finish()
    heard = samples_of(data, audio_format)
    assert len(heard) == audio_format.rate
    assert worst_error(heard, audio_format.rate) < tolerance(audio_format)


# --- devices -----------------------------------------------------------------------------------------


class Phone(AudioInputDevice):
    """A line that gives G.711."""

    audio_format = AudioFormat.MULAW

    def __init__(self) -> None:
        self.open = False
        self.ended = False

    async def start(self) -> None:
        self.open = True

    async def stop(self) -> None:
        self.open = False

    @property
    def is_active(self) -> bool:
        return self.open

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        try:
            data = in_format(sine(8_000), AudioFormat.MULAW)
            for start in range(0, len(data), 160):
                yield data[start : start + 160]
        finally:
            self.ended = True


async def test_an_input_is_converted() -> None:
    phone = Phone()
    converted = ConvertedInput(phone, AudioFormat.MULAW)
    await converted.start()
    assert converted.is_active
    pcm = b"".join([chunk async for chunk in converted.stream_chunks()])
    assert worst_error(np.frombuffer(pcm, "<i2").astype(float), 24_000) < 400
    await converted.stop()
    assert not phone.open


async def test_leaving_an_input_ends_it() -> None:
    phone = Phone()
    chunks: Any = ConvertedInput(phone, AudioFormat.MULAW).stream_chunks()
    await anext(chunks)
    await chunks.aclose()
    assert phone.ended


async def test_an_iterator_that_is_no_generator_is_fine() -> None:
    class Once(Phone):
        def stream_chunks(self) -> AsyncIterator[bytes]:
            class Empty:
                def __aiter__(self) -> "Empty":
                    return self

                async def __anext__(self) -> bytes:
                    raise StopAsyncIteration

            return Empty()

    assert [chunk async for chunk in ConvertedInput(Once(), AudioFormat.MULAW).stream_chunks()] == []


class Line(AudioOutputDevice):
    """Takes audio of a format, and plays as much of it as a test says. Counts its own samples."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self.audio_format = audio_format
        self.data = b""
        self.heard = self.discarded = 0
        self.calls: list[str] = []

    @property
    def accepted(self) -> int:
        return len(self.data) // self.audio_format.sample_bytes

    async def start(self) -> None:
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    async def play_chunk(self, chunk: bytes) -> None:
        self.data += chunk

    async def clear_buffer(self) -> None:
        self.discarded = self.accepted - self.heard

    @property
    def is_playing(self) -> bool:
        return self.heard + self.discarded < self.accepted


class Counting(Line):
    def position(self) -> PlaybackPosition:
        return PlaybackPosition(self.accepted, self.heard, self.heard, self.discarded)


class Everything(Counting):
    async def finish_response(self) -> None:
        self.calls.append("finish")

    async def pause(self) -> None:
        self.calls.append("pause")

    async def resume(self) -> None:
        self.calls.append("resume")

    async def drain(self) -> None:
        self.calls.append("drain")

    async def reopen(self) -> None:
        self.calls.append("reopen")

    def add_tap(self, tap: Callable[[bytes, float], None]) -> Callable[[], None]:
        return lambda: None

    def when_lost(self, call: Callable[[Exception], None]) -> Callable[[], None]:
        return lambda: None

    def stats(self) -> AudioStats:
        return AudioStats("line", 8_000, 0.0)


PROTOCOLS = [SupportsPause, SupportsDrain, SupportsTap, ReportsStats, ReportsLoss, SupportsReopen, SupportsPosition]


async def test_it_has_the_optional_members_of_the_device_and_no_others() -> None:
    rich = ConvertedOutput(Everything(AudioFormat.ALAW), AudioFormat.ALAW)
    poor = ConvertedOutput(Line(AudioFormat.ALAW), AudioFormat.ALAW)
    for protocol in PROTOCOLS:
        assert isinstance(rich, protocol)
        assert not isinstance(poor, protocol)
    assert isinstance(poor, SupportsFinishResponse)  # what the resampler holds back has to come out
    device = rich._device
    await rich.start()
    await rich.pause()  # type: ignore[attr-defined]
    await rich.resume()  # type: ignore[attr-defined]
    await rich.finish_response()
    await rich.reopen()  # type: ignore[operator]
    await rich.stop()
    assert device.calls == ["start", "pause", "resume", "finish", "reopen", "stop"]  # type: ignore[attr-defined]


@every_format
async def test_an_output_is_converted(audio_format: AudioFormat) -> None:
    line = Line(audio_format)
    converted = ConvertedOutput(line, audio_format)
    await converted.start()
    for _ in range(2):
        pcm = sine(24_000).round().astype("<i2").tobytes()
        for start in range(0, len(pcm), 4_801):
            await converted.play_chunk(pcm[start : start + 4_801])
        await converted.finish_response()
    assert converted.is_playing
    rate = audio_format.rate
    assert line.accepted == 2 * rate
    assert worst_error(samples_of(line.data, audio_format)[:rate], rate) < tolerance(audio_format)
    await converted.clear_buffer()
    assert not converted.is_playing


@every_format
async def test_positions_are_in_samples_of_the_session(audio_format: AudioFormat) -> None:
    line = Counting(audio_format)
    converted = ConvertedOutput(line, audio_format)
    assert isinstance(converted, SupportsPosition)
    await converted.start()
    for response in range(1, 30):
        await converted.play_chunk(bytes(2 * 2_401))  # no whole number of samples at other rates
        await converted.finish_response()
        line.heard = line.accepted
        position = converted.position()
        assert position == PlaybackPosition(2_401 * response, 2_401 * response, 2_401 * response, 0)


@every_format
async def test_an_interruption_is_exact(audio_format: AudioFormat) -> None:
    line = Counting(audio_format)
    converted = ConvertedOutput(line, audio_format)
    assert isinstance(converted, SupportsPosition)
    await converted.start()
    clock = clock_for(converted)
    clock.accept(24_000, 0.0)
    await converted.play_chunk(bytes(48_000))
    assert converted.position().accepted == 24_000
    line.heard = audio_format.rate * 300 // 1_000
    assert clock.heard(0.3) == 7_200
    await converted.clear_buffer()
    assert clock.clear(0.3) == 7_200
    assert converted.position() == PlaybackPosition(24_000, 7_200, 7_200, 16_800)
    clock.accept(2_400, 1.0)
    await converted.play_chunk(bytes(4_800))
    await converted.finish_response()
    line.heard += audio_format.rate // 10
    assert clock.heard(1.1) == 9_600


async def test_a_device_that_was_opened_anew_counts_from_there() -> None:
    line = Counting(AudioFormat.MULAW)
    converted = ConvertedOutput(line, AudioFormat.MULAW)
    assert isinstance(converted, SupportsPosition)
    await converted.start()
    await converted.play_chunk(bytes(48_000))
    line.heard = 800
    await converted.stop()
    line.discarded = line.accepted - line.heard
    await converted.start()
    assert converted.position() == PlaybackPosition(0, 0, 0, 0)
    await converted.play_chunk(bytes(48_000))
    line.heard += 800
    assert converted.position().heard == 2_400


# --- a whole call ------------------------------------------------------------------------------------


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("audio_format", "wire"), [(AudioFormat.MULAW, "audio/pcmu"), (AudioFormat.ALAW, "audio/pcma")]
)
async def test_a_telephone_call_passes_through_untouched(
    audio_format: AudioFormat, wire: str, converse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    law: Any = audio_format.value[0]
    encoder = Encoder(audio_format)
    silence = g711.SILENCE[law]
    said = silence * 8_000 + encoder.take(load_pcm(HELLO)) + encoder.finish() + silence * 8_000 * 60
    text = "You have reached a telephone line."

    class Earpiece(VirtualSpeaker):
        """Plays PCM16 at 24 kHz for the test; the agent gives it G.711."""

        async def play_chunk(self, chunk: bytes) -> None:
            heard.append(chunk)
            samples = np.frombuffer(g711.decode(chunk, law), "<i2")
            await super().play_chunk(np.repeat(samples, 3).tobytes())

    class Mouthpiece(Phone):
        async def stream_chunks(self) -> AsyncIterator[bytes]:
            for start in range(0, len(said), 160):
                await asyncio.sleep(0.02)
                yield said[start : start + 160]

    heard: list[bytes] = []
    sent: list[bytes] = []
    append = client_events.append_audio

    def append_audio(audio: bytes) -> bytes:
        sent.append(audio)
        return append(audio)

    monkeypatch.setattr(client_events, "append_audio", append_audio)
    earpiece, mouthpiece = Earpiece(), Mouthpiece()
    earpiece.audio_format = mouthpiece.audio_format = audio_format  # type: ignore[attr-defined]
    async with (
        RealtimeEmulator([text]) as server,
        converse(server, audio_input=mouthpiece, audio_output=earpiece) as conversation,
    ):
        await conversation.listener.wait_for("assistant_stopped_responding")
        session = await server.connected()
        audio = next(event for event in session.received if event["type"] == "session.update")["session"]["audio"]
        assert audio["input"]["format"] == audio["output"]["format"] == {"type": wire}
        assert len(b"".join(sent)) > 8_000 * 3
        assert g711.decode(b"".join(sent), law) == g711.decode(said[: len(b"".join(sent))], law)
        spoken = audio_formats.AudioFormat(wire).from_pcm(audio_formats.placeholder_speech(text))
        assert g711.decode(b"".join(heard), law) == g711.decode(spoken, law)
        milliseconds = math.ceil(1_000 * len(text) / CHARACTERS_PER_SECOND)
        assert earpiece.heard_samples == 24 * milliseconds
        assert conversation.listener.all("agent_error") == []


@pytest.mark.virtual_clock
async def test_an_interruption_on_the_telephone_is_told_in_milliseconds_of_the_line(converse: Any) -> None:
    class Earpiece(Counting):
        """Plays by the clock, one byte after the other."""

        started_at: float | None = None

        async def play_chunk(self, chunk: bytes) -> None:
            if self.started_at is None:
                self.started_at = asyncio.get_running_loop().time()
            await super().play_chunk(chunk)

        def position(self) -> PlaybackPosition:
            if self.started_at is not None and not self.discarded:
                elapsed = asyncio.get_running_loop().time() - self.started_at
                self.heard = min(self.accepted, int(elapsed * 8_000 + 0.5))
            return super().position()

    text = "This is a long answer, and the caller does not want to hear all of it."
    earpiece = Earpiece(AudioFormat.MULAW)
    async with (
        RealtimeEmulator([text], detect_speech=False) as server,
        converse(server, audio_output=earpiece) as conversation,
    ):
        await conversation.agent.send_message("Hello?")
        await conversation.listener.wait_for("assistant_started_responding")
        await asyncio.sleep(1.5)
        await conversation.agent.interrupt()
        await conversation.listener.wait_for("agent_interrupted")
        await asyncio.sleep(0.5)
        session = await server.connected()
        (truncation,) = [event for event in session.received if event["type"] == "conversation.item.truncate"]
        assert truncation["audio_end_ms"] == 1_500
        assert conversation.listener.all("agent_error") == []
