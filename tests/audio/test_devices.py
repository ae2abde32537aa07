import pytest

from rtvoice.audio import devices
from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice, AudioStats, PlaybackPosition

FIVE = ("start", "stop", "play_chunk", "clear_buffer", "is_playing")
FOUR = ("start", "stop", "stream_chunks", "is_active")


@pytest.mark.parametrize(("base", "members"), [(AudioOutputDevice, FIVE), (AudioInputDevice, FOUR)])
def test_every_member_is_abstract(base: type, members: tuple[str, ...]) -> None:
    assert base.__abstractmethods__ == frozenset(members)
    for missing in members:
        incomplete = type("Incomplete", (base,), {name: None for name in members if name != missing})
        with pytest.raises(TypeError, match=missing):
            incomplete()
    type("Complete", (base,), dict.fromkeys(members))()


@pytest.mark.parametrize(
    ("protocol", "members"),
    [
        ("SupportsPosition", ["position"]),
        ("SupportsFinishResponse", ["finish_response"]),
        ("SupportsPause", ["pause", "resume"]),
        ("SupportsDrain", ["drain"]),
        ("SupportsTap", ["add_tap"]),
        ("SupportsReopen", ["reopen"]),
        ("ReportsLoss", ["when_lost"]),
        ("ReportsStats", ["stats"]),
    ],
)
def test_optional_protocols_are_found_by_their_members(protocol: str, members: list[str]) -> None:
    assert isinstance(type("Device", (), dict.fromkeys(members, print))(), getattr(devices, protocol))
    for missing in members:
        partial = type("Device", (), {name: print for name in members if name != missing})()
        assert not isinstance(partial, getattr(devices, protocol))


def test_values_are_immutable() -> None:
    with pytest.raises(AttributeError):
        PlaybackPosition(1, 1, 1, 0).heard = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        AudioStats("mic", 24_000, 1.0).overflows = 2  # type: ignore[misc]
