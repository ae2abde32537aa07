"""Our devices on real PortAudio streams: ``tests/virtual-audio run pytest -m audio_device``.

Known noise is played and found again by cross-correlation. That shows start, end, drop-outs and clicks to the
sample, and depends on no clock.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from rtvoice.audio.loopback import measure_loopback
from rtvoice.audio.microphone import MicrophoneInput
from rtvoice.audio.portaudio import load_sounddevice
from rtvoice.audio.speaker import SpeakerOutput
from rtvoice.errors import AudioDeviceError

pytestmark = [
    pytest.mark.audio_device,
    pytest.mark.skipif(
        os.environ.get("VIRTUAL_AUDIO") != "1",
        reason="needs virtual devices: tests/virtual-audio run pytest -m audio_device",
    ),
]

if os.environ.get("VIRTUAL_AUDIO") == "1":
    load_sounddevice()  # now, and not in a test: PortAudio's JACK part keeps its sockets for the life of the process

VIRTUAL_AUDIO = Path(__file__).parent.parent / "virtual-audio"
Signal = npt.NDArray[np.float64]


def noise(seconds: float, seed: int = 1) -> bytes:
    """Return PCM in the band that every resampler on the way leaves alone."""
    count = int(24_000 * seconds)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count) * 4000)
    spectrum[count // 3 :] = 0  # above 8 kHz
    return np.fft.irfft(spectrum, count).astype("<i2").tobytes()


def signal(pcm: bytes) -> Signal:
    return np.frombuffer(pcm, "<i2").astype(float)


def find(heard: Signal, played: Signal) -> int:
    """Return where ``played`` begins in ``heard``."""
    size = 1 << (len(heard) + len(played)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard)]))


def correlation(one: Signal, other: Signal) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-9))


class Room:
    """What is recorded while a test plays."""

    def __init__(self, microphone: MicrophoneInput) -> None:
        self.microphone = microphone
        self.audio = bytearray()
        self.sounded = asyncio.Event()

    async def listen(self) -> None:
        async for chunk in self.microphone.stream_chunks():
            self.audio += chunk

    async def hear(self, seconds: float) -> None:
        """Wait until so much more was recorded."""
        target = len(self.audio) + int(seconds * 48_000)
        while len(self.audio) < target:
            await asyncio.sleep(0.01)


async def record(speaker: SpeakerOutput, play: object, *, source: str = "va_speaker_monitor") -> Signal:
    """Open both, let ``play(speaker, room)`` run, and return what was heard."""
    async with AsyncExitStack() as stack:
        microphone = MicrophoneInput(device=source)
        await microphone.start()
        stack.push_async_callback(microphone.stop)
        await speaker.start()
        stack.push_async_callback(speaker.stop)
        room = Room(microphone)
        async with asyncio.TaskGroup() as group:
            group.create_task(room.listen())
            await room.hear(0.3)
            await play(speaker, room)  # type: ignore[operator]
            await room.hear(0.5)
            await microphone.stop()
        return signal(bytes(room.audio))


@pytest.mark.parametrize(
    ("output", "source"), [("va_speaker", "va_speaker_monitor"), ("va_room", "va_mic")], ids=["speaker", "microphone"]
)
async def test_what_is_played_is_heard(output: str, source: str) -> None:
    pcm = noise(2)

    async def play(speaker: SpeakerOutput, room: Room) -> None:
        for start in range(0, len(pcm), 4001):
            await speaker.play_chunk(pcm[start : start + 4001])
        await speaker.finish_response()
        assert speaker.is_playing
        while speaker.is_playing:
            await asyncio.sleep(0.02)

    speaker = SpeakerOutput(device=output)
    heard = await record(speaker, play, source=source)
    start = find(heard, signal(pcm))
    assert correlation(heard[start : start + 48_000], signal(pcm)) > 0.98
    assert speaker.position().heard == 48_000
    assert speaker.stats().underruns == 0


@pytest.mark.parametrize("hard_clear", [False, True])
async def test_the_count_after_a_clear_is_what_was_heard(hard_clear: bool) -> None:
    pcm = noise(5)
    counts: list[int] = []

    async def play(speaker: SpeakerOutput, room: Room) -> None:
        await speaker.play_chunk(pcm)
        await room.hear(1.037)
        await speaker.clear_buffer()
        counts.append(speaker.position().rendered)

    heard = await record(SpeakerOutput(device="va_speaker", hard_clear=hard_clear), play)
    start = find(heard, signal(pcm)[:12_000])
    sounding = np.nonzero(np.abs(heard[start:]) > 3)[0]
    error_ms = (counts[0] - (sounding[-1] + 1)) / 24
    assert abs(error_ms) < (30 if hard_clear else 3)


async def test_the_live_position_follows_what_is_heard() -> None:
    pcm = noise(3)
    readings: list[tuple[int, int]] = []

    async def play(speaker: SpeakerOutput, room: Room) -> None:
        await speaker.play_chunk(pcm)
        for _ in range(10):
            await room.hear(0.1)
            position = speaker.position()
            readings.append((position.heard, position.rendered))

    await record(SpeakerOutput(device="va_speaker", latency=0.1), play)
    assert all(earlier[0] < later[0] for earlier, later in pairwise(readings))
    assert all(0 <= rendered - heard < 24 * 400 for heard, rendered in readings)


async def test_pause_loses_nothing() -> None:
    pcm = noise(2)

    async def play(speaker: SpeakerOutput, room: Room) -> None:
        await speaker.play_chunk(pcm)
        await speaker.finish_response()
        await room.hear(0.7)
        await speaker.pause()
        await room.hear(0.5)
        await speaker.resume()
        while speaker.is_playing:
            await asyncio.sleep(0.02)

    heard = await record(SpeakerOutput(device="va_speaker"), play)
    first, last = signal(pcm)[:6_000], signal(pcm)[-12_000:]
    start, end = find(heard, first), find(heard, last)
    assert correlation(heard[start : start + 6_000], first) > 0.98
    assert correlation(heard[end : end + 12_000], last) > 0.98
    assert end + 12_000 - start > 48_000 + 24 * 300  # there was a pause


async def test_open_and_close_again_and_again() -> None:
    speaker, microphone = SpeakerOutput(device="va_speaker"), MicrophoneInput(device="va_mic")
    for _ in range(5):
        await asyncio.gather(speaker.start(), microphone.start())
        await asyncio.gather(speaker.stop(), microphone.stop())
    assert not microphone.is_active


async def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AudioDeviceError, match="va_mic"):
        await MicrophoneInput(device="no such microphone").start()


@pytest.mark.skipif("JACK_DEFAULT_SERVER" not in os.environ, reason="needs `tests/virtual-audio jack 48000`")
async def test_a_device_with_a_rate_of_its_own() -> None:
    """JACK refuses 24 kHz; its dummy driver is silent, so the counts must do."""
    speaker, microphone = SpeakerOutput(device="system"), MicrophoneInput(device="system")
    await speaker.start()
    await microphone.start()
    assert speaker.stats().device_rate == microphone.stats().device_rate == 48_000
    await speaker.play_chunk(noise(0.5))
    await speaker.finish_response()
    received = 0
    async for chunk in microphone.stream_chunks():
        received += len(chunk)
        if received > 48_000 and not speaker.is_playing:
            break
    assert speaker.position().heard == 12_000
    await microphone.stop()
    await speaker.stop()


def test_a_sound_server_that_dies_ends_both_with_an_error(tmp_path: Path) -> None:
    """In a process and with a server of its own."""
    program = """
