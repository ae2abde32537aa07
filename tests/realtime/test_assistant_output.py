from typing import Any

import pytest

from rtvoice.events import (
    AssistantAudioCompletedEvent,
    AssistantAudioReceivedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptChunkReceivedEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    Event,
    ResponseFinishedEvent,
)
from rtvoice.realtime import server_events
from rtvoice.realtime.assistant_output import MAX_CHARACTERS, REMEMBERED, AssistantOutput


class Output(AssistantOutput):
    """An output whose facts can be looked at."""

    def __init__(self, *, speaks: bool = True) -> None:
        self.facts: list[Event] = []
        super().__init__(self.facts.append, speaks=speaks)

    def new_facts(self) -> list[Event]:
        facts = self.facts.copy()
        self.facts.clear()
        return facts


def audio(pcm: bytes, **fields: Any) -> server_events.AudioDelta:
    fields = {"response_id": "r", "item_id": "i"} | fields
    return server_events.AudioDelta(type="response.output_audio.delta", delta=pcm, **fields)


def text(delta: str, response_id: str = "r") -> server_events.TextDelta:
    return server_events.TextDelta(
        type="response.output_text.delta",
        response_id=response_id,
        item_id="i",
        output_index=1,
        content_index=2,
        delta=delta,
    )


def over(response_id: str = "r", **fields: Any) -> server_events.Response:
    return server_events.Response(**{"id": response_id, "status": "completed"} | fields)


AUDIO_DONE = server_events.AudioDone(type="response.output_audio.done", response_id="r", item_id="i", content_index=3)
TRANSCRIPT_DONE = server_events.TranscriptDone(
    type="response.output_audio_transcript.done",
    response_id="r",
    item_id="i",
    output_index=1,
    content_index=2,
    transcript="said",
)
TEXT_DONE = server_events.TextDone(
    type="response.output_text.done", response_id="r", item_id="i", output_index=1, content_index=2, text="written"
)


def test_audio_is_passed_on() -> None:
    output = Output()

    output.audio_delta(audio(b"12", content_index=1))
    output.audio_delta(audio(b""))
    output.audio_done(AUDIO_DONE)

    assert output.new_facts() == [
        AssistantAudioReceivedEvent(pcm=b"12", response_id="r", item_id="i", content_index=1),
        AssistantAudioCompletedEvent(response_id="r", item_id="i", content_index=3),
    ]


def test_words_are_passed_on() -> None:
    output = Output()

    output.text_delta(text("sa"))
    output.text_delta(text(""))
    output.transcript_done(TRANSCRIPT_DONE)
    output.text_done(TEXT_DONE)

    assert output.new_facts() == [
        AssistantTranscriptDeltaEvent("sa", "i", 1, 2, response_id="r"),
        AssistantTranscriptChunkReceivedEvent("sa"),
        AssistantTranscriptCompletedEvent("said", "i", 1, 2, response_id="r"),
        AssistantTranscriptCompletedEvent("written", "i", 1, 2, response_id="r"),
    ]


def test_the_end_of_a_response_tells_how_it_went() -> None:
    output = Output()
    output.audio_delta(audio(b"12"))
    output.new_facts()

    output.finish(over(usage={"total_tokens": 3}))
    output.finish(over("r2", status="incomplete", status_details={"reason": "max_output_tokens"}))

    assert output.new_facts() == [
        ResponseFinishedEvent(response_id="r", status="completed", has_audio=True, usage={"total_tokens": 3}),
        ResponseFinishedEvent(response_id="r2", status="incomplete", reason="max_output_tokens"),
    ]


def test_in_text_mode_the_text_is_what_starts_and_stops() -> None:
    output = Output(speaks=False)

    for delta in ("a", "b"):
        output.text_delta(text(delta))
    output.finish(over())
    output.finish(over("r2"))

    kinds = [type(fact) for fact in output.facts]
    assert kinds == [
        AssistantStartedRespondingEvent,
        AssistantTranscriptDeltaEvent,
        AssistantTranscriptChunkReceivedEvent,
        AssistantTranscriptDeltaEvent,
        AssistantTranscriptChunkReceivedEvent,
        AssistantStoppedRespondingEvent,
        ResponseFinishedEvent,
        ResponseFinishedEvent,
    ]
    assert output.facts[0] == AssistantStartedRespondingEvent(response_id="r")
    assert output.facts[5] == AssistantStoppedRespondingEvent(response_id="r")


