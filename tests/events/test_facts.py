import dataclasses

import pytest

from rtvoice import events
from rtvoice.events import AgentError, AgentErrorEvent, PlaybackCut

POSITIONAL = {
    "AgentStartingEvent": [], "AgentSessionConnectedEvent": [], "AgentStoppedEvent": [],
    "UserStartedSpeakingEvent": [], "UserStoppedSpeakingEvent": [],
    "UserTranscriptChunkReceivedEvent": ["chunk"],
    "UserTranscriptCompletedEvent": ["transcript", "item_id"],
    "AssistantStartedRespondingEvent": [], "AssistantStoppedRespondingEvent": [],
    "AssistantTranscriptChunkReceivedEvent": ["chunk"],
    "AssistantTranscriptDeltaEvent": ["delta", "item_id", "output_index", "content_index"],
    "AssistantTranscriptCompletedEvent": ["transcript", "item_id", "output_index", "content_index"],
    "AssistantInterruptedEvent": ["item_id", "played_ms"],
    "AudioPlaybackCompletedEvent": [],
    "AgentErrorEvent": ["error", "event_id"],
    "SupervisorStartedEvent": [], "SupervisorFinishedEvent": [],
    "UserInactivityCountdownEvent": ["remaining_seconds"],
    "UserInactivityTimeoutEvent": ["timeout_seconds"],
    "UpdateSpeechSpeedCommand": ["speed"],
    "UpdateToolChoiceCommand": ["tool_choice"],
    "UpdateSessionToolsCommand": ["tools"],
    "CancelSupervisorCommand": [],
    "UpdateSupervisorCommand": ["message"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "fields"), POSITIONAL.items(), ids=POSITIONAL.keys())
def test_events_of_0_7_take_the_same_arguments_in_the_same_order(name: str, fields: list[str]) -> None:
    event = getattr(events, name)
    assert [field.name for field in dataclasses.fields(event) if not field.kw_only] == fields
    made = event(*fields)
    assert [getattr(made, field) for field in fields] == fields
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):  # Python 3.11 trips over its own message
        made.anything = 1  # frozen, and without __dict__


def test_an_interruption_may_know_nothing() -> None:
    assert events.AssistantInterruptedEvent() == events.AssistantInterruptedEvent(None, None)


def test_an_error_reads_as_type_and_message() -> None:
    error = AgentError("server_error", "It broke.")
    assert str(error) == "[server_error] It broke."
    assert (error.code, error.event_id, error.param) == (None, None, None)
    assert AgentErrorEvent(error).event_id is None


def cut(played_ms: int, received_ms: int = 2_000, *, complete: bool = True) -> PlaybackCut:
    return PlaybackCut(item_id="a", content_index=0, played_ms=played_ms, received_ms=received_ms, complete=complete)


WORDS = "One two three four five six seven."


def test_words_are_cut_like_their_sound() -> None:
    assert cut(0).heard_of(WORDS) == ""
    assert cut(2_000).heard_of(WORDS) == WORDS
    assert cut(1_000).heard_of(WORDS) == "One two three"
    assert cut(0, 0, complete=False).heard_of(WORDS) == ""
    assert cut(1_000, complete=False).heard_of(WORDS) in WORDS
    assert cut(60_000, 60_000, complete=False).heard_of(WORDS) == WORDS


@pytest.mark.parametrize("played_ms", range(0, 2_001, 50))
def test_no_word_is_cut_in_two(played_ms: int) -> None:
    heard = cut(played_ms).heard_of(WORDS)
    assert WORDS.startswith(heard)
    assert WORDS[len(heard) : len(heard) + 1] in ("", " ") or heard == ""