import asyncio, subprocess, sys
from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.errors import AudioDeviceError

async def main():
    microphone, speaker = MicrophoneInput(device="va_mic"), SpeakerOutput(device="va_speaker")
    await microphone.start()
    await speaker.start()
    chunks = microphone.stream_chunks()
    await anext(chunks)
    server = await asyncio.create_subprocess_exec(sys.argv[1], "stop", stdout=subprocess.DEVNULL)
    await server.wait()
    try:
        async for _ in chunks:
            pass
        print("the microphone ended in silence")
    except AudioDeviceError as error:
        print("microphone:", error)
    try:
        while True:
            await speaker.play_chunk(bytes(960))
            await asyncio.sleep(0.1)
    except AudioDeviceError as error:
        print("speaker:", error)
    assert not microphone.is_active and not speaker.is_playing
    await microphone.stop()
    await speaker.stop()

asyncio.run(main())
"""
    result = in_a_process_of_its_own(program, tmp_path)
    assert "microphone: the input device 'va_mic'" in result.stdout, result.stderr
    assert "speaker: the output device 'va_speaker'" in result.stdout


def in_a_process_of_its_own(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with a sound server that it may end; it gets the path of virtual-audio."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PULSE_", "ALSA_", "VIRTUAL_AUDIO"))
    } | {"VIRTUAL_AUDIO_DIR": str(folder)}
    try:
        return subprocess.run(
            [VIRTUAL_AUDIO, "run", sys.executable, "-c", program, VIRTUAL_AUDIO],
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        subprocess.run([VIRTUAL_AUDIO, "stop"], env=environment, stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize(("source", "sink"), [("", ""), ("device='va_mic'", "device='va_speaker'")])
def test_a_conversation_survives_a_restart_of_the_sound_server(source: str, sink: str, tmp_path: Path) -> None:
    program = """
