import enum
import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from rtvoice.errors import ToolDefinitionError
from rtvoice.tools.status import check_status, instance_of, render_status


class Genre(enum.Enum):
    ROCK = "rock"


class Song(BaseModel):
    title: str
    year: int = 1970
    loud: bool = True
    rating: float = 1.0
    genre: Genre = Genre.ROCK
    day: date | None = None
    artist_name: str = Field(default="", alias="artistName")


SONG = Song(title="Roxanne", artistName="The Police")


@pytest.mark.parametrize(
    ("template", "phrase"),
    [
        ("Playing {title} now.", "Playing Roxanne now."),
        ("{genre}, {year:>6}, {rating:.2f}, {title!r}", "rock,   1970, 1.00, 'Roxanne'"),
        ("By {artist_name}", "By The Police"),
        ("{title[0]} {{literally}}", "R {literally}"),
        ("{year:{year}}", "1970".rjust(1970)),
        ("No placeholders", "No placeholders"),
    ],
)
def test_templates(template: str, phrase: str) -> None:
    check_status("tool", template, Song)
    assert render_status("tool", template, SONG) == phrase


def test_a_dict_instead_of_an_instance() -> None:
    assert render_status("tool", "Playing {title}", {"title": "Roxanne", "more": 1}) == "Playing Roxanne"
    assert render_status("tool", "Playing {title} of {year}", {"title": "Roxanne"}) == "Playing {title} of {year}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{song} by {artist}", r"status names 'artist', 'song', which Song does not have; available: title, year"),
        ("{}", "status names ''"),
        ("{0}", "status names '0'"),
        ("{title:{width}}", "status names 'width'"),
        ("{artistName}", "status names 'artistName'"),
        ("{title", "status '{title' is not a valid template: "),
        ("title}", "status 'title}' is not a valid template: "),
    ],
)
def test_templates_that_cannot_work(template: str, message: str) -> None:
    with pytest.raises(ToolDefinitionError, match=f"tool 'tool': {message}"):
        check_status("tool", template, Song)


def test_a_model_without_fields() -> None:
    class Empty(BaseModel): ...

    with pytest.raises(ToolDefinitionError, match="which Empty does not have; available: none"):
        check_status("tool", "{x}", Empty)
    with pytest.raises(ToolDefinitionError, match="status reads 'x', which Empty does not have; available: none"):
        check_status("tool", lambda params: params.x, Empty)


def test_status_needs_a_model() -> None:
    with pytest.raises(ToolDefinitionError, match="tool 'tool': status needs param_model"):
        check_status("tool", "Working", None)


def test_status_of_another_type() -> None:
    with pytest.raises(ToolDefinitionError, match="tool 'tool': status must be a string or a function, not 5"):
        check_status("tool", 5, Song)  # type: ignore[arg-type]


def test_functions_are_tried_with_placeholders() -> None:
    seen: list[Any] = []

    def status(song: Song) -> str:
        seen.append(song)
        return f"{song.title}"

    check_status("tool", status, Song)
    assert dict(seen[0]) == {
        "title": "placeholder",
        "year": 0,
        "loud": False,
        "rating": 0,
        "genre": None,
        "day": None,
        "artist_name": "placeholder",
    }
    assert render_status("tool", status, SONG) == "Roxanne"


@pytest.mark.parametrize(
    "status",
    [
        lambda song: f"{song.genre.value}",
        lambda song: f"{song.day.year}",
        lambda song: f"{10 / song.year}",
        lambda song: {}[song.title],
    ],
)
def test_functions_that_need_real_values_are_accepted(status: Callable[[Song], str]) -> None:
    check_status("tool", status, Song)


def test_functions_without_signature_are_accepted() -> None:
    class Opaque:
        __signature__ = "none"

        def __call__(self, song: Song) -> str:
            return song.title

    check_status("tool", Opaque(), Song)


async def asynchronous(song: Song) -> str:
    return song.title


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (lambda song: song.artist, "status reads 'artist', which Song does not have; available: title, year"),
        (lambda song: 5, "status must return a string, not int"),
        (lambda song: asynchronous(song), "status must return a string, not coroutine"),
        (lambda: "x", "status must take one argument, the Song"),
        (lambda song, more: "x", "status must take one argument, the Song"),
        (asynchronous, "status must be a plain function, not an async one"),
    ],
)
def test_functions_that_cannot_work(status: Any, message: str) -> None:
    with pytest.raises(ToolDefinitionError, match=f"tool 'tool': {message}"):
        check_status("tool", status, Song)


@pytest.mark.parametrize(
    "status",
    [
        lambda song: {}[song.title],
        lambda song: song.year,
        lambda song: asynchronous(song),
        "{title.nothing}",
        "{title:d}",
    ],
)
def test_a_failing_status_is_logged_and_skipped(status: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert render_status("play", status, SONG) is None
    assert "the status of tool 'play' failed" in caplog.text
    assert "Roxanne" not in caplog.text


def test_instance_of_ignores_aliases_and_frozen() -> None:
    class Frozen(BaseModel):
        model_config = ConfigDict(frozen=True)
        value: int = Field(alias="other")

    instance = instance_of(Frozen, {"value": "unchecked"})
    assert isinstance(instance, Frozen)
    assert (instance.value, repr(instance)) == ("unchecked", "Frozen(value='unchecked')")
