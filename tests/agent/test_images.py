from pathlib import Path

import pytest

from rtvoice.agent import images
from rtvoice.agent.images import image_url

PNG = b"\x89PNG\r\n\x1a\n rest"
JPEG = b"\xff\xd8\xff rest"


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "https://example.com/a.png", "http://127.0.0.1/a.png"])
async def test_urls_pass(url: str) -> None:
    assert await image_url(url) == url


@pytest.mark.parametrize(("image", "kind"), [(PNG, "png"), (JPEG, "jpeg")])
async def test_bytes_and_files_become_urls(image: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(image)
    url = await image_url(image)
    assert url.startswith(f"data:image/{kind};base64,")
    assert await image_url(tmp_path / "image") == url


@pytest.mark.parametrize("wrong", ["cat.png", "data:text/plain,x", "", b"GIF89a", b""])
async def test_what_is_no_image_is_refused(wrong: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"image|PNG"):
        await image_url(wrong)


async def test_other_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="int"):
        await image_url(5)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="nowhere"):
        await image_url(tmp_path / "nowhere.png")


async def test_large_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", 1_000)
    large = PNG + bytes(1_000)
    (tmp_path / "large.png").write_bytes(large)
    for image in (large, tmp_path / "large.png", "data:image/png;base64," + "A" * 2_000):
        with pytest.raises(ValueError, match="scale it down"):
            await image_url(image)
