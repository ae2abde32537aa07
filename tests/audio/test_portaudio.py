import sys
from typing import Any

import pytest

from rtvoice.audio import portaudio
from rtvoice.audio.portaudio import DeviceInfo, choose_device, find_device, load_sounddevice, open_stream
from rtvoice.errors import AudioDeviceError, AudioExtraMissingError, ConfigurationError

BAD_RATE, BAD_CHANNELS = -9997, -9998


def test_choose_device() -> None:
    assert choose_device(None, None) is None
    assert choose_device(3, None) == 3
    assert choose_device(None, "usb") == "usb"
    assert choose_device(0, None) == 0
    with pytest.raises(ConfigurationError, match="not both"):
        choose_device(0, "usb")


def test_load_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioExtraMissingError, match=r"pip install 'rtvoice\[audio\]'"):
        load_sounddevice()


def test_load_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(portaudio.importlib, "import_module", fail)
    with pytest.raises(ImportError, match="apt install libportaudio2"):
        load_sounddevice()


async def test_load_gives_the_module(sounddevice: Any) -> None:
    assert load_sounddevice() is sounddevice


@pytest.mark.parametrize(
    ("wanted", "kind", "index"),
    [
        (None, "input", 0),
        (1, "input", 1),
        ("USB Microphone", "input", 1),
        ("usb microphone", "input", 1),
        ("pro", "input", 3),
        ("microphone", "input", 1),  # the default host API wins
        ("usb", "output", 2),
        ("Built-in", "output", 0),
    ],
)
async def test_find(sounddevice: Any, wanted: Any, kind: Any, index: int) -> None:
    assert find_device(sounddevice, wanted, kind).index == index


async def test_find_prefers_the_default_host_api(sounddevice: Any) -> None:
    sounddevice.default.hostapi = 1
    assert find_device(sounddevice, "microphone", "input").index == 3


async def test_find_tells_what_the_device_is(sounddevice: Any) -> None:
    device = find_device(sounddevice, 3, "input")
    assert device == DeviceInfo(3, "usb microphone pro", 16_000, "Windows WASAPI")
    assert str(device) == "'usb microphone pro' (device 3, Windows WASAPI)"


@pytest.mark.parametrize("wanted", [2, 99, "no such thing"])
async def test_find_lists_what_there_is(sounddevice: Any, wanted: Any) -> None:
    with pytest.raises(AudioDeviceError, match=f"no input device matches {wanted!r}") as caught:
        find_device(sounddevice, wanted, "input")
    assert "1: USB Microphone" in str(caught.value)
    assert "USB Speaker" not in str(caught.value)


async def test_find_without_any_device(sounddevice: Any) -> None:
    sounddevice.devices, sounddevice.default_index = [], -1
    with pytest.raises(AudioDeviceError, match=r"no default output device(.|\n)*\(none\)"):
        find_device(sounddevice, None, "output")


def opened(sounddevice: Any, refuse: Any, *, index: int = 0, kind: Any = "output") -> Any:
    sounddevice.refuse = refuse
    return open_stream(
        sounddevice,
        find_device(sounddevice, index, kind),
        kind,
        sample_rate=24_000,
        block_ms=20,
        latency="low",
        callback=lambda *_: None,
        finished_callback=lambda: None,
    )


def refuse_unless(sounddevice: Any, **wanted: Any) -> Any:
    codes = {"samplerate": BAD_RATE, "channels": BAD_CHANNELS, "extra_settings": BAD_RATE}

    def refuse(settings: dict[str, Any]) -> Exception | None:
        for name, value in wanted.items():
            if settings[name] != value:
                return sounddevice.PortAudioError("refused", codes[name])
        return None

    return refuse


async def test_open_asks_for_what_is_wanted_first(sounddevice: Any) -> None:
    stream = opened(sounddevice, lambda settings: None)
    assert (stream.rate, stream.channels, stream.latency_s) == (24_000, 1, 0.04)
    (settings,) = sounddevice.attempts
    assert (settings["samplerate"], settings["blocksize"], settings["dtype"]) == (24_000, 480, "int16")
    assert (settings["device"], settings["latency"], settings["extra_settings"]) == (0, "low", None)


async def test_open_falls_back_to_the_devices_own_rate(sounddevice: Any) -> None:
    stream = opened(sounddevice, refuse_unless(sounddevice, samplerate=44_100))
    assert (stream.rate, stream.channels) == (44_100, 1)
    assert sounddevice.stream.settings["blocksize"] == 882


async def test_open_falls_back_to_other_rates(sounddevice: Any) -> None:
    assert opened(sounddevice, refuse_unless(sounddevice, samplerate=16_000)).rate == 16_000
    assert opened(sounddevice, refuse_unless(sounddevice, samplerate=8_000)).rate == 8_000  # a Bluetooth headset


async def test_open_falls_back_to_stereo(sounddevice: Any) -> None:
    stream = opened(sounddevice, refuse_unless(sounddevice, samplerate=48_000, channels=2), index=2)
    assert (stream.rate, stream.channels) == (48_000, 2)


async def test_open_asks_wasapi_to_convert(sounddevice: Any) -> None:
    refuse = refuse_unless(sounddevice, extra_settings={"auto_convert": True})
    stream = opened(sounddevice, refuse, index=3, kind="input")
    assert stream.rate == 24_000


async def test_open_explains_a_refusal(sounddevice: Any) -> None:
    with pytest.raises(
        AudioDeviceError, match=r"'USB Speaker' \(device 2, ALSA\) cannot be opened: .*refused.*device="
    ):
        opened(sounddevice, refuse_unless(sounddevice, samplerate=1), index=2)
    assert len(sounddevice.attempts) == 10


@pytest.mark.parametrize("arguments", [("busy", -9985), ("no code",)])
async def test_open_does_not_try_formats_when_the_format_is_not_the_trouble(
    sounddevice: Any, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(AudioDeviceError, match="may use the microphone") as caught:
        opened(sounddevice, lambda settings: sounddevice.PortAudioError(*arguments), kind="input")
    assert len(sounddevice.attempts) == 1
    assert isinstance(caught.value.__cause__, sounddevice.PortAudioError)
