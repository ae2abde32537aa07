import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rtvoice.audio.devices import (
    AudioOutputDevice,
    PlaybackPosition,
    ReportsLoss,
    ReportsStats,
    SupportsDrain,
    SupportsFinishResponse,
    SupportsPause,
    SupportsPosition,
    SupportsReopen,
    SupportsTap,
)
from rtvoice.audio.speaker import SpeakerOutput
from rtvoice.errors import AudioDeviceError, AudioExtraMissingError, ConfigurationError

TONE = b"\xe8\x03" * 480  # 20 ms of 1000


@pytest.fixture
async def speaker(sounddevice: Any) -> AsyncIterator[SpeakerOutput]:
    output = SpeakerOutput(prebuffer_ms=0)
    await output.start()
    yield output
    await output.stop()


def test_offers_what_it_can() -> None:
    output = SpeakerOutput()
    for protocol in (
        AudioOutputDevice,
        SupportsPosition,
        SupportsFinishResponse,
        SupportsPause,
        SupportsTap,
        ReportsLoss,
        ReportsStats,
        SupportsDrain,
        SupportsReopen,
    ):
        assert isinstance(output, protocol)
    assert not output.is_playing
    assert output.position() == PlaybackPosition(0, 0, 0, 0)
    assert output.stats().device == ""


