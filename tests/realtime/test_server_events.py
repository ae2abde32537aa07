import json
import logging
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvoice.realtime import server_events
from rtvoice.realtime.server_events import parse


def say(kind: str, **fields: Any) -> server_events.ServerEvent | None:
    return parse(json.dumps({"type": kind, **fields}))


def test_audio_arrives_decoded() -> None:
    pcm = bytes(range(256)) * 3

    event = say(
        "response.output_audio.delta", response_id="r", item_id="i", content_index=1, delta=b64encode(pcm).decode()
    )

    assert event == server_events.AudioDelta(
        type="response.output_audio.delta", response_id="r", item_id="i", content_index=1, delta=pcm
    )


@pytest.mark.parametrize(
    "frame", ["{}", "[]", "null", "3", '"x"', "", "x", "{", b"\xff", b"\x00", "[" * 200_000, "\ud800"]
)
def test_what_is_no_event_is_skipped(frame: str | bytes) -> None:
    assert parse(frame) is None


@pytest.mark.parametrize(
    "kind", ["rate_limits.updated", "response.content_part.added", "some.thing.new", "", None, 5, {}]
)
def test_types_that_we_do_not_use_are_skipped(kind: object) -> None:
    assert parse(json.dumps({"type": kind})) is None


def test_what_is_skipped_is_described_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, server_events.__name__):
        say("response.output_audio.delta", delta="secret !")
        parse("secret")
        parse("secret \ud800")
        say("rate_limits.updated")

    assert len(caplog.records) == 3
    assert "delta" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio.done", "response.output_audio.done"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.audio_transcript.done", "response.output_audio_transcript.done"),
        ("response.text.delta", "response.output_text.delta"),
        ("response.text.done", "response.output_text.done"),
        ("conversation.item.created", "conversation.item.added"),
    ],
)
def test_names_of_the_beta_interface_are_understood(old: str, new: str) -> None:
    fields = {"delta": "AAAA", "item": {"id": "i"}, "item_id": "i", "response_id": "r"}

    assert type(say(old, **fields)) is type(say(new, **fields))
    assert say(old, **fields) is not None


@pytest.mark.parametrize("junk", [None, [], {}, "x", 5, 1.5, True, "9" * 6_000])
def test_malformed_optional_fields_cost_only_themselves(junk: object) -> None:
    error = say("error", error={"type": junk, "code": junk, "message": "said", "param": junk, "event_id": junk})
    assert isinstance(error, server_events.ErrorReceived)
    assert error.error.message == "said"

    session = say("session.updated", session={"id": "s", "expires_at": junk, "model": "gpt-realtime-2031-01-01"})
    assert isinstance(session, server_events.SessionUpdated)
    assert session.session.id == "s"

    item = {
        "id": "i",
        "type": "message",
        "role": junk,
        "status": junk,
        "name": junk,
        "call_id": junk,
        "arguments": junk,
    }
    added = say("conversation.item.added", previous_item_id=junk, item=item)
    assert isinstance(added, server_events.ItemAdded)
    assert added.item.id == "i"

    done = say(
        "response.done",
        response={"id": "r", "status": junk, "status_details": junk, "output": junk, "usage": junk},
    )
    assert isinstance(done, server_events.ResponseDone)
    assert done.response.id == "r"
    assert done.response.output == ()

    delta = say("response.output_audio.delta", response_id=junk, item_id=junk, content_index="x", delta="AAAA")
    assert isinstance(delta, server_events.AudioDelta)
    assert (delta.delta, delta.content_index) == (b"\0\0\0", 0)


def test_missing_optional_fields_have_defaults() -> None:
    for kind in ("session.created", "session.updated", "error", "response.output_audio.done", "response.text.delta"):
        assert say(kind) is not None
    for kind in (
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ):
        assert say(kind) is not None
    for name in ("delta", "completed", "failed"):
        assert say(f"conversation.item.input_audio_transcription.{name}") is not None


@pytest.mark.parametrize("kind", ["session.created", "session.updated", "error"])
def test_a_malformed_subject_that_can_be_spared_is_spared(kind: str) -> None:
    assert say(kind, session="x", error="x") is not None


@pytest.mark.parametrize("junk", [None, [], "x", 5])
@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("conversation.item.added", "item"),
        ("response.output_item.done", "item"),
        ("response.created", "response"),
        ("response.done", "response"),
    ],
)
def test_without_its_subject_an_event_is_nothing(kind: str, subject: str, junk: object) -> None:
    assert say(kind, **{subject: junk}) is None
    assert say(kind) is None


def test_one_malformed_output_item_does_not_hide_the_others() -> None:
    event = say("response.done", response={"id": "r", "output": [None, 3, {"id": "i", "type": "function_call"}, {}]})

    assert isinstance(event, server_events.ResponseDone)
    assert [item.id if item else None for item in event.response.output] == [None, None, "i", ""]


def test_codes_that_are_numbers_are_kept() -> None:
    event = say("error", error={"code": 429})

    assert isinstance(event, server_events.ErrorReceived)
    assert event.error.code == "429"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.binary() | st.text() | json_values.map(json.dumps))
def test_nothing_makes_it_raise(frame: str | bytes) -> None:
    assert parse(frame) is None
