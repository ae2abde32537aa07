"""The page in a real browser: it draws, plays, seeks, can be used by keyboard, and asks for nothing from outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from rtvoice.testing.replay_page import render
from rtvoice.testing.session_timeline import SessionTimeline

pytestmark = pytest.mark.timeout(120)


class Page(Protocol):
    """What `conftest.Browser` offers."""

    requests: list[str]
    problems: list[str]

    async def open(self, page: Path) -> None: ...
    async def call(self, method: str, **params: Any) -> dict[str, Any]: ...
    async def value(self, expression: str) -> Any: ...
    async def until(self, expression: str) -> None: ...
    async def press(self, key: str, code: str, number: int, *, modifiers: int = 0) -> None: ...
    async def click(self, x: float, y: float) -> None: ...


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


COLORS = """
(() => {
  const canvas = document.getElementById("timeline");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const counts = {};
  for (let i = 0; i < pixels.length; i += 4) {
    const color = [pixels[i], pixels[i + 1], pixels[i + 2], pixels[i + 3]].join();
    counts[color] = (counts[color] ?? 0) + 1;
  }
  return counts;
})()
"""
BLUE, GREEN, AMBER = "31,111,235,255", "18,128,92,255", "161,92,0,255"


async def test_it_works(browser: Page, timeline_of: Callable[..., SessionTimeline], tmp_path: Path) -> None:
    page = browser
    await page.open(write(tmp_path / "talk.html", render(timeline_of())))
    await page.until("audio.readyState >= 3")
    assert await page.value("document.title") == "talk.jsonl"
    assert await page.value("audio.duration") == pytest.approx(6.0, abs=0.01)

    # words as they were said, also such that look like a page
    rows = await page.value("[...document.querySelectorAll('#rows li')].map((row) => row.innerText)")
    assert len(rows) == 5
    assert "<img src=x onerror" in rows[0]
    assert "returned after 600 ms: 18 degrees" in rows[1]
    assert "first sound after 1.00 s; interrupted: 1.80 s were heard" in rows[2]
    assert await page.value("document.querySelector('.unheard').innerText.trim()") == "Oslo and the sun shines."

    # both voices, the tool
    colors = await page.value(COLORS)
    assert min(colors.get(BLUE, 0), colors.get(GREEN, 0)) > 1000
    assert colors.get(AMBER, 0) > 50
    assert await page.value("tracks.user.some((x) => x > 1000) && tracks.assistant.some((x) => x > 1000)")
    assert await page.value("tracks.assistant.slice(Math.round(4.01 * RATE)).every((x) => x === 0)")

    # play and pause with the space bar; the cursor moves
    await page.press(" ", "Space", 32)
    await page.until("!audio.paused && audio.currentTime > 0.3 && Number(document.getElementById('seek').value) > 0.2")
    assert await page.value("document.getElementById('play').getAttribute('aria-label')") == "Pause"
    await page.press(" ", "Space", 32)
    await page.until("audio.paused && document.getElementById('play').getAttribute('aria-label') === 'Play'")

    # seek: by a time in the list, by arrow keys, by the slider, by a click on the time line
    await page.value("document.querySelectorAll('#rows button')[2].click()")
    await page.until("Math.abs(audio.currentTime - 2.2) < 0.01")
    assert await page.value("document.querySelector('[aria-current]').className") == "assistant"
    await page.value("document.activeElement.blur()")
    await page.press("ArrowRight", "ArrowRight", 39)
    await page.until("Math.abs(audio.currentTime - 3.2) < 0.01")
    await page.press("ArrowLeft", "ArrowLeft", 37, modifiers=8)
    await page.until("audio.currentTime === 0")
    box = await page.value("JSON.parse(JSON.stringify(document.getElementById('timeline').getBoundingClientRect()))")
    await page.click(box["x"] + box["width"] / 2, box["y"] + 40)
    await page.until("Math.abs(audio.currentTime - 3.0) < 0.02")
    await page.value("$('seek').value = 5; $('seek').dispatchEvent(new Event('input'))")
    await page.until("Math.abs(audio.currentTime - 5) < 0.01 && $('clock').textContent.startsWith('0:05.0')")
    assert await page.value("$('seek').getAttribute('aria-valuetext')") == "0:05.0"

    # zoom, speed
    await page.value("$('in').click(); $('in').click()")
    assert await page.value("view.to - view.from") == pytest.approx(1.5)
    await page.value("goTo(0)")
    assert await page.value("view.from") == 0
    await page.value("$('out').click(); $('fit').click()")
    assert await page.value("[view.from, view.to]") == [0, 6]
    await page.value("$('speed').value = '2'; $('speed').dispatchEvent(new Event('change'))")
    assert await page.value("audio.playbackRate") == 2

    assert await page.value("document.title") == "talk.jsonl"
    assert page.problems == []
    assert all(address.startswith(("file:", "blob:", "data:")) for address in page.requests), page.requests


async def test_everything_has_a_name_and_can_be_reached_by_keyboard(
    browser: Page, timeline_of: Callable[..., SessionTimeline], tmp_path: Path
) -> None:
    await browser.open(write(tmp_path / "talk.html", render(timeline_of())))
    nodes = (await browser.call("Accessibility.getFullAXTree"))["nodes"]
    controls = {
        node["name"]["value"]: node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in ("button", "slider", "combobox", "image", "img")
    }
    assert "" not in controls
    assert controls["Play"] == "button"
    assert controls["Position"] == "slider"
    assert controls["Speed"] == "combobox"
    assert any(name.startswith("Time line of both voices") for name in controls)
    reached = []
    for _ in range(11):
        await browser.press("Tab", "Tab", 9)
        reached.append(await browser.value("document.activeElement.id || document.activeElement.className"))
    assert reached == ["seek", "play", "speed", "out", "fit", "in", *["time"] * 5]
    assert await browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert browser.problems == []


async def test_dark_and_narrow(browser: Page, timeline_of: Callable[..., SessionTimeline], tmp_path: Path) -> None:
    await browser.open(write(tmp_path / "talk.html", render(timeline_of(redacted=["audio"]))))
    light = await browser.value("getComputedStyle(document.body).backgroundColor")
    await browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert await browser.value("getComputedStyle(document.body).backgroundColor") != light
    size = {"width": 360, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    await browser.call("Emulation.setDeviceMetricsOverride", **size)
    await browser.until("innerWidth === 360 && document.documentElement.scrollWidth === 360")
    await browser.until("$('timeline').width === Math.round($('timeline').clientWidth * 2)")
    assert await browser.value("tracks.user.every((x) => x === 0) && audio.duration") == pytest.approx(6.0, abs=0.01)
    assert browser.problems == []