@pytest.mark.parametrize(
    "settings",
    [{"device_index": 1, "device": "usb"}, {"sample_rate": 0}, {"block_ms": 0}, {"prebuffer_ms": -1}],
)
def test_settings_that_cannot_work(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SpeakerOutput(**settings)


async def test_without_sounddevice_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    output = SpeakerOutput()
    with pytest.raises(AudioExtraMissingError):
        await output.start()
    await output.stop()


async def test_opens_the_device_that_is_meant(sounddevice: Any) -> None:
    output = SpeakerOutput(device="usb speaker", latency=0.1, block_ms=10)
    await output.start()
    settings = sounddevice.stream.settings
    assert (settings["device"], settings["samplerate"], settings["blocksize"]) == (2, 24_000, 240)
    assert settings["latency"] == 0.1
    assert output.stats().device == "USB Speaker"
    await output.stop()
    assert sounddevice.stream.calls == ["start", "abort", "close"]


async def test_plays_what_it_is_given(speaker: SpeakerOutput, sounddevice: Any) -> None:
    assert sounddevice.stream.pull(480) == bytes(960)
    await speaker.play_chunk(TONE[:333])
    await speaker.play_chunk(TONE[333:])
    assert sounddevice.stream.pull(480) == TONE
    assert sounddevice.stream.pull(480) == bytes(960)


async def test_playing_before_start_and_after_stop(sounddevice: Any) -> None:
    output = SpeakerOutput()
    with pytest.raises(AudioDeviceError, match="not started"):
        await output.play_chunk(TONE)
    await output.start()
    await output.stop()
    with pytest.raises(AudioDeviceError, match="not started"):
        await output.play_chunk(TONE)


async def test_is_playing_until_it_was_heard(speaker: SpeakerOutput, sounddevice: Any) -> None:
    now = asyncio.get_running_loop().time()
    assert not speaker.is_playing
    await speaker.play_chunk(TONE)
    assert speaker.is_playing
    sounddevice.stream.pull(480, audible=now + 60)
    assert speaker.position() == PlaybackPosition(accepted=480, rendered=480, heard=0, discarded=0)
    assert speaker.is_playing
    await speaker.play_chunk(TONE)
    sounddevice.stream.pull(480, audible=now - 60)  # long heard, and so is what came before
    assert not speaker.is_playing
    assert speaker.position() == PlaybackPosition(accepted=960, rendered=960, heard=960, discarded=0)


async def test_clear_counts_to_the_sample(speaker: SpeakerOutput, sounddevice: Any) -> None:
    await speaker.play_chunk(TONE * 10)
    sounddevice.stream.pull(480)
    await speaker.clear_buffer()
    position = speaker.position()
    assert (position.accepted, position.rendered, position.discarded) == (4800, 600, 4200)
    assert sounddevice.stream.pull(480)[240:] == bytes(720)
    assert sounddevice.stream.calls == ["start"]


async def test_clear_while_idle_and_while_closed(speaker: SpeakerOutput) -> None:
    await speaker.clear_buffer()
    await speaker.stop()
    await speaker.clear_buffer()
    assert speaker.position() == PlaybackPosition(0, 0, 0, 0)


async def test_hard_clear_drops_what_the_device_holds(sounddevice: Any) -> None:
    output = SpeakerOutput(prebuffer_ms=0, hard_clear=True)
    await output.clear_buffer()  # closed: nothing to drop
    await output.start()
    now = asyncio.get_running_loop().time()
    await output.play_chunk(TONE * 10)
    sounddevice.stream.pull(480, audible=now - 10)
    sounddevice.stream.pull(480, audible=now + 60)
    await output.clear_buffer()
    assert sounddevice.stream.calls == ["start", "abort", "start"]
    assert output.position() == PlaybackPosition(accepted=4800, rendered=480, heard=480, discarded=4320)
    assert not output.is_playing
    assert sounddevice.stream.pull(480) == bytes(960)
    await output.play_chunk(TONE)
    assert sounddevice.stream.pull(480) == TONE
    await output.stop()


async def test_a_short_answer_waits_for_more_until_it_is_finished(sounddevice: Any) -> None:
    output = SpeakerOutput(prebuffer_ms=60)
    await output.start()
    await output.play_chunk(TONE)
    assert sounddevice.stream.pull(480) == bytes(960)
    await output.finish_response()
    assert sounddevice.stream.pull(480) == TONE
    await output.stop()


async def test_pause_and_resume(speaker: SpeakerOutput, sounddevice: Any) -> None:
    await speaker.play_chunk(TONE * 3)
    sounddevice.stream.pull(480)
    await speaker.pause()
    sounddevice.stream.pull(480)
    assert sounddevice.stream.pull(480) == bytes(960)
    assert speaker.is_playing
    await speaker.resume()
    assert sounddevice.stream.pull(480)[240:] == TONE[240:]
    assert speaker.position().rendered == 480 + 120 + 480


async def test_stats_count_underruns(speaker: SpeakerOutput, sounddevice: Any) -> None:
    await speaker.play_chunk(TONE)
    sounddevice.stream.pull(960)
    await speaker.play_chunk(TONE)
    stats = speaker.stats()
    assert (stats.underruns, stats.device, stats.latency_ms) == (1, "Built-in Audio", 40.0)


async def test_a_tap_sees_what_is_rendered_silence_included(speaker: SpeakerOutput, sounddevice: Any) -> None:
    seen: list[tuple[bytes, float]] = []
    remove = speaker.add_tap(lambda pcm, at: seen.append((pcm, at)))
    now = asyncio.get_running_loop().time()
    sounddevice.stream.pull(480, audible=now + 0.05)
    await speaker.play_chunk(TONE)
    sounddevice.stream.pull(480, audible=now + 0.07)
    remove()
    sounddevice.stream.pull(480)
    assert [pcm for pcm, _ in seen] == [bytes(960), TONE]
    assert [at for _, at in seen] == pytest.approx([now + 0.05, now + 0.07], abs=0.002)


async def test_a_lost_device_makes_play_chunk_raise(speaker: SpeakerOutput, sounddevice: Any) -> None:
    await speaker.play_chunk(TONE)
    sounddevice.stream.die()
    await asyncio.sleep(0)
    assert not speaker.is_playing
    for _ in range(2):
        with pytest.raises(AudioDeviceError, match="ended by itself"):
            await speaker.play_chunk(TONE)
    await speaker.stop()
    await speaker.start()  # it may be back
    await speaker.play_chunk(TONE)
    assert sounddevice.stream.pull(480) == TONE


async def test_start_and_stop_in_any_order(sounddevice: Any) -> None:
    output = SpeakerOutput(prebuffer_ms=0)
    await output.stop()
    await output.start()
    with pytest.raises(AudioDeviceError, match="already started"):
        await output.start()
    await output.play_chunk(TONE * 2)
    sounddevice.stream.pull(480, audible=asyncio.get_running_loop().time() - 1)
    await output.stop()
    await output.stop()
    assert output.position() == PlaybackPosition(accepted=960, rendered=480, heard=480, discarded=480)
    await output.start()
    assert output.position() == PlaybackPosition(0, 0, 0, 0)
    await output.stop()


async def test_a_failed_start_can_be_repeated(sounddevice: Any) -> None:
    output = SpeakerOutput()
    sounddevice.refuse = lambda settings: sounddevice.PortAudioError("busy", -9985)
    with pytest.raises(AudioDeviceError, match="loudspeaker"):
        await output.start()
    sounddevice.refuse = lambda settings: None
    await output.start()
    await output.stop()


async def test_stop_while_it_opens_closes_it(sounddevice: Any) -> None:
    opening = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = threading.Event()

    def slow() -> None:
        loop.call_soon_threadsafe(opening.set)
        go_on.wait(10)

    sounddevice.on_start = slow
    output = SpeakerOutput()
    async with asyncio.TaskGroup() as group:
        group.create_task(output.start())
        await opening.wait()
        await output.stop()
        go_on.set()
    assert sounddevice.stream.calls == ["start", "abort", "close"]


async def test_it_says_when_it_is_lost_and_is_opened_again(sounddevice: Any) -> None:
    speaker = SpeakerOutput(device="USB Speaker", prebuffer_ms=0)
    lost = asyncio.Event()
    reasons: list[Exception] = []

    def on_lost(reason: Exception) -> None:
        reasons.append(reason)
        lost.set()

    remove = speaker.when_lost(on_lost)
    await speaker.start()
    await speaker.play_chunk(bytes(9_600))
    now = asyncio.get_running_loop().time()
    sounddevice.stream.pull(480, audible=now - 1)
    sounddevice.stream.pull(480, audible=now + 3_600)
    await asyncio.to_thread(sounddevice.stream.die)
    await lost.wait()
    assert "USB Speaker" in str(reasons[0])
    position = speaker.position()
    assert (position.heard, position.rendered, position.discarded) == (480, 480, 4_320)
    await speaker.reopen()
    assert speaker.position() == PlaybackPosition(0, 0, 0, 0)
    await speaker.play_chunk(bytes(960))
    sounddevice.stream.pull(480, audible=now - 1)
    assert speaker.position().heard == 480
    remove()
    await asyncio.to_thread(sounddevice.stream.die)
    await asyncio.sleep(0)
    assert len(reasons) == 1
    await speaker.stop()


async def test_underruns_are_counted_across_a_reopening(sounddevice: Any) -> None:
    speaker = SpeakerOutput(prebuffer_ms=0)
    await speaker.start()
    for _ in range(2):
        await speaker.play_chunk(bytes(960))
        sounddevice.stream.pull(960)
    assert speaker.stats().underruns == 1
    await speaker.reopen()
    assert speaker.stats().underruns == 1
    await speaker.stop()
    await speaker.start()
    assert speaker.stats().underruns == 0
    await speaker.stop()


async def test_drain_waits_until_all_is_heard(sounddevice: Any) -> None:
    speaker = SpeakerOutput(prebuffer_ms=0)
    await speaker.drain()
    await speaker.start()
    await speaker.play_chunk(bytes(960))
    async with asyncio.TaskGroup() as group:
        draining = group.create_task(speaker.drain())
        await asyncio.sleep(0)
        sounddevice.stream.pull(480, audible=asyncio.get_running_loop().time() + 0.02)
        await asyncio.sleep(0)
        assert not draining.done()
    assert speaker.position().heard == 480
    await speaker.stop()


@pytest.mark.parametrize("end", ["clear", "stop", "lose", "reopen"])
async def test_drain_does_not_wait_for_what_is_dropped(end: str, sounddevice: Any) -> None:
    speaker = SpeakerOutput(prebuffer_ms=0)
    await speaker.start()
    await speaker.play_chunk(bytes(480))
    async with asyncio.TaskGroup() as group:
        group.create_task(speaker.drain())
        await asyncio.sleep(0)
        if end == "clear":
            await speaker.clear_buffer()
        elif end == "stop":
            await speaker.stop()
        elif end == "lose":
            sounddevice.stream.die()
        else:
            await speaker.reopen()
    await speaker.stop()
