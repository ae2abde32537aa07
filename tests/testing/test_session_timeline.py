import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvoice.testing.replay_page import render
from rtvoice.testing.session_log import LogLine, SessionRecording
from rtvoice.testing.session_summary import about, facts, notices
from rtvoice.testing.session_timeline import Incident, SessionTimeline, ToolUse, Utterance


class Story:
    """A session log that a test tells."""

    def __init__(self, *redacted: str, truncated: bool = False, started: str = "2026-11-22T15:00:00+00:00") -> None:
        self.lines: list[LogLine] = []
        self.connection = 1
        self.redacted = frozenset(redacted)
        self.truncated = truncated
        self.started = started

    def _add(self, at: float, **fields: Any) -> None:
        self.lines.append(LogLine(number=len(self.lines) + 2, at=at, **fields))

    def note(self, at: float, event: str, **fields: Any) -> None:
        self._add(at, event=event, connection=fields.get("connection", 0), fields=fields)

    def server(self, at: float, kind: str, **fields: Any) -> None:
        self._add(at, to="agent", connection=self.connection, frame={"type": kind, **fields}, fields={})

    def agent(self, at: float, kind: str, **fields: Any) -> None:
        self._add(at, to="server", connection=self.connection, frame={"type": kind, **fields}, fields={})

    def microphone(self, until: float, milliseconds: int = 100) -> None:
        self.agent(until, "input_audio_buffer.append", audio=b64encode(b"\x01\x00" * 24 * milliseconds).decode())

    def answer(self, at: float, words: str, response_id: str = "r", item_id: str = "a") -> None:
        ids = {"response_id": response_id, "item_id": item_id}
        self.server(at, "response.output_audio_transcript.done", transcript=words, **ids)
        self.note(at, "answer_started", response_id=response_id)

    def told(self) -> SessionTimeline:
        return SessionTimeline(
            SessionRecording(
                path=Path("talk.jsonl"),
                model="some-model",
                started=self.started,
                made_by="",
                redacted=self.redacted,
                lines=tuple(self.lines),
                truncated=self.truncated,
            )
        )


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_question_and_an_answer(story: Story) -> None:
    story.note(0.0, "opened", connection=1)
    for tenth in range(1, 31):
        story.microphone(1.0 + tenth / 10)  # the microphone is open from 1 s on
    story.server(2.4, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=250)
    story.server(3.6, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=1250)
    story.server(3.6, "input_audio_buffer.committed", item_id="u")
    story.server(3.9, "conversation.item.input_audio_transcription.completed", item_id="u", transcript=" Hello? ")
    story.server(4.0, "response.output_audio_transcript.delta", response_id="r", item_id="a", delta="Hi ")
    story.note(4.1, "answer_started", response_id="r")
    story.server(4.2, "response.output_audio_transcript.delta", response_id="r", item_id="a", delta="there")
    story.note(5.1, "answer_stopped", response_id="r")
    story.note(5.2, "answer_stopped", response_id="unknown")
    timeline = story.told()
    assert timeline.utterances == [
        Utterance(who="user", start=pytest.approx(1.25), end=pytest.approx(2.25), text="Hello?", heard="Hello?"),
        Utterance(
            who="assistant", start=4.1, end=5.1, text="Hi there", heard="Hi there", latency_ms=pytest.approx(500)
        ),
    ]
    assert timeline.latencies_ms == [pytest.approx(500)]
    assert timeline.duration_s == 5.2


