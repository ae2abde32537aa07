"""The command: what it prints and returns for what the checks find."""

import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from rtvoice.cli.doctor import network, setup, sound
from rtvoice.cli.doctor.findings import Finding

OK = Finding("python", "ok", "Python 3.13", details={"version": "3.13"})
WARNING = Finding("loudspeaker", "warning", "It is loud.", "Turn it down.")
PROBLEM = Finding("service", "problem", "It refuses the key.", "Check the key.")


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[object]]:
    """Let the checks find something; the arguments they got come back."""
    asked: list[object] = []

    def prepare(here: Finding = OK, heard: Finding = OK, there: Finding = OK) -> list[object]:
        async def check_sound(*devices: object) -> AsyncIterator[Finding]:
            asked.extend(devices)
            yield heard

        async def check_service(*address: object) -> Finding:
            asked.extend(address)
            return there

        def check_setup() -> Iterator[Finding]:
            yield here

        monkeypatch.setattr(setup, "check_setup", check_setup)
        monkeypatch.setattr(sound, "check_sound", check_sound)
        monkeypatch.setattr(network, "check_service", check_service)
        return asked

    return prepare


def test_everything_works(
    rtvoice: Callable[..., int], find: Callable[..., list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = find()
    assert rtvoice("doctor", "--input", "3", "--output", "usb", "--base-url", "ws://there", "--model", "m") == 0
    assert asked == [3, "usb", "ws://there", "m"]
    out = capsys.readouterr().out
    assert out.startswith("ok       python      Python 3.13\n")
    assert out.endswith("\nEverything that was checked works.\n")


def test_warnings_are_no_failure(
    rtvoice: Callable[..., int], find: Callable[..., list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    find(heard=WARNING)
    assert rtvoice("doctor") == 0
    out = capsys.readouterr().out
    assert "warning  loudspeaker It is loud.\n                     -> Turn it down.\n" in out
    assert "It works, with 1 thing to know about." in out


def test_a_problem_is_a_failure(
    rtvoice: Callable[..., int], find: Callable[..., list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    find(there=PROBLEM)
    assert rtvoice("doctor") == 1
    assert "1 problem to solve" in capsys.readouterr().out


def test_what_is_not_wanted_is_not_done(
    rtvoice: Callable[..., int], find: Callable[..., list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = find()
    assert rtvoice("doctor", "--no-sound", "--offline") == 0
    assert asked == []
    assert "Not checked: --no-sound." in capsys.readouterr().out


def test_who_wants_no_sound_needs_no_sound_card(
    rtvoice: Callable[..., int], find: Callable[..., list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    find(here=PROBLEM)
    assert rtvoice("doctor", "--no-sound", "--offline") == 0
    assert "It works, with 1 thing to know about." in capsys.readouterr().out


def test_without_devices_there_is_no_chirp(
    rtvoice: Callable[..., int], find: Callable[..., list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = find(here=Finding("devices", "problem", "There are none.", "Connect one."))
    assert rtvoice("doctor", "--offline") == 1
    assert asked == []
    assert "there is nothing to check it with" in capsys.readouterr().out


def test_for_programs(
    rtvoice: Callable[..., int], find: Callable[..., list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    find(there=PROBLEM)
    assert rtvoice("doctor", "--json") == 1
    findings = json.loads(capsys.readouterr().out)
    assert findings[0] == {
        "check": "python",
        "status": "ok",
        "message": "Python 3.13",
        "remedy": "",
        "details": {"version": "3.13"},
    }
    assert findings[-1]["remedy"] == "Check the key."
