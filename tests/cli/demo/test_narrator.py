import asyncio
import io
import re

import pytest

from rtvoice.cli.demo.narrator import Narrator
from rtvoice.cli.terminal import Terminal
from rtvoice.events import (
    AgentError,
    AssistantInterruptedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptDeltaEvent,
    Event,
    EventBus,
    PlaybackCut,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
    UserStartedSpeakingEvent,
    UserStoppedSpeakingEvent,
    UserTranscriptChunkReceivedEvent,
    UserTranscriptCompletedEvent,
    UserTranscriptFailedEvent,
)
from rtvoice.testing import clock

LONG = "one two three four five six seven eight nine ten eleven twelve"


def tell(narrator: Narrator, *happens: Event | float) -> None:
    """Let events happen, and let so many seconds pass between them."""

    async def play() -> None:
        bus = EventBus()
        narrator.follow(bus)
        await asyncio.sleep(3)
        await narrator.on_agent_session_connected()
        for thing in happens:
            if isinstance(thing, Event):
                await bus.dispatch(thing)
            else:
                await asyncio.sleep(thing)

    clock.run(play())


def words(text: str, response_id: str = "r") -> Event:
    return AssistantTranscriptDeltaEvent(text, "item", 0, 0, response_id=response_id)


def audible(response_id: str = "r") -> Event:
    return AssistantStartedRespondingEvent(response_id=response_id)


def silent(response_id: str = "r") -> Event:
    return AssistantStoppedRespondingEvent(response_id=response_id)


def cut(played_ms: int) -> Event:
    return AssistantInterruptedEvent(
        "item",
        played_ms,
        cuts=(PlaybackCut(item_id="item", content_index=0, played_ms=played_ms, received_ms=4000, complete=True),),
    )


@pytest.fixture
def narrator(plain: Terminal) -> Narrator:
    return Narrator(plain)


def test_a_turn_and_its_answer(narrator: Narrator, paper: io.StringIO) -> None:
    tell(
        narrator,
        61.0,
        UserStartedSpeakingEvent(),
        1.0,
        UserStoppedSpeakingEvent(),
        UserTranscriptCompletedEvent("Hello?", "u"),
        0.25,
        words("Hi"),
        audible(),
        words(" there."),
        2.0,
        silent(),
    )
    assert paper.getvalue().splitlines() == [
        "  1:01.0  user       Hello?",
        "  1:02.2  assistant  Hi there.  [first sound after 250 ms]",
    ]
    assert narrator.turns == 1


def test_only_the_first_sound_of_a_turn_is_timed(narrator: Narrator, paper: io.StringIO) -> None:
    stopped = UserStoppedSpeakingEvent()
    tell(narrator, stopped, audible("a"), silent("a"), audible("b"), silent("b"), stopped, UserStartedSpeakingEvent())
    assert paper.getvalue().count("first sound") == 1
    tell(narrator, audible("c"), silent("c"))
    assert paper.getvalue().count("first sound") == 1


def test_late_transcripts_are_told_with_the_time_of_their_turn(narrator: Narrator, paper: io.StringIO) -> None:
    tell(
        narrator,
        1.0,
        UserStartedSpeakingEvent(),
        1.0,
        UserStartedSpeakingEvent(),
        5.0,
        UserTranscriptCompletedEvent("First.", "u1"),
        UserTranscriptFailedEvent(item_id="u2", error=AgentError("transcription_error", "too noisy")),
        UserTranscriptCompletedEvent("", "u3"),
    )
    assert paper.getvalue().splitlines() == [
        "  0:01.0  user       First.",
        "  0:02.0  user       (not written down: too noisy)",
        "  0:07.0  user       (no words)",
    ]


def test_where_words_are_not_written_down_the_length_is_told(plain: Terminal, paper: io.StringIO) -> None:
    narrator = Narrator(plain, user="you", knows_words=False)
    tell(
        narrator,
        UserStoppedSpeakingEvent(),
        UserStartedSpeakingEvent(),
        1.5,
        UserStoppedSpeakingEvent(),
    )
    assert paper.getvalue() == "  0:00.0  you        (1.5 s of speech)\n"


