"""Exit codes of all commands."""

from typing import Final

from rtvoice.errors import AudioExtraMissingError, ConfigurationError, LocalExtraMissingError

DONE: Final = 0
FAILED: Final = 1
"""It began and went wrong."""
USAGE: Final = 2
"""It could not begin: wrong arguments, no key, an extra that is not installed."""
INTERRUPTED: Final = 130
"""Ctrl+C before it was done: 128 + SIGINT, as shells count."""


def exit_code(error: Exception) -> int:
    """Return the exit code for an error: 2 if the caller has to set something right first, else 1."""
    return USAGE if isinstance(error, ConfigurationError | AudioExtraMissingError | LocalExtraMissingError) else FAILED
