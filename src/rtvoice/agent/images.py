"""Images for the conversation."""

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Final

from rtvoice.errors import ConfigurationError

MAX_IMAGE_BYTES: Final = 15 * 2**20
"""Largest image that is sent, in bytes; larger ones cost a lot and gain nothing: scale them down."""

_MEDIA_TYPES: Final = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


async def image_url(image: str | bytes | Path) -> str:
    """Return the URL of an image for the server.

    Args:
        image: A data URL or https URL, which is passed on as it is; the bytes of a PNG or JPEG file; or its path.

    Raises:
        ConfigurationError: It is no such thing, or too large.
        OSError: The file cannot be read.
    """
    if isinstance(image, str):
        return _checked_url(image)
    if isinstance(image, Path):
        image = await asyncio.to_thread(_read, image)
    if not isinstance(image, bytes):
        raise TypeError(f"An image must be a URL, bytes or a pathlib.Path, not {type(image).__name__}")
    return _data_url(image)


def _checked_url(url: str) -> str:
    if not url.startswith(("data:image/", "https://", "http://")):
        raise ConfigurationError(
            "An image given as a string must be a data:image/... URL or an https URL; give a file as a pathlib.Path"
        )
    if url.startswith("data:"):
        _check_size(len(url) * 3 // 4)
    return url


def _data_url(image: bytes) -> str:
    _check_size(len(image))
    for magic, media_type in _MEDIA_TYPES.items():
        if image.startswith(magic):
            return f"data:{media_type};base64,{b64encode(image).decode()}"
    raise ConfigurationError("The image is neither PNG nor JPEG: the service takes no others")


def _read(path: Path) -> bytes:
    _check_size(path.stat().st_size)
    return path.read_bytes()


def _check_size(size: int) -> None:
    if size > MAX_IMAGE_BYTES:
        raise ConfigurationError(f"The image has {size:,} bytes; {MAX_IMAGE_BYTES:,} are the most: scale it down")