def test_an_interruption_leaves_what_was_heard(narrator: Narrator, paper: io.StringIO) -> None:
    tell(narrator, audible(), words(LONG), 2.0, cut(2000), silent(), words(" more"))
    assert paper.getvalue().splitlines() == [
        "  0:00.0  assistant  one two three four five six --",
        "  0:02.0  interrupt  2.00 s were heard of the 4.00 s received so far",
    ]
    assert narrator.interruptions == ["2.00 s were heard of the 4.00 s received so far"]


def test_an_interruption_before_any_sound(narrator: Narrator, paper: io.StringIO) -> None:
    tell(narrator, AssistantInterruptedEvent())
    assert paper.getvalue() == "  0:00.0  interrupt  the answer was stopped before any of it could be heard\n"


def test_an_answer_ends_at_the_latest_when_the_next_begins(narrator: Narrator, paper: io.StringIO) -> None:
    tell(narrator, audible("a"), words("One.", "a"), audible("b"), silent("a"), words("Two.", "b"), silent("b"))
    assert [line.split("  ")[-1] for line in paper.getvalue().splitlines()] == ["One.", "Two."]


def test_sound_without_a_transcript(narrator: Narrator, paper: io.StringIO) -> None:
    tell(narrator, audible(), silent())
    assert "(sound without words)" in paper.getvalue()


def test_tools(narrator: Narrator, paper: io.StringIO) -> None:
    tell(
        narrator,
        ToolCallRequestedEvent(call_id="c", name="look", arguments={"at": "sky", "times": 2}, response_id="r"),
        1.5,
        ToolCallFinishedEvent(call_id="c", name="look", output="blue"),
    )
    assert paper.getvalue().splitlines() == [
        "  0:00.0  tool       look(at='sky', times=2) ...",
        "  0:01.5  tool       ... look returned after 1.5 s: blue",
    ]
    assert narrator.tool_calls == 1


def test_errors_are_told_and_kept(narrator: Narrator, paper: io.StringIO) -> None:
    asyncio.run(narrator.on_agent_error(AgentError("server_error", "it burns")))
    assert paper.getvalue() == "error: it burns\n"
    assert narrator.errors == ["it burns"]


# --- on a terminal ---


@pytest.fixture
def on_screen(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Narrator:
    monkeypatch.setenv("COLUMNS", "51")
    return Narrator(Terminal(screen, screen, is_live=True, has_color=False))


def live_lines(screen: io.StringIO) -> list[str]:
    """Return what stood in the live line, one after the other."""
    return [line for line in re.split(r"\r\x1b\[2K|\n", screen.getvalue()) if line]


def test_who_speaks_stands_in_the_live_line_with_the_words_so_far(on_screen: Narrator, screen: io.StringIO) -> None:
    tell(
        on_screen,
        UserStartedSpeakingEvent(),
        UserTranscriptChunkReceivedEvent("What ", item_id="u"),
        UserTranscriptChunkReceivedEvent("now?", item_id="u"),
        words("Now "),
        audible(),
        words("then."),
        UserTranscriptChunkReceivedEvent("(late)", item_id="u"),
        UserTranscriptCompletedEvent("What now?", "u"),
        silent(),
        UserTranscriptChunkReceivedEvent("too late"),
    )
    assert live_lines(screen) == [
        "  0:00.0  user       (speaks)",
        "  0:00.0  user       What",
        "  0:00.0  user       What now?",
        "  0:00.0  user       (speaks)",
        "  0:00.0  assistant  Now",
        "  0:00.0  assistant  Now then.",
        "  0:00.0  user       What now?",
        "  0:00.0  assistant  Now then.",
        "  0:00.0  assistant  Now then.",
    ]


def test_lines_fit_the_screen(on_screen: Narrator, screen: io.StringIO) -> None:
    tell(on_screen, UserStoppedSpeakingEvent(), audible(), words(LONG), 1.0, silent())
    assert live_lines(screen)[1:] == [
        "  0:00.0  assistant  ...ght nine ten eleven twelve",
        "  0:00.0  assistant  one two three four five six",
        "                     seven eight nine ten eleven",
        "                     twelve",
        "                     [first sound after 0 ms]",
    ]
    assert max(map(len, live_lines(screen))) <= 50