import asyncio, subprocess, sys
from rtvoice import RealtimeAgent
from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.events import (
    AgentErrorEvent, AudioDeviceLostEvent, AudioDeviceRestoredEvent, AudioPlaybackCompletedEvent, UserAudioCapturedEvent
)
from rtvoice.testing import RealtimeEmulator

async def main():
    async with RealtimeEmulator(detect_speech=False) as server:
        speaker = SpeakerOutput(SINK)
        agent = RealtimeAgent(
            provider=server.provider, audio_input=MicrophoneInput(SOURCE), audio_output=speaker,
            greeting="This sentence is long enough to be interrupted by a sound server that is restarted meanwhile.",
        )
        told, over = [], asyncio.Event()
        captured = 0
        def count(event):
            nonlocal captured
            captured += len(event.pcm)
        for kind in AudioDeviceLostEvent, AudioDeviceRestoredEvent, AgentErrorEvent:
            agent.event_bus.subscribe(kind, told.append)
        agent.event_bus.subscribe(UserAudioCapturedEvent, count)
        agent.event_bus.subscribe(AudioPlaybackCompletedEvent, lambda _: over.set())
        agent_has_failed = lambda: any(type(event) is AgentErrorEvent for event in told)
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run())
            while speaker.position().heard < 24_000:
                await asyncio.sleep(0.02)
            received = speaker.position().accepted
            loop = asyncio.get_running_loop()
            died = loop.time()
            server = await asyncio.create_subprocess_exec(sys.argv[1], "stop", stdout=subprocess.DEVNULL)
            while len(told) < 2:
                await asyncio.sleep(0.01)
            print("noticed in time:", loop.time() - died < 1.5)
            await server.wait()
            server = await asyncio.create_subprocess_exec(sys.argv[1], "start", stdout=subprocess.DEVNULL)
            await server.wait()
            while len(told) < 4:
                await asyncio.sleep(0.01)
            before = captured
            await over.wait()
            while captured < before + 24_000 and not agent_has_failed():
                await asyncio.sleep(0.01)
            print("captured again:", captured >= before + 24_000)
            print("the rest was played:", 24_000 < speaker.position().heard < received - 20_000)
            print(*sorted(f"{type(event).__name__}({getattr(event, 'direction', event)})" for event in told))
            await agent.stop()

asyncio.run(main())
""".replace("SOURCE", source).replace("SINK", sink)
    result = in_a_process_of_its_own(program, tmp_path)
    assert result.stdout.splitlines()[-4:] == [
        "noticed in time: True",
        "captured again: True",
        "the rest was played: True",
        "AudioDeviceLostEvent(input) AudioDeviceLostEvent(output) "
        "AudioDeviceRestoredEvent(input) AudioDeviceRestoredEvent(output)",
    ], result.stderr


@pytest.mark.parametrize("device", ["'va_mic'", "None"])
def test_a_microphone_that_is_unplugged_is_not_taken_for_the_loudspeaker(device: str, tmp_path: Path) -> None:
    """The sound server moves the stream to the loudspeaker's monitor, and PortAudio notices nothing."""
    program = """
import asyncio, subprocess, sys
from rtvoice.audio import MicrophoneInput
from rtvoice.errors import AudioDeviceError

async def drain(microphone, name):
    try:
        async for _ in microphone.stream_chunks():
            pass
    except AudioDeviceError as error:
        print(name, "loudspeaker plays (va_speaker.monitor)" in str(error))

async def main():
    microphone = MicrophoneInput(device=DEVICE)
    await microphone.start()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(drain(microphone, "moved:"))
        await asyncio.sleep(0.5)
        await (await asyncio.create_subprocess_exec("pactl", "unload-module", "module-remap-source")).wait()
    try:
        await microphone.reopen()
    except AudioDeviceError as error:
        print("not opened there:", DEVICE is not None or "there is no microphone" in str(error))
    await microphone.stop()

asyncio.run(main())
""".replace("DEVICE", device)
    result = in_a_process_of_its_own(program, tmp_path)
    assert result.stdout.splitlines()[-2:] == ["moved: True", "not opened there: True"], result.stderr


@pytest.fixture
def echoing_room() -> Iterator[None]:
    subprocess.run([VIRTUAL_AUDIO, "echo", "60", "-12"], check=True)
    yield
    subprocess.run([VIRTUAL_AUDIO, "echo", "off"], check=True)


@pytest.mark.usefixtures("echoing_room")
async def test_the_chirp_of_rtvoice_doctor() -> None:
    report = await measure_loopback(MicrophoneInput(device="va_mic"), SpeakerOutput(device="va_speaker"))
    assert report.latency_ms is not None
    assert report.echo_db == pytest.approx(-12, abs=1.5)
    assert 60 < report.latency_ms < 500
