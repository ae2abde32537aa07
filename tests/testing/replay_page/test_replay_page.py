import json
import math
import re
from array import array
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from rtvoice.testing.replay_page import mu_law, render
from rtvoice.testing.session_timeline import SessionTimeline

TimelineOf = Callable[..., SessionTimeline]


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="session">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def level(code: int) -> int:
    """Decode a byte as G.711 says."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def test_mu_law_is_close_everywhere() -> None:
    samples = array("h", [0, 1, -1, 100, -100, 5_000, -5_000, 32_767, -32_768, *range(-32_768, 32_767, 97)])
    for sample, code in zip(samples, mu_law(samples.tobytes()), strict=True):
        assert math.isclose(sample, level(code), rel_tol=0.04, abs_tol=8), sample
    assert mu_law(b"\0\0") == b"\xff"
    assert mu_law(b"") == b""


def test_the_page_holds_everything_and_asks_for_nothing(timeline_of: TimelineOf) -> None:
    page = render(timeline_of())
    addresses = re.findall(r"""(?:src|href|url|action)\s*[=(]\s*["']?([^"'\s>)]+)""", page.split("<script")[0])
    assert addresses == ["data:,"]
    assert not re.search(r"https?://|wss?://|@import|fetch\(|XMLHttpRequest|WebSocket", page.replace(*w3(page)))
    assert "default-src &#x27;none&#x27;" in page
    assert "script-src &#x27;sha256-" in page
    assert page.count("<script") == 2
    data = data_of(page)
    assert data["duration"] == 6.0
    assert [row["kind"] for row in data["rows"]] == ["user", "tool", "assistant", "interruption", "error"]
    ((start, codes),) = [(piece["start"], b64decode(piece["audio"])) for piece in data["sound"]["assistant"]]
    assert (start, len(codes)) == (2.2, 43_200)


def w3(page: str) -> tuple[str, str]:
    """The page has no name space either; were there one, it would be no request."""
    return ("http://www.w3.org/2000/svg", "")


def test_what_was_said_cannot_end_the_script(timeline_of: TimelineOf) -> None:
    page = render(timeline_of(model="<b>model</b>"))
    assert "<img" not in page
    assert "&lt;b&gt;model&lt;/b&gt;" in page
    assert "onerror" in data_of(page)["rows"][0]["text"]


def test_without_sound_there_is_none_in_it(timeline_of: TimelineOf) -> None:
    page = render(timeline_of(redacted=["audio"]))
    assert data_of(page)["sound"] is None
    assert "The sound was left out" in page
    assert "The sound was left out" not in render(timeline_of())