@pytest.mark.parametrize("speaks", [True, False])
def test_nobody_hears_a_muted_response_but_it_ends(*, speaks: bool) -> None:
    output = Output(speaks=speaks)
    output.mute("r")

    output.audio_delta(audio(b"12"))
    output.text_delta(text("a"))
    output.audio_done(AUDIO_DONE)
    output.transcript_done(TRANSCRIPT_DONE)
    output.text_done(TEXT_DONE)
    assert output.new_facts() == []
    output.finish(over(status="cancelled", usage={"total_tokens": 3}))

    assert output.new_facts() == [ResponseFinishedEvent(response_id="r", status="cancelled", usage={"total_tokens": 3})]
    assert output.truncation_point("i", 0, 0) is None, "nothing of it was received"


@pytest.mark.parametrize(
    ("received", "played_ms", "point"),
    [(480, 4, 4), (480, 10, 10), (480, 11, 10), (480, -1, 0), (480, 0, 0), (527, 11, 10), (48, 1, 1)],
)
def test_truncation_stays_within_the_audio_received(received: int, played_ms: int, point: int) -> None:
    output = Output()
    output.audio_delta(audio(bytes(received)))

    assert output.truncation_point("i", 0, played_ms) == point


def test_no_truncation_without_audio() -> None:
    output = Output()
    output.audio_delta(audio(bytes(47)))
    output.audio_delta(audio(bytes(480), item_id=""))
    output.text_delta(text("a"))

    assert output.truncation_point("i", 0, 0) is None, "less than a millisecond"
    assert output.truncation_point("i", 1, 5) is None, "another content part"
    assert output.truncation_point("other", 0, 5) is None
    assert output.truncation_point("", 0, 5) is None, "nothing to call it by"


def test_a_truncated_item_stays_short() -> None:
    output = Output()
    output.audio_delta(audio(bytes(4_800)))

    assert output.truncation_point("i", 0, 60) == 60
    output.audio_delta(audio(bytes(4_800)))
    assert output.truncation_point("i", 0, 90) is None
    assert output.truncation_point("i", 0, 60) is None
    assert output.truncation_point("i", 0, 0) == 0
    assert output.truncation_point("i", 0, 0) is None


def test_memories_are_bounded() -> None:
    spoken, written = Output(), Output(speaks=False)
    for number in range(REMEMBERED + 5):
        spoken.audio_delta(audio(bytes(96), response_id=f"r{number}", item_id=f"i{number}"))
        spoken.truncation_point(f"i{number}", 0, 1)
        spoken.mute(f"m{number}")
        written.text_delta(text("x", f"r{number}"))

    for output in (spoken, written):
        assert all(len(memory) <= REMEMBERED for memory in vars(output).values() if hasattr(memory, "popitem"))
    assert spoken.truncation_point("i4", 0, 1) is None
    assert spoken.truncation_point("i5", 0, 0) == 0


def test_words_that_came_in_pieces_are_not_lost_with_an_unreadable_end() -> None:
    output = Output()
    output.text_delta(text("One "))
    output.text_delta(text("two."))
    done = TRANSCRIPT_DONE.model_copy(update={"transcript": ""})
    output.transcript_done(done)
    assert output.new_facts()[-1] == AssistantTranscriptCompletedEvent("One two.", "i", 1, 2, response_id="r")


def test_what_is_kept_of_a_message_is_bounded() -> None:
    output = Output(speaks=False)
    for _ in range(3):
        output.text_delta(text("x" * MAX_CHARACTERS))
    output.new_facts()
    output.connection_lost(["r"])
    (words, _, _) = output.new_facts()
    assert isinstance(words, AssistantTranscriptCompletedEvent)
    assert len(words.transcript) == MAX_CHARACTERS
