import pytest

from rtvoice.cli.exit_codes import FAILED, USAGE, exit_code
from rtvoice.errors import AudioDeviceError, AudioExtraMissingError, ConnectionFailed, MissingCredentialsError


@pytest.mark.parametrize("error", [MissingCredentialsError("no key"), AudioExtraMissingError("no sounddevice")])
def test_something_has_to_be_set_right_first(error: Exception) -> None:
    assert exit_code(error) == USAGE == 2


@pytest.mark.parametrize("error", [ConnectionFailed("no route"), AudioDeviceError("unplugged"), OSError("disk full")])
def test_something_went_wrong(error: Exception) -> None:
    assert exit_code(error) == FAILED == 1
