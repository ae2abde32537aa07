"""Files that only their owner may read: recordings and logs of what people have said."""

import os
import stat
from pathlib import Path


def open_private(path: Path) -> int:
    """Create or empty a file that only its owner may read, with its parent folders; return its descriptor.

    What is no regular file, such as a pipe or ``/dev/null``, keeps its mode. Windows has no such modes: there the
    folder decides who may read.

    Raises:
        OSError: The file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
    if hasattr(os, "fchmod") and stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)  # also if the file was there before
    return descriptor
