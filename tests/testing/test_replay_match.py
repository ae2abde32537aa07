from typing import Any

import pytest

from rtvoice.testing.replay_match import Comparison, Ids, described, is_compared
from rtvoice.testing.session_log import LogLine

STRICT = Comparison(same_outputs=True, played_tolerance_ms=100)


def create(**item: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "event_id": "e", "item": item}


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "event_id": "e", "session": session}


def respond(**response: Any) -> dict[str, Any]:
    return {"type": "response.create", "event_id": "e", **({"response": response} if response else {})}


def truncate(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1000, **fields}


def turn_detection(kind: str | None) -> dict[str, Any]:
    return {"input": {"turn_detection": kind and {"type": kind}}}


SAME = [
    (create(type="message", id="a"), create(type="message", id="b")),
    (create(type="function_call_output", output="[redacted]"), create(type="function_call_output", output="x")),
    (update(instructions="Be brief", tools=[{"name": "a"}]), update(instructions="Be long", tools=[{"name": "a"}])),
    (update(tools=[{"server_label": "s"}, {"name": "a"}]), update(tools=[{"name": "a"}, {"server_label": "s"}])),
    (update(audio=turn_detection(None)), update(audio=turn_detection(None))),
    (update(audio={"output": {"speed": 1.0}}), update(audio={"output": {"speed": 1.5}})),
    (respond(), respond(instructions="Say something")),
    (respond(conversation="none", tool_choice="none"), respond(conversation="none", tool_choice="none")),
    (truncate(), truncate(audio_end_ms=1100, event_id="other")),
    ({"type": "input_audio_buffer.commit", "event_id": "1"}, {"type": "input_audio_buffer.commit", "event_id": "2"}),
    (create(content=[{"text": "[redacted]"}]), create(content=[{"text": "x"}])),
]
DIFFERENT = [
    (respond(), truncate(), "another kind of event"),
    (
        create(type="message"),
        create(type="function_call_output"),
        "another kind of event",
    ),
    (create(output="18"), create(output="19"), 'output is "19" instead of "18"'),
    (update(tools=[{"name": "a"}]), update(tools=[]), 'tools is [] instead of ["a"]'),
    (update(output_modalities=["audio"]), update(output_modalities=["text"]), "output_modalities is"),
    (update(audio=turn_detection("server_vad")), update(audio=turn_detection(None)), "turn_detection is null"),
    (respond(), respond(conversation="none"), 'conversation is "none" instead of "auto"'),
    (truncate(), truncate(audio_end_ms=899), "899 ms were heard instead of 1000 ms"),
    (truncate(), truncate(item_id="j"), 'item_id is "j" instead of "i"'),
    (truncate(), truncate(audio_end_ms=None), "audio_end_ms is null"),
    (create(content=[{"a": 1}]), create(content=[{"b": 1}]), "content is"),
    (create(content=[1]), create(content=[1, 2]), "content is"),
]


@pytest.mark.parametrize(("recorded", "replayed"), SAME)
def test_frames_that_mean_the_same(recorded: dict[str, Any], replayed: dict[str, Any]) -> None:
    assert STRICT.difference(recorded, replayed) == ""
    assert STRICT.difference(replayed, recorded) == ""


@pytest.mark.parametrize(("recorded", "replayed", "problem"), DIFFERENT)
def test_frames_that_do_not(recorded: dict[str, Any], replayed: dict[str, Any], problem: str) -> None:
    assert STRICT.difference(recorded, replayed).startswith(problem)
    assert STRICT.difference(replayed, recorded)


def test_what_tools_return_may_differ_if_wanted() -> None:
    lenient = Comparison(same_outputs=False, played_tolerance_ms=0)
    assert lenient.difference(create(call_id="c", output="18"), create(call_id="c", output="19")) == ""
    assert lenient.difference(create(call_id="c", output="18"), create(call_id="d", output="18"))


def test_ids_are_learnt_and_translated() -> None:
    ids = Ids()
    ids.learn(
        {"event_id": "create_3", "response": {"metadata": {"k": "old"}}, "item": {"id": "told_1"}},
        {"event_id": "create_4", "response": {"metadata": {"k": "new", "other": 1}}, "item": {"id": "told_2"}},
    )
    ids.learn({"event_id": "same"}, {"event_id": "same"})
    ids.learn({"event_id": "[redacted]"}, {"event_id": "real"})
    ids.learn({}, {"event_id": "only now"})
    assert ids.live == {"create_3": "create_4", "old": "new", "told_1": "told_2"}
    frame = {
        "error": {"event_id": "create_3", "message": "told_1"},
        "response": {"metadata": {"k": "old"}, "output": [{"id": "told_1"}, 1]},
    }
    assert ids.translated(frame) == {
        "error": {"event_id": "create_4", "message": "told_1"},
        "response": {"metadata": {"k": "new"}, "output": [{"id": "told_2"}, 1]},
    }


def test_what_is_compared() -> None:
    def line(kind: str, to: str = "server") -> LogLine:
        return LogLine(number=2, at=0.0, to=to, frame={"type": kind} if kind else {}, fields={})

    assert is_compared(line("response.create"))
    assert not is_compared(line("input_audio_buffer.append"))
    assert not is_compared(line("response.created", "agent"))
    assert not is_compared(line(""))


def test_frames_are_described_in_a_line() -> None:
    assert described(respond()) == "response.create"
    assert described(update(tools=[], instructions="long")) == 'session.update {"session": ["instructions", "tools"]}'
    assert described(create(output="x" * 1000)).endswith("xxx...")
    assert len(described(create(output="x" * 1000))) < 200