def test_without_audio_positions_the_arrival_counts(story: Story) -> None:
    story.server(1.0, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
    story.server(2.0, "input_audio_buffer.speech_stopped", item_id="u")
    (said,) = story.told().utterances
    assert (said.start, said.end, said.text) == (1.0, 2.0, "")


def test_turns_that_are_committed_by_hand(story: Story) -> None:
    story.microphone(1.0)
    story.microphone(1.1)
    story.server(1.5, "input_audio_buffer.committed", item_id="u")
    story.server(2.5, "input_audio_buffer.committed", item_id="v")
    first, second = story.told().utterances
    assert (first.start, first.end) == (pytest.approx(0.9), 1.5)
    assert (second.start, second.end) == (2.5, 2.5)


def test_a_new_connection_counts_its_audio_anew(story: Story) -> None:
    story.note(0.0, "opened", connection=1)
    story.microphone(1.0, 1000)
    story.note(2.0, "closed", connection=1, by="network", code=None, reason="")
    story.note(5.0, "opened", connection=2)
    story.connection = 2
    story.microphone(6.0, 1000)
    story.server(6.0, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=500)
    story.note(7.0, "closed", connection=2, by="server", code=1001, reason="")
    story.note(7.0, "closed", connection=2, by="agent", code=1000, reason="")
    timeline = story.told()
    assert timeline.utterances[0].start == pytest.approx(5.5)
    assert timeline.incidents == [
        Incident(at=2.0, kind="connection", text="the connection was lost"),
        Incident(at=5.0, kind="connection", text="a new connection"),
        Incident(at=7.0, kind="connection", text="the server closed the connection: code 1001"),
    ]


def test_a_rotation_opens_the_new_connection_while_the_old_one_still_gets_the_audio(story: Story) -> None:
    story.note(0.0, "opened", connection=1)
    story.microphone(2.0, 1000)
    story.note(2.0, "opened", connection=2)
    story.microphone(3.0, 1000)
    story.connection = 2
    story.server(3.5, "input_audio_buffer.speech_started", item_id="none", audio_start_ms=0)
    story.microphone(4.0, 1000)
    story.server(4.0, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=500)
    assert [said.start for said in story.told().utterances] == [3.5, pytest.approx(3.5)]


def test_an_interruption(story: Story) -> None:
    words = "One two three four five six seven eight nine ten"
    cut = {"item_id": "a", "content_index": 0, "played_ms": 500, "received_ms": 2000, "complete": True}
    unheard = {"item_id": "b", "content_index": 0, "played_ms": 0, "received_ms": 100, "complete": False}
    story.answer(1.0, words)
    story.server(1.0, "response.output_text.done", response_id="s", item_id="b", text="Never heard")
    for start in (1.0, 2.0):
        story.note(1.0, "heard", starts_at=start, audio=b64encode(bytes(48_000)).decode())
    story.note(1.5, "interrupted", cut_at=1.5, item_id="a", played_ms=500, cuts=[cut, unheard])
    story.note(1.6, "answer_stopped", response_id="r")
    story.note(2.0, "interrupted", cut_at=None, item_id=None, played_ms=None, cuts=[])
    timeline = story.told()
    heard, never = timeline.utterances
    assert (heard.end, heard.played_ms, heard.heard) == (1.5, 500, "One two")
    assert (never.text, never.heard, never.played_ms) == ("Never heard", "", None)
    assert [incident.text for incident in timeline.incidents] == [
        "the assistant was interrupted after 0.50 s",
        "the assistant was interrupted before it could be heard",
    ]
    assert [(start, len(pcm)) for start, pcm in timeline.assistant.pieces] == [(1.0, 24_000)]


def test_sound_with_and_without_gaps(story: Story) -> None:
    story.microphone(1.0)
    story.microphone(1.3)  # late by 0.2 s: jitter
    story.microphone(9.0)
    story.microphone(8.0)  # what was held back
    pieces = story.told().user.pieces
    assert [(round(start, 3), len(pcm)) for start, pcm in pieces] == [(0.9, 9_600), (8.9, 9_600)]
    timeline = story.told()
    timeline.user.cut(0.5)
    assert timeline.user.pieces == []
    assert timeline.user.end == 0.0


def test_tools(story: Story) -> None:
    call: dict[str, Any] = {"type": "function_call", "call_id": "c", "name": "look_up"}
    story.server(1.0, "response.output_item.added", item=call)
    story.server(1.1, "response.function_call_arguments.done", call_id="c", name="look_up", arguments='{"x": 1}')
    story.server(1.2, "response.output_item.done", item={**call, "arguments": '{"x": 1}'})
    story.note(1.3, "tool_started", call_id="c", name="look_up")
    story.note(2.0, "tool_finished", call_id="c", name="look_up", success=False)
    story.agent(2.1, "conversation.item.create", item={"type": "function_call_output", "call_id": "c", "output": "No"})
    unknown = {"type": "function_call_output", "call_id": "of another session", "output": "x"}
    story.agent(2.2, "conversation.item.create", item=unknown)
    # of an agent that died: nothing but the wire
    story.server(3.0, "response.function_call_arguments.done", call_id="d", name="wait", arguments="{}")
    story.agent(4.0, "conversation.item.create", item={"type": "function_call_output", "call_id": "d", "output": "OK"})
    story.server(5.0, "response.function_call_arguments.done", call_id="e", name="wait", arguments="{}")
    story.server(6.0, "response.output_item.done", item={"type": "message", "id": "m"})
    assert story.told().tools == [
        ToolUse(name="look_up", arguments='{"x": 1}', start=1.3, end=2.0, output="No", success=False),
        ToolUse(name="wait", arguments="{}", start=3.0, end=4.0, output="OK"),
        ToolUse(name="wait", arguments="{}", start=5.0),
    ]


@pytest.mark.parametrize(
    ("result", "output", "success"),
    [({"output": "fine"}, "fine", True), ({"error": "broken"}, "broken", False), ({}, "", True)],
)
def test_tools_of_an_mcp_server(story: Story, result: dict[str, str], output: str, success: bool) -> None:
    item = {"type": "mcp_call", "id": "m", "name": "search", "arguments": "{}"}
    story.server(1.0, "response.output_item.added", item=item)
    story.server(2.0, "response.output_item.done", item={**item, **result})
    assert story.told().tools == [
        ToolUse(name="search", arguments="{}", start=1.0, end=2.0, output=output, success=success)
    ]


def test_messages_in_writing(story: Story) -> None:
    content = [{"type": "input_text", "text": "Look:"}, {"type": "input_image", "image_url": "data:..."}]
    item = {"type": "message", "role": "user", "content": content}
    story.agent(0.5, "conversation.item.create", event_id="seed_1", item=item)
    story.agent(1.0, "conversation.item.create", event_id="message_2", item=item)
    story.agent(1.0, "response.create", event_id="create_3")
    (said,) = story.told().utterances
    assert (said.text, said.start, said.written) == ("Look: (an image)", 1.0, True)


def test_errors_and_what_nobody_would_notice(story: Story) -> None:
    story.note(1.0, "error", kind="server_error", code=None, message="It broke.")
    story.note(2.0, "watchdog", watchdog="ping", waited_s=15.0, action="retry")
    story.note(1.0, "stopping")
    story.server(1.0, "response.output_text.delta", response_id="r", item_id="a", delta=" ")
    story.server(1.0, "rate_limits.updated")
    timeline = story.told()
    assert timeline.incidents == [
        Incident(at=1.0, kind="error", text="It broke."),
        Incident(at=2.0, kind="connection", text="watchdog: ping stood still for 15.0 s: retry"),
    ]
    assert timeline.utterances == []


def test_an_empty_session(story: Story) -> None:
    timeline = story.told()
    assert timeline.duration_s == 0.0
    assert ("median wait", "-") in facts(timeline)
    assert notices(timeline) == []


def test_the_summary() -> None:
    story = Story("audio", "text", truncated=True)
    story.server(1.0, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=0)
    story.answer(1.2, "Hi")
    story.server(2.0, "input_audio_buffer.speech_stopped", item_id="v", audio_end_ms=0)
    story.answer(2.4, "Hi again", "s", "b")
    story.note(3.0, "error", message="x")
    timeline = story.told()
    assert facts(timeline) == [
        ("user turns", "2"),
        ("answers", "2"),
        ("tool calls", "0"),
        ("interruptions", "0"),
        ("errors", "1"),
        ("median wait", "300 ms"),
        ("longest wait", "400 ms"),
    ]
    assert about(timeline) == "some-model \N{MIDDLE DOT} 2026-11-22 15:00:00 UTC \N{MIDDLE DOT} 3.0 s"
    assert len(notices(timeline)) == 3
    assert about(Story(started="").told()) == "some-model \N{MIDDLE DOT} 0.0 s"


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["u", "r", "mcp_call"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "id", "call_id"]), inner),
    max_leaves=5,
)
FIELDS = (
    "item_id", "response_id", "call_id", "audio_start_ms", "audio_end_ms", "transcript", "delta", "text", "item",
    "name", "arguments",
)  # fmt: skip
KINDS = (
    "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
    "conversation.item.input_audio_transcription.completed", "response.output_item.added", "response.output_item.done",
    "response.function_call_arguments.done", "response.output_text.delta", "response.output_text.done",
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), ANYTHING)), max_size=8))
def test_a_server_may_say_anything(frames: list[tuple[str, dict[str, Any]]]) -> None:
    story = Story()
    story.microphone(1.0)
    for second, (kind, fields) in enumerate(frames):
        story.server(float(second), kind, **fields)
        story.note(float(second), "answer_started", response_id="r")
    timeline = story.told()
    assert all(0 <= said.start <= len(frames) for said in timeline.utterances)
    assert data_is_finite(render(timeline))


def data_is_finite(page: str) -> bool:
    """Whether a browser can read the data."""
    data = page.split('id="session">')[1].split("</script>")[0]
    json.loads(data, parse_constant=pytest.fail)
    return True
