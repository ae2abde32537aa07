import json

import pytest

from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.session_settings import REMEMBERED, SessionSettings


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def settings(outbox: Outbox) -> SessionSettings:
    """Settings that were sent."""
    settings = SessionSettings(SessionConfig(model="m", instructions="first"), outbox)
    settings.send_all()
    outbox.take()
    return settings


def sent(outbox: Outbox) -> list[str]:
    return [json.loads(frame)["event_id"] for frame in outbox.take()]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_refusals_in_any_order_leave_what_was_accepted(
    settings: SessionSettings, outbox: Outbox, order: tuple[int, ...]
) -> None:
    for words in ("second", "third", "fourth"):
        settings.update_instructions(words)
    ids = sent(outbox)
    assert settings.current.instructions == "fourth"
    for number in order[:2]:
        settings.refuse(ids[number])
    assert settings.current.instructions == ("second", "third", "fourth")[order[2]]
    settings.refuse(ids[order[2]])
    assert settings.current.instructions == "first"


def test_only_what_was_refused_is_taken_back(settings: SessionSettings, outbox: Outbox) -> None:
    settings.update_instructions("second")
    settings.update_tool_choice("none")
    instructions, _ = sent(outbox)
    settings.refuse(instructions)
    assert (settings.current.instructions, settings.current.tool_choice) == ("first", "none")


def test_a_new_session_begins_with_all_of_it(settings: SessionSettings, outbox: Outbox) -> None:
    settings.update_instructions("second")
    settings.update_tools([{"name": "tool"}])
    settings.hold_speed(1.2)
    (instructions, _) = sent(outbox)
    settings.send_all()
    (frame,) = outbox.take()
    session = json.loads(frame)["session"]
    assert (session["instructions"], session["tools"]) == ("second", [{"name": "tool"}])
    assert session["audio"]["output"]["speed"] == 1.2
    assert not settings.holds_speed
    settings.refuse(instructions)  # of the session that is gone
    assert settings.current.instructions == "second"


def test_the_speed_that_came_too_late_waits_again(settings: SessionSettings, outbox: Outbox) -> None:
    settings.send_speed()
    assert sent(outbox) == []
    settings.hold_speed(1.2)
    settings.send_speed()
    (speed,) = sent(outbox)
    assert not settings.speed_came_too_late("another")
    assert settings.speed_came_too_late(speed)
    assert settings.holds_speed
    settings.hold_speed(1.3)
    assert settings.speed_came_too_late(speed)
    settings.send_speed()
    assert settings.current.speech_speed == 1.3


def test_old_changes_count_as_accepted(settings: SessionSettings, outbox: Outbox) -> None:
    settings.update_tool_choice("none")
    for number in range(REMEMBERED):
        settings.update_instructions(f"words {number}")
    ids = sent(outbox)
    for event_id in ids:
        settings.refuse(event_id)
    assert (settings.current.instructions, settings.current.tool_choice) == ("first", "none")


def test_every_change_counts(settings: SessionSettings, outbox: Outbox) -> None:
    revision = settings.revision
    settings.refuse("unknown")
    settings.refuse(None)
    assert settings.revision == revision
    settings.hold_speed(1.1)
    settings.send_speed()
    settings.update_instructions("second")
    settings.refuse(sent(outbox)[-1])
    assert settings.revision == revision + 4
